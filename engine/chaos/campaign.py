"""So many losses of power of the whole cluster, then so many SIGKILLs, and all records read back each time.

A cut: every broker's disk drops what was not synced and fails from then on (engine/chaos/power.py), the processes are
killed, the disks are mounted as the next boot does, and the brokers start. Some come again while the brokers recover.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

from engine.chaos.ack_ledger import Found
from engine.chaos.clients import Shared
from engine.chaos.cluster import ChaosCluster
from engine.chaos.machine import Machine
from engine.chaos.nemesis import Nemesis
from engine.chaos.read_back import read_back
from engine.chaos.workload import Workload
from engine.supervisor.broker_supervision import CommandError

Say = Callable[[str], None]

# Load between two cuts, and recovery until the cut that hits it.
_LOAD_S = (0.5, 3.0)
_RECOVERY_S = (0.05, 1.5)
_CUTS_IN_RECOVERY = 0.2
# SIGKILLs between two times of reading back.
_KILLS_A_ROUND = 25
_POLL_S = 0.05
_KILLED = "exit code -9"


class Campaign:
    """Ends by itself. ``lying``: fsync does nothing, so that records must be lost."""

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
        self._cluster = cluster
        self._workload = workload
        self._shared = shared
        self._rng = rng
        self._say = say
        self._cuts = cuts
        self._kills = kills
        self._whole_within_s = whole_within_s
        self._lying = lying
        self._killing: Nemesis | None = None
        self._stopping = False
        self._times_read = 0
        self.lost: set[str] = set()
        """Acknowledged records that were not there, each once."""
        self.done: Counter[str] = Counter()
        self.fault_times_ns: list[tuple[int, str]] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        """All of it, or until :meth:`stop`."""
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

    def stop(self) -> None:
        """Begin no more."""
        self._stopping = True
        if self._killing is not None:
            self._killing.stop()

    async def heal(self) -> None:
        """Everything runs."""
        for broker_id in sorted(self._cluster.broker_ids):
            await self._start(broker_id)

    async def _start(self, broker_id: int) -> None:
        try:
            await self._cluster.ensure_running(broker_id)
            await self._cluster.brokers[broker_id].wait_ready()
        except CommandError as error:
            self.failures.append(str(error))

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

    # -- what became of it --------------------------------------------------------------------------------------

    async def _check(self, after: str) -> None:
        began = time.monotonic()
        missing = await self._cluster.wait_whole(self._whole_within_s)
        if missing:
            self.failures.append(f"after {after} it is not whole: {missing}")
            return
        whole_s = time.monotonic() - began
        if not await asyncio.to_thread(self._workload.wait_acknowledged, self._whole_within_s):
            self.failures.append(f"after {after} not every partition acknowledges records")
            return
        found = await self._read_back()
        if found is None:
            return
        self._say(f"{after}: whole {whole_s:.1f} s after the start, {found}")
        if found.lost and not self._lying:
            self.failures.append(f"after {after}: {found}")
        self.lost.update(found.lost)

    async def _read_back(self) -> Found | None:
        self._times_read += 1
        try:
            return await asyncio.to_thread(read_back, self._shared, self._times_read)
        except TimeoutError as error:
            self.failures.append(str(error))
            return None
