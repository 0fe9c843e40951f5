"""Records as data: what programs in jq see of them, and what the coordinators' records mean."""

from __future__ import annotations

import json

import pytest

from console.gateway.attached import record_view
from console.gateway.meaning import meaning_of
from console.viewmodel.cells import plain
from console.viewmodel.filters import Filter
from console.viewmodel.jq_programs import field_title, program
from console.viewmodel.records import BytesFormat, RecordView, record_columns, record_data
from engine.client.fetched_records import FetchedRecord
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_value import OffsetCommitValue
from engine.wire.record_frames import encode_coordinator_key, encode_coordinator_value


def record(value: bytes | None, key: bytes | None = b"k", **fields) -> RecordView:
    return RecordView("orders", 3, 7, 1000, key, value, **fields)


def test_what_a_program_sees_of_a_record() -> None:
    shown = record(b'{"amount": 5}', b"plain", headers=(("trace", b"\xff\x00"), ("n", b"7")))
    assert record_data(shown) == {
        "topic": "orders",
        "partition": 3,
        "offset": 7,
        "timestamp": 1000,
        "key": "plain",
        "value": {"amount": 5},
        "headers": {"trace": "ff00", "n": 7},
    }
    assert record_data(record(None, None))["value"] is None


@pytest.mark.parametrize(
    ("said", "shows"),
    [
        (".value.amount > 4", True),
        (".value.amount > 5", False),
        ('.key == "k" and .partition == 3', True),
        (".value.amount.deeper", False),
        (".value.nothing", False),
        ("empty", False),
        ('.value | has("amount")', True),
        ("(.value.amount, false)", True),
    ],
)
def test_a_program_decides_whether_a_record_shows(said: str, shows: bool) -> None:
    made = Filter.parse(f"-j {said}")
    assert made.is_active and not made.error
    assert made.matches("", data_of=lambda: record_data(record(b'{"amount": 5}'))) is shows


def test_a_program_that_does_not_compile_says_why_and_hides_nothing() -> None:
    made = Filter.parse("-j .value |")
    assert made.error == "jq: syntax error, unexpected end of file" and not made.is_active
    assert not Filter.parse("-j").is_active


def test_fields_become_columns() -> None:
    programs = [program(each) for each in (".value.customer.name", ".value.items | length", ".value.none")]
    columns = record_columns(BytesFormat.AUTO, False, fields=programs)
    value = json.dumps({"customer": {"name": "Ada\nL."}, "items": [1, 2]}).encode()
    shown = {each.title: plain(each.cell(record(value))) for each in columns}
    assert (shown["NAME"], shown[".VALUE.ITEMS | LENGTH"], shown["NONE"]) == ("Ada L.", "2", "null")
    assert [each.key for each in columns][-4:] == ["field 0", "field 1", "field 2", "value"]
    broken = record(b"no json")
    assert [plain(each.cell(broken)) for each in columns if each.key.startswith("field")] == ["–", "–", "–"]
    assert field_title(".headers.trace-id") == "TRACE-ID"


def test_a_committed_offset_is_readable() -> None:
    key = encode_coordinator_key(OffsetCommitKey("g", "orders", 3))
    value = encode_coordinator_value(OffsetCommitValue(offset=42, metadata="m", commit_timestamp=9), 3)
    fetched = FetchedRecord(
        "__consumer_offsets", 0, 1, 5, key, value, (), "CreateTime", 0, "none", None, False, is_control=False
    )
    meaning = meaning_of(fetched)
    assert meaning is not None
    said_key, said_value = (json.loads(each or b"null") for each in meaning)
    assert said_key["data"]["group"] == "g" and said_key["data"]["partition"] == 3
    assert said_value["data"]["offset"] == 42
    shown = RecordView("__consumer_offsets", 0, 1, 5, key, value, meaning=meaning)
    assert record_data(shown)["value"]["data"]["offset"] == 42
    cells = {each.key: plain(each.cell(shown)) for each in record_columns(BytesFormat.AUTO, False)}
    assert '"group": "g"' in cells["key"] and '"offset": 42' in cells["value"]
    hexed = {each.key: plain(each.cell(shown)) for each in record_columns(BytesFormat.HEX, False)}
    assert hexed["key"] == key.hex(" ")
    # A user's own bytes mean what they are; so do those that are not what they should be.
    assert meaning_of(fetched._replace(topic="orders")) is None
    assert meaning_of(fetched._replace(value=b"\x00\x63nonsense")) is None


def test_control_records_are_readable() -> None:
    key, value = b"\x00\x00\x00\x01", b"\x00\x00\x00\x00\x00\x07"
    fetched = FetchedRecord(
        "orders", 0, 1, 5, key, value, (), "CreateTime", 0, "none", 9, is_transactional=True, is_control=True
    )
    meaning = meaning_of(fetched)
    assert meaning is not None and json.loads(meaning[1] or b"")["marker"] == "COMMIT"
    shown = RecordView("orders", 0, 1, 5, key, value, producer_id=9, is_control=True, meaning=meaning)
    cells = {each.key: plain(each.cell(shown)) for each in record_columns(BytesFormat.AUTO, False)}
    assert cells["value"].startswith('control record  {"type": "EndTxnMarker", "marker": "COMMIT"')


def test_a_fetched_record_is_read_by_nobody_yet_and_one_that_does_not_unpack_says_so() -> None:
    fetched = FetchedRecord("t", 0, 1, 5, b"k", b"v", (), "CreateTime", 0, "none", None, False, is_control=False)
    shown = record_view(fetched)
    assert (shown.key, shown.value, shown.reading, shown.is_unreadable) == (b"k", b"v", None, False)
    broken = record_view(fetched._replace(error="no zstd"))
    assert (broken.value, broken.reading, broken.is_unreadable) == (b"(does not decode: no zstd)", None, True)
