"""Tables of a real PostgreSQL as a change source tells them: types, keys, partitions, slots; Debezium's form."""

from __future__ import annotations

from decimal import Decimal

import psycopg2
import pytest

from engine.connect.connector import ExactlyOnceSupport
from engine.connect.connectors.postgres_cdc import PostgresConnector
from engine.connect.connectors.postgres_cdc_task import PostgresTask
from engine.connect.errors import ConnectError, RetriableError
from tests.integration.postgres_reader import Reader, after, ops
from tests.integration.postgres_server import PostgresServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def test_types_are_those_of_debezium(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    reader.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s, \"good\"')",
        "CREATE DOMAIN cents AS numeric(8,2)",
        "CREATE DOMAIN quantity AS oid",
        "CREATE TABLE t (id bigint PRIMARY KEY, b bool, s smallint, r real, d double precision, n numeric(10,3),"
        " v numeric, x bytea, u uuid, j jsonb, m mood, da date, ti time, tz timetz, ts timestamp, ts3 timestamp(3),"
        " tstz timestamptz, iv interval, bi bit, bits bit(10), a int[], ta text[], c cents, ip inet, ch char(3),"
        " mo money, e mood[], q quantity, po point)",
    )
    values = (
        "1, true, -7, 1.5, 0.1, 12.5, 123456789.0123456789, '\\x00ff', 'b5a0c7f2-1f0e-4b7e-9a53-1f1d0a6f2f11',"
        " '{\"k\": [1.10]}', 'it''s, \"good\"', '2026-01-02', '03:04:05.123456', '03:04:05+02',"
        " '2026-01-02 03:04:05.123456', '2026-01-02 03:04:05.123', '2026-01-02 03:04:05.5+01',"
        " '1 mon 2 days 03:00:00.5', B'1', B'0000000101', '{1,NULL,3}', '{a,\"b,\\\"c\\\"\",NULL}',"
        " 7.25, '10.0.0.1', 'ab', '$1,234.50',"
        " '{ok,\"it''s, \\\"good\\\"\"}', 42, '(1,2)'"
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
    assert "public.t.po is left out: no record can have the type point" in caplog.text
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


def test_a_table_whose_rows_cannot_be_changed_any_more_is_told(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    reader.run("CREATE TABLE f (id int)", "ALTER TABLE f REPLICA IDENTITY FULL", "CREATE TABLE t (id int PRIMARY KEY)")
    reader.run("CREATE TABLE loose (id int)", "INSERT INTO loose VALUES (1)")
    reader.start()
    reader.read(1)
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="does not have a replica identity"):
        reader.run("UPDATE loose SET id = 2")
    told = [each.getMessage() for each in caplog.records if "replica identity" in each.getMessage()]
    assert len(told) == 1 and told[0].startswith("public.loose has neither a primary key nor a replica identity")


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


def test_a_null_of_before_a_column_became_not_null_is_null(reader: Reader) -> None:
    reader.run('CREATE TABLE "ü $" (id int PRIMARY KEY, n int)')
    task = reader.start(snapshot__mode="never")
    assert task.poll() is None
    reader.run(
        'INSERT INTO "ü $" VALUES (1, NULL)',
        'UPDATE "ü $" SET n = 0',
        'ALTER TABLE "ü $" ALTER n SET NOT NULL',
        'INSERT INTO "ü $" VALUES (2, 2)',
    )
    found = reader.read(3)
    assert after(found, "n") == [None, 0, 2]
    assert found[0].value["after"].schema.field("n").schema.optional
    assert {each.topic for each in found} == {"srv.public.___"}  # what no topic's name may have is an underscore
    for each in found:
        each.value.validate()


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
