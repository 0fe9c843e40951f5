"""Removing the oldest segments, and cutting the newest records."""

from __future__ import annotations

import random

import pytest
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, append, config, everything, open_log, records

from engine.record.batch import read_header
from engine.storage.log import Log

DAY_MS = 86_400_000


def a_log(count: int = 12, *, disk: MemoryDisk | None = None, **overrides: object) -> Log:
    """Two records a batch, two batches a segment; a day lies between two batches."""
    log = open_log(disk, segment_bytes=250, **overrides)
    for number in range(count):
        append(log, records(timestamp=NOW_MS + number * DAY_MS), epoch=number // 3)
    log.set_high_watermark(log.log_end_offset)
    assert [each.base_offset for each in log.segments] == list(range(0, 2 * count, 4))
    return log


def names(disk: MemoryDisk) -> list[str]:
    return disk.list_dir(DIRECTORY)


def test_segments_go_when_their_last_record_is_too_old() -> None:
    disk = MemoryDisk()
    log = a_log(disk=disk, retention_ms=7 * DAY_MS, file_delete_delay_ms=60_000)
    now_ms = NOW_MS + 11 * DAY_MS + 1
    assert log.delete_old_segments(now_ms) == 2
    assert (log.log_start_offset, log.segment_count) == (8, 4)
    assert [each.start_offset for each in log.leader_epochs.entries] == [8, 12, 18]
    assert log.delete_old_segments(now_ms) == 0
    gone = [name for name in names(disk) if name.startswith((f"{0:020d}", f"{4:020d}"))]
    assert gone and all(name.endswith(".deleted") for name in gone)
    assert log.remove_deleted(now_ms + 59_999) == 0
    assert log.remove_deleted(now_ms + 60_000) == 2
    assert not [name for name in names(disk) if name.endswith(".deleted")]
    assert not [name for name in names(disk) if name.endswith(".snapshot") and int(name[:20]) < 8]


def test_all_segments_go_if_all_are_too_old_and_the_offsets_go_on() -> None:
    disk = MemoryDisk()
    log = a_log(disk=disk, retention_ms=DAY_MS)
    assert log.delete_old_segments(NOW_MS + 100 * DAY_MS) == 6
    assert (log.log_start_offset, log.log_end_offset, log.segment_count, log.size_bytes) == (24, 24, 1, 0)
    assert log.delete_old_segments(NOW_MS + 100 * DAY_MS) == 0
    assert append(log, records(timestamp=NOW_MS + 100 * DAY_MS), epoch=9) == 24
    opened = open_log(disk, segment_bytes=250)
    assert (opened.log_start_offset, opened.log_end_offset) == (24, 26)


def test_segments_go_that_are_more_than_the_size() -> None:
    log = a_log()
    size = log.segments[0].size
    log.update_config(config(segment_bytes=250, retention_bytes=3 * size, retention_ms=-1))
    assert log.delete_old_segments(NOW_MS) == 3
    assert log.size_bytes == 3 * size
    log.update_config(config(segment_bytes=250, retention_bytes=2 * size + 1, retention_ms=-1))
    assert log.delete_old_segments(NOW_MS) == 0, "the log must keep at least so much"
    log.update_config(config(segment_bytes=250, retention_bytes=0, retention_ms=-1))
    assert log.delete_old_segments(NOW_MS) == 3
    assert log.log_start_offset == 24


def test_nothing_from_the_high_watermark_on_goes() -> None:
    log = a_log(retention_ms=1)
    log.set_high_watermark(10)
    assert log.delete_old_segments(NOW_MS + 100 * DAY_MS) == 2
    assert log.log_start_offset == 8
    assert [base for base, _ in everything(log)] == list(range(8, 24, 2))


def test_segments_before_the_logs_start_go_whatever_the_policy() -> None:
    log = a_log(cleanup_policy="compact", retention_ms=1, retention_bytes=1)
    assert log.delete_old_segments(NOW_MS + 100 * DAY_MS) == 0
    log.increment_log_start_offset(11)
    assert [each.start_offset for each in log.leader_epochs.entries] == [11, 12, 18]
    assert log.delete_old_segments(NOW_MS) == 2
    assert (log.log_start_offset, log.segments[0].base_offset) == (11, 8)


def test_a_cut_takes_records_epochs_and_segments() -> None:
    disk = MemoryDisk()
    log = a_log(disk=disk)
    before = everything(log)
    log.truncate_to(30)
    assert log.log_end_offset == 24
    for offset in (24, 22, 20, 18, 16, 14, 9, 4):
        log.truncate_to(offset)
        end = offset - offset % 2
        assert (log.log_end_offset, log.high_watermark) == (end, end)
        assert everything(log) == [each for each in before if each[0] < end]
        assert log.leader_epochs.entries == [(epoch, 6 * epoch) for epoch in range(4) if 6 * epoch < end]
        opened = open_log(disk, segment_bytes=250)
        assert everything(opened) == everything(log)
    assert append(log, epoch=7) == 4
    assert log.leader_epochs.entries == [(0, 0), (7, 4)]
    log.truncate_to(0)
    assert (log.log_end_offset, log.size_bytes, log.segment_count) == (0, 0, 1)
    assert append(log, epoch=8) == 0


def test_a_cut_takes_time_with_it() -> None:
    log = a_log()
    log.truncate_to(10)
    assert log.max_timestamp_offset() == (NOW_MS + 4 * DAY_MS + 1, 9, 1)
    assert log.offset_for_timestamp(NOW_MS + 5 * DAY_MS, 10) is None
    append(log, records(timestamp=NOW_MS + DAY_MS), epoch=5)
    assert log.max_timestamp_offset() == (NOW_MS + 4 * DAY_MS + 1, 9, 1)


def test_a_cut_before_the_first_segment_starts_the_log_there() -> None:
    log = a_log(retention_ms=1)
    log.set_high_watermark(10)
    log.delete_old_segments(NOW_MS + 100 * DAY_MS)
    log.truncate_to(3)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (3, 3, 3)
    assert append(log, epoch=9) == 3


def test_a_copy_of_a_compacted_log_that_was_cut_in_its_first_gap_is_read_from_its_first_record_on() -> None:
    batches = [records(1, base_offset=offset) for offset in range(5, 11)]
    log = open_log(cleanup_policy="compact", segment_bytes=2 * len(batches[0]))
    log.append_as_follower(batches[0], now_ms=NOW_MS)
    log.truncate_to(5)
    assert (log.log_start_offset, log.log_end_offset) == (0, 5)
    log.append_as_follower(b"".join(batches), now_ms=NOW_MS)
    assert log.segment_count > 2
    for offset in range(11):
        assert read_header(log.read(offset, 1)).base_offset == max(offset, 5)


def test_a_cut_within_a_gap_asks_a_crash_for_no_more_than_the_batches_before_it() -> None:
    log = open_log(cleanup_policy="compact")
    for offset in (0, 30):
        log.append_as_follower(records(1, base_offset=offset), now_ms=NOW_MS)
    log.flush()
    asked = []
    log.before_truncation = lambda: asked.append(log.recovery_point)
    log.truncate_to(30)
    assert asked == [1]
    # A segment that begins there says so to the next start.
    assert (log.log_end_offset, log.recovery_point, log.segments[-1].base_offset) == (30, 30, 30)


def test_a_cut_within_a_gap_saves_the_epochs_of_what_is_left() -> None:
    disk = MemoryDisk()
    log = open_log(disk, cleanup_policy="compact")
    for offset, epoch in ((0, 3), (30, 5), (40, 5), (60, 5)):
        log.append_as_follower(records(1, base_offset=offset, leader_epoch=epoch), now_ms=NOW_MS)
        if offset == 0:
            log.flush()
        elif offset == 30:
            # No recovery looks at this segment again.
            log.roll(NOW_MS)
    log.truncate_to(60)
    assert log.recovery_point == 60
    found = disk.after_power_loss(random.Random(0))
    opened = open_log(found, cleanup_policy="compact", recovery_point=60, first_dirty_offset=0)
    assert [tuple(each) for each in opened.leader_epochs.entries] == [(3, 0), (5, 30)]
    assert len(everything(opened)) == 3


def test_a_log_starts_anew_at_an_offset() -> None:
    disk = MemoryDisk()
    log = a_log(disk=disk)
    log.flush()
    log.truncate_fully_and_start_at(1000)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (1000, 1000, 1000)
    assert log.leader_epochs.entries == [] and log.recovery_point <= 1000
    assert append(log, epoch=9) == 1000
    opened = open_log(disk, segment_bytes=250, log_start_offset=1000)
    assert (opened.log_start_offset, opened.log_end_offset) == (1000, 1002)
    # A snapshot's offset below what is here.
    log.truncate_fully_and_start_at(20)
    assert append(log, epoch=9) == 20


def test_the_recovery_points_checkpoint_is_asked_for_before_synced_records_are_cut() -> None:
    log = a_log()
    told: list[tuple[int, int]] = []
    log.before_truncation = lambda: told.append((log.recovery_point, log.log_end_offset))
    log.truncate_to(22)
    assert told == [], "nothing of it was synced"
    log.flush()
    assert log.durable_end_offset == 22
    log.truncate_to(10)
    assert told == [(10, 22)]
    assert log.durable_end_offset == 10


@pytest.mark.parametrize("offset", range(0, 25))
def test_epochs_end_where_the_next_begins(offset: int) -> None:
    epochs = a_log().leader_epochs
    assert epochs.epoch_for_offset(offset) == min(offset // 6, 3)
    assert [epochs.end_offset_for(each) for each in (-1, 0, 1, 2, 3, 4)] == [
        (-1, -1),
        (0, 6),
        (1, 12),
        (2, 18),
        (3, 24),
        (-1, -1),
    ]


def test_an_epoch_in_which_nothing_was_written_gives_way() -> None:
    leader = open_log()
    for epoch in (3, 4, 4):
        append(leader, epoch=epoch)
    batches = [batch for _, batch in everything(leader)]
    log = open_log()
    for way in ("cut", "copied"):
        log.truncate_fully_and_start_at(0)
        log.append_as_follower(batches[0] + batches[1])
        # It leads for a while, without a record; the next leader has more of the epoch before.
        log.leader_epochs.assign(5, 4)
        assert log.leader_epochs.latest_epoch == 5
        if way == "cut":
            log.truncate_to(4)
            assert log.leader_epochs.entries == [(3, 0), (4, 2)]
        log.append_as_follower(batches[2])
        assert log.leader_epochs.entries == [(3, 0), (4, 2)]
    assert everything(log) == everything(leader)


def test_epochs_between_and_before_those_that_are_known() -> None:
    log = open_log()
    assert log.leader_epochs.end_offset_for(0) == (-1, -1)
    assert log.leader_epochs.epoch_for_offset(0) == -1
    for epoch in (3, 3, 7):
        append(log, epoch=epoch)
    epochs = log.leader_epochs
    assert epochs.end_offset_for(2) == (2, 0)
    assert epochs.end_offset_for(5) == (3, 4)
    # A leader notes its epoch before it writes; what contradicts goes.
    epochs.assign(9, 6)
    assert epochs.latest_epoch == 9 and epochs.end_offset_for(7) == (7, 6) and epochs.end_offset_for(9) == (9, 6)
    epochs.assign(10, 6)
    assert epochs.entries == [(3, 0), (7, 4), (10, 6)]
    epochs.assign(8, 5)
    assert epochs.entries == [(3, 0), (7, 4), (8, 5)]
    epochs.clear()
    assert epochs.latest_epoch == -1 and epochs.entries == []
