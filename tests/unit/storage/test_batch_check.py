"""No bit of a closed segment can flip unnoticed: every read finds it (L2)."""

from __future__ import annotations

import pytest
from memory_disk import MemoryDisk

from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
from engine.storage.failure import LogCorrupt
from engine.storage.file_slice import FileSlice
from engine.storage.log import Log

from storage_harness import NOW_MS, append, open_log  # isort: skip

BATCHES = 6


def a_log(disk: MemoryDisk) -> Log:
    """Two batches of two records in each closed segment; the second one in another leader epoch."""
    log = open_log(disk, segment_bytes=330)
    for number in range(BATCHES):
        batch = build_batch([NewRecord(b"k", b"%d" % number * 30, timestamp=NOW_MS) for _ in range(2)])
        log.append_as_leader(batch, number, now_ms=NOW_MS)
    assert len(log.segments) == 3
    return log


def read_all(log: Log) -> bytes:
    found, offset = b"", 0
    while data := log.read(offset, 1 << 20):
        found += data
        position = 0
        while position < len(data):
            header = read_header(data, position)
            offset, position = header.next_offset, position + header.size_in_bytes
    return found


def flipped(disk: MemoryDisk, path: str, at: int, bit: int) -> None:
    content = disk.files[path].data
    content[at] ^= 1 << bit


def test_each_bit_of_a_segment_that_is_complete() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    path, size = log.segments[1].log_path, log.segments[1].size
    whole = read_all(log)
    for at in range(size):
        for bit in range(8):
            flipped(disk, path, at, bit)
            told: list[LogCorrupt] = []
            log.on_corrupt = told.append
            with pytest.raises(LogCorrupt, match="is corrupt"):
                read_all(log)
            assert len(told) == 1
            with pytest.raises(LogCorrupt):
                log.read(0, 1 << 20)
            with pytest.raises(LogCorrupt):
                append(log, build_batch([NewRecord(b"k", b"v")]))
            log._failure = None
            flipped(disk, path, at, bit)
    assert read_all(log) == whole


def test_a_slice_lets_no_byte_of_a_flipped_batch_out() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    segment = log.segments[1]
    first = read_header(segment.read(0, 61)).size_in_bytes
    whole = segment.read(0, segment.size)
    for piece in (10, first - 1, first, first + 1, 1 << 20):
        for at in range(segment.size):
            flipped(disk, segment.log_path, at, at % 8)
            told: list[LogCorrupt] = []
            log.on_corrupt = told.append
            out = b""
            with pytest.raises(LogCorrupt):
                data = log.read_or_slice(4, 1 << 20, max_read_bytes=0)
                assert isinstance(data, FileSlice)
                while data.left:
                    out += data.read(piece)
            assert whole.startswith(out) and len(out) <= (0 if at < first else first) and told
            log._failure = None
            flipped(disk, segment.log_path, at, at % 8)
        data = log.read_or_slice(4, 1 << 20, max_read_bytes=0)
        assert isinstance(data, FileSlice)
        out = b""
        while data.left:
            out += data.read(piece)
        assert out == whole


def test_what_an_earlier_process_appended_is_looked_at_in_the_last_segment_too() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    log.flush()
    log.close(clean=True)
    log = open_log(disk, segment_bytes=1000, recovery_point=log.recovery_point, clean_shutdown=True)
    append(log, build_batch([NewRecord(b"k", b"new")]), BATCHES)
    last = log.segments[-1]
    flipped(disk, last.log_path, 100, 0)
    assert log.read(12, 1 << 20)
    with pytest.raises(LogCorrupt):
        log.read(8, 1 << 20)


# -- gaps of which nobody knows -------------------------------------------------------------------------------------


def a_copy_with_gaps(disk: MemoryDisk) -> None:
    """What Apache Kafka copies from a log that was compacted, once its policy is delete: nothing tells of it."""
    log = open_log(disk, segment_bytes=450)
    for offset in (0, 1, 4, 9, 10, 11, 20, 21):
        log.append_as_follower(build_batch([NewRecord(b"k", b"v" * 40, timestamp=NOW_MS)], base_offset=offset))
    log.flush()
    assert [each.base_offset for each in log.segments] == [0, 10]
    log.close(clean=True)


def reads(log: Log) -> list[int]:
    found, offset = [], 0
    while data := log.read(offset, 1 << 20):
        position = 0
        while position < len(data):
            header = read_header(data, position)
            found.append(header.base_offset)
            offset, position = header.next_offset, position + header.size_in_bytes
    return found


def test_gaps_that_were_noted_nowhere_are_those_of_compaction() -> None:
    disk = MemoryDisk()
    a_copy_with_gaps(disk)
    log = open_log(disk, clean_shutdown=True, recovery_point=22)
    noted: list[int | None] = []
    log.before_gap = lambda: noted.append(log.first_dirty_offset)
    assert log.first_dirty_offset is None
    assert reads(log) == [0, 1, 4, 9, 10, 11, 20, 21]
    # From now on the checkpoint says so.
    assert noted == [0]


def test_an_offset_that_flipped_is_no_gap_of_compaction() -> None:
    """In a log without gaps it overlaps a neighbour, or stands before its segment, whichever bit it is."""
    disk = MemoryDisk()
    log = a_log(disk)
    path, size = log.segments[1].log_path, log.segments[1].size
    for at in range(size):
        for bit in range(8):
            flipped(disk, path, at, bit)
            assert not log._has_gaps(log.segments[1]) and log.first_dirty_offset is None
            flipped(disk, path, at, bit)


def test_a_segment_that_is_lost_is_no_gap_of_compaction() -> None:
    disk = MemoryDisk()
    log = a_log(disk)
    log.flush()
    log.close(clean=True)
    for name in [path for path in disk.files if f"/{log.segments[1].base_offset:020d}." in path]:
        disk.remove(name)
    opened = open_log(disk, segment_bytes=330, clean_shutdown=True, recovery_point=2 * BATCHES)
    with pytest.raises(LogCorrupt):
        read_all(opened)
