"""Copies of logs that take their place in another directory: whole wherever the process or the power ends."""

from __future__ import annotations

import random

import pytest
from memory_disk import MemoryDisk
from test_cleaner_crashes import Crash, CrashingDisk
from test_log_dirs import TOPIC_ID, A, crash, open_dirs, world

from engine.storage.failure import LogDirFailure
from engine.storage.future_logs import FutureLogs
from engine.storage.log import Log
from engine.storage.log_dirs import LogDirs

from storage_harness import NOW_MS, append, config, everything, records  # isort: skip

CONFIG = config(segment_bytes=400)


def with_log(disk: MemoryDisk) -> tuple[LogDirs, Log]:
    """A log of several segments in /one that begins in the middle of one of them."""
    dirs = open_dirs(disk)
    log = dirs.get_or_create(A, TOPIC_ID, CONFIG, NOW_MS)
    for _ in range(8):
        append(log, records(3, size=30))
    log.set_high_watermark(20)
    log.increment_log_start_offset(4)
    log.flush()
    dirs.checkpoint()
    assert dirs.path_of(A) == "/one"
    return dirs, log


def copy(futures: FutureLogs, log: Log) -> Log:
    future = futures.make(A, "/two", CONFIG, NOW_MS)
    while future.log_end_offset < log.log_end_offset:
        future.append_as_follower(log.read(future.log_end_offset, 200), now_ms=NOW_MS)
    return future


def test_a_copy_takes_the_place_of_its_log() -> None:
    disk = MemoryDisk()
    dirs, log = with_log(disk)
    before = everything(log)
    futures = FutureLogs(world(disk), dirs)
    future = copy(futures, log)
    assert future.directory.startswith("/two/a-0.") and future.directory.endswith("-future")
    moved = futures.swap(A, future, "/two", NOW_MS)
    assert dirs.get(A) is moved and dirs.path_of(A) == "/two" and moved.directory == "/two/a-0"
    assert everything(moved) == before
    assert (moved.log_start_offset, moved.high_watermark, moved.topic_id) == (4, 20, TOPIC_ID)
    assert moved.durable_end_offset == moved.log_end_offset
    append(moved, records(2))
    moved.flush()
    assert disk.list_dir("/two/a-0") and not disk.exists("/one/a-0")
    dirs.close(clean=True)
    again = open_dirs(disk)
    found = again.get(A)
    assert found is not None and found.log_end_offset == 26 and found.log_start_offset == 4
    again.remove_deleted(NOW_MS + 60_000)
    assert [each for each in disk.list_dir("/one") if each.startswith("a-0")] == []


def test_a_copy_that_is_given_up_leaves_nothing() -> None:
    disk = MemoryDisk()
    dirs, log = with_log(disk)
    futures = FutureLogs(world(disk), dirs)
    futures.remove(copy(futures, log))
    assert [each for each in disk.list_dir("/two") if each.startswith("a-0")] == []
    assert dirs.get(A) is log


def test_a_move_that_was_interrupted_is_told_and_its_copy_removed() -> None:
    disk = MemoryDisk()
    dirs, log = with_log(disk)
    future = copy(FutureLogs(world(disk), dirs), log)
    future.flush()
    again = open_dirs(crash(disk))
    assert FutureLogs(world(disk), again).take_interrupted() == {A: "/two"}
    assert again.path_of(A) == "/one" and everything(again.logs[A]) == everything(log)
    assert [each for each in disk.list_dir("/two") if each.startswith("a-0")] == []


@pytest.mark.parametrize("power_fails", [False, True])
def test_a_swap_may_end_at_any_step(power_fails: bool) -> None:
    whole = None
    ends = 0
    for steps in range(1000):
        disk = CrashingDisk()
        dirs, log = with_log(disk)
        whole = everything(log)
        futures = FutureLogs(world(disk), dirs)
        future = copy(futures, log)
        disk.left = steps
        try:
            futures.swap(A, future, "/two", NOW_MS)
        except Crash:
            ends += 1
        else:
            break
        disk.left = None
        left: MemoryDisk = crash(disk)
        if power_fails:
            left = left.after_power_loss(random.Random(steps))
        again = open_dirs(left)
        found = again.get(A)
        assert found is not None, (steps, again.offline_logs, again.offline_directories)
        assert everything(found) == whole, steps
        assert (found.log_start_offset, found.log_end_offset, found.topic_id) == (4, 24, TOPIC_ID), steps
        assert again.checkpointed_high_watermark(A) == 20, steps
        FutureLogs(world(left), again).take_interrupted()
        names = [each for path in ("/one", "/two") for each in left.list_dir(path) if each.startswith("a-0")]
        assert names.count("a-0") == 1 and not any(each.endswith("-future") for each in names), (steps, names)
    assert ends > 20


def test_a_copy_without_original_waits_while_a_directory_is_offline() -> None:
    disk = CrashingDisk()
    dirs, log = with_log(disk)
    futures = FutureLogs(world(disk), dirs)
    future = copy(futures, log)
    future.flush()
    # The original may be in the directory that failed.
    dirs.delete(A, NOW_MS)
    again = open_dirs(crash(disk), loads=False)
    again.mark_offline("/one", OSError("broken"))
    again.load(lambda topic: CONFIG, NOW_MS)
    assert again.get(A) is None and disk.exists(future.directory)


def test_a_disk_that_fails_during_the_swap_takes_its_directory_offline() -> None:
    disk = MemoryDisk()
    dirs, log = with_log(disk)
    futures = FutureLogs(world(disk), dirs)
    future = copy(futures, log)
    disk.fails_syncs = True
    with pytest.raises(LogDirFailure) as caught:
        futures.swap(A, future, "/two", NOW_MS)
    assert caught.value.directory.startswith("/two")
