"""Messages of pgoutput, read from bytes as PostgreSQL's manual lays them out; texts of its types."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connect import data
from engine.connect.connectors import pgoutput
from engine.connect.connectors.pgoutput import UNCHANGED, Column, decode, lsn_text, parse_lsn
from engine.connect.connectors.postgres_position import Acknowledged, Position
from engine.connect.connectors.postgres_values import PgType, array_items, field_of
from engine.connect.converters.json import JsonConverter
from engine.connect.errors import DataError
from engine.connect.records import SourceRecord


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def row(*values: str | bytes | None) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for each in values:
        if each is None:
            parts.append(b"n")
        elif isinstance(each, bytes):
            parts.append(each)
        else:
            parts.append(b"t" + struct.pack(">I", len(each.encode())) + each.encode())
    return b"".join(parts)


OID = struct.pack(">I", 16385)
US_2000 = 820_000_000_000_000
US = US_2000 + pgoutput.EPOCH_2000_US
COLUMNS = (Column(True, "id", 23, -1), Column(False, "n", 1700, 655366))
RELATION = (
    b"R" + OID + text("public") + text("tür") + b"d" + struct.pack(">H", 2)
    + b"\1" + text("id") + struct.pack(">Ii", 23, -1) + b"\0" + text("n") + struct.pack(">Ii", 1700, 655366)
)  # fmt: skip

MESSAGES: list[tuple[bytes, pgoutput.Message]] = [
    (b"B" + struct.pack(">QqI", 7, US_2000, 4_000_000_000), pgoutput.Begin(7, US, 4_000_000_000)),
    (b"C\0" + struct.pack(">QQq", 7, 9, US_2000), pgoutput.Commit(7, 9, US)),
    (b"O" + struct.pack(">Q", 5) + text("there"), pgoutput.Origin(5, "there")),
    (RELATION, pgoutput.Relation(16385, "public", "tür", "d", COLUMNS)),
    (b"Y" + OID + text("") + text("mood"), pgoutput.TypeName(16385, "pg_catalog", "mood")),
    (b"I" + OID + b"N" + row("1", None, b"u"), pgoutput.Insert(16385, ["1", None, UNCHANGED])),
    (b"U" + OID + b"N" + row("2"), pgoutput.Update(16385, None, False, ["2"])),
    (b"U" + OID + b"K" + row("1") + b"N" + row("2"), pgoutput.Update(16385, ["1"], True, ["2"])),
    (b"U" + OID + b"O" + row("1") + b"N" + row("ü"), pgoutput.Update(16385, ["1"], False, ["ü"])),
    (b"D" + OID + b"K" + row("1", None), pgoutput.Delete(16385, ["1", None], True)),
    (b"D" + OID + b"O" + row("1"), pgoutput.Delete(16385, ["1"], False)),
    (b"I" + OID + b"N" + row(b"b" + struct.pack(">I", 2) + b"\1\2"), pgoutput.Insert(16385, [b"\1\2"])),
    (b"T" + struct.pack(">IB", 2, 3) + OID + OID, pgoutput.Truncate((16385, 16385), True, True)),
    (b"M\1" + struct.pack(">Q", 5) + text("p") + struct.pack(">I", 2) + b"hi",
     pgoutput.LogicalMessage(True, 5, "p", b"hi")),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "expected"), MESSAGES, ids=lambda each: type(each).__name__)
def test_each_message_is_read_and_a_part_of_it_is_refused(payload: bytes, expected: pgoutput.Message) -> None:
    assert decode(payload) == expected
    assert decode(memoryview(payload)) == expected
    for cut in range(len(payload)):
        with pytest.raises(DataError):
            decode(payload[:cut])
    with pytest.raises(DataError, match="too many"):
        decode(payload + b"\0")


@pytest.mark.parametrize(
    "payload", [b"S\0\0\0\1\1", b"E", b"c", b"A", b"?", b"U\0\0\0\1X", b"D\0\0\0\1N", b"I\0\0\0\1N\0\1?"]
)
def test_messages_that_nobody_asked_for_or_knows_are_refused(payload: bytes) -> None:
    with pytest.raises(DataError):
        decode(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    try:
        decode(payload)
    except DataError:
        return


def test_lsns_are_written_as_postgresql_does() -> None:
    assert lsn_text(0x16B374D848) == "16/B374D848"
    assert parse_lsn("16/B374D848") == 0x16B374D848
    for wrong in ("", "16", "x/y"):
        with pytest.raises(DataError):
            parse_lsn(wrong)


def read(name: str, value: str, modifier: int = -1, **modes: str) -> Any:
    field = field_of(PgType(0, name, "b"), modifier, **modes)
    assert field is not None
    found = field.decode(value)
    data.validate(field.schema, found)
    data.validate(field.schema, field.filler)
    converter = JsonConverter()
    if found == found:
        assert converter.from_connect_data("t", None, field.schema, found) is not None
    assert converter.from_connect_data("t", None, field.schema, field.filler) is not None
    return found


@pytest.mark.parametrize(
    ("name", "modifier", "value", "expected"),
    [
        ("numeric", ((5 << 16) | (2048 - 3)) + 4, "123000", Decimal("123000")),  # numeric(5, -3)
        ("timestamp", -1, "infinity", 9_223_372_036_825_200_000),
        ("timestamp", -1, "1969-12-31 23:59:59.999999", -1),
        ("timestamptz", -1, "2026-01-02 03:04:05+05:30", "2026-01-01T21:34:05Z"),
        ("timestamptz", -1, "-infinity", "-infinity"),
        ("time", -1, "24:00:00", 86_400_000_000),
        ("time", 3, "00:00:01.5", 1500),
        ("interval", -1, "-1 days +02:03:04", -86_400_000_000 + 7_384_000_000),
        ("interval", -1, "1 year 2 mons", int(14 * 30.4375 * 86_400) * 1_000_000),
        ("interval", -1, "00:00:00", 0),
        ("money", -1, "-$1,234.56", Decimal("-1234.56")),
        ("bit", 9, "100000001", b"\x01\x01"),
        ("float8", -1, "NaN", None),
    ],
)
def test_texts_of_types(name: str, modifier: int, value: str, expected: Any) -> None:
    found = read(name, value, modifier)
    assert found == expected if expected is not None else found != found


def test_modes_choose_other_types() -> None:
    assert read("numeric", "1.50", decimals="string") == "1.50"
    assert read("numeric", "1.50", decimals="double") == 1.5
    for name, value in [("date", "2026-01-02"), ("time", "01:02:03.0405"), ("timestamp", "2026-01-02 03:04:05.6789")]:
        field = field_of(PgType(0, name, "b"), -1, times="connect")
        assert field is not None and field.schema.name is not None
        assert field.schema.name.startswith("org.apache.kafka.connect.data.")
        data.validate(field.schema, field.decode(value))
    assert field_of(PgType(0, "polygon", "b"), -1) is None


@pytest.mark.parametrize(
    ("name", "value"), [("numeric", "NaN"), ("date", "0044-03-15 BC"), ("interval", "P1Y"), ("bytea", "abc")]
)
def test_values_without_a_place_are_refused(name: str, value: str) -> None:
    with pytest.raises(DataError):
        read(name, value)


@given(
    st.lists(
        st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5), max_size=5
    )
)
def test_arrays_are_read_as_postgresql_writes_them(items: list[str | None]) -> None:
    def write(item: str | None) -> str:
        if item is None:
            return "NULL"
        escaped = item.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    assert array_items("{" + ",".join(map(write, items)) + "}") == items


def test_arrays_with_other_bounds_or_more_dimensions() -> None:
    assert array_items("[2:3]={a,NULL}") == ["a", None]
    for wrong in ("{{1},{2}}", "1,2"):
        with pytest.raises(DataError):
            array_items(wrong)


def sent() -> SourceRecord:
    return SourceRecord(topic="t", source_partition={}, source_offset={})


def test_only_what_has_nothing_unacknowledged_before_it_is_safe() -> None:
    acknowledged = Acknowledged()
    first, second, third = sent(), sent(), sent()
    for record, lsn in ((first, 10), (second, None), (third, 30)):
        acknowledged.sent(record, lsn)
    acknowledged.arrived(third)
    acknowledged.arrived(sent())
    assert (acknowledged.safe_lsn(), acknowledged.idle) == (0, False)
    acknowledged.arrived(first)
    assert acknowledged.safe_lsn() == 10
    acknowledged.arrived(second)
    assert (acknowledged.safe_lsn(), acknowledged.idle) == (30, True)


def test_a_position_survives_as_an_offset_and_debeziums_is_understood() -> None:
    position = Position(100, 90, 7, 2, 5, "INSERT")
    assert Position.of(position.offset()) == Position(100, 90, 7, 2, 5)
    debezium = Position.of(
        {"lsn_proc": 90, "lsn": 90, "txId": 7, "ts_usec": 5, "lsn_commit": 80, "messageType": "UPDATE"}
    )
    assert (
        debezium.has(7, 90, 3) and debezium.has(7, 89, 0) and not debezium.has(7, 91, 0) and not debezium.has(8, 1, 0)
    )
    assert position.has(7, 90, 2) and not position.has(7, 90, 3)
    assert Position.of({"snapshot": True, "last_snapshot_record": True, "lsn": 50}).lsn_commit == 50
