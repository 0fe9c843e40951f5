"""A compaction that is cut off at any write leaves a log whose last value of each key is what was written."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk
from test_cleaner import HOUR_MS, ROOM, a_log, close_segment, contents, put

from engine.record.batch import read_header
from engine.record.compression import Compression
from engine.storage.cleaner import clean
from engine.storage.cleaner_plan import plan
from engine.storage.failure import LogDirFailure
from engine.storage.log import Log

from storage_harness import NOW_MS, everything  # isort: skip

CODECS = (Compression.NONE, Compression.GZIP, Compression.SNAPPY, Compression.LZ4, Compression.ZSTD)


KEYS = st.sampled_from([b"%d" % each for each in range(6)])
PAIRS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=40))), min_size=1, max_size=6)
BATCHES = st.lists(st.tuples(PAIRS, st.sampled_from(CODECS)), min_size=1, max_size=12)


class Crash(BaseException):
    """The process ends here: nothing after it happens."""


class CrashingDisk(MemoryDisk):
    """Ends the process at its n-th change of a name, or opening of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    def _step(self) -> None:
        if self.left is not None:
            if not self.left:
                raise Crash
            self.left -= 1

    def open(self, path: str, **options: bool):  # type: ignore[no-untyped-def, override]
        self._step()
        return super().open(path, **options)

    def rename(self, source: str, target: str) -> None:
        self._step()
        super().rename(source, target)

    def remove(self, path: str) -> None:
        self._step()
        super().remove(path)

    def sync_dir(self, path: str) -> None:
        self._step()
        super().sync_dir(path)


def last_values(log: Log) -> dict[bytes | None, bytes]:
    """What a reader of the whole log ends up with."""
    found: dict[bytes | None, bytes] = {}
    for _, key, value in contents(log):
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


def reopened(disk: MemoryDisk, log: Log, first_dirty: int | None, **overrides: object) -> Log:
    return a_log(disk, recovery_point=log.recovery_point, first_dirty_offset=first_dirty, **overrides)


@settings(max_examples=150, deadline=None)
@given(
    rounds=st.lists(BATCHES, min_size=1, max_size=3),
    segment_bytes=st.sampled_from([450, 700, 1500]),
    room=st.sampled_from([900, 1 << 20]),
    data=st.data(),
)
def test_what_readers_end_up_with_is_what_was_written(
    rounds: list[list[tuple[list[tuple[bytes, bytes | None]], Compression]]],
    segment_bytes: int,
    room: int,
    data: st.DataObject,
) -> None:
    disk = CrashingDisk()
    log = a_log(disk, segment_bytes=segment_bytes)
    model: dict[bytes | None, bytes] = {}
    written: dict[int, tuple[bytes | None, bytes | None]] = {}
    last: dict[bytes | None, int] = {}
    now_ms = NOW_MS
    for batches in rounds:
        for pairs, codec in batches:
            offset = put(log, *pairs, compression=codec)
            for key, value in pairs:
                written[offset], last[key] = (key, value), offset
                offset += 1
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
        close_segment(log)
        end_offset = log.log_end_offset
        now_ms += data.draw(st.sampled_from([0, HOUR_MS, 2 * HOUR_MS]))
        disk.left = data.draw(st.one_of(st.none(), st.integers(0, 60)))
        noted = log.first_dirty_offset
        try:
            to_clean = plan(log, now_ms)
            cleaning = clean(to_clean, now_ms, room)
            piece = next(cleaning)
            while True:
                piece = cleaning.send(piece())
        except StopIteration as stop:
            disk.left = None
            assert stop.value is not None
            log.first_dirty_offset = stop.value.end_offset
            if room > 1000:
                kept = [(offset, key) for offset, key, _ in contents(log)]
                assert stop.value.end_offset == end_offset
                assert [key for _, key in kept] and len({key for _, key in kept}) == len(kept)
                assert all(last[key] == offset for offset, key in kept)
            if data.draw(st.booleans()):
                log = reopened(disk, log, log.first_dirty_offset, segment_bytes=segment_bytes)
        except Crash:
            disk.left = None
            is_power_cut = data.draw(st.booleans())
            if is_power_cut:
                found = disk.after_power_loss(random.Random(data.draw(st.integers(0, 1000))))
                disk.files, disk.durable, disk.directories = found.files, found.durable, found.directories
            log = reopened(disk, log, noted, segment_bytes=segment_bytes)
            assert not [each for each in disk.list_dir(log.directory) if each.endswith((".cleaned", ".swap"))]
        log.set_high_watermark(log.log_end_offset)
        assert last_values(log) == model
        assert all(written[offset] == (key, value) for offset, key, value in contents(log))
        assert log.log_end_offset == end_offset
        ends = [read_header(batch).next_offset for _, batch in everything(log)]
        assert ends == sorted(set(ends))


def test_every_crash_of_one_compaction() -> None:
    """Each name that changes is one; with and without a loss of power."""
    for power_cut in (None, *range(4)):
        crashes = 0
        while True:
            disk = CrashingDisk()
            log = a_log(disk, segment_bytes=250)
            model: dict[bytes | None, bytes] = {}
            for number in range(20):
                put(log, (b"%d" % (number % 4), b"v%d" % number), (b"t", None))
                model[b"%d" % (number % 4)] = b"v%d" % number
            close_segment(log)
            count = log.segment_count
            assert count >= 8
            disk.left = crashes
            try:
                cleaning = clean(plan(log, NOW_MS), NOW_MS, ROOM)
                piece = next(cleaning)
                while True:
                    piece = cleaning.send(piece())
            except StopIteration:
                disk.left = None
                break
            except Crash:
                disk.left = None
            crashes += 1
            if power_cut is not None:
                disk = disk.after_power_loss(random.Random(power_cut))  # type: ignore[assignment]
            opened = reopened(disk, log, 0)
            assert last_values(opened) == model
            assert opened.log_end_offset == 40 and opened.segment_count <= count
        assert crashes > 40


def test_a_disk_that_fails_ends_the_log_or_leaves_it_as_it_was() -> None:
    class FailingDisk(CrashingDisk):
        def _step(self) -> None:
            if self.left is not None:
                if not self.left:
                    raise OSError(5, "Input/output error")
                self.left -= 1

    seen = set()
    for left in range(0, 200, 3):
        disk = FailingDisk()
        log = a_log(disk, segment_bytes=250)
        for number in range(20):
            put(log, (b"%d" % (number % 4), b"v%d" % number))
        close_segment(log)
        disk.left = left
        cleaning = clean(plan(log, NOW_MS), NOW_MS, ROOM)
        try:
            work = next(cleaning)
            while True:
                try:
                    done = work()
                except OSError as error:
                    work = cleaning.throw(error)
                else:
                    work = cleaning.send(done)
        except (OSError, LogDirFailure) as error:
            seen.add(type(error))
        except StopIteration:
            seen.add(StopIteration)
        disk.left = None
        opened = reopened(disk, log, 0)
        assert last_values(opened) == {b"%d" % (each % 4): b"v%d" % each for each in range(16, 20)}
    assert seen == {OSError, LogDirFailure, StopIteration}
