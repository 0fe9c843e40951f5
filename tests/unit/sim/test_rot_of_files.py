"""Bits of records that flip in the simulator: only where a start looks, only what a CRC covers."""

from __future__ import annotations

import random

import pytest

from engine.record.batch import iter_batches
from engine.record.builder import NewRecord, build_batch
from engine.sim.disk import SimDisk
from engine.sim.rot_faults import flip_record_bit

SIZE = len(build_batch([NewRecord(None, b"value", timestamp=1)]))


def disk_with(segments: dict[str, int], recovery_points: dict[str, int] | None = None) -> SimDisk:
    """Path of each segment to its number of batches."""
    disk = SimDisk(random.Random(1))
    batch = build_batch([NewRecord(None, b"value", timestamp=1)])
    for path, count in segments.items():
        disk.make_dirs(path.rpartition("/")[0])
        disk.write_atomic(path, batch * count)
    if recovery_points is not None:
        lines = [f"{name.replace('-', ' ')} {offset}" for name, offset in recovery_points.items()]
        disk.write_atomic("/data/recovery-point-offset-checkpoint", "\n".join(["0", str(len(lines)), *lines]).encode())
    return disk


def segment(directory: str, base: int) -> str:
    return f"/data/{directory}/{base:020d}.log"


@pytest.mark.parametrize("seed", range(20))
def test_one_bit_of_one_batch_flips_and_its_crc_tells(seed: int) -> None:
    path = segment("safe-0", 0)
    disk = disk_with({path: 5})
    before = disk.read(path)
    assert flip_record_bit(disk, random.Random(seed)) == path
    changed = [at for at, (one, other) in enumerate(zip(before, disk.read(path), strict=True)) if one != other]
    assert len(changed) == 1
    assert changed[0] % SIZE >= 16, "neither its offset nor its leader epoch"


@pytest.mark.parametrize("seed", range(20))
def test_segments_that_were_synced_as_a_whole_are_spared(seed: int) -> None:
    disk = disk_with({segment("safe-0", base): 5 for base in (0, 5, 10)}, {"safe-0": 7})
    assert flip_record_bit(disk, random.Random(seed)) == segment("safe-0", 10)


def test_all_segments_that_may_not_have_been_synced_are_met() -> None:
    disk = disk_with({segment("safe-0", base): 5 for base in (0, 5, 10)}, {"safe-0": 0})
    assert len({flip_record_bit(disk, random.Random(seed)) for seed in range(40)}) == 3


def test_the_quorum_deleted_partitions_and_those_with_two_replicas_are_spared() -> None:
    spared = ("__cluster_metadata-0", "old-0.17-delete", "moving-1")
    disk = disk_with({segment(directory, 0): 5 for directory in spared})
    assert flip_record_bit(disk, random.Random(1)) == ""


def test_nothing_flips_after_a_clean_shutdown_whose_logs_no_start_reads() -> None:
    disk = disk_with({segment("safe-0", 0): 5})
    disk.write_atomic("/data/.kafka_cleanshutdown", b"{}")
    assert flip_record_bit(disk, random.Random(1)) == ""


def test_batches_of_the_tests_are_whole() -> None:
    assert len(list(iter_batches(disk_with({segment("safe-0", 0): 3}).read(segment("safe-0", 0))))) == 3
