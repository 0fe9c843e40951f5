"""Joins the workload's orders to its customers, and sums up what each tier spends a minute.

kconsole streams run examples.streams.revenue:topology --workers 2 --set processing.guarantee=exactly_once_v2
"""

from __future__ import annotations

from typing import Any

from engine.streams import (
    Consumed,
    Grouped,
    Joined,
    Materialized,
    Produced,
    Repartitioned,
    Serdes,
    StreamsBuilder,
    TimeWindows,
    Topology,
)

TEXT, JSON = Serdes.string(), Serdes.json()
MINUTE_MS = 60_000
GRACE_MS = 10_000


def topology() -> Topology:
    """``orders``, each with the tier its customer has at that time -> by tier and minute -> ``revenue``.

    A join wants both sides' keys in the same partitions. Orders have six and customers three, and both were written
    by a client that finds partitions otherwise than Kafka Streams does: both go through a topic of the application's.
    """
    builder = StreamsBuilder()
    read = Consumed(key_serde=TEXT, value_serde=JSON)
    customers = (
        builder.stream("customers", read)
        .repartition(Repartitioned(name="customers-by-key", partitions=3))
        .to_table(Materialized("customers", key_serde=TEXT, value_serde=JSON))
    )
    enriched = (
        builder.stream("orders", read)
        .repartition(Repartitioned(name="orders-by-key", partitions=3))
        .left_join(customers, with_tier, Joined(key_serde=TEXT, value_serde=JSON, other_value_serde=JSON))
    )
    revenue = (
        enriched.group_by(lambda _, order: order["tier"], Grouped(key_serde=TEXT, value_serde=JSON))
        .windowed_by(TimeWindows.of_size_and_grace(MINUTE_MS, GRACE_MS))
        .aggregate(lambda: {"orders": 0, "amount": 0}, add, Materialized("revenue", key_serde=TEXT, value_serde=JSON))
    )
    revenue.to_stream().to("revenue", Produced(key_serde=Serdes.time_windowed(TEXT, MINUTE_MS), value_serde=JSON))
    return builder.build()


def with_tier(order: dict[str, Any], customer: dict[str, Any] | None) -> dict[str, Any]:
    """The order and its customer's tier; of customers who are not known it is ``unknown``."""
    return {**order, "tier": "unknown" if customer is None else customer["tier"]}


def add(_: str, order: dict[str, Any], so_far: dict[str, Any]) -> dict[str, Any]:
    """One order more."""
    return {"orders": so_far["orders"] + 1, "amount": so_far["amount"] + order["amount"]}
