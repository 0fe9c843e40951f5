"""SIGKILLs of those that coordinate, by number: leaders of partitions, controllers, the leader of a ZooKeeper ensemble.

One after the other, in an order by chance. After each of them every partition must acknowledge new records before the
victim is started again, and all be whole before the next one; after every tenth all records are read back.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import NamedTuple

from engine.chaos.clients import Shared
from engine.chaos.cluster import ChaosCluster, View
from engine.chaos.counted_faults import CountedFaults, Say
from engine.chaos.workload import SAFE, Workload
from engine.supervisor.broker_supervision import CommandError

LEADER, CONTROLLER, ZOOKEEPER = "kill of a leader", "kill of the controller", "kill of ZooKeeper's leader"
_LOAD_S = (0.3, 2.0)
_KILLS_A_ROUND = 10
_POLL_S = 0.1


class Kills(NamedTuple):
    """How many of each."""

    leaders: int = 0
    controllers: int = 0
    zookeeper_leaders: int = 0

    def __str__(self) -> str:
        return (
            f"{self.leaders} of leaders, {self.controllers} of the controller, "
            f"{self.zookeeper_leaders} of ZooKeeper's leader"
        )

    def kinds(self) -> list[str]:
        """One entry a kill."""
        return [LEADER] * self.leaders + [CONTROLLER] * self.controllers + [ZOOKEEPER] * self.zookeeper_leaders


NO_KILLS = Kills()


class CoordinationKills(CountedFaults):
    """All of :class:`Kills`."""

    def __init__(
        self,
        cluster: ChaosCluster,
        workload: Workload,
        shared: Shared,
        rng: random.Random,
        say: Say,
        *,
        kills: Kills,
        whole_within_s: float,
    ) -> None:
        super().__init__(cluster, workload, shared, rng, say, whole_within_s=whole_within_s)
        self._kinds = kills.kinds()

    @property
    def summary(self) -> str:
        done = Kills(self.done[LEADER], self.done[CONTROLLER], self.done[ZOOKEEPER])
        return f"SIGKILLs: {done}; acknowledged records lost: {len(self.lost)}"

    async def run(self) -> None:
        self._rng.shuffle(self._kinds)
        for number, kind in enumerate(self._kinds, 1):
            await asyncio.sleep(self._rng.uniform(*_LOAD_S))
            if self._stopping:
                return
            if kind == ZOOKEEPER:
                await self._kill_zookeepers_leader()
            else:
                await self._kill_broker(kind)
            if number % _KILLS_A_ROUND == 0 or number == len(self._kinds):
                await self._check(f"kill {number} of {len(self._kinds)}")
            else:
                missing = await self._cluster.wait_whole(self._whole_within_s)
                if missing:
                    self.failures.append(f"after kill {number}, {kind}, it is not whole: {missing}")

    async def _kill_broker(self, kind: str) -> None:
        victim = await self._victim(kind)
        self._note(kind, f"SIGKILL of broker {victim}, {'the controller' if kind == CONTROLLER else 'which leads'}")
        await self._cluster.kill(victim)
        await self._acknowledged_again(f"{kind}, broker {victim}")
        await self._start(victim)

    async def _victim(self, kind: str) -> int:
        """The controller, or a leader of a safe partition that is not the controller, as soon as there is one."""
        deadline = time.monotonic() + self._whole_within_s
        while True:
            view = await self._cluster.any_view()
            found = self._choose(kind, view)
            if found in self._cluster.alive():
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"there is nobody for a {kind}: controller {view.controller}")
            await asyncio.sleep(_POLL_S)

    def _choose(self, kind: str, view: View) -> int:
        if kind == CONTROLLER:
            return view.controller
        led = sorted({each.leader for (topic, _), each in view.partitions.items() if topic == SAFE})
        others = [each for each in led if each != view.controller]
        return self._rng.choice(others or led or [-1])

    async def _kill_zookeepers_leader(self) -> None:
        ensemble = self._cluster.zookeeper
        assert ensemble is not None, "there is a ZooKeeper"
        try:
            (server,) = await ensemble.act("kill", "leader")
            self._note(ZOOKEEPER, f"SIGKILL of ZooKeeper server {server.server_id}, which led")
            # Its successor is elected meanwhile; partitions that lead need nobody.
            await self._acknowledged_again(f"{ZOOKEEPER}, server {server.server_id}")
            await asyncio.sleep(self._rng.uniform(*_LOAD_S))
            await ensemble.act("start", [server.server_id])
        except CommandError as error:
            self.failures.append(str(error))

    async def _acknowledged_again(self, after: str) -> None:
        if not await asyncio.to_thread(self._workload.wait_acknowledged, self._whole_within_s):
            self.failures.append(f"after {after}: not every partition acknowledges records")

    def _note(self, kind: str, what: str) -> None:
        self.done[kind] += 1
        self.fault_times_ns.append((time.monotonic_ns(), kind))
        self._say(what)
