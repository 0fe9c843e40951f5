"""Positive controls: faults under which records must be lost, for a checker that never reports loss shows nothing.

With acks=1 a leader acknowledges what nobody else has. With unclean elections a replica that was left behind becomes
leader, and what was acknowledged meanwhile is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from engine.chaos.cluster import ChaosCluster, PartitionView
from engine.chaos.workload import UNCLEAN, WEAK
from engine.supervisor.broker_supervision import CommandError

Say = Callable[[str], None]

_BEHIND_S = 0.7
_CHANGE_S = 30.0


class Control(ABC):
    """Rounds of one recipe, until it is stopped."""

    def __init__(self, cluster: ChaosCluster, say: Say) -> None:
        self._cluster = cluster
        self._say = say
        self._stopping = False
        self.done: Counter[str] = Counter()
        self.fault_times_ns: list[tuple[int, str]] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        """Until :meth:`stop`; the round that is under way is ended."""
        while not self._stopping:
            await self.round()

    @abstractmethod
    async def round(self) -> None:
        """Lose something."""

    def stop(self) -> None:
        """Begin no more."""
        self._stopping = True

    async def heal(self) -> None:
        """Everything runs, the network lets all pass."""
        self._cluster.proxy.heal()
        for broker_id in self._cluster.broker_ids:
            with contextlib.suppress(CommandError):
                await self._cluster.ensure_running(broker_id)

    async def _kill(self, broker_id: int) -> None:
        self.done["kill"] += 1
        self.fault_times_ns.append((time.monotonic_ns(), "kill"))
        await self._cluster.kill(broker_id)

    async def _partition(self, topic: str, holds: Callable[[PartitionView], bool]) -> PartitionView | None:
        """Wait until it is so; None: it does not become so."""
        deadline = time.monotonic() + _CHANGE_S
        while time.monotonic() < deadline:
            found = (await self._cluster.any_view()).partitions.get((topic, 0))
            if found is not None and holds(found):
                return found
            await asyncio.sleep(0.05)
        self._say(f"{topic}-0 is not as the recipe needs it")
        return None


class LoseByAcks1(Control):
    """The leader's followers do not hear it for a moment, it acknowledges on, and dies."""

    async def round(self) -> None:
        cluster = self._cluster
        found = await self._partition(WEAK, lambda each: each.leader >= 0 and len(each.isr) == 3)
        if found is None:
            return
        leader = found.leader
        self._say(f"broker {leader} leads {WEAK}-0: nobody hears it for {_BEHIND_S:g} s, then SIGKILL")
        cluster.proxy.isolate(leader, cluster.broker_ids - {leader}, one_way=True)
        self.done["partition (one way)"] += 1
        await asyncio.sleep(_BEHIND_S)
        await self._kill(leader)
        cluster.proxy.heal(resets=True)
        await self._partition(WEAK, lambda each: each.leader not in (-1, leader))
        await asyncio.sleep(_BEHIND_S)
        await cluster.ensure_running(leader)


class LoseByUncleanElection(Control):
    """One of two replicas is dead while records are acknowledged; it comes back when the other one is dead."""

    async def round(self) -> None:
        cluster = self._cluster
        found = await self._partition(UNCLEAN, lambda each: each.leader >= 0 and len(each.isr) == 2)
        if found is None:
            return
        leader = found.leader
        (follower,) = set(found.replicas) - {leader}
        self._say(f"broker {follower} is dead while broker {leader} leads {UNCLEAN}-0 alone; then the other way round")
        await self._kill(follower)
        await self._partition(UNCLEAN, lambda each: each.isr == (leader,))
        await asyncio.sleep(_BEHIND_S)
        await self._kill(leader)
        await cluster.ensure_running(follower)
        await self._partition(UNCLEAN, lambda each: each.leader == follower)
        self.done["unclean election"] += 1
        await asyncio.sleep(_BEHIND_S)
        await cluster.ensure_running(leader)
