"""The SQL source on SQLite: pages, offsets as Confluent's connector has them, types, tables that come and go."""

from __future__ import annotations

import datetime
import json
import sqlite3
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.connect import data
from engine.connect.connector import ConnectorContext, ExactlyOnceSupport, SourceTask
from engine.connect.connectors import sql_source_task
from engine.connect.connectors.decimals import scaled
from engine.connect.connectors.sql_connection import translate_url
from engine.connect.connectors.sql_source import CONFIG, SqlSourceConnector
from engine.connect.connectors.sql_source_task import SqlSourceTask
from engine.connect.converters.json import JsonConverter
from engine.connect.errors import ConnectError, DataError, RetriableError
from tests.unit.connect.task_contexts import Offsets, polled, started

NOON = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.UTC)
NOON_MS = 1767355200000


class Shop:
    """A database file, changed by its own connection; and tasks that read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.tasks: list[SourceTask] = []

    def run(self, statement: str, *rows: tuple[Any, ...]) -> None:
        self.connection.executemany(statement, rows) if rows else self.connection.execute(statement)

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        return {"connection.url": f"sqlite:///{self.path}", "topic.prefix": "shop-", "poll.interval.ms": "0"} | own

    def task(self, offsets: Offsets | None = None, tables: str = "orders", **more: str) -> SqlSourceTask:
        task = started(SqlSourceTask(), {**self.props(**more), "tables": json.dumps([[None, tables]])}, offsets)
        self.tasks.append(task)
        return task


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_source_task, "_WAIT_S", 0.02)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "shop.db")
    yield made
    for task in made.tasks:
        task.stop()
    made.connection.close()


def numbers(records: list[Any], field: str = "id") -> list[int]:
    return [each.value[field] for each in records]


def orders(shop: Shop, *rows: tuple[Any, ...]) -> None:
    shop.run("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT, changed TIMESTAMP NOT NULL)")
    shop.run("INSERT INTO orders VALUES (?, ?, ?)", *rows)


def at(second: int, micros: int = 0) -> str:
    return f"2026-01-02 12:00:{second:02}.{micros:06}"


def test_rows_with_a_higher_number_come_once_each_with_confluents_offset(shop: Shop) -> None:
    orders(shop, *((number, f"item {number}", at(0)) for number in range(1, 6)))
    offsets = Offsets()
    task = shop.task(offsets, mode="incrementing", batch__max__rows="2")
    first = task.poll()
    assert first is not None and numbers(list(first)) == [1, 2]
    assert first[0].topic == "shop-orders" and first[0].key is None and first[0].key_schema is None
    assert first[0].source_partition == {"protocol": "1", "table": "orders"}
    assert first[1].source_offset == {"incrementing": 2}
    assert first[0].value_schema is not None and first[0].value_schema.name == "orders"
    assert numbers(polled(task, 3, offsets)) == [3, 4, 5]
    assert task.poll() is None
    orders(shop, (9, "late", at(1)))
    assert numbers(polled(shop.task(offsets, mode="incrementing"), 1)) == [9]


def test_an_offset_of_an_old_version_of_confluents_connector_is_understood(shop: Shop) -> None:
    orders(shop, *((number, "x", at(0)) for number in (1, 2, 3)))
    offsets = Offsets()
    offsets.put({"table": "orders"}, {"incrementing": 2})
    assert numbers(polled(shop.task(offsets, mode="incrementing"), 1)) == [3]


def test_rows_of_one_time_are_told_apart_by_their_number(shop: Shop) -> None:
    orders(shop, (1, "a", at(1)), (2, "b", at(1)), (3, "c", at(0, 500001)))
    offsets = Offsets()
    props = {"mode": "timestamp+incrementing", "timestamp__column__name": "changed", "batch__max__rows": "2"}
    records = polled(shop.task(offsets, **props), 2, offsets)
    assert numbers(records) == [3, 1]
    assert records[0].source_offset == {
        "incrementing": 3,
        "timestamp": NOON_MS + 500,
        "timestamp_nanos": 500001000,
    }
    # A change of a row that was told comes again; the number stays.
    shop.run("UPDATE orders SET item = 'changed', changed = ? WHERE id = 3", (at(2),))
    assert numbers(polled(shop.task(offsets, **props), 2)) == [2, 3]


def test_in_mode_timestamp_the_offset_moves_behind_all_rows_of_a_time(shop: Shop) -> None:
    rows = [(1, "a", at(0)), *((number, "same", at(1)) for number in range(2, 8)), (8, "z", at(2))]
    orders(shop, *rows)
    task = shop.task(mode="timestamp", timestamp__column__name="changed", batch__max__rows="3")
    records = polled(task, 8)
    assert sorted(numbers(records)) == list(range(1, 9))
    ends = [each.source_offset["timestamp"] - NOON_MS for each in records]
    assert ends == [0, 0, 0, 0, 0, 0, 1000, 2000]
    # Wherever it is cut, nothing is left out: what shares a time with the last one comes again.
    for cut in range(1, 8):
        offsets = Offsets()
        offsets.put(records[cut - 1].source_partition, records[cut - 1].source_offset)
        rest = polled(shop.task(offsets, mode="timestamp", timestamp__column__name="changed"), 8 - cut)
        assert set(numbers(records[:cut])) | set(numbers(rest)) == set(range(1, 9))


@pytest.mark.parametrize("mode", ["timestamp", "timestamp+incrementing"])
def test_times_that_sqlite_keeps_in_other_forms_are_in_their_order(shop: Shop, mode: str) -> None:
    """``CURRENT_TIMESTAMP`` has whole seconds; to SQLite ``12:00:01`` and ``12:00:01.000000`` are two texts."""
    texts = ["2026-01-02", "2026-01-02 12:00", *["2026-01-02 12:00:01"] * 5, "2026-01-02T12:00:01.5", at(2)]
    orders(shop, *((number, "x", text) for number, text in enumerate([*texts, "2026-01-02 12:00:03Z"])))
    task = shop.task(mode=mode, timestamp__column__name="changed", batch__max__rows="2")
    assert numbers(polled(task, 99, polls=12)) == list(range(10))


def test_times_that_sqlite_keeps_as_numbers_end_the_task_with_the_tables_name(shop: Shop) -> None:
    orders(shop, (1, "x", NOON_MS))
    with pytest.raises(ConnectError, match="the table orders has a value that cannot be read"):
        shop.task(mode="bulk").poll()


def test_of_several_time_columns_the_first_with_a_value_counts(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, changed TIMESTAMP, made TIMESTAMP NOT NULL)")
    shop.run("INSERT INTO t VALUES (?, ?, ?)", (1, at(5), at(0)), (2, None, at(1)))
    task = shop.task(tables="t", mode="timestamp", timestamp__column__name="changed,made")
    assert numbers(polled(task, 2)) == [2, 1]


def test_young_rows_wait_for_the_delay(shop: Shop) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    orders(shop, (1, "old", at(0)), (2, "young", (now - datetime.timedelta(seconds=2)).isoformat(" ")))
    props = {"mode": "timestamp", "timestamp__column__name": "changed"}
    assert numbers(polled(shop.task(**props, timestamp__delay__interval__ms="3600000"), 1)) == [1]
    assert numbers(polled(shop.task(**props, timestamp__delay__interval__ms="1000"), 2)) == [1, 2]


def test_a_first_time_may_be_given(shop: Shop) -> None:
    orders(shop, (1, "a", at(0)), (2, "b", at(1)), (3, "c", at(2)))
    props = {"mode": "timestamp", "timestamp__column__name": "changed"}
    assert numbers(polled(shop.task(**props, timestamp__initial=str(NOON_MS + 500)), 2)) == [2, 3]
    assert shop.task(**props, timestamp__initial="-1").poll() is None


def test_times_without_a_zone_are_in_that_of_the_config(shop: Shop) -> None:
    orders(shop, (1, "a", at(0)))
    task = shop.task(mode="timestamp", timestamp__column__name="changed", db__timezone="Europe/Berlin")
    (record,) = polled(task, 1)
    assert record.value["changed"] == NOON - datetime.timedelta(hours=1)
    assert record.source_offset["timestamp"] == NOON_MS - 3_600_000


def test_bulk_tells_all_rows_each_time(shop: Shop) -> None:
    orders(shop, *((number, "x", at(0)) for number in range(1, 6)))
    task = shop.task(mode="bulk", batch__max__rows="2")
    assert numbers(polled(task, 10)) == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]


def test_a_query_with_a_where_is_paged_like_a_table(shop: Shop) -> None:
    orders(shop, *((number, f"item:{number}", at(0)) for number in range(1, 8)))
    query = (
        "SELECT o.id, o.item || ':%' AS label, o.changed FROM orders o WHERE o.id <> 3 AND item <> 'a:b' -- that's %"
    )
    offsets = Offsets()
    props = {"mode": "incrementing", "incrementing__column__name": "id", "query": query, "topic__prefix": "labels"}
    records = polled(shop.task(offsets, tables="", batch__max__rows="4", **props), 5, offsets)
    assert numbers(records) == [1, 2, 4, 5, 6, 7]
    assert records[0].topic == "labels" and records[0].source_partition == {"query": query}
    assert records[0].value["label"] == "item:1:%"
    assert records[0].value["changed"] == NOON
    assert records[0].value_schema is not None and records[0].value_schema.name is None


def test_a_querys_expression_gets_its_schema_from_its_values(shop: Shop) -> None:
    orders(shop, (1, "a", at(0)), (2, None, at(0)))
    query = "SELECT id, CASE id WHEN 2 THEN 1.5 END AS x, length(item) AS y, NULL AS z FROM orders"
    (first, second) = polled(shop.task(tables="", query=query, mode="bulk", batch__max__rows="2"), 2)
    fields = {each.name: each.schema for each in first.value.schema.fields}
    assert fields == {
        "id": data.INT64.as_optional(),
        "x": data.FLOAT64.as_optional(),
        "y": data.INT64.as_optional(),
        "z": data.STRING.as_optional(),
    }
    assert dict(second.value.items()) == {"id": 2, "x": 1.5, "y": None, "z": None}


def test_columns_become_connects_types(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE t (i INTEGER NOT NULL, b BOOLEAN, r REAL, n NUMERIC(10,2), s VARCHAR(9), x BLOB, d DATE, c TIME,"
        " at TIMESTAMP, j JSON)"
    )
    row = (2**40, 1, 1.5, 12.25, "text", b"\x00\xff", "2026-01-02", "13:14:15.678900", at(0, 123456), '{"a": 1.10}')
    shop.run("INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?)", row, (1, *[None] * 9))
    full, empty = polled(shop.task(tables="t", mode="bulk"), 2)
    assert dict(full.value.items()) == {
        "i": 2**40,
        "b": True,
        "r": 1.5,
        "n": Decimal("12.25"),
        "s": "text",
        "x": b"\x00\xff",
        "d": datetime.date(2026, 1, 2),
        "c": datetime.time(13, 14, 15, 678000),
        "at": NOON.replace(microsecond=123000),
        "j": '{"a": 1.10}',
    }
    assert full.value_schema is not None
    assert full.value_schema.field("n").schema == data.decimal(2, optional=True)  # type: ignore[union-attr]
    assert full.value_schema.field("i").schema == data.INT64  # type: ignore[union-attr]
    assert full.value_schema.field("at").schema == data.TIMESTAMP.as_optional()  # type: ignore[union-attr]
    full.value.validate()
    assert [value for _, value in empty.value.items()] == [1, *[None] * 9]


def test_numbers_have_the_digits_of_their_schema_so_that_converters_take_them(shop: Shop) -> None:
    shop.run('CREATE TABLE "a.b" (n NUMERIC(10,2), m NUMERIC)')
    shop.run('INSERT INTO "a.b" VALUES (7, 0.5)')
    (record,) = polled(shop.task(tables="a.b", mode="bulk"), 1)
    converter = JsonConverter()
    converter.configure({"schemas.enable": "true"}, False)
    written = converter.from_connect_data("t", None, record.value_schema, record.value)
    back = converter.to_connect_data("t", None, written).value
    assert dict(back.items()) == {"n": Decimal("7.00"), "m": Decimal("0.5")}
    assert -record.value["m"].as_tuple().exponent == 127
    assert scaled(2)("12.5") == Decimal("12.50")
    for wrong in ("12.505", "NaN", "Infinity"):
        with pytest.raises(DataError):
            scaled(2)(Decimal(wrong))


@pytest.mark.parametrize(
    ("mapping", "whole", "fraction", "long"),
    [
        ("none", data.decimal(0), data.decimal(2), data.decimal(2)),
        ("precision_only", data.INT32, data.decimal(2), data.decimal(2)),
        ("best_fit", data.INT32, data.FLOAT64, data.decimal(2)),
        ("best_fit_eager_double", data.INT32, data.FLOAT64, data.FLOAT64),
    ],
)
def test_numeric_columns_are_mapped_as_asked(
    shop: Shop, mapping: str, whole: data.Schema, fraction: data.Schema, long: data.Schema
) -> None:
    shop.run("CREATE TABLE t (w NUMERIC(8,0) NOT NULL, f NUMERIC(8,2) NOT NULL, l NUMERIC(30,2) NOT NULL)")
    shop.run("INSERT INTO t VALUES (7, 1.25, 1.5)")
    (record,) = polled(shop.task(tables="t", mode="bulk", numeric__mapping=mapping), 1)
    assert record.value_schema is not None
    assert [each.schema for each in record.value_schema.fields] == [whole, fraction, long]
    record.value.validate()


def test_what_sqlite_keeps_against_a_columns_type_is_refused_by_name(shop: Shop) -> None:
    shop.run("CREATE TABLE t (n INTEGER)")
    shop.run("INSERT INTO t VALUES ('seven')")
    with pytest.raises(DataError, match=r"t\.n has 'seven'"):
        polled(shop.task(tables="t", mode="bulk"), 1)


def test_a_changed_table_is_read_with_its_new_columns(shop: Shop) -> None:
    orders(shop, (1, "a", at(0)))
    task = shop.task(mode="incrementing")
    polled(task, 1)
    shop.run("ALTER TABLE orders RENAME COLUMN item TO thing")
    orders(shop, (2, "b", at(0)))
    with pytest.raises(ConnectError, match="item"):
        polled(task, 1)
    offsets = Offsets()
    offsets.put({"protocol": "1", "table": "orders"}, {"incrementing": 1})
    (record,) = polled(shop.task(offsets, mode="incrementing"), 1)
    assert record.value["thing"] == "b"


def test_a_locked_database_is_worth_another_try(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    orders(shop, (1, "a", at(0)))
    task = shop.task(mode="incrementing", connection__url=f"sqlite:///{shop.path}?timeout=0.01")
    shop.run("BEGIN EXCLUSIVE")
    with pytest.raises(RetriableError, match="orders cannot be read now: database is locked"):
        task.poll()
    shop.run("ROLLBACK")
    assert numbers(polled(task, 1)) == [1]


class Asked(ConnectorContext):
    """What a connector asked of its worker."""

    def __init__(self) -> None:
        self.reconfigured = threading.Event()
        self.errors: list[Exception] = []

    def request_task_reconfiguration(self) -> None:
        self.reconfigured.set()

    def raise_error(self, error: Exception) -> None:
        self.errors.append(error)


def connector(shop: Shop, **more: str) -> tuple[SqlSourceConnector, Asked]:
    made, asked = SqlSourceConnector(), Asked()
    made.initialize(asked)
    made.start(shop.props(**more))
    return made, asked


def tables_of(made: SqlSourceConnector, max_tasks: int) -> list[list[str]]:
    return [[name for _, name in json.loads(each["tables"])] for each in made.task_configs(max_tasks)]


def test_tables_are_shared_among_tasks_and_new_ones_are_noticed(shop: Shop) -> None:
    for name in ("a", "b", "c", "secret"):
        shop.run(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY)")
    shop.run("CREATE VIEW seen AS SELECT * FROM a")
    made, asked = connector(shop, table__blacklist="secret", table__poll__interval__ms="10")
    try:
        assert tables_of(made, 2) == [["a", "c"], ["b"]]
        assert tables_of(made, 9) == [["a"], ["b"], ["c"]]
        shop.run("CREATE TABLE d (id INTEGER PRIMARY KEY)")
        assert asked.reconfigured.wait(5)
        assert tables_of(made, 1) == [["a", "b", "c", "d"]]
        assert made.task_class() is SqlSourceTask
        assert not asked.errors
    finally:
        made.stop()
    shop.run('CREATE TABLE "d.e, ""f""" (id INTEGER PRIMARY KEY)')
    shop.run('INSERT INTO "d.e, ""f""" VALUES (1)')
    made, _ = connector(shop, table__blacklist="a,b,c,d,secret", mode="incrementing")
    shop.tasks.append(task := started(SqlSourceTask(), made.task_configs(1)[0]))
    assert polled(task, 1)[0].topic == 'shop-d.e, "f"'
    made.stop()
    made, _ = connector(shop, table__types="VIEW")
    assert tables_of(made, 4) == [["seen"]]
    made.stop()
    made, _ = connector(shop, query="SELECT * FROM a", mode="bulk")
    assert tables_of(made, 4) == [[]]
    made.stop()


@pytest.mark.parametrize(
    ("more", "name", "message"),
    [
        ({"mode": "timestamp"}, "timestamp.column.name", "mode timestamp needs it"),
        ({"mode": "incrementing", "incrementing.column.name": "nope"}, "incrementing.column.name", "no such column"),
        ({"mode": "incrementing"}, "incrementing.column.name", "no column of its own that only grows"),
        ({"mode": "timestamp", "timestamp.column.name": "at"}, "timestamp.column.name", "may be NULL"),
        ({"table.whitelist": "t,absent"}, "table.whitelist", "absent"),
        ({"table.whitelist": "t", "table.blacklist": "t"}, "table.blacklist", "use only one"),
        ({"query": "SELECT 1", "table.whitelist": "t"}, "table.whitelist", "query is given too"),
        ({"query": "SELEC 1"}, "query", "syntax error"),
        ({"query": "SELECT 1", "topic.prefix": ""}, "topic.prefix", "the topic's name"),
        ({"connection.url": "sqlite:////nowhere/at/all.db"}, "connection.url", "unable to open database file"),
        ({"connection.url": "oracle9://x/y"}, "connection.url", "no such database"),
    ],
)
def test_validation_opens_the_database_and_names_the_config(
    shop: Shop, more: dict[str, str], name: str, message: str
) -> None:
    shop.run("CREATE TABLE t (n INTEGER, at TIMESTAMP)")
    problems = SqlSourceConnector.validate(shop.props() | more)
    assert list(problems) == [name]
    assert message in problems[name][0]


def test_good_configs_have_no_problems(shop: Shop) -> None:
    orders(shop, (1, "a", at(0)))
    assert SqlSourceConnector.validate(shop.props(mode="incrementing", table__whitelist="orders")) == {}
    assert all(not each.errors for each in SqlSourceConnector.config().validate(shop.props()))
    assert CONFIG.validate({"connection.url": "here"})[0].errors


def test_exactly_once_is_promised_where_an_offset_is_one_row(shop: Shop) -> None:
    support = {mode: SqlSourceConnector().exactly_once_support(shop.props(mode=mode)) for mode in
               ("bulk", "incrementing", "timestamp", "timestamp+incrementing")}  # fmt: skip
    assert [mode for mode, each in support.items() if each is ExactlyOnceSupport.SUPPORTED] == [
        "incrementing",
        "timestamp+incrementing",
    ]


def test_offsets_that_cannot_be_are_refused(shop: Shop) -> None:
    alter = SqlSourceConnector().alter_offsets
    table = (("protocol", "1"), ("table", "orders"))
    assert alter(shop.props(), {table: {"incrementing": 7}, (("query", "SELECT 1"),): None})
    with pytest.raises(ConnectError, match="position"):
        alter(shop.props(), {table: {"position": 1}})
    with pytest.raises(ConnectError, match="whole number"):
        alter(shop.props(), {table: {"incrementing": "7"}})
    with pytest.raises(ConnectError, match="filename"):
        alter(shop.props(), {(("filename", "x"),): None})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("jdbc:sqlite:/var/shop.db", "sqlite:////var/shop.db"),
        ("jdbc:sqlite::memory:", "sqlite://"),
        ("jdbc:postgresql://db:5433/shop", "postgresql+psycopg2://db:5433/shop"),
        ("jdbc:postgresql:shop", "postgresql+psycopg2://localhost/shop"),
        (
            "jdbc:postgresql://db/shop?user=me&password=p%40ss&ssl=true&currentSchema=sales",
            "postgresql+psycopg2://me:p%40ss@db/shop?sslmode=verify-full&options=-csearch_path%3Dsales",
        ),
        ("postgresql://db/shop", "postgresql+psycopg2://db/shop"),
        ("mysql+pymysql://db/shop", "mysql+pymysql://db/shop"),
    ],
)
def test_urls_of_jdbc_are_understood(given: str, expected: str) -> None:
    assert translate_url(given) == expected


@pytest.mark.parametrize(
    "url",
    [
        "jdbc:oracle:thin:me/secret@db",
        "jdbc:postgresql://me:secret@db/shop?loggerLevel=OFF",
        "shop.db?password=secret",
        "postgresql://me:me@db:secret/shop",
    ],
)
def test_urls_that_cannot_be_are_refused_and_not_shown(url: str) -> None:
    props = {"connection.url": url}
    found = {each.name: each.errors for each in CONFIG.validate(props)}["connection.url"]
    found += SqlSourceConnector.validate(props).get("connection.url", [])
    assert found and "Invalid value" in found[0] and "secret" not in str(found)
