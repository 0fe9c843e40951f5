"""Reading a log: whole batches within bounds, records by time, the last stable offset."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_harness import NOW_MS, append, everything, open_log, records

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import read_header
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.record.reader import read_records
from engine.storage.file_slice import FileSlice
from engine.storage.local_log import LocalLog
from engine.storage.log import Log


def expected(log: Log, batches: list[tuple[int, bytes]], offset: int, max_bytes: int, max_offset: int) -> bytes:
    """What read() must return, from the plain list of batches."""
    found: list[bytes] = []
    size = 0
    bases = [each.base_offset for each in log.segments]
    segment = -1
    for base, batch in batches:
        last = read_header(batch).last_offset
        if last < offset:
            continue
        if base >= max_offset or (found and size + len(batch) > max_bytes):
            break
        number = sum(each <= base for each in bases)
        if found and number != segment:
            break
        segment = number
        found.append(batch)
        size += len(batch)
    return b"".join(found) if offset < max_offset else b""


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from((400, 1500, 100_000)), st.sampled_from((1, 100, 4096)), st.booleans())
def test_reads_return_the_whole_batches_that_fit(seed: int, segment_bytes: int, interval: int, reopens: bool) -> None:
    rng = random.Random(seed)
    log = open_log(segment_bytes=segment_bytes, index_interval_bytes=interval)
    for _ in range(rng.randrange(60)):
        append(log, records(rng.randint(1, 5), size=rng.randrange(40)))
    if reopens:
        log = open_log(log._disk, segment_bytes=segment_bytes, index_interval_bytes=interval)
    batches = everything(log)
    assert sum(read_header(batch).record_count for _, batch in batches) == log.log_end_offset
    for _ in range(40):
        offset = rng.randint(0, log.log_end_offset)
        max_offset = rng.choice((log.log_end_offset, rng.randint(0, log.log_end_offset)))
        max_bytes = rng.choice((1, 100, 300, 1000, 10_000))
        wanted = expected(log, batches, offset, max_bytes, max_offset)
        assert log.read(offset, max_bytes, max_offset=max_offset) == wanted
        unforced = log.read(offset, max_bytes, max_offset=max_offset, min_one_message=False)
        assert unforced == (wanted if len(wanted) <= max_bytes else b"")


def test_offsets_outside_of_the_log_are_refused() -> None:
    log = open_log()
    append(log, records(5))
    log.set_high_watermark(5)
    log.increment_log_start_offset(3)
    assert read_header(bytes(log.read(3, 1))).base_offset == 0
    assert log.read(5, 100) == b""
    for offset in (2, 6, -1):
        with pytest.raises(KafkaError) as caught:
            log.read(offset, 100)
        assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    assert log.read(4, 100, max_offset=2) == b""


def test_reads_of_the_tail_need_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    for _ in range(3000):
        append(log, records(1, size=1))
    monkeypatch.setattr(LocalLog, "_find", None)
    monkeypatch.setattr("engine.storage.segment.Segment.end_position_of", None)
    for offset in range(2000, 3000, 7):
        for max_offset in (offset, offset + 1, 2999, 3000):
            if max_offset > offset:
                data = log.read(offset, 1 << 20, max_offset=max_offset)
                assert len(data) == (max_offset - offset) * log.size_bytes // 3000


def test_records_are_found_by_time() -> None:
    for codec in (Compression.NONE, Compression.LZ4):
        log = open_log(segment_bytes=1000, index_interval_bytes=100)
        rng = random.Random(7)
        all_records: list[tuple[int, int]] = []
        for number in range(60):
            timestamp = NOW_MS + number * 10 + rng.randrange(-100, 100)
            append(log, records(3, timestamp=timestamp, compression=codec), number // 20)
        for _, batch in everything(log):
            all_records += [(each.timestamp, each.offset) for each in read_records(batch)]
        log.set_high_watermark(180)
        log.increment_log_start_offset(10)
        for opened in (log, open_log(log._disk, segment_bytes=1000, index_interval_bytes=100, log_start_offset=10)):
            for timestamp in range(NOW_MS - 200, NOW_MS + 900, 13):
                for max_offset in (180, 100, 12):
                    found = opened.offset_for_timestamp(timestamp, max_offset)
                    wanted = next(
                        (each for each in all_records if each[0] >= timestamp and 10 <= each[1] < max_offset), None
                    )
                    assert (found and found[:2]) == wanted
                    assert found is None or found[2] == opened.leader_epochs.epoch_for_offset(found[1])
            largest = max(each[0] for each in all_records)
            first = next(each for each in all_records if each[0] == largest)
            assert opened.max_timestamp_offset() == (*first, opened.leader_epochs.epoch_for_offset(first[1]))


def test_a_log_without_timestamps_has_none_to_find() -> None:
    log = open_log()
    assert log.offset_for_timestamp(0, 10) is None and log.max_timestamp_offset() is None
    append(log, records(2, timestamp=-3))
    assert log.offset_for_timestamp(0, 10) is None


def transaction(log: Log, producer_id: int, sequence: int = 0, epoch: int = 0) -> int:
    batch = records(2, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, is_transactional=True)
    return append(log, batch)


def end(log: Log, producer_id: int, *, committed: bool, epoch: int = 0) -> int:
    marker = build_end_transaction_marker(
        committed=committed, producer_id=producer_id, producer_epoch=epoch, coordinator_epoch=0, timestamp=NOW_MS
    )
    return append(log, marker, origin="coordinator")


def test_the_last_stable_offset_waits_for_the_first_open_transaction() -> None:
    log = open_log()
    append(log)
    assert log.last_stable_offset == 0
    log.set_high_watermark(2)
    assert log.last_stable_offset == 2
    assert transaction(log, 1) == 2
    assert transaction(log, 2) == 4
    log.set_high_watermark(6)
    assert log.last_stable_offset == 2
    assert end(log, 1, committed=True) == 6
    assert log.last_stable_offset == 2, "the marker is not replicated"
    log.set_high_watermark(7)
    assert log.last_stable_offset == 4
    assert end(log, 2, committed=False) == 7
    append(log)
    log.set_high_watermark(7)
    assert log.last_stable_offset == 4
    log.set_high_watermark(8)
    assert log.last_stable_offset == 8
    log.set_high_watermark(10)
    assert log.last_stable_offset == 10


def test_aborted_transactions_are_listed_where_they_overlap() -> None:
    log = open_log(segment_bytes=400)
    transaction(log, 1)  # 0, 1
    transaction(log, 2)  # 2, 3
    end(log, 1, committed=False)  # 4
    append(log)  # 5, 6
    end(log, 2, committed=False)  # 7
    transaction(log, 3)  # 8, 9
    end(log, 3, committed=True)  # 10
    transaction(log, 1, sequence=2)  # 11, 12
    end(log, 1, committed=False)  # 13
    assert log.segment_count > 2

    def aborted(start: int, upper: int) -> list[tuple[int, int]]:
        return [(each.producer_id, each.first_offset) for each in log.aborted_transactions(start, upper)]

    assert aborted(0, 14) == [(1, 0), (2, 2), (1, 11)]
    assert aborted(0, 2) == [(1, 0)]
    assert aborted(5, 8) == [(2, 2)]
    assert aborted(8, 11) == []
    assert aborted(8, 12) == [(1, 11)]
    assert aborted(13, 14) == [(1, 11)]
    stable = [each.last_stable_offset for each in log.aborted_transactions(0, 14)]
    assert stable == [2, 8, 14]


def test_the_high_watermark_stays_within_the_log() -> None:
    log = open_log()
    append(log, records(5))
    log.set_high_watermark(99)
    assert log.high_watermark == 5
    log.increment_log_start_offset(4)
    log.set_high_watermark(1)
    assert log.high_watermark == 4
    with pytest.raises(KafkaError) as caught:
        log.increment_log_start_offset(5)
    assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    assert not log.increment_log_start_offset(4)
    assert not log.increment_log_start_offset(2)


def test_what_is_left_in_the_file_is_read_piece_by_piece_even_when_the_segment_is_gone() -> None:
    log = open_log(segment_bytes=100_000)
    for _ in range(20):
        append(log, records(3, size=500))
    whole = log.read(0, 100_000)
    assert log.read_or_slice(0, 100_000, max_read_bytes=len(whole)) == whole
    found = log.read_or_slice(0, 100_000, max_read_bytes=len(whole) - 1)
    assert isinstance(found, FileSlice) and len(found) == found.left == len(whole)
    pieces = [found.read(1000)]
    log.truncate_fully_and_start_at(1000)
    while found.left:
        pieces.append(found.read(7000))
    assert b"".join(pieces) == whole and len(found) == len(whole)


def test_a_slice_of_a_file_that_was_cut_says_so() -> None:
    log = open_log(segment_bytes=100_000)
    for _ in range(20):
        append(log, records(3, size=500))
    found = log.read_or_slice(0, 100_000, max_read_bytes=0)
    assert isinstance(found, FileSlice)
    log.truncate_to(30)
    with pytest.raises(EOFError):
        while found.left:
            found.read(10_000)
