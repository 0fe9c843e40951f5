"""The Streams application of the pipeline: ``tests.integration.connect_topologies:pricing``."""

from __future__ import annotations

import json

from engine.streams import Consumed, Grouped, Materialized, Produced, Serdes, StreamsBuilder, Topology

TEXT = Serdes.string()


def _schema(**types: str) -> str:
    fields = [{"field": name, "type": type, "optional": False} for name, type in types.items()]
    return json.dumps({"type": "struct", "optional": False, "name": "row", "fields": fields})


_PRICED = _schema(id="int64", customer="int32", cents="int64")
_TOTAL = _schema(customer="int32", orders="int64", cents="int64")


def pricing() -> Topology:
    """Orders of PostgreSQL, one record each with its price in cents; and how many a customer has, of how much."""
    builder = StreamsBuilder()
    orders = builder.stream("shop.public.orders", Consumed(key_serde=TEXT, value_serde=TEXT)).map_values(_priced)
    orders.map_values(lambda order: _row(_PRICED, order)).to("priced", Produced(key_serde=TEXT, value_serde=TEXT))
    cents = orders.map(lambda _, order: (str(order["customer"]), order["cents"]))
    totals = cents.group_by_key(Grouped(key_serde=TEXT, value_serde=Serdes.long())).aggregate(
        lambda: "0 0", _add, Materialized("totals", value_serde=TEXT)
    )
    rows = totals.to_stream().map(lambda customer, total: (customer, _total(customer, total)))
    rows.to("totals", Produced(key_serde=TEXT, value_serde=TEXT))
    return builder.build()


def _priced(value: str) -> dict[str, int]:
    order = json.loads(value)
    return {"id": order["id"], "customer": order["customer"], "cents": round(order["amount"] * 100)}


def _add(_: str, cents: int, before: str) -> str:
    count, total = before.split()
    return f"{int(count) + 1} {int(total) + cents}"


def _total(customer: str, total: str) -> str:
    orders, cents = map(int, total.split())
    return _row(_TOTAL, {"customer": int(customer), "orders": orders, "cents": cents})


def _row(schema: str, values: dict[str, int]) -> str:
    return f'{{"schema":{schema},"payload":{json.dumps(values)}}}'
