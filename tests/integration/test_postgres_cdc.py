"""Changes of a real PostgreSQL: snapshot and stream, restarts at any record, kills of the server."""

from __future__ import annotations

import gc
import json
import time
from contextlib import suppress
from io import StringIO
from typing import Any

import psycopg2
import pytest

from engine.connect.connectors.postgres_snapshot import Snapshot
from engine.connect.errors import RetriableError
from engine.connect.records import SourceRecord
from tests.integration.postgres_reader import Reader, Stopwatch, after, ops, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


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


def test_a_snapshot_keeps_no_record_that_it_has_told(reader: Reader) -> None:
    """A table may have more rows than the memory has room for."""
    reader.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
    reader.start(max__batch__size="10")
    reader.acknowledge(reader.read(900))
    assert sum(type(each) is SourceRecord for each in gc.get_objects()) < 100


def test_a_table_that_is_rewritten_waits_until_the_snapshot_has_its_rows(reader: Reader) -> None:
    """To who looks with an older snapshot a rewritten table is empty."""
    reader.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)")
    reader.run("CREATE TABLE b (id int PRIMARY KEY)", "INSERT INTO b VALUES (3), (4)")
    task = reader.start(max__batch__size="1", snapshot__fetch__size="1")
    records = reader.read(1)
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        reader.run("SET lock_timeout = '50ms'", "ALTER TABLE b ALTER id TYPE bigint")
    records += reader.read(3)
    assert after(records) == [1, 2, 3, 4]
    task.poll()
    reader.run("SET lock_timeout = '5s'", "ALTER TABLE b ALTER id TYPE bigint", "INSERT INTO b VALUES (5)")
    assert after(reader.read(1)) == [5]


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
