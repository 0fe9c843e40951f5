"""Compaction: what stays, what goes, and that nobody's offsets change."""

from __future__ import annotations

import copy

import pytest
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, append, config, everything, open_log

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import DELETE_HORIZON_MASK, BatchHeader, read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.compaction import delete_horizon_of
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.record.reader import read_records
from engine.storage.cleaner import CleanedLog, clean, run
from engine.storage.cleaner_plan import plan
from engine.storage.log import Log

ROOM = 1 << 20
HOUR_MS = 3_600_000


def a_log(
    disk: MemoryDisk | None = None,
    *,
    recovery_point: int = 0,
    first_dirty_offset: int | None = None,
    **overrides: object,
) -> Log:
    options: dict[str, object] = {"cleanup_policy": "compact", "segment_bytes": 300, "delete_retention_ms": HOUR_MS}
    return open_log(disk, recovery_point=recovery_point, first_dirty_offset=first_dirty_offset, **options | overrides)


def put(log: Log, *pairs: tuple[bytes | None, bytes | None], origin: str = "client", **options: object) -> int:
    """A batch of the pairs of key and value."""
    new = [NewRecord(key, value, timestamp=NOW_MS + index) for index, (key, value) in enumerate(pairs)]
    batch = build_batch(new, **options)  # type: ignore[arg-type]
    return append(log, batch, origin=origin)


def close_segment(log: Log) -> None:
    """Begin a segment, with everything before committed and synced."""
    log.roll(NOW_MS)
    log.flush()
    log.set_high_watermark(log.log_end_offset)


def compact(log: Log, now_ms: int = NOW_MS, room: int = ROOM) -> CleanedLog:
    done = run(clean(plan(log, now_ms), now_ms, room))
    assert done is not None
    log.first_dirty_offset = done.end_offset
    return done


def contents(log: Log) -> list[tuple[int, bytes | None, bytes | None]]:
    """Offset, key and value of every record that is no marker."""
    return [
        (record.offset, record.key, record.value)
        for _, batch in everything(log)
        for record in read_records(batch)
        if not read_header(batch).is_control
    ]


def names(disk: MemoryDisk) -> list[str]:
    return disk.list_dir(DIRECTORY)


def test_the_last_record_of_each_key_stays_at_its_offset() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    for number in range(12):
        put(log, (b"a", b"a%d" % number), (b"b%d" % (number % 3), b"%d" % number))
    close_segment(log)
    put(log, (b"a", b"last"))
    before = dict((offset, (key, value)) for offset, key, value in contents(log))
    done = compact(log)
    assert contents(log) == [
        (19, b"b0", b"9"),
        (21, b"b1", b"10"),
        (22, b"a", b"a11"),
        (23, b"b2", b"11"),
        (24, b"a", b"last"),
    ]
    assert all(before[offset] == (key, value) for offset, key, value in contents(log))
    assert (done.end_offset, done.keys) == (24, 4) and done.bytes_after < done.bytes_before
    # Whatever offset is asked for, the next record that is there is found.
    for offset in range(25):
        data = log.read(offset, 1 << 20)
        assert read_header(data).last_offset >= offset
    assert not [each for each in names(disk) if each.endswith((".cleaned", ".swap"))]
    opened = a_log(disk, recovery_point=log.recovery_point)
    assert contents(opened) == contents(log) and opened.log_end_offset == 25


def headers(log: Log) -> list[BatchHeader]:
    return [read_header(batch) for _, batch in everything(log)]


# -- tombstones -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", list(Compression))
def test_a_tombstone_stays_until_its_horizon_and_takes_its_key_along(codec: Compression) -> None:
    log = a_log()
    put(log, (b"a", b"1"), (b"b", b"2"), (b"a", None), (b"c", b"3"), compression=codec)
    close_segment(log)
    compact(log, NOW_MS)
    (header,) = headers(log)
    assert header.attributes & DELETE_HORIZON_MASK and header.base_timestamp == NOW_MS + HOUR_MS
    assert (header.base_offset, header.last_offset, header.compression) == (0, 3, codec)
    assert contents(log) == [(1, b"b", b"2"), (2, b"a", None), (3, b"c", b"3")]
    (batch,) = [batch for _, batch in everything(log)]
    assert [record.timestamp for record in read_records(batch)] == [NOW_MS + 1, NOW_MS + 2, NOW_MS + 3]
    assert header.max_timestamp == NOW_MS + 3
    # The horizon does not move when it is cleaned again, and what was said of it holds.
    put(log, (b"d", b"4"))
    close_segment(log)
    compact(log, NOW_MS + HOUR_MS - 1)
    assert headers(log)[0].base_timestamp == NOW_MS + HOUR_MS
    assert (2, b"a", None) in contents(log)
    put(log, (b"e", b"5"))
    close_segment(log)
    compact(log, NOW_MS + HOUR_MS)
    assert contents(log) == [(1, b"b", b"2"), (3, b"c", b"3"), (4, b"d", b"4"), (5, b"e", b"5")]
    header = headers(log)[0]
    assert (header.base_offset, header.last_offset, header.record_count) == (0, 3, 2)


def test_timestamps_of_the_broker_stay_too() -> None:
    log = a_log(message_timestamp_type="LogAppendTime")
    put(log, (b"a", b"1"), (b"a", b"2"), (b"b", None))
    close_segment(log)
    stamp = headers(log)[0].max_timestamp
    compact(log)
    (batch,) = [batch for _, batch in everything(log)]
    assert [(each.offset, each.timestamp) for each in read_records(batch)] == [(1, stamp), (2, stamp)]
    assert read_header(batch).max_timestamp == stamp


def test_records_without_a_key_go_once_the_topic_is_compacted() -> None:
    log = a_log(cleanup_policy="delete")
    put(log, (None, b"1"), (b"a", b"2"))
    close_segment(log)
    log.update_config(config(cleanup_policy="compact", segment_bytes=300))
    with pytest.raises(KafkaError) as caught:
        put(log, (b"a", b"3"), (None, b"4"))
    assert caught.value.code is ErrorCode.INVALID_RECORD
    compact(log)
    assert contents(log) == [(1, b"a", b"2")]
    log.update_config(config(cleanup_policy="delete", segment_bytes=300))
    put(log, (None, b"3"))
    close_segment(log)
    log.update_config(config(cleanup_policy="compact", segment_bytes=300))
    compact(log)
    assert contents(log) == [(1, b"a", b"2")]
    # The last batch of what was compacted stays, emptied: where the next one goes on is not forgotten.
    assert [(each.base_offset, each.next_offset, each.record_count) for each in headers(log)] == [(0, 2, 1), (2, 3, 0)]


# -- what is due ----------------------------------------------------------------------------------------------------


def test_nothing_is_touched_that_is_active_open_unsynced_or_uncommitted() -> None:
    log = a_log(segment_bytes=250)
    for number in range(20):
        put(log, (b"a", b"%d" % number * 20))
    bases = [each.base_offset for each in log.segments]
    log.flush()
    log.set_high_watermark(20)
    assert plan(log, NOW_MS).end_offset == bases[-1]
    log.set_high_watermark(bases[3] + 1)
    assert plan(log, NOW_MS).end_offset == bases[3]
    compact(log)
    assert [offset for offset, _, _ in contents(log)] == list(range(bases[3] - 1, 20))
    log.set_high_watermark(20)
    log.recovery_point = bases[5]
    assert plan(log, NOW_MS).end_offset == bases[5]
    log.recovery_point = 20
    put(log, (b"b", b"open"), producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)
    close_segment(log)
    assert (log.last_stable_offset, plan(log, NOW_MS).end_offset) == (20, 20)


def test_young_records_wait_and_old_ones_do_not_wait_for_ever() -> None:
    log = a_log(min_compaction_lag_ms=1000, max_compaction_lag_ms=5000)
    put(log, (b"a", b"1"))
    close_segment(log)
    append(log, build_batch([NewRecord(b"a", b"2", timestamp=NOW_MS + 10_000)]))
    close_segment(log)
    append(log, build_batch([NewRecord(b"a", b"3", timestamp=NOW_MS + 10_001)]))
    assert plan(log, NOW_MS + 999).cleanable_bytes == 0
    assert plan(log, NOW_MS + 1000).end_offset == 1
    assert plan(log, NOW_MS + 10_999).end_offset == 1
    found = plan(log, NOW_MS + 11_000)
    assert (found.end_offset, found.overdue_ms) == (2, 6000)
    assert plan(log, NOW_MS + 5000).overdue_ms == 0 and plan(log, NOW_MS + 5001).overdue_ms == 1


def test_a_log_is_due_when_its_dirty_share_is_large_enough() -> None:
    log = a_log(min_cleanable_dirty_ratio=0.5, max_compaction_lag_ms=HOUR_MS, segment_bytes=1000)
    put(log, (b"a", b"x" * 500))
    close_segment(log)
    assert plan(log, NOW_MS).ratio == 1.0 and plan(log, NOW_MS).is_due
    compact(log)
    assert plan(log, NOW_MS).ratio == 0.0 and not plan(log, NOW_MS).is_due
    put(log, (b"b", b"x" * 100))
    close_segment(log)
    found = plan(log, NOW_MS)
    assert 0 < found.ratio < 0.5 and not found.is_due
    assert plan(log, NOW_MS + HOUR_MS + 1).is_due, "max.compaction.lag.ms has passed"
    put(log, (b"c", b"x" * 600))
    close_segment(log)
    assert plan(log, NOW_MS).is_due
    # What was noted is not believed if it cannot be true.
    log.first_dirty_offset = 1000
    assert plan(log, NOW_MS).first_dirty_offset == 0


def test_small_segments_become_one() -> None:
    disk = MemoryDisk()
    log = a_log(disk, segment_bytes=250)
    for number in range(20):
        put(log, (b"%d" % (number % 3), b"%d" % number * 10))
    close_segment(log)
    log.update_config(config(cleanup_policy="compact", segment_bytes=1_000_000, retention_ms=-1))
    count = log.segment_count
    compact(log)
    assert count > 8 and log.segment_count == 2
    assert [int(name[:20]) for name in names(disk) if name.endswith(".snapshot")] == [20]
    assert [offset for offset, _, _ in contents(log)] == [17, 18, 19]
    assert log.offset_for_timestamp(NOW_MS, 20) == (NOW_MS, 17, 0)


def test_every_byte_that_is_read_or_written_counts_for_the_limit() -> None:
    """log.cleaner.io.max.bytes.per.second."""
    log = dirty_log(MemoryDisk())
    size = sum(each.size for each in log.segments[:-1])
    cleaning = clean(plan(log, NOW_MS), NOW_MS, ROOM)
    work, total = next(cleaning), 0
    with pytest.raises(StopIteration) as stopped:
        while True:
            done = work()
            total += done.bytes
            work = cleaning.send(done)
    assert total == 2 * size + stopped.value.value.bytes_after


def test_memory_for_few_keys_takes_several_passes() -> None:
    log = a_log(segment_bytes=100_000)
    put(log, *[(b"%d" % (number % 10), b"%d" % number) for number in range(40)])
    close_segment(log)
    passes = 0
    while plan(log, NOW_MS).cleanable_bytes:
        compact(log, room=3 * 210)
        passes += 1
    assert passes > 3
    assert [offset for offset, _, _ in contents(log)] == list(range(30, 40))
    put(log, (b"x" * 700, b""))
    close_segment(log)
    with pytest.raises(KafkaError, match=r"log\.cleaner\.dedupe\.buffer\.size"):
        compact(log, room=3 * 210)


# -- producers ------------------------------------------------------------------------------------------------------


def test_the_last_sequence_of_a_producer_is_not_lost_with_its_records() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    for number in range(3):
        put(log, (b"a", b"%d" % number), producer_id=7, producer_epoch=2, base_sequence=number)
    put(log, (b"a", b"last"), (b"b", b"x"))
    close_segment(log)
    compact(log)
    assert contents(log) == [(3, b"a", b"last"), (4, b"b", b"x")]
    emptied = headers(log)[0]
    assert (emptied.base_offset, emptied.record_count, emptied.base_sequence, emptied.producer_epoch) == (2, 0, 2, 2)
    for name in [each for each in disk.list_dir(DIRECTORY) if each.endswith(".snapshot")]:
        disk.remove(f"{DIRECTORY}/{name}")
    opened = a_log(disk, first_dirty_offset=5)
    assert opened.producers.entries[7].last_sequence == 2
    put(opened, (b"a", b"next"), producer_id=7, producer_epoch=2, base_sequence=3)


def transaction(log: Log, producer_id: int, sequence: int, *pairs: tuple[bytes, bytes], commits: bool | None) -> None:
    put(log, *pairs, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, is_transactional=True)
    if commits is not None:
        end(log, producer_id, commits)


def end(log: Log, producer_id: int, commits: bool) -> None:
    marker = build_end_transaction_marker(
        committed=commits, producer_id=producer_id, producer_epoch=0, coordinator_epoch=0, timestamp=NOW_MS
    )
    append(log, marker, origin="coordinator")


def markers(log: Log) -> list[int]:
    return [each.base_offset for each in headers(log) if each.is_control]


def test_aborted_records_go_at_once_and_markers_after_their_horizon() -> None:
    disk = MemoryDisk()
    log = a_log(disk, segment_bytes=100_000)
    put(log, (b"a", b"0"), (b"b", b"0"))  # 0, 1
    transaction(log, 1, 0, (b"a", b"aborted"), commits=False)  # 2, marker 3
    transaction(log, 2, 0, (b"b", b"committed"), commits=True)  # 4, marker 5
    close_segment(log)
    transaction(log, 3, 0, (b"c", b"open"), commits=None)  # 6
    assert log.last_stable_offset == 6
    compact(log)
    # The value before the aborted one is the last; the aborted batch stays, empty, for its producer's sequence.
    assert contents(log) == [(0, b"a", b"0"), (4, b"b", b"committed"), (6, b"c", b"open")]
    assert markers(log) == [3, 5]
    horizons = [delete_horizon_of(each) for each in headers(log) if each.is_control]
    assert horizons == [None, None], "both transactions have batches yet"
    # Other values take the place of the rest; the producers are gone.
    log.producers.entries.pop(1)
    log.producers.entries.pop(2)
    end(log, 3, True)
    put(log, (b"a", b"1"), (b"b", b"1"))
    close_segment(log)
    compact(log)
    assert markers(log) == [3, 5, 7]
    assert [delete_horizon_of(each) for each in headers(log) if each.is_control] == [None, None, None]
    put(log, (b"x", b"1"))
    close_segment(log)
    compact(log)
    horizons = [delete_horizon_of(each) for each in headers(log) if each.is_control]
    assert horizons == [NOW_MS + HOUR_MS, NOW_MS + HOUR_MS, None]
    put(log, (b"y", b"1"))
    close_segment(log)
    compact(log, NOW_MS + HOUR_MS - 1)
    assert markers(log) == [3, 5, 7]
    put(log, (b"z", b"1"))
    close_segment(log)
    compact(log, NOW_MS + HOUR_MS)
    assert markers(log) == [7]
    assert log.aborted_transactions(0, 100) == []


def test_a_transaction_that_was_aborted_after_the_part_that_is_compacted_keeps_its_index_entry() -> None:
    log = a_log(segment_bytes=100_000)
    transaction(log, 1, 0, (b"a", b"aborted"), commits=None)  # 0
    put(log, (b"a", b"1"))  # 1
    log.roll(NOW_MS)
    end(log, 1, False)  # 2
    close_segment(log)
    assert log.aborted_transactions(0, 3) == [(1, 0, 2, 3)]
    compact(log)
    # Its batch, emptied, is there for the sequence: so readers must still be told.
    assert contents(log) == [(1, b"a", b"1")]
    assert log.aborted_transactions(0, 3) == [(1, 0, 2, 3)]


# -- meanwhile ------------------------------------------------------------------------------------------------------


def dirty_log(disk: MemoryDisk) -> Log:
    log = a_log(disk, segment_bytes=250)
    for number in range(20):
        put(log, (b"%d" % (number % 4), b"%d" % number * 10))
    close_segment(log)
    return log


@pytest.mark.parametrize("change", ["cut", "cut a little", "cut to nothing", "retention", "close"])
def test_a_log_that_is_cut_or_closed_meanwhile_is_left_as_it_is(change: str) -> None:
    count = 0
    for at in range(100):
        disk = MemoryDisk()
        log = dirty_log(disk)
        cleaning = clean(plan(log, NOW_MS), NOW_MS, ROOM)
        work = next(cleaning)
        try:
            for _ in range(at):
                work = cleaning.send(work())
        except StopIteration:
            break
        count += 1
        if change == "cut":
            log.truncate_to(2)
        elif change == "cut a little":
            log.truncate_to(19)
        elif change == "cut to nothing":
            log.truncate_fully_and_start_at(5)
        elif change == "retention":
            log.increment_log_start_offset(4)
            log.delete_old_segments(NOW_MS)
        else:
            log.close()
        before = contents(log) if change != "close" else []
        try:
            while True:
                try:
                    done = work()
                except (OSError, KafkaError) as error:
                    work = cleaning.throw(error)
                else:
                    work = cleaning.send(done)
        except StopIteration:
            pass
        except KafkaError:
            assert change == "close"
        assert not log.is_cleaned
        if change.startswith("cut"):
            assert contents(log) == before
            assert log.log_end_offset == {"cut": 2, "cut a little": 19, "cut to nothing": 5}[change]
        end_offset = log.log_end_offset
        opened = a_log(disk, segment_bytes=250, first_dirty_offset=0, recovery_point=log.recovery_point)
        assert opened.log_end_offset == end_offset
        assert not [each for each in names(disk) if each.endswith((".cleaned", ".swap"))]
        if change.startswith("cut"):
            assert contents(opened) == before
        else:
            assert [key for _, key, _ in contents(opened)][-4:] == [b"0", b"1", b"2", b"3"]
    assert count > 10


def test_bytes_that_changed_end_the_cleaning_and_stay_as_they_are() -> None:
    disk = MemoryDisk()
    log = dirty_log(disk)
    segment = log.segments[2]
    disk.files[segment.log_path].data[70] ^= 1
    before = {name: bytes(inode.data) for name, inode in disk.files.items()}
    with pytest.raises(KafkaError) as caught:
        compact(log)
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE
    assert {name: bytes(inode.data) for name, inode in disk.files.items()} == before
    assert not log.is_cleaned


# -- replicas -------------------------------------------------------------------------------------------------------


def test_a_replica_takes_the_gaps_and_keeps_them_after_a_crash() -> None:
    leader = dirty_log(MemoryDisk())
    for number in range(20, 40):
        put(leader, (b"%d" % (number if number % 3 == 0 else 1), b"%d" % number * 10))
    close_segment(leader)
    put(leader, (b"last", b""))
    compact(leader)
    batches = everything(leader)
    assert [base for base, _ in batches] == [16, 18, 19, 21, 24, 27, 30, 33, 36, 38, 39, 40]
    for size in (1, 3, 100):
        disk = MemoryDisk()
        log = a_log(disk, segment_bytes=250)
        told: list[int] = []
        log.before_gap = lambda told=told, log=log: told.append(log.log_end_offset)  # type: ignore[misc]
        for at in range(0, len(batches), size):
            log.append_as_follower(b"".join(batch for _, batch in batches[at : at + size]))
        assert everything(log) == batches and told == [0]
        assert log.first_dirty_offset == 0
        # Nothing was synced, and the topic's configuration is not known when logs are opened.
        crashed = copy.deepcopy(disk)
        opened = open_log(disk, first_dirty_offset=0)
        assert everything(opened) == batches and opened.log_end_offset == leader.log_end_offset
        for offset in range(41):
            assert read_header(opened.read(offset, 1 << 20)).last_offset >= offset
        assert opened.leader_epochs.end_offset_for(0) == (0, 41)
        opened.truncate_to(25)
        assert opened.log_end_offset == 25 and everything(opened) == [each for each in batches if each[0] < 25]
        # Of a log that is not known to have gaps they are taken for bytes that are lost.
        assert open_log(crashed).log_end_offset < leader.log_end_offset


# -- rolling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configs", "lasts_ms"),
    [
        ({"segment_ms": 5000}, 5000),
        ({"segment_ms": 5000, "max_compaction_lag_ms": 2000}, 2000),
        ({"segment_ms": 1000, "max_compaction_lag_ms": 2000}, 1000),
        ({"segment_ms": 5000, "max_compaction_lag_ms": 2000, "cleanup_policy": "delete"}, 5000),
    ],
)
def test_a_segment_ends_in_time_to_be_compacted(configs: dict[str, object], lasts_ms: int) -> None:
    log = a_log(**configs)
    for timestamp in (NOW_MS, NOW_MS + lasts_ms, NOW_MS + lasts_ms + 1):
        append(log, build_batch([NewRecord(b"a", b"1", timestamp=timestamp)]))
    assert [each.base_offset for each in log.segments] == [0, 2]


def test_jitter_spreads_the_ends_of_segments_and_is_no_longer_than_they_last() -> None:
    lasted = set()
    for number in range(30):
        log = open_log(directory=f"/data/orders-{number}", segment_ms=1000, segment_jitter_ms=1_000_000)
        timestamp = NOW_MS
        while log.segment_count == 1:
            append(log, build_batch([NewRecord(b"a", b"1", timestamp=timestamp)]))
            timestamp += 100
        lasted.add(timestamp - NOW_MS)
    assert len(lasted) > 4 and max(lasted) <= 1200
