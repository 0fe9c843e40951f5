"""Simulated disks that hang, fail and rot, and clocks that are wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from engine.sim.disk import SimDisk
from engine.sim.loop import SimLoop
from engine.sim.world import EPOCH_MS, SimClock


def run(work: Coroutine[Any, Any, None], loop: SimLoop | None = None) -> None:
    (loop or SimLoop(start_s=0.0)).run(work)


@pytest.fixture
def disk() -> SimDisk:
    made = SimDisk(random.Random(1))
    made.make_dirs("/data")
    return made


def test_a_disk_that_hangs_does_its_work_when_it_goes_on(disk: SimDisk) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        disk.hang()
        began = loop.time()
        done = asyncio.ensure_future(_wrapped(disk, lambda: 7))
        await asyncio.sleep(5.0)
        assert not done.done()
        disk.go_on()
        assert await done == 7
        assert 5.0 <= loop.time() - began < 5.1

    run(work())


async def _wrapped(disk: SimDisk, work: Any) -> Any:
    return await disk.run_blocking(work)


def test_what_hung_with_a_process_that_died_never_happens(disk: SimDisk) -> None:
    happened: list[int] = []

    async def work() -> None:
        disk.hang()
        waiting = asyncio.ensure_future(_wrapped(disk, lambda: happened.append(1)))
        await asyncio.sleep(1.0)
        disk.on_process_died()
        disk.go_on()
        await asyncio.sleep(1.0)
        assert not waiting.done()
        waiting.cancel()

    run(work())
    assert not happened


@pytest.mark.parametrize("operation", ["read", "write", "sync"])
def test_a_failing_disk_fails_that_and_nothing_else(disk: SimDisk, operation: str) -> None:
    file = disk.open("/data/log", append=True, create=True)
    acts = {"read": lambda: file.pread(1, 0), "write": lambda: file.append([b"x"]), "sync": file.sync}
    disk.failing.add(operation)
    for name, act in acts.items():
        if name == operation:
            with pytest.raises(OSError, match="Input/output error"):
                act()
        else:
            act()


def test_one_bit_of_a_file_flips(disk: SimDisk) -> None:
    before = bytes(range(100))
    disk.write_atomic("/data/file", before)
    disk.flip_bit("/data/file")
    changed = [one ^ other for one, other in zip(before, disk.read("/data/file"), strict=True) if one != other]
    assert len(changed) == 1
    assert changed[0].bit_count() == 1


def test_a_clock_drifts_jumps_and_is_set_right() -> None:
    loop = SimLoop(start_s=0.0)
    clock = SimClock(loop, 0.0)

    async def work() -> None:
        await asyncio.sleep(10.0)
        assert clock.now_ms() == EPOCH_MS + 10_000
        clock.drift(0.1)
        await asyncio.sleep(10.0)
        assert clock.now_ms() == EPOCH_MS + 21_000
        clock.drift(-0.1)
        await asyncio.sleep(10.0)
        assert clock.now_ms() == EPOCH_MS + 30_000
        clock.skew_ms += 5
        assert clock.now_ms() == EPOCH_MS + 30_005
        assert clock.monotonic_ms() == 30_000
        clock.set_right()
        await asyncio.sleep(1.0)
        assert clock.now_ms() == EPOCH_MS + 31_000

    run(work(), loop)
