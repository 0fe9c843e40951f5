"""Headers, CRC and stamps of record batches."""

from __future__ import annotations

import struct

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import (
    MAX_SEQUENCE,
    check_crc,
    increment_sequence,
    iter_batches,
    read_header,
    stamp,
    stamp_prefix,
)
from engine.record.builder import NewRecord, build_batch
from engine.record.reader import read_records


def a_batch(count: int = 3, **options: object) -> bytes:
    records = [NewRecord(b"k%d" % index, b"v" * index, timestamp=1000 + index) for index in range(count)]
    return build_batch(records, **options)  # type: ignore[arg-type]


def test_a_header_says_what_was_built() -> None:
    header = read_header(a_batch(3, base_offset=7, leader_epoch=4, producer_id=9, producer_epoch=2, base_sequence=5))
    assert (header.base_offset, header.last_offset, header.next_offset) == (7, 9, 10)
    assert (header.partition_leader_epoch, header.magic, header.record_count) == (4, 2, 3)
    assert (header.base_timestamp, header.max_timestamp, header.timestamp_type) == (1000, 1002, "CreateTime")
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (9, 2, 5, 7)
    assert not header.is_control and not header.is_transactional and not header.compression


def test_sequences_wrap_to_zero() -> None:
    assert increment_sequence(MAX_SEQUENCE, 1) == 0
    assert increment_sequence(MAX_SEQUENCE - 1, 3) == 1
    assert read_header(a_batch(3, producer_id=1, producer_epoch=0, base_sequence=MAX_SEQUENCE - 1)).last_sequence == 0


def test_a_stamp_changes_offset_and_epoch_and_leaves_the_crc_true() -> None:
    batch = bytearray(a_batch(3))
    before = bytes(batch)
    stamp(batch, 0, 123456789012, 42)
    header = check_crc(batch)
    assert (header.base_offset, header.partition_leader_epoch) == (123456789012, 42)
    assert batch[16:] == before[16:] and batch[8:12] == before[8:12]
    assert stamp_prefix(read_header(before), 123456789012, 42) == batch[:16]


def test_every_flipped_bit_behind_the_crc_is_found() -> None:
    batch = a_batch(2)
    for bit in range(17 * 8, len(batch) * 8):
        broken = bytearray(batch)
        broken[bit // 8] ^= 1 << bit % 8
        if bit // 8 == 16 and broken[16] == 2:
            continue
        with pytest.raises(KafkaError) as caught:
            check_crc(broken)
        assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


def test_batches_are_walked_and_an_incomplete_one_is_left_out() -> None:
    first, second = a_batch(2), a_batch(3, base_offset=2)
    data = first + second
    for end in range(len(first), len(data)):
        assert [header.base_offset for header, _ in iter_batches(data[:end])] == [0]
    found = list(iter_batches(memoryview(data)))
    assert [bytes(view) for _, view in found] == [first, second]


def test_a_length_below_the_header_stops_the_walk_loudly() -> None:
    broken = bytearray(a_batch(1))
    struct.pack_into(">i", broken, 8, 20)
    with pytest.raises(KafkaError) as caught:
        list(iter_batches(broken))
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


def test_a_header_that_is_cut_off_is_corrupt() -> None:
    with pytest.raises(KafkaError):
        read_header(a_batch(1)[:60])


def test_another_library_reads_what_was_built() -> None:
    batch = a_batch(3, base_offset=5)
    theirs = DefaultRecordBatch(batch)
    assert theirs.validate_crc() and theirs.base_offset == 5
    assert [(each.offset, each.timestamp, each.key, each.value) for each in theirs] == [
        (each.offset, each.timestamp, each.key, each.value) for each in read_records(batch)
    ]
