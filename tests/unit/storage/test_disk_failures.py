"""Writes and fsyncs that fail: nothing is acknowledged, nothing is tried again (L4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, PARTITION, TOPIC_ID, append, config, everything, open_log, records

from engine.model.errors import ErrorCode, KafkaError
from engine.storage.failure import LogDirFailure
from engine.storage.log import Log
from engine.world.real import RealDisk


def test_a_failed_fsync_ends_the_log() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log)
    log.flush()
    append(log)
    disk.fails_syncs = True
    with pytest.raises(LogDirFailure) as caught:
        log.flush()
    assert caught.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert log.durable_end_offset == 2
    # The next fsync might succeed, and the pages be lost all the same.
    disk.fails_syncs = False
    for refused in (
        log.flush,
        lambda: append(log),
        lambda: log.append_as_follower(b""),
        lambda: log.truncate_to(0),
        lambda: log.truncate_fully_and_start_at(0),
        lambda: log.roll(NOW_MS),
        lambda: log.delete_old_segments(NOW_MS),
        lambda: log.increment_log_start_offset(0),
    ):
        with pytest.raises(LogDirFailure):
            refused()
    assert log.durable_end_offset == 2
    assert len(everything(log)) == 2, "what was committed can still be read"
    log.close()


def test_a_full_disk_ends_the_log_and_recovery_cuts_the_half_batch() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log)
    size = log.size_bytes
    disk.free = 50
    with pytest.raises(LogDirFailure, match="No space left"):
        append(log, records(producer_id=1, producer_epoch=0, base_sequence=0))
    assert (log.log_end_offset, log.size_bytes) == (2, size)
    assert not log.producers.entries
    disk.free = None
    with pytest.raises(LogDirFailure):
        append(log)
    with pytest.raises(LogDirFailure):
        log.append_as_follower(records())
    opened = open_log(disk)
    assert (opened.log_end_offset, opened.size_bytes) == (2, size)


def test_epochs_that_cannot_be_saved_end_the_log() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log)
    log.flush()
    append(log, epoch=1)
    disk.fails_syncs = True
    with pytest.raises(LogDirFailure):
        log.save_epochs()
    assert log.failure is not None and log.durable_end_offset == 2
    disk.fails_syncs = False
    with pytest.raises(LogDirFailure):
        append(log, epoch=1)
    with pytest.raises(LogDirFailure):
        log.save_epochs()


def test_no_flush_counts_before_the_epochs_are_saved() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log, epoch=3)
    assert log.leader_epochs.is_unsaved
    log.flush()
    assert not log.leader_epochs.is_unsaved and log.durable_end_offset == 2
    assert b"3 0" in disk.read(f"{DIRECTORY}/leader-epoch-checkpoint")
    append(log, epoch=4)
    log.save_epochs()
    assert b"4 2" in disk.read(f"{DIRECTORY}/leader-epoch-checkpoint") and log.durable_end_offset == 2
    log.leader_epochs.assign(5, 4)
    log.close()
    assert b"5 4" in disk.read(f"{DIRECTORY}/leader-epoch-checkpoint")


def test_epochs_that_were_not_saved_are_found_in_the_batches() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log, epoch=1)
    log.flush()
    for epoch in (2, 4):
        append(log, epoch=epoch)
    log.leader_epochs.assign(7, log.log_end_offset)
    # The process ends here.
    opened = open_log(disk, recovery_point=2)
    assert opened.leader_epochs.entries == [(1, 0), (2, 2), (4, 4)]


def test_a_closed_log_refuses_appends() -> None:
    log = open_log()
    append(log)
    log.close()
    with pytest.raises(KafkaError, match="closed") as caught:
        append(log)
    assert not isinstance(caught.value, LogDirFailure), "its disk did nothing wrong"
    log.flush()
    assert log.durable_end_offset == 0 and log.failure is None


def test_flushes_cover_what_was_appended_before_them() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    durable = 0
    for number in range(12):
        append(log)
        assert log.durable_end_offset == durable
        if number % 3 == 2:
            log.flush()
            durable = log.log_end_offset
            assert log.durable_end_offset == durable
    log.truncate_to(20)
    assert log.durable_end_offset == 20
    append(log)
    assert log.durable_end_offset == 20
    log.flush()
    assert log.durable_end_offset == 22
    syncs = disk.syncs
    log.flush()
    log.flush()
    assert disk.syncs - syncs <= 1, "what is synced is not synced again"


def test_a_flush_in_another_thread_disturbs_nothing(tmp_path: Path) -> None:
    log = Log.open(
        RealDisk(),
        str(tmp_path / "orders-0"),
        PARTITION,
        TOPIC_ID,
        config(segment_bytes=20_000, file_delete_delay_ms=0, retention_bytes=100_000),
        now_ms=NOW_MS,
        clean_shutdown=False,
        recovery_point=0,
    )
    failures: list[BaseException] = []
    ends: list[tuple[int, int]] = []
    done = threading.Event()

    def flush() -> None:
        try:
            while not done.is_set():
                before = log.log_end_offset
                log.flush()
                ends.append((before, log.durable_end_offset))
                log.remove_deleted(NOW_MS)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=flush) for _ in range(2)]
    for each in threads:
        each.start()
    batch = records(5, size=100)
    epoch = 0
    for number in range(1500):
        append(log, batch, epoch)
        if number % 100 == 99:
            log.set_high_watermark(log.log_end_offset)
            log.delete_old_segments(NOW_MS)
        if number % 400 == 399:
            log.truncate_to(log.log_end_offset - 200)
            epoch += 1
    deadline = time.monotonic() + 60
    while len(ends) <= 5 and not failures and time.monotonic() < deadline:
        # A disk that is slow today.
        append(log, batch, epoch)
        log.set_high_watermark(log.log_end_offset)
        log.delete_old_segments(NOW_MS)
    done.set()
    for each in threads:
        each.join()
    assert not failures
    assert len(ends) > 5
    log.flush()
    assert log.durable_end_offset == log.log_end_offset
    log.set_high_watermark(log.log_end_offset)
    log.delete_old_segments(NOW_MS)
    assert log.segment_count < 12
    batches = everything(log)
    log.close()
    opened = Log.open(
        RealDisk(),
        str(tmp_path / "orders-0"),
        PARTITION,
        None,
        config(),
        now_ms=NOW_MS,
        clean_shutdown=False,
        recovery_point=0,
    )
    assert everything(opened) == batches


@pytest.mark.parametrize("cut", [lambda log: log.truncate_to(4), lambda log: log.truncate_fully_and_start_at(4)])
def test_a_flush_during_a_cut_vouches_for_nothing_that_comes_in_the_place_of_what_was_cut(
    cut: Callable[[Log], None],
) -> None:
    """The thread that flushes may read the log's end at any moment of the cut."""
    log = open_log()
    for _ in range(5):
        append(log)
    log.flush()
    log.before_truncation = log.flush
    cut(log)
    assert log.log_end_offset == 4
    for _ in range(2):
        append(log, epoch=1)
    assert log.durable_end_offset <= 4
    log.flush()
    assert log.durable_end_offset == 8
