"""What every kind of fault needs: the cluster, the seed's choices, a clock to end by, a story to tell it in."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from engine.sim.cluster import Machine, SimCluster
from engine.sim.options import Options

Act = Callable[[], str]
"""Makes a fault; says what was done, or nothing if there was no place for it."""


class FaultKit:
    """One for a run. ``done`` counts faults by kind, ``story`` tells them with their times."""

    def __init__(self, cluster: SimCluster, options: Options) -> None:
        self.cluster = cluster
        self.options = options
        self.rng = random.Random(f"nemesis {options.seed}")
        self.done: Counter[str] = Counter()
        self.story: list[str] = []
        self.on_told: Callable[[str], None] | None = None
        # Faults are over: what was put off does nothing any more.
        self.is_healed = False
        self._start_s = cluster.loop.time()
        self._tasks: dict[asyncio.Task[None], None] = {}

    def tell(self, what: str) -> None:
        """Note what happened, with its time."""
        self.story.append(f"{self.cluster.loop.time() - self._start_s:9.4f}  {what}")
        if self.on_told is not None:
            self.on_told(what)

    def struck(self, kind: str, what: str) -> None:
        """A fault that had lain in wait happened."""
        self.done[kind] += 1
        self.tell(what)

    # -- machines -----------------------------------------------------------------------------------------------

    def up(self) -> list[int]:
        """Brokers that run."""
        return [node_id for node_id, machine in self.cluster.machines.items() if machine.is_up]

    def some_up(self) -> int | None:
        """One of them."""
        up = self.up()
        return self.rng.choice(up) if up else None

    def some_machine(self) -> Machine:
        """Any broker's, up or not."""
        return self.cluster.machines[self.rng.choice(sorted(self.cluster.machines))]

    def broker_names(self) -> list[str]:
        """Of all machines with brokers."""
        return [machine.name for machine in self.cluster.machines.values()]

    def kill(self, node_id: int, within_s: float) -> None:
        """SIGKILL; it is started again within so many seconds."""
        self.cluster.kill(node_id)
        self.later(within_s, lambda: self.restart(node_id))

    def restart(self, node_id: int) -> None:
        """Start the broker if it is down."""
        machine = self.cluster.machines.get(node_id)
        if machine is not None and not machine.is_up:
            self.tell(f"start {node_id}")
            self.cluster.start(node_id)

    # -- time ---------------------------------------------------------------------------------------------------

    def later(self, longest_s: float, act: Callable[[], object]) -> float:
        """Do something within so many seconds; when."""
        delay_s = self.rng.uniform(0.01, longest_s)
        self.cluster.loop.call_later(delay_s, act)
        return delay_s

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that takes its time, outside of every process."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
