"""Faults by number instead of by time, and all acknowledged records read back after some of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

from engine.chaos.ack_ledger import Found
from engine.chaos.clients import Shared
from engine.chaos.cluster import ChaosCluster
from engine.chaos.read_back import read_back
from engine.chaos.workload import Workload
from engine.supervisor.broker_supervision import CommandError

Say = Callable[[str], None]


class CountedFaults:
    """Ends by itself. ``lying``: fsync does nothing, so that records must be lost."""

    def __init__(
        self,
        cluster: ChaosCluster,
        workload: Workload,
        shared: Shared,
        rng: random.Random,
        say: Say,
        *,
        whole_within_s: float,
        lying: bool = False,
    ) -> None:
        self._cluster = cluster
        self._workload = workload
        self._shared = shared
        self._rng = rng
        self._say = say
        self._whole_within_s = whole_within_s
        self._lying = lying
        self._stopping = False
        self._times_read = 0
        self.lost: set[str] = set()
        """Acknowledged records that were not there, each once."""
        self.done: Counter[str] = Counter()
        self.fault_times_ns: list[tuple[int, str]] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        """All of it, or until :meth:`stop`."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """What was done, and what was lost by it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Begin no more."""
        self._stopping = True

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
