"""Simulated machines with whole brokers on them: started, killed, paused, cut off, left without power."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.broker.broker import Broker, LogDirsRefused
from engine.model.broker_config import BrokerConfig
from engine.model.errors import KafkaError
from engine.model.ids import uuid_to_str
from engine.sim.disk import SimDisk
from engine.sim.loop import Incarnation, SimLoop
from engine.sim.network import Fabric, LinkTiming
from engine.sim.told import Told
from engine.sim.world import SimClock, SimRandom, SimWorld

CLIENT_PORT = 9092
CONTROLLER_PORT = 9093
# With the metadata log; others that a broker may have.
LOG_DIR = "/data"
OTHER_LOG_DIRS = ("/data-2", "/data-3")

Fact = dict[str, Any]


def machine_name(node_id: int) -> str:
    """The host name of a broker's machine."""
    return f"broker-{node_id}"


class Machine:
    """A broker's machine: its disk and clock outlive the processes."""

    def __init__(self, node_id: int, disk: SimDisk, clock: SimClock) -> None:
        self.node_id = node_id
        self.name = machine_name(node_id)
        self.disk = disk
        self.clock = clock
        self.lives = 0
        self.process: Incarnation | None = None
        self.broker: Broker | None = None
        self.exit: str | None = None

    @property
    def is_up(self) -> bool:
        """Whether a process runs (it may be paused)."""
        return self.process is not None

    @property
    def serves(self) -> bool:
        """Whether its broker has started."""
        return self.broker is not None and self.broker._started


class SimCluster:
    """A cluster of combined nodes, every one a voter, and the world around it. Brokers that join are no voters."""

    def __init__(
        self,
        loop: SimLoop,
        seed: int,
        *,
        brokers: int = 3,
        configs: Mapping[str, str] | None = None,
        timing: LinkTiming | None = None,
        log_dirs: int = 1,
    ) -> None:
        self.loop = loop
        self.rng = random.Random(f"cluster {seed}")
        self.fabric = Fabric(loop, random.Random(f"network {seed}"), timing)
        self._configs = dict(configs or {})
        self.log_dirs = (LOG_DIR, *OTHER_LOG_DIRS[: log_dirs - 1])
        self._seed = seed
        self._start_s = start_s = loop.time()
        self.machines = {
            node_id: Machine(node_id, SimDisk(random.Random(f"disk {seed} {node_id}")), SimClock(loop, start_s))
            for node_id in range(1, brokers + 1)
        }
        self.voters = tuple(self.machines)
        self.cluster_id = uuid_to_str(SimRandom(self.rng).uuid())
        self.clients_clock = SimClock(loop, start_s)
        self._next_node_id = brokers + 1
        self._clients = 0
        self.told = Told()
        self.client_machines: list[str] = []
        # Notes and other facts of all brokers, in their order, and who wants to hear of them.
        self.facts: list[Fact] = []
        self.fact_listeners: list[Callable[[Fact], None]] = []
        for machine in self.machines.values():
            self._format(machine)

    @property
    def min_insync_replicas(self) -> int:
        """The brokers' min.insync.replicas."""
        return 2 if len(self.machines) >= 3 else 1

    @property
    def bootstrap(self) -> list[tuple[str, int]]:
        """Where clients begin."""
        return [(machine_name(node_id), CLIENT_PORT) for node_id in self.voters]

    def _format(self, machine: Machine) -> None:
        """What ``kafka-storage format`` does."""
        disk = machine.disk
        for path in self.log_dirs:
            disk.make_dirs(path)
            disk.sync_dir("/")
            lines = (
                "version=1",
                f"cluster.id={self.cluster_id}",
                f"node.id={machine.node_id}",
                f"directory.id={uuid_to_str(SimRandom(self.rng).uuid())}",
            )
            disk.write_atomic(f"{path}/meta.properties", "\n".join(lines).encode() + b"\n")

    def properties(self, node_id: int) -> dict[str, str]:
        """The node's server.properties."""
        name = machine_name(node_id)
        voters = ",".join(f"{each}@{machine_name(each)}:{CONTROLLER_PORT}" for each in self.voters)
        is_voter = node_id in self.voters
        controller = f",CONTROLLER://{name}:{CONTROLLER_PORT}" if is_voter else ""
        return {
            "node.id": str(node_id),
            "process.roles": "broker,controller" if is_voter else "broker",
            "listeners": f"PLAINTEXT://{name}:{CLIENT_PORT}{controller}",
            "advertised.listeners": f"PLAINTEXT://{name}:{CLIENT_PORT}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "log.dirs": ",".join(self.log_dirs),
            "broker.rack": f"rack-{node_id}",
            "default.replication.factor": str(min(3, len(self.voters))),
            "min.insync.replicas": str(self.min_insync_replicas),
            "offsets.topic.replication.factor": str(min(3, len(self.voters))),
            "offsets.topic.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            "group.consumer.min.session.timeout.ms": "6000",
            "group.consumer.session.timeout.ms": "6000",
            "group.consumer.min.heartbeat.interval.ms": "1000",
            "group.consumer.heartbeat.interval.ms": "1000",
            **self._configs,
        }

    # -- machines that come and go --------------------------------------------------------------------------------

    def add_machine(self) -> int:
        """Another machine, formatted for a broker that is no voter; its node id, which nobody had before."""
        node_id = self._next_node_id
        self._next_node_id += 1
        disk = SimDisk(random.Random(f"disk {self._seed} {node_id}"))
        machine = self.machines[node_id] = Machine(node_id, disk, SimClock(self.loop, self._start_s))
        self._format(machine)
        return node_id

    def remove_machine(self, node_id: int) -> None:
        """The machine is taken away, with everything on it."""
        self.kill(node_id)
        del self.machines[node_id]

    # -- processes ----------------------------------------------------------------------------------------------

    def start(self, node_id: int) -> asyncio.Task[None]:
        """Start the broker's process; the task ends when it serves, or when it failed to."""
        machine = self.machines[node_id]
        assert machine.process is None, f"broker {node_id} runs already"
        machine.lives += 1
        machine.exit = None
        process = machine.process = Incarnation(f"{machine.name}#{machine.lives}")
        self.fabric.dark_machines = self.fabric.dark_machines - {machine.name}
        rng = random.Random(self.rng.getrandbits(64))
        world = SimWorld(self.fabric, process, machine.clock, machine.disk, rng)
        config = BrokerConfig.from_properties(self.properties(node_id))

        async def run() -> None:
            broker = machine.broker = Broker(world, config, sink=self._take_fact)
            asyncio.get_running_loop().create_task(self._watch(machine, broker))
            try:
                await broker.start()
            except (OSError, ValueError, KafkaError, LogDirsRefused) as error:
                self._exited(machine, f"start failed: {error}")

        return self.loop.spawn(process, run())

    async def _watch(self, machine: Machine, broker: Broker) -> None:
        """A broker that cannot go on ends its process, as engine.broker.main does."""
        await broker.failed.wait()
        why = "failed"
        try:
            await broker.stop(controlled=False)
        except (OSError, KafkaError) as error:
            why = f"failed: {error}"
        self._exited(machine, why)

    def _exited(self, machine: Machine, why: str) -> None:
        machine.exit = why
        self.kill(machine.node_id)

    def repair(self, node_id: int) -> bool:
        """What an operator does about log directories that are offline though their disk works, and about corrupt
        replicas that are the last ones in sync: start the broker again. Whether there were any."""
        machine = self.machines[node_id]
        broker = machine.broker
        if broker is None or not (broker.offline_log_dirs or _has_last_of_its_kind(broker)):
            return False
        self.kill(node_id)
        self.start(node_id)
        return True

    def _take_fact(self, line: bytes) -> bool:
        fact = json.loads(line)
        self.facts.append(fact)
        for listener in self.fact_listeners:
            listener(fact)
        return True

    async def start_all(self) -> None:
        """Start every broker and wait until all serve."""
        await asyncio.gather(*(self.start(node_id) for node_id in self.machines))

    def kill(self, node_id: int) -> None:
        """SIGKILL: what was written stays, connections are reset."""
        self._end(node_id, silently=False)

    def cut_power(self, node_id: int) -> None:
        """The machine stops: nothing that was not synced is sure to stay, and peers hear nothing."""
        machine = self.machines[node_id]
        was_up = self._end(node_id, silently=True)
        if was_up:
            machine.disk.on_power_lost()
        self.fabric.dark_machines = self.fabric.dark_machines | {machine.name}

    def _end(self, node_id: int, *, silently: bool) -> bool:
        machine = self.machines[node_id]
        process = machine.process
        if process is None:
            return False
        machine.process = None
        machine.broker = None
        self.loop.kill(process)
        self.fabric.on_process_died(process, silently=silently)
        machine.disk.on_process_died()
        return True

    def pause(self, node_id: int) -> None:
        """SIGSTOP."""
        process = self.machines[node_id].process
        if process is not None:
            self.loop.pause(process)

    def resume(self, node_id: int) -> None:
        """SIGCONT, if it is there."""
        process = self.machines[node_id].process if node_id in self.machines else None
        if process is not None and process.is_paused:
            self.loop.resume(process)

    async def stop(self, node_id: int) -> None:
        """SIGTERM: a controlled shutdown; then the process is gone."""
        machine = self.machines[node_id]
        process, broker = machine.process, machine.broker
        if process is None or broker is None:
            return
        await self.loop.spawn(process, broker.stop(controlled=True))
        if machine.process is process:
            self._end(node_id, silently=False)

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Who looks at the brokers' logs meanwhile is not met by disks that cannot be read."""
        unreadable = [machine.disk for machine in self.machines.values() if "read" in machine.disk.failing]
        for disk in unreadable:
            disk.failing.discard("read")
        try:
            yield
        finally:
            for disk in unreadable:
                disk.failing.add("read")

    # -- clients ------------------------------------------------------------------------------------------------

    def client(self, name: str = "client") -> tuple[Incarnation, SimWorld]:
        """A process on a machine of its own, to run clients in."""
        self._clients += 1
        self.client_machines.append(f"{name}-{self._clients}")
        process = Incarnation(f"{name}-{self._clients}#1")
        rng = random.Random(self.rng.getrandbits(64))
        return process, SimWorld(self.fabric, process, self.clients_clock, SimDisk(rng), rng)


def _has_last_of_its_kind(broker: Broker) -> bool:
    """Whether a corrupt replica is the only one in sync: the others may copy what they lack from what is left of it."""
    if not hasattr(broker, "replicas"):
        return False
    log_dirs, image = broker.log_dirs, broker.metadata.image
    return any(
        log_dirs.is_corrupt(each) and (state := image.partition(*each)) is not None and state.leader < 0
        for each in log_dirs.offline_logs
    )
