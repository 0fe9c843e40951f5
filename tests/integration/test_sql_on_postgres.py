"""The SQL source and sink on a real PostgreSQL: its types, schemas, conflicts, and a server that is killed."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from engine.connect import data
from engine.connect.connectors import sql_source_task
from engine.connect.connectors.sql_sink_task import SqlSinkTask
from engine.connect.connectors.sql_source import SqlSourceConnector
from engine.connect.connectors.sql_source_task import SqlSourceTask
from engine.connect.data import Struct, struct
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SinkRecord
from tests.integration.postgres_server import USER, PostgresServer
from tests.unit.connect.task_contexts import Offsets, Reporter, SinkContext, polled, started

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class Shop:
    """A database, and tasks over it."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.tasks: list[Any] = []

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.run(*statements, database=self.database)

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        url = f"jdbc:postgresql://127.0.0.1:{self.server.port}/{self.database}"
        return {"connection.url": url, "connection.user": USER, "poll.interval.ms": "0", "topic.prefix": "pg-", **own}

    def source(self, offsets: Offsets | None = None, tables: str = "public.t", **more: str) -> SqlSourceTask:
        task = started(SqlSourceTask(), {**self.props(**more), "tables": json.dumps([tables.split(".")])}, offsets)
        self.tasks.append(task)
        return task

    def sink(self, reporter: Reporter | None = None, **more: str) -> SqlSinkTask:
        task = SqlSinkTask()
        task.initialize(SinkContext(self.props(**more), reporter))
        task.start(self.props(**more))
        self.tasks.append(task)
        return task


@pytest.fixture
def shop(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(sql_source_task, "_WAIT_S", 0.02)
    made = Shop(postgres, postgres.new_database("sql"))
    yield made
    for each in made.tasks:
        each.stop()


def test_types_of_postgresql_become_connects(shop: Shop) -> None:
    shop.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE t (id bigserial PRIMARY KEY, s smallint NOT NULL, i int, r real, d float8, n numeric(10,2),"
        " free numeric, b bool, v varchar(9), x bytea, da date, ti time, ts timestamp, tz timestamptz, u uuid,"
        " j jsonb, m mood, a int[], iv interval)",
        "INSERT INTO t VALUES (1, 2, 3, 1.5, 0.1, 12.5, 0.00000000000000000001, true, 'v', '\\x00ff', '2026-01-02',"
        " '01:02:03.456789', '2026-01-02 12:00:00.123456', '2026-01-02 12:00:00+02',"
        " 'b5a0c7f2-1f0e-4b7e-9a53-1f1d0a6f2f11', '{\"a\": 1.10}', 'ok', '{1,2}', '1 day')",
        "INSERT INTO t (id, s) VALUES (2, 7)",
    )
    source = shop.source(mode="incrementing")
    first, second = polled(source, 2)
    expected = {
        "id": 1, "s": 2, "i": 3, "r": 1.5, "d": 0.1, "n": Decimal("12.50"), "free": Decimal("1E-20"), "b": True,
        "v": "v", "x": b"\x00\xff", "da": datetime.date(2026, 1, 2), "ti": datetime.time(1, 2, 3, 456000),
        "ts": datetime.datetime(2026, 1, 2, 12, 0, 0, 123000, datetime.UTC),
        "tz": datetime.datetime(2026, 1, 2, 10, tzinfo=datetime.UTC), "u": "b5a0c7f2-1f0e-4b7e-9a53-1f1d0a6f2f11",
        "j": '{"a": 1.10}', "m": "ok", "a": [1, 2],
    }  # fmt: skip
    assert dict(first.value.items()) == expected
    first.value.validate()
    second.value.validate()
    assert first.source_partition == {"protocol": "1", "table": "public.t"} and first.topic == "pg-t"
    fields = {each.name: each.schema for each in first.value.schema.fields}
    assert fields["s"] == data.INT16 and fields["id"] == data.INT64 and fields["r"] == data.FLOAT32.as_optional()


def test_rows_changed_meanwhile_come_by_their_time_with_microseconds(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE t (id serial PRIMARY KEY, v int, at timestamptz NOT NULL DEFAULT clock_timestamp())",
        "INSERT INTO t (v) SELECT n FROM generate_series(1, 10) n",
    )
    offsets = Offsets()
    props = {"mode": "timestamp+incrementing", "timestamp__column__name": "at", "incrementing__column__name": "id"}
    records = polled(shop.source(offsets, **props, batch__max__rows="3"), 10, offsets)
    assert [each.value["v"] for each in records] == list(range(1, 11))
    assert records[-1].source_offset["timestamp_nanos"] % 1_000 == 0
    shop.run("UPDATE t SET v = 50, at = clock_timestamp() WHERE id = 5")
    again = polled(shop.source(offsets, **props), 1, offsets)
    assert [(each.value["id"], each.value["v"]) for each in again] == [(5, 50)]
    assert shop.source(offsets, **props).poll() is None


def test_times_that_python_has_not_are_its_last_or_end_the_task_with_the_tables_name(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id bigint PRIMARY KEY, till timestamp, day date)")
    shop.run("INSERT INTO t VALUES (1, 'infinity', NULL), (2, '-infinity', NULL)")
    source = shop.source(mode="incrementing", incrementing__column__name="id", db__timezone="America/New_York")
    assert [each.value["till"].year for each in polled(source, 2)] == [9999, 1]
    shop.run("INSERT INTO t VALUES (3, NULL, '0044-03-15 BC')")
    with pytest.raises(ConnectError, match=r"the table public.t has a value that cannot be read: year -44"):
        source.poll()


def test_a_query_knows_its_columns_types(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE t (id int, n numeric(8,3), at timestamp, j json)",
        "INSERT INTO t VALUES (1, 2.5, '2026-01-02', '[1.0]')",
    )
    query = "SELECT id, n, at, j, id::bigint AS big, 'a:b %s %' || id AS label FROM t WHERE id > 0"
    (record,) = polled(shop.source(tables="", query=query, mode="incrementing", incrementing__column__name="id"), 1)
    fields = {each.name: each.schema.as_required() for each in record.value.schema.fields}
    assert fields == {
        "id": data.INT32, "n": data.decimal(3), "at": data.TIMESTAMP, "j": data.STRING, "big": data.INT64,
        "label": data.STRING,
    }  # fmt: skip
    assert record.value["label"] == "a:b %s %1" and record.value["j"] == "[1.0]"
    record.value.validate()


def test_tables_of_two_schemas_with_one_name_are_refused(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE SCHEMA other", "CREATE TABLE other.t (id int PRIMARY KEY)")
    problems = SqlSourceConnector.validate(shop.props(mode="bulk"))
    assert "would share the topic pg-t" in problems["connection.url"][0]
    assert SqlSourceConnector.validate(shop.props(mode="bulk", table__whitelist="other.t")) == {}
    wrong = SqlSourceConnector.validate(shop.props(connection__user="nobody"))
    assert 'role "nobody" does not exist' in wrong["connection.url"][0]


ORDER = struct(
    {
        "id": data.INT64, "n": data.decimal(2, optional=True), "at": data.TIMESTAMP.as_optional(),
        "tags": data.array(data.STRING, optional=True),
        "note": data.STRING.with_default("it's %"),
    }
)  # fmt: skip


def order(number: int, **more: Any) -> SinkRecord:
    return SinkRecord(
        topic="orders", partition=0, offset=number, value_schema=ORDER, value=Struct(ORDER, {"id": number, **more})
    )


UPSERTS = {"insert__mode": "upsert", "pk__mode": "record_value", "pk__fields": "id", "auto__create": "true"}


def test_many_rows_are_put_over_others_in_few_statements(shop: Shop) -> None:
    sink = shop.sink(**UPSERTS, table__name__format="public.${topic}")
    noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
    records = [order(each // 2, n=Decimal(each), at=noon, tags=["a"]) for each in range(3000)]
    sink.put(records)
    began = time.monotonic()
    sink.put(records)
    assert time.monotonic() - began < 5
    assert shop.run("SELECT count(*), sum(n) FROM orders") == [(1500, sum(range(1, 3000, 2)))]
    assert shop.run("SELECT * FROM orders WHERE id = 1") == [
        (1, Decimal("3"), datetime.datetime(2026, 1, 2, 12), ["a"], "it's %")
    ]


def test_what_a_sink_has_written_a_source_reads(shop: Shop) -> None:
    """Times within arrays are in the time zone too, and JSON keeps all of its digits."""
    noon = datetime.datetime(2026, 7, 2, 12, tzinfo=datetime.UTC)
    schema = struct({"id": data.INT64, "at": data.TIMESTAMP, "times": data.array(data.TIMESTAMP), "j": data.STRING})
    values = {"id": 1, "at": noon, "times": [noon], "j": '{"n": 1.10, "m": 0.1000000000000000055}'}
    shop.run("CREATE TABLE t (id bigint PRIMARY KEY, at timestamp, times timestamp[], j jsonb)")
    record = SinkRecord(topic="t", partition=0, offset=0, value_schema=schema, value=Struct(schema, values))
    shop.sink(db__timezone="Europe/Berlin").put([record])
    assert shop.run("SELECT at::text, times::text FROM t") == [("2026-07-02 14:00:00", '{"2026-07-02 14:00:00"}')]
    (found,) = polled(
        shop.source(mode="incrementing", incrementing__column__name="id", db__timezone="Europe/Berlin"), 1
    )
    assert {**dict(found.value.items()), "j": None} == {**values, "j": None}
    assert "1.10" in found.value["j"] and "0.1000000000000000055" in found.value["j"]


def test_a_row_that_the_database_refuses_is_found_and_the_others_are_kept(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY CHECK (id <> 13), n numeric(5,2), at timestamptz, tags text[],"
        " note text)"
    )
    reporter = Reporter()
    records = [order(each, n=Decimal(9999) if each == 20 else Decimal(1)) for each in range(29)]
    shop.sink(reporter).put([*records, order(29, note="a NUL \0, which psycopg2 itself refuses")])
    assert [each.offset for each, _ in reporter.reported] == [13, 20, 29]
    assert "check constraint" in str(reporter.reported[0][1]) and "overflow" in str(reporter.reported[1][1])
    assert shop.run("SELECT count(*) FROM orders") == [(27,)]


def test_a_killed_server_is_passing_for_source_and_sink(shop: Shop) -> None:
    shop.run("CREATE TABLE t (id serial PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    more = {"connection__attempts": "1"}
    source, sink = shop.source(mode="incrementing", **more), shop.sink(Reporter(), **UPSERTS, **more)
    polled(source, 1)
    sink.put([order(1)])
    shop.server.kill()
    with pytest.raises(RetriableError, match="cannot be read now"):
        source.poll()
    with pytest.raises(RetriableError, match="retries are left"):
        sink.put([order(2)])
    shop.server.start()
    shop.run("INSERT INTO t VALUES (2)")
    sink.put([order(2)])
    assert [each.value["id"] for each in polled(source, 1)] == [2]
    assert shop.run("SELECT id FROM orders ORDER BY 1") == [(1,), (2,)]


def test_two_tasks_create_and_widen_one_table_at_once(shop: Shop) -> None:
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            sink = shop.sink(**UPSERTS, auto__evolve="true")
            wide = struct({"id": data.INT64, "extra": data.STRING.as_optional()})
            sink.put([order(number)])
            value = Struct(wide, {"id": 100 + number, "extra": "x"})
            sink.put([SinkRecord(topic="orders", partition=0, offset=1, value_schema=wide, value=value)])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert shop.run("SELECT count(*), count(extra) FROM orders") == [(8, 4)]
