"""What a leader takes and a follower copies."""

from __future__ import annotations

import pytest
from storage_harness import NOW_MS, append, config, everything, open_log, records

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import iter_batches, read_header
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.record.reader import read_records
from engine.storage.log import Log
from engine.storage.log_appends import AppendInfo


def refusal(log: Log, batch: bytes, **options: object) -> ErrorCode:
    before = (log.log_end_offset, log.size_bytes, list(log.leader_epochs.entries), everything(log))
    with pytest.raises(KafkaError) as caught:
        append(log, batch, **options)
    assert (log.log_end_offset, log.size_bytes, list(log.leader_epochs.entries), everything(log)) == before
    return caught.value.code


def test_batches_get_offsets_and_the_leaders_epoch_and_nothing_else_changes() -> None:
    log = open_log()
    batch = records(3)
    assert log.append_as_leader(memoryview(batch), 4, now_ms=NOW_MS) == AppendInfo(0, 2, -1, 0, False, len(batch))
    assert append(log, batch, 4) == 3
    first, second = everything(log)
    for base, stored in (first, second):
        header = read_header(stored)
        assert (header.base_offset, header.partition_leader_epoch) == (base, 4)
        assert stored[16:] == batch[16:] and stored[8:12] == batch[8:12]
    assert log.leader_epochs.entries == [(4, 0)]


def test_several_batches_are_taken_together_or_not_at_all() -> None:
    log = open_log()
    good = records(2)
    info = log.append_as_leader(good + records(3) + good, 0, now_ms=NOW_MS)
    assert (info.base_offset, info.last_offset) == (0, 6)
    assert [base for base, _ in everything(log)] == [0, 2, 5]
    bad = bytearray(good)
    bad[-1] ^= 1
    assert refusal(log, good + bytes(bad)) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(log, good + good[:-1]) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(log, good + good[:30]) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(log, good + b"\xff" * 80) is ErrorCode.CORRUPT_MESSAGE
    assert refusal(log, b"") is ErrorCode.INVALID_RECORD


def test_what_is_too_large_or_no_clients_business_is_refused() -> None:
    log = open_log(max_message_bytes=200, segment_bytes=1000)
    assert refusal(log, records(1, size=200)) is ErrorCode.MESSAGE_TOO_LARGE
    assert refusal(log, records(1, size=50) * 10) is ErrorCode.RECORD_LIST_TOO_LARGE
    marker = build_end_transaction_marker(
        committed=True, producer_id=1, producer_epoch=0, coordinator_epoch=0, timestamp=NOW_MS
    )
    assert refusal(log, marker) is ErrorCode.INVALID_RECORD
    assert append(log, marker, origin="coordinator") == 0


def test_the_brokers_clock_dates_records_where_the_topic_says_so() -> None:
    log = open_log(message_timestamp_type="LogAppendTime")
    info = log.append_as_leader(records(3, timestamp=5), 1, now_ms=NOW_MS + 7)
    assert info.log_append_time_ms == NOW_MS + 7
    _, stored = everything(log)[0]
    assert read_header(stored).timestamp_type == "LogAppendTime"
    assert [each.timestamp for each in read_records(stored)] == [NOW_MS + 7] * 3
    opened = open_log(log._disk)
    assert everything(opened) == everything(log), "the CRC must match"


def test_records_are_packed_as_the_topic_says() -> None:
    log = open_log(compression_type="zstd")
    info = log.append_as_leader(records(20, size=50) + records(1), 1, now_ms=NOW_MS)
    batches = everything(log)
    assert info.size_bytes == log.size_bytes == sum(len(batch) for _, batch in batches)
    assert [read_header(batch).compression for _, batch in batches] == [Compression.ZSTD] * 2
    assert [each.offset for _, batch in batches for each in read_records(batch)] == list(range(21))


def test_a_compacted_topic_wants_keys() -> None:
    log = open_log(cleanup_policy="compact")
    assert refusal(log, records(key=None)) is ErrorCode.INVALID_RECORD
    assert append(log, records()) == 0


def test_segments_are_rolled_by_size_by_age_and_by_full_indexes() -> None:
    log = open_log(segment_bytes=300)
    for _ in range(9):
        append(log)
    assert all(each.size <= 300 for each in log.segments) and log.segment_count == 5
    assert [base for base, _ in everything(log)] == list(range(0, 18, 2))

    log = open_log(segment_ms=1000)
    for timestamp in (0, 500, 1000, 1001, 1500, 2002, 2003):
        append(log, records(1, timestamp=NOW_MS + timestamp))
    assert [each.base_offset for each in log.segments] == [0, 3, 5]

    log = open_log(segment_index_bytes=24, index_interval_bytes=1)
    for _ in range(10):
        append(log)
    assert log.segment_count > 2


def test_a_follower_copies_bytes_epochs_and_producers() -> None:
    leader = open_log(segment_bytes=1000)
    for number in range(30):
        batch = records(1 + number % 3, producer_id=number % 2, producer_epoch=number // 2, base_sequence=0)
        append(leader, batch, epoch=number // 10)
    for max_bytes in (1, 200, 1000, 100_000):
        follower = open_log(segment_bytes=500, directory="/data/copy-0")
        while data := leader.read(follower.log_end_offset, max_bytes):
            follower.append_as_follower(data)
        assert everything(follower) == everything(leader)
        assert follower.leader_epochs.entries == leader.leader_epochs.entries
        assert {key: each.batches for key, each in follower.producers.entries.items()} == {
            key: each.batches for key, each in leader.producers.entries.items()
        }
        assert follower.log_end_offset == leader.log_end_offset


def test_a_follower_ignores_a_batch_that_is_cut_off() -> None:
    leader = open_log()
    append(leader)
    append(leader)
    data = bytes(leader.read(0, 1000))
    follower = open_log()
    for size in range(len(data)):
        follower.append_as_follower(data[:size])
        assert follower.log_end_offset == (2 if size >= len(data) // 2 else 0)
        follower.truncate_to(0)


def test_a_follower_refuses_damage_offsets_that_go_back_and_epochs_that_fall() -> None:
    leader = open_log()
    for epoch in (1, 2, 3):
        append(leader, epoch=epoch)
    batches = [batch for _, batch in everything(leader)]
    follower = open_log()
    follower.append_as_follower(batches[0] + batches[1])

    def refused(data: bytes) -> ErrorCode:
        with pytest.raises(KafkaError) as caught:
            follower.append_as_follower(data)
        assert everything(follower) == [(0, batches[0]), (2, batches[1])]
        return caught.value.code

    assert refused(batches[2] + batches[2]) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert refused(batches[1]) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert refused(batches[2][:-1] + b"?") is ErrorCode.CORRUPT_MESSAGE
    old = bytearray(batches[2])
    old[12:16] = (1).to_bytes(4, "big")
    assert refused(bytes(old)) is ErrorCode.CORRUPT_MESSAGE
    assert refused(b"\x00" * 8 + b"\xff" * 4 + b"\x00" * 60) is ErrorCode.CORRUPT_MESSAGE
    follower.append_as_follower(batches[2])


def test_a_follower_of_a_compacted_log_copies_gaps() -> None:
    leader = open_log()
    for _ in range(10):
        append(leader)
    batches = [batch for _, batch in everything(leader)]
    follower = open_log(cleanup_policy="compact", segment_bytes=400)
    follower.append_as_follower(b"".join(batches[1::3]))
    assert [base for base, _ in everything(follower)] == [2, 8, 14]
    assert follower.log_end_offset == 16
    for offset in range(16):
        header, _ = next(iter_batches(follower.read(offset, 10_000)))
        assert header.last_offset >= offset and header.base_offset in (2, 8, 14)
    opened = open_log(follower._disk, cleanup_policy="compact", segment_bytes=400)
    assert everything(opened) == everything(follower)


def test_a_changed_config_counts_for_the_next_append() -> None:
    log = open_log()
    log.update_config(config(max_message_bytes=10))
    assert log.config.max_message_bytes == 10
    assert refusal(log, records()) is ErrorCode.MESSAGE_TOO_LARGE
