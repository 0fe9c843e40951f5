"""So many losses of power of the whole cluster, then so many SIGKILLs, and all records read back each time.

A cut: every broker's disk drops what was not synced and fails from then on (engine/chaos/power.py), the processes are
killed, the disks are mounted as the next boot does, and the brokers start. Some come again while the brokers recover.
"""

from __future__ import annotations

import asyncio
import random
import time

from engine.chaos.clients import Shared
from engine.chaos.cluster import ChaosCluster
from engine.chaos.counted_faults import CountedFaults, Say
from engine.chaos.machine import Machine
from engine.chaos.nemesis import Nemesis
from engine.chaos.workload import Workload

# Load between two cuts, and recovery until the cut that hits it.
_LOAD_S = (0.5, 3.0)
_RECOVERY_S = (0.05, 1.5)
_CUTS_IN_RECOVERY = 0.2
# SIGKILLs between two times of reading back.
_KILLS_A_ROUND = 25
_POLL_S = 0.05
_KILLED = "exit code -9"


class Campaign(CountedFaults):
    """Losses of power, then SIGKILLs of any broker."""

    def __init__(
        self,
        cluster: ChaosCluster,
        workload: Workload,
        shared: Shared,
        rng: random.Random,
        say: Say,
        *,
        cuts: int,
        kills: int,
        whole_within_s: float,
        lying: bool,
    ) -> None:
        super().__init__(cluster, workload, shared, rng, say, whole_within_s=whole_within_s, lying=lying)
        self._cuts = cuts
        self._kills = kills
        self._killing: Nemesis | None = None

    async def run(self) -> None:
        if self._lying:
            # What was set up is not what is to be lost.
            await asyncio.to_thread(self._cluster.sync_disks)
        while self.done["power cut"] < self._cuts and not self._stopping:
            await asyncio.sleep(self._rng.uniform(*_LOAD_S))
            await self._cut_power()
            await self._check(f"power cut {self.done['power cut']} of {self._cuts}")
        while self.done["SIGKILL"] < self._kills and not self._stopping:
            await self._kill_some(min(_KILLS_A_ROUND, self._kills - self.done["SIGKILL"]))
            await self._check(f"SIGKILL {self.done['SIGKILL']} of {self._kills}")

    @property
    def summary(self) -> str:
        return (
            f"power cuts: {self.done['power cut']}, SIGKILLs: {self.done['SIGKILL']}, "
            f"acknowledged records lost: {len(self.lost)}"
        )

    def stop(self) -> None:
        super().stop()
        if self._killing is not None:
            self._killing.stop()

    # -- power --------------------------------------------------------------------------------------------------

    async def _cut_power(self) -> None:
        await self._cut_once()
        while self.done["power cut"] < self._cuts and self._rng.random() < _CUTS_IN_RECOVERY:
            for broker_id in sorted(self._cluster.broker_ids):
                await self._cluster.ensure_running(broker_id)
            await asyncio.sleep(self._rng.uniform(*_RECOVERY_S))
            self.done["power cut in recovery"] += 1
            await self._cut_once()
        await asyncio.gather(*map(self._start, sorted(self._cluster.broker_ids)))

    async def _cut_once(self) -> None:
        self.done["power cut"] += 1
        self.fault_times_ns.append((time.monotonic_ns(), "power cut"))
        await self._cluster.cut_power()

    # -- kills --------------------------------------------------------------------------------------------------

    async def _kill_some(self, count: int) -> None:
        ends = self._cluster.ends
        before = ends[_KILLED]
        nemesis = Nemesis(
            self._cluster, Machine(frozenset({"kill"})), random.Random(self._rng.getrandbits(64)), self._say
        )
        self._killing = nemesis
        killing = asyncio.ensure_future(nemesis.run())
        while ends[_KILLED] - before < count and not killing.done():
            await asyncio.wait({killing}, timeout=_POLL_S)
        nemesis.stop()
        await killing
        await nemesis.heal()
        self._killing = None
        self.done["SIGKILL"] += ends[_KILLED] - before
        self.fault_times_ns += nemesis.fault_times_ns
        self.failures += nemesis.failures
