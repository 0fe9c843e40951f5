"""The topologies of ``bench/streams.py`` as workers run them: ``bench.streams_topologies:count``.

``KCONSOLE_BENCH_IN``, ``_OUT`` name the topics, ``_BEGAN`` the file that gets the time at which
the first record is read.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from engine.streams import (
    Consumed,
    Grouped,
    KStream,
    Materialized,
    Produced,
    Serde,
    Serdes,
    StreamsBuilder,
    TimeWindows,
    Topology,
    Windowed,
)

WINDOW_MS = 10_000
TEXT, LONG, JSON = Serdes.string(), Serdes.long(), Serdes.json()


def _marking(serde: Serde[Any]) -> Serde[Any]:
    """The serde, which writes down when it reads for the first time and is the plain one from the next fetch on."""
    marked = Serde(serde.serialize, serde.deserialize, serde.name)

    def read(data: bytes) -> Any:
        if marked.deserialize is read:
            marked.deserialize = serde.deserialize
            Path(os.environ["KCONSOLE_BENCH_BEGAN"]).write_text(str(time.monotonic_ns()))
        return serde.deserialize(data)

    marked.deserialize = read
    return marked


def _source(builder: StreamsBuilder) -> KStream[str, Any]:
    return builder.stream(os.environ["KCONSOLE_BENCH_IN"], Consumed(key_serde=TEXT, value_serde=_marking(JSON)))


def _to(stream: KStream[Any, Any]) -> None:
    stream.to(os.environ["KCONSOLE_BENCH_OUT"], Produced(key_serde=TEXT, value_serde=JSON))


def convert(value: dict[str, Any]) -> dict[str, Any]:
    """An order with its amount in cents."""
    return {**value, "cents": round(value["amount"] * 100)}


def is_big(value: dict[str, Any]) -> bool:
    """Half of the orders."""
    return bool(value["cents"] >= 25_000)


def map_filter() -> Topology:
    """Stateless: a mapped value, half of the records go on."""
    builder = StreamsBuilder()
    _to(_source(builder).map_values(convert).filter(lambda _, value: is_big(value)))
    return builder.build()


def count() -> Topology:
    """Orders of each customer, every update."""
    builder = StreamsBuilder()
    counts = _source(builder).group_by_key(Grouped(key_serde=TEXT, value_serde=JSON))
    _to(counts.count(Materialized("counts", key_serde=TEXT, value_serde=LONG)).to_stream())
    return builder.build()


def window() -> Topology:
    """Orders of each customer in windows of 10 s, every update, written as Quix Streams writes them."""
    builder = StreamsBuilder()
    windowed = (
        _source(builder)
        .group_by_key(Grouped(key_serde=TEXT, value_serde=JSON))
        .windowed_by(TimeWindows.of_size_with_no_grace(WINDOW_MS))
        .count(Materialized("windows", key_serde=TEXT, value_serde=LONG))
    )
    _to(windowed.to_stream().map(_plain))
    return builder.build()


def _plain(key: Windowed[str], value: int) -> tuple[str, dict[str, int]]:
    (start, end) = key.window
    return key.key, {"start": start, "end": end, "value": value}


def order(number: int, customers: int) -> tuple[str, bytes, int]:
    """The ``number``-th record of the input: customer, about 90 bytes of JSON, timestamp in ms."""
    customer = f"c{number * 7919 % customers:06d}"
    value = {
        "customer": customer,
        "amount": (number * 31 % 50_000) / 100,
        "currency": "EUR",
        "item": f"i-{number % 997:04d}",
        "shop": number % 50,
    }
    return customer, json.dumps(value).encode(), 1_700_000_000_000 + number
