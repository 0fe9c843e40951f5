"""Compaction: what stays, what goes, and that nobody's offsets change."""

from __future__ import annotations

from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, append, everything, open_log

from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
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
    opened = a_log(disk)
    assert contents(opened) == contents(log) and opened.log_end_offset == 25
