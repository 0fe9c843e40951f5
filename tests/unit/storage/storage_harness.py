"""Logs and batches for the tests of storage."""

from __future__ import annotations

from memory_disk import MemoryDisk

from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import HEADER_BYTES, iter_batches, read_header
from engine.record.builder import NewRecord, build_batch
from engine.storage.log import Log
from engine.world import Disk

NOW_MS = 1_700_000_000_000
PARTITION = TopicPartition("orders", 0)
DIRECTORY = "/data/orders-0"
TOPIC_ID = bytes(range(16))


def config(**overrides: object) -> LogConfig:
    """``segment_bytes`` has no lower bound here."""
    texts = {name.replace("_", "."): str(value) for name, value in overrides.items()}
    if "segment.bytes" in texts:
        texts["internal.segment.bytes"] = texts.pop("segment.bytes")
    return LogConfig.from_(None, texts)


def open_log(
    disk: Disk | None = None,
    *,
    directory: str = DIRECTORY,
    clean_shutdown: bool = False,
    recovery_point: int = 0,
    log_start_offset: int = 0,
    first_dirty_offset: int | None = None,
    **overrides: object,
) -> Log:
    """A log on a disk in memory."""
    return Log.open(
        MemoryDisk() if disk is None else disk,
        directory,
        PARTITION,
        TOPIC_ID,
        config(**overrides),
        now_ms=NOW_MS,
        clean_shutdown=clean_shutdown,
        recovery_point=recovery_point,
        log_start_offset=log_start_offset,
        first_dirty_offset=first_dirty_offset,
    )


def records(
    count: int = 2, *, size: int = 20, timestamp: int = NOW_MS, key: bytes | None = b"k", **options: object
) -> bytes:
    """A client's batch; the records' timestamps count up from ``timestamp``."""
    new = [NewRecord(key, b"v" * size, timestamp=timestamp + each) for each in range(count)]
    return build_batch(new, **options)  # type: ignore[arg-type]


def append(log: Log, batch: bytes | None = None, epoch: int = 0, **options: object) -> int:
    """Append as the leader, when the last record is new; returns the base offset."""
    batch = records() if batch is None else batch
    now_ms = NOW_MS
    if len(batch) >= HEADER_BYTES:
        now_ms = max(now_ms, read_header(batch).max_timestamp)
    return log.append_as_leader(batch, epoch, now_ms=now_ms, **options).base_offset  # type: ignore[arg-type]


def everything(log: Log) -> list[tuple[int, bytes]]:
    """Base offset and bytes of every batch that can be read."""
    found = []
    offset = log.log_start_offset
    while data := log.read(offset, 1 << 20):
        for header, batch in iter_batches(data):
            found.append((header.base_offset, bytes(batch)))
            offset = header.next_offset
    return found
