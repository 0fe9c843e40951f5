"""The SQL sink on SQLite: modes, keys, tombstones, tables made and widened, bad records found among good ones."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.connect import data
from engine.connect.config_def import ConfigDef
from engine.connect.connectors.sql_connection import define_connection
from engine.connect.connectors.sql_database import Database
from engine.connect.connectors.sql_sink import SqlSinkConnector
from engine.connect.connectors.sql_sink_task import SqlSinkTask
from engine.connect.connectors.sql_types import bind
from engine.connect.data import Schema, Struct, struct
from engine.connect.errors import ConfigError, ConnectError, DataError, RetriableError
from engine.connect.records import SinkRecord
from tests.unit.connect.task_contexts import Reporter, SinkContext

ORDER = struct({"id": data.INT64, "item": data.STRING.as_optional(), "price": data.FLOAT64.as_optional()})
KEY = struct({"id": data.INT64})


class Target:
    """A database file, and tasks that write into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.reporter = Reporter()
        self.tasks: list[SqlSinkTask] = []

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        return {"connection.url": f"sqlite:///{self.path}?timeout=0.01", "retry.backoff.ms": "7", **own}

    def task(self, reporter: bool = False, **more: str) -> SqlSinkTask:
        task = SqlSinkTask()
        self.context = SinkContext(self.props(**more), self.reporter if reporter else None)
        task.initialize(self.context)
        task.start(self.props(**more))
        self.tasks.append(task)
        return task

    def rows(self, query: str = "SELECT * FROM orders ORDER BY 1") -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path / "target.db")
    yield made
    for task in made.tasks:
        task.stop()
    made.connection.close()


def record(
    value: Mapping[str, Any] | None, schema: Schema = ORDER, key: Any = None, offset: int = 0, topic: str = "orders"
) -> SinkRecord:
    return SinkRecord(
        topic=topic,
        partition=0,
        offset=offset,
        key=Struct(KEY, {"id": key}) if isinstance(key, int) else key,
        key_schema=KEY if isinstance(key, int) else data.STRING,
        value=None if value is None else Struct(schema, value),
        value_schema=None if value is None else schema,
    )


def order(number: int, item: str | None = "x", price: float | None = 1.0) -> SinkRecord:
    return record({"id": number, "item": item, "price": price}, key=number, offset=number)


UPSERTS = {"insert__mode": "upsert", "pk__mode": "record_key", "auto__create": "true"}


def test_a_table_is_made_by_the_schema_and_filled(target: Target) -> None:
    target.task(pk__mode="record_value", pk__fields="id", auto__create="true").put([order(1), order(2, None, None)])
    assert target.rows() == [(1, "x", 1.0), (2, None, None)]
    columns = {each[1]: (each[2], each[3], each[5]) for each in target.rows("PRAGMA table_info(orders)")}
    assert columns == {"id": ("INTEGER", 1, 1), "item": ("TEXT", 0, 0), "price": ("DOUBLE", 0, 0)}


def test_a_row_that_comes_again_is_one_row(target: Target) -> None:
    task = target.task(**UPSERTS)
    task.put([order(1, "a"), order(2, "b"), order(1, "c")])
    task.put([order(2, "d"), order(1, "c")])
    assert target.rows() == [(1, "c", 1.0), (2, "d", 1.0)]


def test_records_without_value_delete_in_their_place(target: Target) -> None:
    task = target.task(**UPSERTS, delete__enabled="true")
    task.put([order(1), order(2), record(None, key=1), record(None, key=2), order(2, "again"), record(None, key=9)])
    assert target.rows() == [(2, "again", 1.0)]
    with pytest.raises(DataError, match=r"orders-0@0 has no value.*delete.enabled"):
        target.task(**UPSERTS).put([record(None, key=2)])


def test_a_deletion_makes_no_table_of_keys_alone(target: Target) -> None:
    """A compacted topic may begin with one: the table's columns are those of the first row."""
    task = target.task(**UPSERTS, delete__enabled="true")
    task.put([record(None, key=7), record(None, key=8)])
    assert target.rows("SELECT name FROM sqlite_master") == []
    task.put([record(None, key=1), order(1), order(2), record(None, key=2), record(None, key=9)])
    assert target.rows() == [(1, "x", 1.0)]
    with pytest.raises(ConnectError, match="there is no table absent"):
        target.task(pk__mode="record_key", delete__enabled="true").put([record(None, key=7, topic="absent")])


def test_updates_change_only_rows_that_are_there(target: Target) -> None:
    target.task(**UPSERTS).put([order(1)])
    target.task(insert__mode="update", pk__mode="record_key").put([order(1, "new"), order(2)])
    assert target.rows() == [(1, "new", 1.0)]


def test_the_place_in_the_topic_may_be_the_key(target: Target) -> None:
    task = target.task(insert__mode="upsert", pk__mode="kafka", auto__create="true", fields__whitelist="item")
    task.put([order(7), order(7)])
    assert target.rows() == [("orders", 0, 7, "x")]
    columns = [each[1] for each in target.rows("PRAGMA table_info(orders)")]
    assert columns == ["__connect_topic", "__connect_partition", "__connect_offset", "item"]


def test_a_key_that_is_one_value_has_a_column_of_its_own(target: Target) -> None:
    task = target.task(**UPSERTS, pk__fields="code", delete__enabled="true")
    task.put([record({"id": 1}, key="a"), record({"id": 2}, key="b"), record(None, key="a")])
    assert target.rows("SELECT code, id FROM orders") == [("b", 2)]


def test_a_put_is_one_transaction(target: Target) -> None:
    target.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
    with pytest.raises(ConnectError, match=r"one of the 3 records from orders-0@1 on .*UNIQUE"):
        target.task().put([order(1), order(2), order(1)])
    assert target.rows() == []


def test_bad_records_are_found_among_good_ones_and_reported(target: Target) -> None:
    target.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, price REAL)")
    bad = {3, 11, 12, 29}
    records = [order(number, None if number in bad else "x") for number in range(30)]
    records[29] = order(29, "half of a character: \ud800")
    records.append(SinkRecord(topic="orders", partition=0, offset=30, value="text", value_schema=data.STRING))
    target.task(reporter=True).put(records)
    assert [each[0] for each in target.rows()] == [each for each in range(30) if each not in bad]
    assert [each.offset for each, _ in target.reporter.reported] == [3, 11, 12, 29, 30]
    assert "NOT NULL" in str(target.reporter.reported[0][1])
    assert "value with fields" in str(target.reporter.reported[-1][1])


def test_what_passes_is_tried_again_so_often(target: Target) -> None:
    task = target.task(reporter=True, **UPSERTS, max__retries="2")
    task.put([order(0)])
    target.connection.execute("BEGIN EXCLUSIVE")
    for left in (1, 0):
        with pytest.raises(RetriableError, match=f"locked; {left} retries are left"):
            task.put([order(1)])
    assert target.context.asked_timeout_ms == 7
    with pytest.raises(ConnectError, match="given up after 2 retries") as caught:
        task.put([order(1)])
    assert not isinstance(caught.value, RetriableError)
    target.connection.execute("ROLLBACK")
    assert target.reporter.reported == []
    task.put([order(1)])
    assert [each[0] for each in target.rows()] == [0, 1]


def test_a_field_that_the_table_lacks_becomes_a_column_if_that_is_allowed(target: Target) -> None:
    wider = struct({"id": data.INT64, "note": data.STRING.with_default("none"), "at": data.TIMESTAMP.as_optional()})
    noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
    target.task(**UPSERTS).put([order(1)])
    with pytest.raises(ConnectError, match=r"orders has no column for note, at.*auto.evolve"):
        target.task(**UPSERTS).put([record({"id": 2, "note": "n", "at": noon}, wider, key=2)])
    task = target.task(**UPSERTS, auto__evolve="true")
    task.put([order(3), record({"id": 2, "note": "n", "at": noon}, wider, key=2), order(4)])
    assert target.rows("SELECT id, note, at FROM orders ORDER BY id") == [
        (1, "none", None),
        (2, "n", "2026-01-02 12:00:00.000000"),
        (3, "none", None),
        (4, "none", None),
    ]
    needed = struct({"id": data.INT64, "must": data.STRING})
    with pytest.raises(DataError, match=r"column must: the field is neither optional nor has a default"):
        task.put([record({"id": 5, "must": "x"}, needed, key=5)])


def test_a_table_that_is_absent_is_told(target: Target) -> None:
    with pytest.raises(ConnectError, match=r"there is no table orders: .*auto.create"):
        target.task().put([order(1)])


def test_names_of_tables_are_made_of_the_topics_and_quoted(target: Target) -> None:
    task = target.task(pk__mode="record_key", auto__create="true", table__name__format="kafka ${topic}")
    task.put([record({"id": 1}, key=1, topic="shop.orders"), record({"id": 2}, key=2, topic="a%b")])
    assert target.rows('SELECT id FROM "kafka shop.orders"') == [(1,)]
    assert target.rows('SELECT id FROM "kafka a%b"') == [(2,)]


def test_values_without_schema_go_into_tables_that_are_there(target: Target) -> None:
    target.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, at TIMESTAMP, day DATE)")
    values: Sequence[dict[str, Any]] = [
        {"id": 1, "item": "a"},
        {"id": 2, "at": "2026-01-02T13:00:00+01:00", "day": "2026-01-02"},
        {"id": 3, "at": 1767355200000, "day": 20455},
    ]
    task = target.task(insert__mode="upsert", pk__mode="record_value", pk__fields="id")
    task.put([SinkRecord(topic="orders", partition=0, offset=at, value=each) for at, each in enumerate(values)])
    assert target.rows() == [
        (1, "a", None, None),
        (2, None, "2026-01-02 12:00:00.000000", "2026-01-02"),
        (3, None, "2026-01-02 12:00:00.000000", "2026-01-02"),
    ]
    with pytest.raises(DataError, match="no column can hold a list"):
        task.put([SinkRecord(topic="orders", partition=0, offset=9, value={"id": 4, "item": [1]})])
    with pytest.raises(DataError, match="the record has no schema for id"):
        made = target.task(auto__create="true", table__name__format="other")
        made.put([SinkRecord(topic="orders", partition=0, offset=9, value={"id": 4})])


def test_connects_logical_types_become_columns(target: Target) -> None:
    schema = struct(
        {
            "id": data.INT32,
            "amount": data.decimal(2),
            "day": data.DATE,
            "clock": data.TIME,
            "at": data.TIMESTAMP,
            "flag": data.BOOLEAN,
            "raw": data.BYTES,
        }
    )
    value = {
        "id": 1,
        "amount": Decimal("12.50"),
        "day": datetime.date(2026, 1, 2),
        "clock": datetime.time(13, 14, 15),
        "at": datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC),
        "flag": True,
        "raw": b"\x00\xff",
    }
    target.task(auto__create="true", db__timezone="Europe/Berlin").put([record(value, schema)])
    assert target.rows() == [
        (1, 12.5, "2026-01-02", "13:14:15.000000", "2026-01-02 13:00:00.000000", 1, b"\x00\xff"),
    ]


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"delete.enabled": "true"}, "delete.enabled"),
        ({"insert.mode": "upsert"}, "pk.mode"),
        ({"pk.mode": "kafka", "pk.fields": "a,b"}, "pk.fields"),
        ({"connection.url": "sqlite:////nowhere/at/all.db"}, "connection.url"),
    ],
)
def test_configs_that_cannot_work_are_named(target: Target, more: dict[str, str], name: str) -> None:
    assert list(SqlSinkConnector.validate(target.props() | more)) == [name]
    assert SqlSinkConnector.validate(target.props()) == {}
    if name != "connection.url":
        with pytest.raises(ConfigError):
            SqlSinkConnector().start(target.props() | more)


def test_each_task_has_all_configs(target: Target) -> None:
    connector = SqlSinkConnector()
    connector.start(target.props())
    assert connector.task_configs(2) == [target.props()] * 2
    assert connector.task_class() is SqlSinkTask


def test_keys_without_schema_may_differ_from_record_to_record(target: Target) -> None:
    target.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
    keys: list[Any] = [{"id": 1}, {"id": 2, "more": 3}, {"other": 3}, {"id": 4}]
    records = [record({"id": 9, "item": "x"}, key=each, offset=index) for index, each in enumerate(keys)]
    for each in records:
        each.key_schema = None
    target.task(reporter=True, insert__mode="upsert", pk__mode="record_key", pk__fields="id").put(records)
    assert [each[0] for each in target.rows()] == [1, 2, 4]
    assert [each.offset for each, _ in target.reporter.reported] == [2]


def test_keys_that_do_not_fit_pk_fields_are_told(target: Target) -> None:
    task = target.task(**UPSERTS, pk__fields="a,b")
    with pytest.raises(DataError, match="one column"):
        task.put([record({"id": 1}, key="x")])
    with pytest.raises(DataError, match=r"pk.fields has a, b, and the record's key only id"):
        task.put([order(1)])
    with pytest.raises(DataError, match="has no key"):
        task.put([SinkRecord(topic="orders", partition=0, offset=0, value=Struct(KEY, {"id": 1}), value_schema=KEY)])


def test_texts_that_are_no_times_are_told(tmp_path: Path) -> None:
    import sqlalchemy as sa

    values = define_connection(ConfigDef()).parse({"connection.url": f"sqlite:///{tmp_path}/x"})
    with pytest.raises(DataError, match="'noon' is nothing for a column of type DATETIME"):
        bind("noon", None, sa.DateTime(), Database(values))
