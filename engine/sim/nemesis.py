"""Makes faults, one after the other or several at once, as the seed has it, and heals all of them at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from engine.sim.clock_faults import ClockFaults
from engine.sim.cluster import SimCluster
from engine.sim.disk import USUAL_DELAY_S
from engine.sim.disk_faults import DiskFaults
from engine.sim.fault_kit import Act, FaultKit
from engine.sim.network_faults import NetworkFaults
from engine.sim.options import FAULTS, Options
from engine.sim.process_faults import ProcessFaults
from engine.sim.rot_faults import RotFaults


class Nemesis:
    """Runs outside of every process. :attr:`done` counts faults by kind, :attr:`story` tells them with their times."""

    def __init__(self, cluster: SimCluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options
        self._kit = FaultKit(cluster, options)
        processes = ProcessFaults(self._kit)
        self._acts: dict[str, Act] = {
            **processes.acts(),
            **NetworkFaults(self._kit).acts(),
            **DiskFaults(self._kit).acts(),
            **RotFaults(self._kit).acts(),
            **ClockFaults(self._kit).acts(),
        }
        assert set(self._acts) == set(FAULTS), set(self._acts) ^ set(FAULTS)
        # Told of each partition whose leader acknowledged a batch with acks=all.
        self.on_acknowledged = processes.on_acknowledged
        cluster.fact_listeners.append(processes.on_fact)

    @property
    def done(self) -> Counter[str]:
        """Faults by kind."""
        return self._kit.done

    @property
    def story(self) -> list[str]:
        """What happened, with its times."""
        return self._kit.story

    def watch(self, on_told: Callable[[str], None]) -> None:
        """Have ``on_told`` called with everything that is noted, as it happens."""
        self._kit.on_told = on_told

    def tell(self, what: str) -> None:
        """Note what happened, with its time."""
        self._kit.tell(what)

    async def run(self) -> None:
        """Make faults until the time is up; then heal."""
        loop, rng = self._cluster.loop, self._kit.rng
        end_s = loop.time() + self._options.seconds
        while True:
            pause_s = rng.expovariate(1 / self._options.fault_interval_s)
            left_s = end_s - loop.time()
            if pause_s >= left_s:
                await asyncio.sleep(max(0.0, left_s))
                break
            await asyncio.sleep(pause_s)
            if self._options.faults:
                kind = rng.choice(self._options.faults)
                what = self._acts[kind]()
                if what:
                    self._kit.struck(kind, what)
        self.heal()

    def heal(self) -> None:
        """End every fault: power, disks, links; resume and start what is paused or down."""
        self.tell("heal")
        self._kit.is_healed = True
        cluster = self._cluster
        cluster.fabric.heal_all()
        cluster.fabric.timing.hiccup_chance = 0.0
        for node_id, machine in cluster.machines.items():
            machine.disk.failing.clear()
            machine.disk.room_bytes = None
            machine.disk.delay_s = USUAL_DELAY_S
            machine.disk.go_on()
            machine.clock.set_right()
            cluster.resume(node_id)
            self._kit.restart(node_id)
