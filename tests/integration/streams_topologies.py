"""Topologies that workers of the tests run, as users name them: ``tests.integration.streams_topologies:windows``."""

from __future__ import annotations

import os

from engine.streams import (
    Consumed,
    Grouped,
    Materialized,
    Produced,
    Serdes,
    StreamsBuilder,
    TimeWindows,
    Topology,
)

WINDOW_MS = 10_000
# Topics of one run, where several share a cluster.
ORDERS = os.environ.get("KCONSOLE_STREAMS_ORDERS", "orders")
SUMS = os.environ.get("KCONSOLE_STREAMS_SUMS", "sums")
TEXT, LONG = Serdes.string(), Serdes.long()


def windows() -> Topology:
    """Amounts by customer, summed up in windows after a repartition; the value of an order is customer and amount."""
    builder = StreamsBuilder()
    orders = builder.stream(ORDERS, Consumed(key_serde=TEXT, value_serde=TEXT))
    amounts = orders.map(lambda _, value: (value.split()[0], int(value.split()[1])))
    sums = (
        amounts.group_by_key(Grouped(key_serde=TEXT, value_serde=LONG))
        .windowed_by(TimeWindows.of_size_and_grace(WINDOW_MS, 86_400_000))
        .aggregate(lambda: "0 0", add, Materialized("sums", value_serde=TEXT))
    )
    sums.to_stream().to(SUMS, Produced(key_serde=Serdes.time_windowed(TEXT, WINDOW_MS), value_serde=TEXT))
    return builder.build()


def add(_: str, amount: int, before: str) -> str:
    """``count sum``, one further."""
    count, total = before.split()
    return f"{int(count) + 1} {int(total) + amount}"


def asked() -> Topology:
    """Amounts by customer, counted and in windows: stores to be asked."""
    builder = StreamsBuilder()
    orders = builder.stream(ORDERS, Consumed(key_serde=TEXT, value_serde=TEXT))
    by_customer = orders.group_by(lambda _, value: value, Grouped(key_serde=TEXT, value_serde=TEXT))
    by_customer.count(Materialized("counts"))
    by_customer.windowed_by(TimeWindows.of_size_and_grace(WINDOW_MS, 86_400_000)).count(Materialized("windows"))
    return builder.build()


def word_lengths() -> Topology:
    """Words counted by their length; a word that is no word fails."""
    builder = StreamsBuilder()
    words = builder.stream("words", Consumed(key_serde=TEXT, value_serde=TEXT))
    by_length = words.group_by(lambda _, word: length(word), Grouped(key_serde=TEXT, value_serde=TEXT))
    by_length.count(Materialized("counts")).to_stream().to("counts", Produced(key_serde=TEXT, value_serde=LONG))
    return builder.build()


def length(word: str) -> str:
    """How many letters; ValueError for what has none."""
    if not word.isalpha():
        raise ValueError(f"{word!r} is no word")
    return str(len(word))
