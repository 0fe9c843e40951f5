"""What a leader takes from clients, and the markers it writes itself."""

from __future__ import annotations

import pytest

from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_config import LogConfig
from engine.record.batch import HEADER_BYTES, BatchHeader, check_crc, read_header
from engine.record.builder import NewRecord, build_batch, finish
from engine.record.compression import Compression
from engine.record.control import (
    ControlRecordType,
    build_control_batch,
    build_end_transaction_marker,
    control_type_of,
    read_end_transaction_marker,
    transaction_outcome,
)
from engine.record.reader import read_records
from engine.record.validation import AppendRules, check_client_batch, look_inside, with_append_time

NOW = 1_700_000_000_000


def rules(**overrides: str) -> AppendRules:
    return AppendRules(LogConfig.from_(None, {name.replace("_", "."): value for name, value in overrides.items()}))


def a_batch(count: int = 3, key: bytes | None = b"k", **options: object) -> bytes:
    return build_batch([NewRecord(key, b"value", timestamp=NOW)] * count, **options)  # type: ignore[arg-type]


def changed(batch: bytes, **fields: int) -> bytes:
    header = BatchHeader(**{**read_header(batch)._asdict(), **fields})
    return finish(header, batch[HEADER_BYTES:])


def refusal(batch: bytes, **overrides: str) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        check_client_batch(read_header(batch), batch, rules(**overrides), NOW)
    return caught.value.code


def test_a_good_batch_passes() -> None:
    batch = a_batch(producer_id=1, producer_epoch=0, base_sequence=0, compression=Compression.ZSTD)
    check_client_batch(read_header(batch), memoryview(batch), rules(), NOW)


def test_bad_batches_are_refused_with_kafkas_codes() -> None:
    good = a_batch()
    assert refusal(good[:-1]) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(good + b"x") is ErrorCode.CORRUPT_MESSAGE
    assert refusal(good[:16] + b"\x01" + good[17:]) is ErrorCode.INVALID_RECORD
    assert refusal(good[:16] + b"\x03" + good[17:]) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(good[:-1] + b"!") is ErrorCode.CORRUPT_MESSAGE
    assert refusal(changed(good, base_offset=1)) is ErrorCode.INVALID_RECORD
    assert refusal(changed(good, record_count=2)) is ErrorCode.INVALID_RECORD
    assert refusal(changed(good, record_count=0, last_offset_delta=-1)) is ErrorCode.INVALID_RECORD
    assert refusal(changed(good, record_count=1000, last_offset_delta=999)) is ErrorCode.INVALID_RECORD
    assert refusal(changed(good, attributes=5)) is ErrorCode.INVALID_RECORD
    assert refusal(changed(good, producer_id=3)) is ErrorCode.INVALID_RECORD
    assert refusal(a_batch(is_control=True)) is ErrorCode.INVALID_RECORD
    assert refusal(good, max_message_bytes=str(len(good) - 1)) is ErrorCode.MESSAGE_TOO_LARGE
    assert refusal(a_batch(is_log_append_time=True)) is ErrorCode.INVALID_TIMESTAMP


def test_timestamps_are_bounded_on_both_sides() -> None:
    late = build_batch([NewRecord(None, b"v", timestamp=NOW + 3_600_001)])
    assert refusal(late) is ErrorCode.INVALID_TIMESTAMP
    check_client_batch(read_header(late), late, rules(message_timestamp_type="LogAppendTime"), NOW)
    early = build_batch([NewRecord(None, b"v", timestamp=NOW - 1001)])
    check_client_batch(read_header(early), early, rules(), NOW)
    assert refusal(early, message_timestamp_before_max_ms="1000") is ErrorCode.INVALID_TIMESTAMP
    no_time = build_batch([NewRecord(None, b"v", timestamp=-1)])
    check_client_batch(read_header(no_time), no_time, rules(message_timestamp_before_max_ms="1000"), NOW)


def test_append_time_overwrites_and_the_crc_is_true_again() -> None:
    batch = a_batch()
    header, head = with_append_time(read_header(batch), batch, NOW + 5)
    stored = head + batch[HEADER_BYTES:]
    assert check_crc(stored) == header
    assert {each.timestamp for each in read_records(stored)} == {NOW + 5}


def test_a_compacted_topic_wants_keys() -> None:
    good, bad = a_batch(), a_batch(key=None)
    compacted = rules(cleanup_policy="compact")
    assert look_inside(read_header(good), good, compacted)[1] is good
    with pytest.raises(KafkaError) as caught:
        look_inside(read_header(bad), bad, compacted)
    assert caught.value.code is ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", list(Compression))
@pytest.mark.parametrize("name", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_the_topics_codec_replaces_the_producers(codec: Compression, name: str) -> None:
    batch = a_batch(50, compression=codec, producer_id=5, producer_epoch=1, base_sequence=7)
    header, stored = look_inside(read_header(batch), batch, rules(compression_type=name))
    assert check_crc(stored)._replace(crc=0) == header._replace(crc=0)
    assert header.compression == Compression.from_name(name) and header.base_sequence == 7
    assert list(read_records(stored)) == list(read_records(batch))


def test_records_that_are_none_do_not_pass_where_the_broker_looks_inside() -> None:
    broken = finish(read_header(a_batch()), b"\x07" * 60)
    with pytest.raises(KafkaError) as caught:
        look_inside(read_header(broken), broken, rules(compression_type="lz4"))
    assert caught.value.code is ErrorCode.INVALID_RECORD


def test_end_markers_say_how_a_transaction_ended() -> None:
    for committed in (True, False):
        batch = build_end_transaction_marker(
            committed=committed, producer_id=4, producer_epoch=2, coordinator_epoch=11, timestamp=NOW
        )
        header = check_crc(batch)
        assert header.is_control and header.is_transactional and header.producer_id == 4
        assert read_end_transaction_marker(batch) == (committed, 11)
        assert transaction_outcome(batch) is committed


def test_other_control_batches_end_no_transaction() -> None:
    batch = build_control_batch(ControlRecordType.LEADER_CHANGE, b"\x00\x00", timestamp=NOW, leader_epoch=3)
    (record,) = read_records(batch)
    assert control_type_of(record.key) is ControlRecordType.LEADER_CHANGE
    assert transaction_outcome(batch) is None
    assert control_type_of(b"\x00\x00\x00\x63") is None
    with pytest.raises(KafkaError):
        control_type_of(b"\x00")
