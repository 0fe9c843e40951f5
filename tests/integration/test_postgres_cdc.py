"""Changes of a real PostgreSQL: snapshot and stream, restarts at any record, kills of the server, Debezium's form."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg2
import pytest

from engine.connect.connector import ExactlyOnceSupport, TransactionContext
from engine.connect.connectors import postgres_cdc_task
from engine.connect.connectors.postgres_cdc import PostgresConnector
from engine.connect.connectors.postgres_cdc_task import PostgresTask
from engine.connect.connectors.postgres_snapshot import Snapshot
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SourceRecord
from tests.integration.postgres_server import USER, PostgresServer
from tests.unit.connect.task_contexts import Offsets, SourceContext

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class Stopwatch(TransactionContext):
    """Where a task says that transactions end."""

    def __init__(self) -> None:
        self.ended: list[SourceRecord | None] = []
        self.aborted: list[SourceRecord | None] = []

    def commit_transaction(self, record: SourceRecord | None = None) -> None:
        self.ended.append(record)

    def abort_transaction(self, record: SourceRecord | None = None) -> None:
        self.aborted.append(record)


class Context(SourceContext):
    boundaries: Stopwatch | None = None

    def transaction_context(self) -> Stopwatch | None:
        return self.boundaries


class Reader:
    """Tasks over one database, one at a time, and the offsets that a worker would have."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.offsets = Offsets()
        self.task: PostgresTask | None = None
        self.boundaries: Stopwatch | None = None

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        return {
            "topic.prefix": "srv",
            "database.hostname": "127.0.0.1",
            "database.port": str(self.server.port),
            "database.user": USER,
            "database.dbname": self.database,
            "slot.name": f"slot_{self.database}",
            "retriable.restart.connector.wait.ms": "100",
            **own,
        }

    def start(self, **more: str) -> PostgresTask:
        self.stop()
        self.task = PostgresTask()
        context = Context(self.props(**more), self.offsets)
        context.boundaries = self.boundaries
        self.task.initialize(context)
        self.task.start(self.props(**more))
        return self.task

    def stop(self) -> None:
        if self.task is not None:
            self.task.stop()
            self.task = None

    def read(self, count: int, timeout_s: float = 15) -> list[SourceRecord]:
        """So many records, and whatever comes with the last."""
        assert self.task is not None
        found: list[SourceRecord] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records"
            try:
                found += self.task.poll() or ()
            except RetriableError:
                continue
        return found

    def acknowledge(self, records: list[SourceRecord]) -> None:
        """Kafka has them, and their offsets are committed."""
        assert self.task is not None
        for each in records:
            self.offsets.put(each.source_partition, json.loads(json.dumps(each.source_offset)))
            self.task.commit_record(each, 0)
        self.task.commit()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.run(*statements, database=self.database)

    def confirmed(self) -> int:
        query = f"SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'slot_{self.database}'"
        ((lsn,),) = self.run(query)
        return int(lsn)


@pytest.fixture
def reader(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr(postgres_cdc_task, "_WAIT_S", 0.05)
    made = Reader(postgres, postgres.new_database("cdc"))
    yield made
    made.stop()
    slots = postgres.run("SELECT slot_name, active_pid FROM pg_replication_slots")
    for name, pid in slots:
        if pid is not None:
            postgres.run(f"SELECT pg_terminate_backend({pid})")
            time.sleep(0.2)
        postgres.run(f"SELECT pg_drop_replication_slot('{name}')")


def ops(records: list[SourceRecord]) -> list[str]:
    return ["-" if each.value is None else each.value["op"] for each in records]


def after(records: list[SourceRecord], field: str = "id") -> list[Any]:
    return [each.value["after"][field] for each in records]


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_snapshot_then_stream_in_debeziums_form(reader: Reader) -> None:
    reader.run(
        "CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, age int)",
        "INSERT INTO customers (name, age) VALUES ('Ann', 30), ('Bob', NULL)",
        "CREATE TABLE ignored (id int)",
        "INSERT INTO ignored VALUES (1)",
    )
    reader.start(table__include__list=r"public\.cust.*")
    first, last = reader.read(2)
    assert first.topic == "srv.public.customers"
    assert dict(first.key.items()) == {"id": 1}
    assert first.key_schema is not None and first.key_schema.name == "srv.public.customers.Key"
    assert first.value_schema is not None and first.value_schema.name == "srv.public.customers.Envelope"
    assert (first.value["op"], first.value["before"]) == ("r", None)
    assert dict(first.value["after"].items()) == {"id": 1, "name": "Ann", "age": 30}
    assert dict(last.value["after"].items()) == {"id": 2, "name": "Bob", "age": None}
    first.value.validate()
    source = dict(first.value["source"].items())
    assert (source["connector"], source["name"], source["db"]) == ("postgresql", "srv", "cdc")
    assert (source["schema"], source["table"], source["snapshot"]) == ("public", "customers", "true")
    assert last.value["source"]["snapshot"] == "last"
    assert first.source_partition == {"server": "srv"}
    assert (first.source_offset["snapshot"], first.source_offset["last_snapshot_record"]) == (True, False)
    assert (last.source_offset["snapshot"], last.source_offset["last_snapshot_record"]) == (True, True)

    reader.run(
        "INSERT INTO customers (name) VALUES ('Eve')",
        "UPDATE customers SET age = 31 WHERE id = 1",
        "DELETE FROM customers WHERE id = 2",
        "INSERT INTO ignored VALUES (2)",
        "UPDATE customers SET id = 9 WHERE id = 3",
        "TRUNCATE customers",
    )
    records = reader.read(7)
    assert ops(records) == ["c", "u", "d", "-", "d", "-", "c"]
    created, updated, deleted, tombstone, *moved = records
    assert (created.value["before"], created.value["after"]["name"]) == (None, "Eve")
    assert (updated.value["before"], updated.value["after"]["age"]) == (None, 31)
    assert (deleted.value["before"]["id"], deleted.value["after"]) == (2, None)
    assert dict(tombstone.key.items()) == {"id": 2} and tombstone.value_schema is None
    assert [each.key["id"] for each in moved] == [3, 3, 9]
    source = created.value["source"]
    assert source["txId"] > 0 and source["lsn"] == created.source_offset["lsn"] and source["snapshot"] == "false"
    assert json.loads(source["sequence"])[1] == str(source["lsn"])
    assert abs(source["ts_ms"] - created.value["ts_ms"]) < 30_000
    for each in records:
        if each.value is not None:
            each.value.validate()
    assert reader.task is not None and reader.task.poll() is None


def test_a_restart_at_any_record_repeats_and_loses_nothing(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (0, 'x')")
    reader.start()
    reader.acknowledge(reader.read(1))
    # Several rows in one record of the log (COPY), several statements in one transaction, two transactions entangled.
    connection, other = reader.server.connect("cdc"), reader.server.connect("cdc")
    with connection.cursor() as one, other.cursor() as two:
        one.execute("BEGIN; INSERT INTO t VALUES (1, 'a')")
        two.execute("BEGIN; INSERT INTO t VALUES (2, 'b')")
        one.execute("INSERT INTO t SELECT n, 'c' FROM generate_series(3, 5) n; COMMIT")
        two.execute("UPDATE t SET v = 'd' WHERE id = 0; DELETE FROM t WHERE id = 2; COMMIT")
        one.copy_from(StringIO("".join(f"{n}\tz\n" for n in range(6, 10))), "t")
    connection.close()
    other.close()
    whole = reader.read(12)
    assert ops(whole) == ["c"] * 4 + ["c", "u", "d", "-"] + ["c"] * 4
    tell = [(each.key["id"], None if each.value is None else each.value["op"]) for each in whole]
    assert len({(each.source_offset["lsn"], each.source_offset["lsn_index"]) for each in whole[-4:]}) == 4
    for cut in range(len(whole) + 1):
        if cut:
            at = whole[cut - 1]
            reader.offsets.put(at.source_partition, at.source_offset)
        reader.start()
        rest = reader.read(len(whole) - cut) if cut < len(whole) else []
        told = [(each.key["id"], None if each.value is None else each.value["op"]) for each in rest]
        # A deletion and its tombstone are one change: cut between them, both come again.
        again = 1 if cut and tell[cut - 1][1] == "d" else 0
        assert told == tell[cut - again :], cut
        assert reader.task is not None and reader.task.poll() is None


def test_a_transaction_that_ends_right_behind_another_is_told_after_a_restart(reader: Reader) -> None:
    """The record of its commit begins in PostgreSQL's log where that of the other ends."""
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    reader.start(snapshot__mode="never")
    assert reader.task is not None and reader.task.poll() is None
    long = reader.server.connect(reader.database)
    long.autocommit = False
    long.cursor().execute("INSERT INTO t VALUES (2)")
    reader.run("INSERT INTO t VALUES (1)")
    long.commit()
    long.close()
    records = reader.read(2)
    assert after(records) == [1, 2]
    reader.acknowledge(records[:1])
    reader.start(snapshot__mode="never")
    assert after(reader.read(1)) == [2]


def test_postgresql_hears_only_of_what_kafka_has(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    reader.start(snapshot__mode="never", status__update__interval__ms="50")
    assert reader.task is not None
    assert reader.task.poll() is None
    reader.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)")
    records = reader.read(3)
    ends = [each.source_offset["lsn_commit"] for each in records]
    for _ in range(3):
        reader.task.poll()
    assert reader.confirmed() < ends[0]
    # The second is acknowledged before the first: nothing is safe yet.
    reader.task.commit_record(records[1], 0)
    reader.task.commit()
    reader.task.poll()
    assert reader.confirmed() < ends[0]
    reader.task.commit_record(records[0], 0)
    reader.task.commit()
    wait_until(lambda: reader.confirmed() == ends[1])
    reader.acknowledge(records[2:])
    # What others write is not kept for us.
    reader.run("CREATE TABLE noise AS SELECT generate_series(1, 1000) AS n")
    ((end,),) = reader.run("SELECT pg_current_wal_lsn() - '0/0'")

    def confirmed() -> bool:
        assert reader.task is not None
        reader.task.poll()
        return reader.confirmed() >= int(end)

    wait_until(confirmed)
    assert reader.task.slot_lag_bytes is not None


def test_what_is_on_its_way_is_not_confirmed_by_a_new_connection(reader: Reader) -> None:
    """psycopg2 confirms by itself what a keep-alive names, until the first change has come."""
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    task = reader.start(snapshot__mode="never", status__update__interval__ms="50")
    task.poll()
    reader.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    records = reader.read(2)
    reader.acknowledge(records[:1])
    reader.run(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots",
        "CREATE TABLE noise AS SELECT generate_series(1, 1000) AS n",
    )
    until = time.monotonic() + 1.5  # psycopg2 tells once a second
    while time.monotonic() < until:
        with suppress(RetriableError):
            assert not task.poll()
    assert reader.confirmed() <= records[1].source_offset["lsn"]
    reader.acknowledge(records[1:])
    wait_until(lambda: not task.poll() and reader.confirmed() >= records[1].source_offset["lsn_commit"])


def test_a_long_transaction_does_not_confirm_what_came_before_its_end(reader: Reader) -> None:
    """A keep-alive in the middle of what began before the last confirmation: psycopg2 would take it for processed."""
    reader.run("ALTER DATABASE cdc SET wal_sender_timeout = '1s'", "CREATE TABLE t (id int PRIMARY KEY, big text)")
    task = reader.start(snapshot__mode="never", status__update__interval__ms="100000", max__batch__size="5")
    task.poll()
    long = reader.server.connect(reader.database)
    long.autocommit = False
    long.cursor().execute("INSERT INTO t SELECT n, repeat('x', 600000) FROM generate_series(101, 130) n")
    reader.run("INSERT INTO t VALUES (1)")
    reader.acknowledge(reader.read(1))
    reader.run("INSERT INTO t VALUES (2)")
    waiting = reader.read(1)
    assert reader.confirmed() <= waiting[0].source_offset["lsn"]
    long.commit()
    long.close()
    found = list(task.poll() or ())
    time.sleep(0.6)  # it is more than the kernel's buffers take: PostgreSQL asks whether anybody is there
    until = time.monotonic() + 1
    while time.monotonic() < until and len(found) < 30:
        with suppress(RetriableError):
            found += task.poll() or ()
    assert reader.confirmed() <= waiting[0].source_offset["lsn"]
    reader.acknowledge(waiting)
    found += reader.read(30 - len(found))
    assert after(found) == list(range(101, 131))


def test_the_server_is_killed_and_nothing_is_lost_or_told_twice(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
    reader.start(max__batch__size="7")
    found = reader.read(10)
    for round in range(3):
        last = 10 + 21 * round
        reader.run(
            f"INSERT INTO t SELECT generate_series({last + 1}, {last + 20})", f"INSERT INTO t VALUES ({last + 21})"
        )
        found += reader.read(5)
        reader.acknowledge(found[:-3] if round else found)
        reader.server.kill()
        reader.server.start()
    found += reader.read(73 - len(found))
    assert after(found) == list(range(1, 74))
    assert ops(found) == ["r"] * 10 + ["c"] * 63


def test_a_snapshot_that_was_cut_off_begins_again_where_a_new_slot_does(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 30)")
    reader.start(max__batch__size="10")
    reader.acknowledge(reader.read(10))
    reader.run("INSERT INTO t VALUES (31)", "DELETE FROM t WHERE id = 1")
    reader.start(max__batch__size="10")
    records = reader.read(30)
    assert ops(records) == ["r"] * 30 and after(records) == list(range(2, 32))
    reader.run("INSERT INTO t VALUES (32)")
    assert after(reader.read(1)) == [32]


def test_rows_that_change_while_the_snapshot_begins_come_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Snapshot._import

    def changed_meanwhile(snapshot: Snapshot, slot: str) -> int:
        lsn = begin(snapshot, slot)
        reader.run("INSERT INTO t VALUES (4)", "DELETE FROM t WHERE id = 1")
        return lsn

    monkeypatch.setattr(Snapshot, "_import", changed_meanwhile)
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)")
    reader.start()
    records = reader.read(6)
    assert [(op, each.key["id"]) for op, each in zip(ops(records), records, strict=True)] == [
        ("r", 1), ("r", 2), ("r", 3), ("c", 4), ("d", 1), ("-", 1),
    ]  # fmt: skip


class Cut:
    """A replication cursor whose connection is lost after some messages."""

    def __init__(self, cursor: Any, messages: int) -> None:
        self._cursor, self._left = cursor, messages

    def read_message(self) -> Any:
        self._left -= 1
        if self._left < 0:
            raise psycopg2.OperationalError("the connection is lost")
        return self._cursor.read_message()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.mark.parametrize("messages", [3, 4, 6, 8, 11])
def test_a_connection_that_is_lost_in_the_middle_loses_nothing(reader: Reader, messages: int) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    task = reader.start(snapshot__mode="never")
    assert task.poll() is None
    reader.run("INSERT INTO t VALUES (1), (2), (3)", "INSERT INTO t VALUES (4)", "INSERT INTO t VALUES (5), (6)")
    assert task._stream is not None
    task._stream._cursor = Cut(task._stream._cursor, messages)
    assert after(reader.read(6)) == [1, 2, 3, 4, 5, 6]
    assert task.poll() is None


def test_a_question_beside_the_stream_that_fails_takes_no_records_with_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    task = reader.start(snapshot__mode="never", heartbeat__interval__ms="1")
    assert task.poll() is None
    found: list[SourceRecord] = []
    for number in range(1, 6):
        reader.run(f"INSERT INTO t VALUES ({number})")
        # The connection for questions is lost, and one is due.
        task._next_lag = 0
        assert task._catalog is not None
        task._catalog._connection.close()
        with pytest.raises(RetriableError):
            task.poll()
        found += [each for each in reader.read(1) if each.topic == "srv.public.t"]
    while len(found) < 5:
        found += [each for each in reader.read(1) if each.topic == "srv.public.t"]
    assert after(found) == [1, 2, 3, 4, 5]
    reader.acknowledge(found)


def test_in_transactions_of_kafka_those_of_postgresql_stay_whole(reader: Reader) -> None:
    reader.boundaries = ended = Stopwatch()
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 30)")
    reader.start(max__batch__size="10", snapshot__fetch__size="5")
    cut_off = reader.read(10)
    assert not ended.ended
    reader.server.kill()
    reader.server.start()
    records = reader.read(31)
    # The first record comes twice: one ends the transaction of the snapshot that was cut off.
    assert ended.aborted == [records[0]] and after(records) == [1, *range(1, 31)] and len(cut_off) == 10
    assert ended.ended == [records[-1]]
    reader.run("INSERT INTO t SELECT generate_series(31, 40)", "INSERT INTO t VALUES (41)")
    records = reader.read(11)
    assert ended.ended[-1] == records[10] and set(map(id, ended.ended[1:])) <= {id(records[9]), id(records[10])}


def test_types_are_those_of_debezium(reader: Reader) -> None:
    reader.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s, \"good\"')",
        "CREATE DOMAIN cents AS numeric(8,2)",
        "CREATE DOMAIN quantity AS oid",
        "CREATE TABLE t (id bigint PRIMARY KEY, b bool, s smallint, r real, d double precision, n numeric(10,3),"
        " v numeric, x bytea, u uuid, j jsonb, m mood, da date, ti time, tz timetz, ts timestamp, ts3 timestamp(3),"
        " tstz timestamptz, iv interval, bi bit, bits bit(10), a int[], ta text[], c cents, ip inet, ch char(3),"
        " mo money, e mood[], q quantity)",
    )
    values = (
        "1, true, -7, 1.5, 0.1, 12.5, 123456789.0123456789, '\\x00ff', 'b5a0c7f2-1f0e-4b7e-9a53-1f1d0a6f2f11',"
        " '{\"k\": [1.10]}', 'it''s, \"good\"', '2026-01-02', '03:04:05.123456', '03:04:05+02',"
        " '2026-01-02 03:04:05.123456', '2026-01-02 03:04:05.123', '2026-01-02 03:04:05.5+01',"
        " '1 mon 2 days 03:00:00.5', B'1', B'0000000101', '{1,NULL,3}', '{a,\"b,\\\"c\\\"\",NULL}',"
        " 7.25, '10.0.0.1', 'ab', '$1,234.50',"
        " '{ok,\"it''s, \\\"good\\\"\"}', 42"
    )
    reader.run(f"INSERT INTO t VALUES ({values})")
    reader.start()
    (read,) = reader.read(1)
    reader.run(f"INSERT INTO t VALUES (2{values[1:]})", "INSERT INTO t (id) VALUES (3)")
    created, empty = reader.read(2)
    expected = {
        "b": True,
        "s": -7,
        "r": 1.5,
        "d": 0.1,
        "n": Decimal("12.500"),
        "x": b"\x00\xff",
        "u": "b5a0c7f2-1f0e-4b7e-9a53-1f1d0a6f2f11",
        "j": '{"k": [1.10]}',
        "m": 'it\'s, "good"',
        "da": 20455,
        "ti": 11045123456,
        "tz": "01:04:05Z",
        "ts": 1767323045123456,
        "ts3": 1767323045123,
        "tstz": "2026-01-02T02:04:05.500000Z",
        "iv": int(30.4375 * 86400_000_000) + 2 * 86400_000_000 + 3 * 3600_000_000 + 500_000,
        "bi": True,
        "bits": b"\x05\x00",
        "a": [1, None, 3],
        "ta": ["a", 'b,"c"', None],
        "c": Decimal("7.25"),
        "ip": "10.0.0.1",
        "ch": "ab ",
        "mo": Decimal("1234.50"),
        "e": ["ok", 'it\'s, "good"'],
        "q": 42,
    }
    for record in (read, created):
        record.value.validate()
        row = dict(record.value["after"].items())
        variable = row.pop("v")
        assert int.from_bytes(variable["value"], "big", signed=True) == 1234567890123456789 and variable["scale"] == 10
        assert {name: value for name, value in row.items() if name != "id"} == expected
    empty.value.validate()
    assert {value for name, value in empty.value["after"].items() if name != "id"} == {None}
    names = {each.name: each.schema.name for each in created.value["after"].schema.fields}
    assert names["ts"] == "io.debezium.time.MicroTimestamp" and names["ts3"] == "io.debezium.time.Timestamp"
    assert names["m"] == "io.debezium.data.Enum" and names["n"] == "org.apache.kafka.connect.data.Decimal"


def test_large_values_that_did_not_change_have_a_placeholder_or_come_of_the_old_row(reader: Reader) -> None:
    reader.run(
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text)",
        "CREATE TABLE f (id int, n int, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "ALTER TABLE f ALTER big SET STORAGE EXTERNAL",
        "ALTER TABLE f REPLICA IDENTITY FULL",
    )
    reader.start(snapshot__mode="never")
    assert reader.task is not None
    reader.task.poll()
    for table in "tf":
        reader.run(
            f"INSERT INTO {table} VALUES (1, 1, repeat('x', 10000))",
            f"UPDATE {table} SET n = 2",
            f"DELETE FROM {table}",
        )
    records = reader.read(7)
    assert ops(records) == ["c", "u", "d", "-", "c", "u", "d"]
    assert records[1].value["after"]["big"] == "__debezium_unavailable_value"
    assert records[2].value["before"]["big"] is None
    full = records[5].value
    assert full["after"]["big"] == "x" * 10000 and full["before"]["n"] == 1
    assert records[6].value["before"]["big"] == "x" * 10000
    assert records[4].key is None and records[4].key_schema is None


def test_a_table_that_changes_is_told_in_its_new_form(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    task = reader.start(column__exclude__list=r"public\.t\.secret", skipped__operations="none")
    assert task.poll() is None
    reader.run(
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t ADD secret text, ADD name text NOT NULL DEFAULT 'n'",
        "INSERT INTO t VALUES (2, 's', 'm')",
        "TRUNCATE t",
    )
    found = reader.read(3)
    assert ops(found) == ["c", "c", "t"]
    assert dict(found[1].value["after"].items()) == {"id": 2, "name": "m"}
    assert found[2].key is None and found[2].value["after"] is None


def test_a_partitioned_table_is_one_table(reader: Reader) -> None:
    reader.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        "INSERT INTO p VALUES (1), (11)",
    )
    reader.start()
    records = reader.read(2)
    reader.run("INSERT INTO p VALUES (2), (12)")
    records += reader.read(2)
    assert {each.topic for each in records} == {"srv.public.p"}
    assert (ops(records), after(records)) == (["r", "r", "c", "c"], [1, 11, 2, 12])


def test_a_publication_that_names_partitions_is_told_under_the_name_of_the_whole(reader: Reader) -> None:
    reader.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE PUBLICATION dbz_publication FOR TABLE p",
        "INSERT INTO p VALUES (1)",
    )
    reader.start(table__include__list=r"public\.p")
    records = reader.read(1)
    reader.run("INSERT INTO p VALUES (2)")
    records += reader.read(1)
    assert [(each.topic, each.value["after"]["id"]) for each in records] == [("srv.public.p", 1), ("srv.public.p", 2)]


def test_with_an_index_for_identity_keys_are_of_its_columns(reader: Reader) -> None:
    """PostgreSQL tells of a deleted row only those: the primary key would be 0 for all of them."""
    reader.run(
        "CREATE TABLE t (id int PRIMARY KEY, email text NOT NULL UNIQUE)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_email_key",
        "INSERT INTO t VALUES (5, 'a'), (6, 'b')",
    )
    reader.start()
    records = reader.read(2)
    reader.run("UPDATE t SET email = 'c' WHERE id = 5", "DELETE FROM t WHERE id = 6")
    records += reader.read(5)
    assert ops(records) == ["r", "r", "d", "-", "c", "d", "-"]
    assert [dict(each.key.items()) for each in records] == [{"email": each} for each in "abaacbb"]


def test_heartbeats_go_to_a_topic_of_their_own(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    reader.start(heartbeat__interval__ms="10")
    records = reader.read(3)
    assert [each.topic for each in records[1:3]] == ["__debezium-heartbeat.srv"] * 2
    assert records[1].key["serverName"] == "srv" and records[1].value["ts_ms"] > 0
    reader.acknowledge(records)
    reader.run("INSERT INTO t VALUES (2)")
    reader.start()
    assert after(reader.read(1)) == [2]


def test_initial_only_ends_after_the_snapshot_and_leaves_no_slot(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    reader.start(snapshot__mode="initial_only")
    assert after(reader.read(1)) == [1]
    reader.run("INSERT INTO t VALUES (2)")
    assert reader.task is not None and reader.task.poll() is None
    assert reader.run("SELECT 1 FROM pg_replication_slots") == []


def test_a_slot_that_is_gone_is_told(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    reader.start()
    reader.acknowledge(reader.read(1))
    reader.stop()
    reader.run("SELECT pg_drop_replication_slot('slot_cdc')")
    task = reader.start()
    with pytest.raises(ConnectError, match=r"the slot slot_cdc is gone.*delete its offsets"):
        task.poll()


def test_a_slot_whose_log_is_gone_is_told(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    reader.start()
    reader.acknowledge(reader.read(1))
    reader.stop()
    reader.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")
    try:
        for _ in range(3):
            reader.run("SELECT pg_logical_emit_message(false, '', '')", "SELECT pg_switch_wal()")
        reader.run("CHECKPOINT")
        task = reader.start()
        with pytest.raises(ConnectError, match=r"the slot slot_cdc is lost.*delete its offsets"):
            task.poll()
    finally:
        reader.run("ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")


def test_a_slot_that_another_reads_is_waited_for(reader: Reader) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    first = reader.start(snapshot__mode="never")
    first.poll()
    reader.task = None
    second = reader.start(snapshot__mode="never")
    with pytest.raises(RetriableError, match="is in use"):
        second.poll()
    first.stop()
    reader.run("INSERT INTO t VALUES (1)")
    assert after(reader.read(1)) == [1]


def test_validation_asks_the_server(reader: Reader, postgres: PostgresServer) -> None:
    reader.run("CREATE TABLE t (id int PRIMARY KEY)")
    assert PostgresConnector.validate(reader.props()) == {}
    postgres.run("DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN")
    postgres.run("SELECT pg_create_logical_replication_slot('other', 'test_decoding')")
    for more, name, message in [
        ({"database.user": "plain"}, "database.user", "REPLICATION"),
        ({"database.port": "1"}, "database.hostname", "no connection"),
        ({"table.include.list": "t"}, "table.include.list", "schema.table"),
        ({"slot.name": "other"}, "slot.name", "test_decoding"),
    ]:
        problems = PostgresConnector.validate(reader.props() | more)
        assert list(problems) == [name] and message in problems[name][0], problems
    assert PostgresConnector().exactly_once_support(reader.props()) is ExactlyOnceSupport.SUPPORTED
    assert PostgresConnector.task_class() is PostgresTask
