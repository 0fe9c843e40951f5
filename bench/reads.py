"""What it costs that every batch is looked at before it is served: a log of 1 GiB, read from its beginning to its end
with the check and without, in turn, from the disk and from pages in memory."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
from engine.storage.batch_check import BatchCheck
from engine.storage.file_slice import FileSlice
from engine.storage.log import Log
from engine.world.real import RealDisk

_RECORD_BYTES = 1000
_FETCH_BYTES = 1 << 20
_MIB = 1 << 20


class _Sample(NamedTuple):
    cpu_ms_per_mib: float
    mib_per_s: float


def _open(directory: Path, end: int) -> Log:
    config = LogConfig.from_(None, {"segment.bytes": str(1 << 30)})
    log = Log.open(
        RealDisk(),
        str(directory),
        TopicPartition("t", 0),
        bytes(range(16)),
        config,
        now_ms=1,
        clean_shutdown=end > 0,
        recovery_point=end,
    )
    log.set_high_watermark(end)
    return log


def _fill(directory: Path, batch: bytes, total: int) -> int:
    log = _open(directory, 0)
    for _ in range(total // len(batch)):
        log.append_as_leader(batch, 0, now_ms=1)
    log.flush()
    log.close(clean=True)
    return log.log_end_offset


def _read(directory: Path, end: int, *, from_disk: bool) -> _Sample:
    for path in directory.iterdir():
        with path.open("rb") as file:
            if from_disk:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    log = _open(directory, end)
    header = read_header(log.read(0, 1))
    began, cpu, offset, total = time.perf_counter(), time.process_time(), 0, 0
    while offset < end:
        data = log.read_or_slice(offset, _FETCH_BYTES, max_offset=end, max_read_bytes=256 * 1024)
        if isinstance(data, FileSlice):
            while data.left:
                data.read(64 * 1024)
        total += len(data)
        offset += len(data) // header.size_in_bytes * header.record_count
    took, used = time.perf_counter() - began, time.process_time() - cpu
    log.close()
    return _Sample(used * 1000 / (total / _MIB), total / _MIB / took)


def compare(directory: Path, rounds: int, total: int = 1 << 30) -> Iterator[str]:
    """A line for each size of batches and each place that they come from."""
    for records in (64, 4, 1):
        batch = build_batch([NewRecord(None, os.urandom(_RECORD_BYTES)) for _ in range(records)])
        place = directory / str(records)
        end = _fill(place, batch, total)
        for from_disk in (True, False):
            seen, unseen = [], []
            for _ in range(rounds):
                seen.append(_read(place, end, from_disk=from_disk))
                with (
                    patch.object(BatchCheck, "check", lambda self, data, position: len(data)),
                    patch.object(BatchCheck, "finish", lambda self, position: None),
                ):
                    unseen.append(_read(place, end, from_disk=from_disk))
            with_check, without = (statistics.median(each.cpu_ms_per_mib for each in of) for of in (seen, unseen))
            rate = statistics.median(a.mib_per_s / b.mib_per_s for a, b in zip(seen, unseen, strict=True))
            yield (
                f"reads, batches of {len(batch):,} bytes {'from the disk' if from_disk else 'in memory'}: "
                f"{with_check:.2f} ms of CPU a MiB with the check, {without:.2f} without; "
                f"throughput {rate:.2f} times that without"
            )
