"""Makes faults, one after the other or several at once, as the seed has it, and heals all of them at the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from engine.sim.cluster import SimCluster
from engine.sim.options import Options


class Nemesis:
    """Runs outside of every process. :attr:`done` counts faults by kind, :attr:`story` tells them with their times."""

    def __init__(self, cluster: SimCluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options
        self._rng = random.Random(f"nemesis {options.seed}")
        self.done: Counter[str] = Counter()
        self.story: list[str] = []
        self.on_told: Callable[[str], None] | None = None
        self._start_s = cluster.loop.time()
        self._acts: dict[str, Callable[[], str]] = {
            "kill": self._kill,
            "pause": self._pause,
            "cut": self._cut,
            "reset": self._reset,
            "power": self._power,
            "power-all": self._power_all,
            "disk": self._disk,
            "slow-disk": self._slow_disk,
            "clock": self._clock,
            "stop": self._stop,
            "hiccup": self._hiccup,
        }

    def tell(self, what: str) -> None:
        """Note what happened, with its time."""
        self.story.append(f"{self._cluster.loop.time() - self._start_s:9.4f}  {what}")
        if self.on_told is not None:
            self.on_told(what)

    async def run(self) -> None:
        """Make faults until the time is up; then heal."""
        loop = self._cluster.loop
        end_s = loop.time() + self._options.seconds
        while True:
            pause_s = self._rng.expovariate(1 / self._options.fault_interval_s)
            left_s = end_s - loop.time()
            if pause_s >= left_s:
                await asyncio.sleep(max(0.0, left_s))
                break
            await asyncio.sleep(pause_s)
            if self._options.faults:
                kind = self._rng.choice(self._options.faults)
                what = self._acts[kind]()
                if what:
                    self.done[kind] += 1
                    self.tell(what)
        self.heal()

    def _up(self) -> list[int]:
        return [node_id for node_id, machine in self._cluster.machines.items() if machine.is_up]

    def _some_up(self) -> int | None:
        up = self._up()
        return self._rng.choice(up) if up else None

    def _later(self, longest_s: float, act: Callable[[], object]) -> float:
        delay_s = self._rng.uniform(0.01, longest_s)
        self._cluster.loop.call_later(delay_s, act)
        return delay_s

    def _restart(self, node_id: int) -> None:
        machine = self._cluster.machines[node_id]
        if not machine.is_up:
            self.tell(f"start {node_id}")
            self._cluster.start(node_id)

    def _kill(self) -> str:
        victims = self._up()
        if not victims:
            return ""
        everyone = self._rng.random() < 0.1
        chosen = victims if everyone else [self._rng.choice(victims)]
        for node_id in chosen:
            self._cluster.kill(node_id)
            self._later(8.0, lambda node_id=node_id: self._restart(node_id))  # type: ignore[misc]
        return f"kill {chosen}"

    def _stop(self) -> str:
        node_id = self._some_up()
        if node_id is None or self._cluster.machines[node_id].broker is None:
            return ""

        async def stop() -> None:
            await self._cluster.stop(node_id)
            await asyncio.sleep(self._rng.uniform(0.01, 3))
            self._restart(node_id)

        self._keep(asyncio.get_running_loop().create_task(stop()))
        return f"stop {node_id}"

    _kept: dict[asyncio.Task[None], None] | None = None

    def _keep(self, task: asyncio.Task[None]) -> None:
        if self._kept is None:
            self._kept = {}
        self._kept[task] = None

    def _pause(self) -> str:
        node_id = self._some_up()
        if node_id is None:
            return ""
        self._cluster.pause(node_id)
        delay_s = self._later(self._rng.choice((0.3, 2.0, 15.0)), lambda: self._cluster.resume(node_id))
        return f"pause {node_id} for {delay_s:.2f} s"

    def _cut(self) -> str:
        names = [machine.name for machine in self._cluster.machines.values()]
        first, second = self._rng.sample(names, 2)
        pairs = [(first, second)]
        kind = self._rng.random()
        if kind < 0.4:
            pairs.append((second, first))
        elif kind < 0.7:
            # One machine alone, cut off from all others.
            pairs = [pair for each in names if each != first for pair in ((first, each), (each, first))]
        for source, target in pairs:
            self._cluster.fabric.cut(source, target)

        def heal() -> None:
            for source, target in pairs:
                self._cluster.fabric.heal(source, target)

        delay_s = self._later(self._rng.choice((0.5, 5.0, 20.0)), heal)
        return f"cut {' '.join(f'{source}>{target}' for source, target in pairs)} for {delay_s:.2f} s"

    def _reset(self) -> str:
        names = [machine.name for machine in self._cluster.machines.values()]
        first, second = self._rng.sample(names, 2)
        broken = self._cluster.fabric.reset_connections(first, second)
        return f"reset {broken} connections between {first} and {second}" if broken else ""

    def _power(self) -> str:
        node_id = self._some_up()
        if node_id is None:
            return ""
        self._cluster.cut_power(node_id)
        self._later(8.0, lambda: self._restart(node_id))
        return f"power {node_id}"

    def _power_all(self) -> str:
        victims = self._up()
        if self._rng.random() < 0.6 or not victims:
            return ""
        for node_id in victims:
            self._cluster.cut_power(node_id)
            self._later(4.0, lambda node_id=node_id: self._restart(node_id))  # type: ignore[misc]
        return f"power {victims}"

    def _disk(self) -> str:
        """One machine's disk fails or is full; one at a time, which is what the promise speaks of."""
        machines = self._cluster.machines
        if any(machine.disk.failing or machine.disk.room_bytes is not None for machine in machines.values()):
            return ""
        node_id = self._rng.choice(sorted(machines))
        disk = machines[node_id].disk
        kind = self._rng.choice(("sync", "write", "full"))
        if kind == "full":
            disk.room_bytes = self._rng.randint(0, 2000)
        else:
            disk.failing.add(kind)

        def heal() -> None:
            disk.failing.clear()
            disk.room_bytes = None
            # A broker whose disk failed has left; an operator starts it again.
            self._restart(node_id)

        delay_s = self._later(5.0, heal)
        return f"disk {node_id} {kind} for {delay_s:.2f} s"

    def _slow_disk(self) -> str:
        node_id = self._rng.choice(sorted(self._cluster.machines))
        disk = self._cluster.machines[node_id].disk
        before, disk.delay_s = disk.delay_s, (0.01, self._rng.choice((0.1, 1.0)))
        delay_s = self._later(5.0, lambda: setattr(disk, "delay_s", before))
        return f"slow disk {node_id} for {delay_s:.2f} s"

    def _clock(self) -> str:
        node_id = self._rng.choice(sorted(self._cluster.machines))
        clock = self._cluster.machines[node_id].clock
        clock.skew_ms = self._rng.choice((-3_600_000, -5_000, 0, 5_000, 3_600_000))
        return f"clock {node_id} {clock.skew_ms:+d} ms"

    def _hiccup(self) -> str:
        timing = self._cluster.fabric.timing
        before, timing.hiccup_chance = timing.hiccup_chance, 0.05
        delay_s = self._later(3.0, lambda: setattr(timing, "hiccup_chance", before))
        return f"hiccups for {delay_s:.2f} s"

    def heal(self) -> None:
        """End every fault: power, disks, links; resume and start what is paused or down."""
        self.tell("heal")
        cluster = self._cluster
        cluster.fabric.heal()
        cluster.fabric.timing.hiccup_chance = 0.0
        for node_id, machine in cluster.machines.items():
            machine.disk.failing.clear()
            machine.disk.room_bytes = None
            machine.disk.delay_s = (0.0001, 0.002)
            machine.clock.skew_ms = 0
            cluster.resume(node_id)
            self._restart(node_id)
