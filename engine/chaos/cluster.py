"""Real broker processes behind the proxy: each with its log, its clock, its disk, and a look past the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.chaos.machine import Machine, OwnDisk, forget_faked_clock
from engine.chaos.power import PowerDisk
from engine.chaos.proxy import Proxy
from engine.client.connection import Connection
from engine.client.errors import ClientError
from engine.supervisor.broker_process import python_command
from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.ports import Ports, choose_addresses, choose_zookeeper_ports
from engine.supervisor.server_properties import Address, broker_properties, properties_text
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import (
    AUTO_PORT,
    BrokerSpec,
    ClusterSpec,
    RestartSpec,
    WorkloadSpec,
    ZooKeeperSpec,
)
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.supervisor.zookeeper_installation import find_zookeeper
from engine.wire.messages.metadata_request import MetadataRequest
from engine.world import World

HOST = "127.0.0.1"
_METADATA_VERSION = 12
_LOOK_MS = 1000.0
_DISK_BYTES = 4 << 30
# Of an image that only takes what is written to it.
_POWER_DISK_BYTES = 4 << 30
# Brokers and controllers give each other up within seconds, so that a short run sees it often; segments roll.
CONFIGS = {
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "4000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "5",
    "offsets.topic.segment.bytes": "1048576",
    "log.segment.bytes": "4194304",
    "auto.create.topics.enable": "false",
}


def cluster_spec(brokers: int, durability: str, zookeeper_servers: int = 0) -> ClusterSpec:
    """So many brokers; nothing is restarted by itself: what ends unasked is the nemesis' business.

    ``durability`` as in a cluster file, or ``mixed``: the last broker syncs each record, the others do not.
    ``zookeeper_servers``: coordinated by so many, not by a quorum.
    """
    own: dict[int, dict[str, str]] = {brokers: {"log.flush.interval.messages": "1"}} if durability == "mixed" else {}
    return ClusterSpec(
        durability="fsync" if durability == "fsync" else "page-cache",
        configs=dict(CONFIGS),
        brokers=tuple(
            BrokerSpec(broker_id, HOST, AUTO_PORT, AUTO_PORT, None, own.get(broker_id, {}))
            for broker_id in range(1, brokers + 1)
        ),
        topics=(),
        workload=WorkloadSpec(start=False, producers=(), groups=()),
        restart=RestartSpec("never", 1000, 1000, 1, 1000),
        zookeeper=ZooKeeperSpec(zookeeper_servers, "") if zookeeper_servers else None,
    )


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition in a broker's metadata."""

    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A broker's metadata. ``controller`` is -1 where it knows none."""

    brokers: frozenset[int] = frozenset()
    controller: int = -1
    partitions: Mapping[tuple[str, int], PartitionView] = field(default_factory=dict)

    def whole(self, broker_ids: frozenset[int]) -> str:
        """What is missing; empty if all brokers are there and every replica is in sync."""
        if self.brokers != broker_ids:
            return f"brokers {sorted(broker_ids - self.brokers)} are not there"
        for (topic, number), each in sorted(self.partitions.items()):
            if each.leader not in each.isr or set(each.isr) != set(each.replicas):
                return f"{topic}-{number}: leader {each.leader}, replicas {each.replicas}, in sync {each.isr}"
        return ""


class ChaosCluster:
    """The brokers from :meth:`start` to :meth:`close`."""

    def __init__(
        self,
        world: World,
        directory: str,
        spec: ClusterSpec,
        machine: Machine,
        *,
        has_power_disks: bool = False,
        broker_module: str = "engine.broker",
    ) -> None:
        """``has_power_disks``: :meth:`cut_power` will be used. ``broker_module`` is what a broker's process runs."""
        self._has_power_disks = has_power_disks
        self._broker_module = broker_module
        self._world = world
        self._machine = machine
        self._data_dir = DataDir(world, directory)
        self.bus = FactBus(world.clock)
        self.bus.listen(self._on_fact)
        self.proxy = Proxy()
        self.spec = spec
        self.brokers: dict[int, BrokerSupervision] = {}
        self.disks: dict[int, OwnDisk] = {}
        self.power_disks: dict[int, PowerDisk] = {}
        self.ends: Counter[str] = Counter()
        """How processes of brokers ended, by exit codes (negative: by that signal)."""
        self._ports = Ports(world.random)
        self.listeners, self.doors = self._addresses()
        self.zookeeper = self._ensemble()

    def _on_fact(self, fact: Fact) -> None:
        if fact["type"] == "note" and fact["kind"] in ("process_stopped", "process_exited"):
            self.ends[f"exit code {fact['detail']['exit_code']}"] += 1
            if "clock" in self._machine.faults:
                forget_faked_clock(fact["detail"]["pid"])

    def _addresses(self) -> tuple[dict[int, Address], dict[int, Address]]:
        """Where brokers listen, and where they say they do."""
        listeners, _ = choose_addresses(self.spec, {}, self._ports)
        doors, _ = choose_addresses(self.spec, {}, self._ports)
        return listeners, doors

    def _ensemble(self) -> ZooKeeperEnsemble | None:
        """Raises: ZooKeeperMissing: no server can be run here."""
        wanted = self.spec.zookeeper
        if wanted is None:
            return None
        ports = choose_zookeeper_ports(wanted.servers, {}, self._ports)
        return ZooKeeperEnsemble(
            self._world,
            self.bus,
            self._data_dir,
            ports,
            find_zookeeper(os.environ),
            self.spec.restart,
            is_synced=self.spec.durability == "fsync",
        )

    @property
    def broker_ids(self) -> frozenset[int]:
        """All of them."""
        return frozenset(self.listeners)

    @property
    def bootstrap(self) -> str:
        """For clients: the proxy's doors."""
        return ",".join(str(address) for address in self.doors.values())

    async def start(self) -> None:
        """Start everything. Raises: CommandError, OSError: it does not work."""
        cluster_id = self._data_dir.new_id()
        for broker in self.spec.brokers:
            self._prepare(broker, cluster_id)
        if self.zookeeper is not None:
            await self.zookeeper.start()
        await asyncio.gather(*(broker.start("chaos begins") for broker in self.brokers.values()))
        await asyncio.gather(*(broker.wait_ready() for broker in self.brokers.values()))

    def _prepare(self, broker: BrokerSpec, cluster_id: str) -> None:
        broker_id, data_dir = broker.broker_id, self._data_dir
        listener, door = self.listeners[broker_id], self.doors[broker_id]
        self.proxy.add_door(broker_id, (HOST, door.port), (HOST, listener.port))
        self.proxy.add_door(broker_id, (HOST, door.controller_port), (HOST, listener.controller_port))
        log_dir = data_dir.log_dir(broker_id)
        if "disk-full" in self._machine.faults:
            self.disks[broker_id] = OwnDisk(log_dir, _DISK_BYTES)
        if self._has_power_disks:
            self.power_disks[broker_id] = PowerDisk(log_dir, _POWER_DISK_BYTES)
        # Everybody is to come through the proxy, brokers and voters too.
        if self.zookeeper is None:
            data_dir.format_log_dir(broker_id, cluster_id, data_dir.new_id())
            properties = broker_properties(self.spec, broker, self.listeners, log_dir)
            behind_doors = broker_properties(self.spec, broker, self.doors, log_dir)
            for name in ("advertised.listeners", "controller.quorum.voters"):
                properties[name] = behind_doors[name]
        else:
            self._world.disk.make_dirs(log_dir)
            connect = self.zookeeper.connect
            properties = broker_properties(self.spec, broker, self.listeners, log_dir, connect)
            # Controllers tell where they are as brokers do.
            behind_doors = broker_properties(self.spec, broker, self.doors, log_dir, connect)
            properties["advertised.listeners"] = behind_doors["advertised.listeners"]
        text = properties_text(properties, "written by engine.chaos")
        self._world.disk.write_atomic(data_dir.properties_file(broker_id), text.encode())
        self.set_clock(broker_id, 0)
        self.brokers[broker_id] = BrokerSupervision(
            self._world,
            self.bus,
            data_dir,
            broker_id,
            listener,
            self.spec.restart,
            command=lambda file: self._command(broker_id, file),
        )

    def _command(self, broker_id: int, properties_file: str) -> list[str]:
        command = python_command(self._broker_module, "--properties", properties_file)
        if "clock" not in self._machine.faults:
            return command
        faked = self._machine.faked_clock(self._clock_file(broker_id))
        return ["env", *(f"{name}={value}" for name, value in faked.items()), *command]

    # -- what the nemesis turns ---------------------------------------------------------------------------------

    def _clock_file(self, broker_id: int) -> str:
        return os.path.join(self._data_dir.broker_dir(broker_id), "clock")

    def set_clock(self, broker_id: int, seconds: float) -> None:
        """The broker's wall clock is wrong by this from now on."""
        # A file that is read while it is written must not be empty: it is replaced.
        self._world.disk.write_atomic(self._clock_file(broker_id), f"{seconds:+.3f}\n".encode())

    async def ensure_running(self, broker_id: int) -> None:
        """Resume or start the broker, whatever it is at. Raises: CommandError: it does not come up."""
        broker = self.brokers[broker_id]
        if broker.state is ProcessState.PAUSED:
            broker.resume()
        if not broker.is_alive:
            await broker.start("asked for by the nemesis")

    async def kill(self, broker_id: int) -> None:
        """SIGKILL, if it lives."""
        with contextlib.suppress(CommandError):
            await self.brokers[broker_id].kill()

    async def cut_power(self) -> None:
        """Of all brokers at once; the disks are mounted again then, and nothing runs. Raises ``OSError``."""
        # One after the other within milliseconds, nothing of ours between them. The processes still live while their
        # disks fail: what is on none of them must not be acknowledged.
        for disk in self.power_disks.values():
            disk.cut_power()
        await asyncio.gather(*map(self.kill, self.broker_ids))
        for disk in self.power_disks.values():
            await asyncio.to_thread(disk.power_on)

    def sync_disks(self) -> None:
        """What was written until now survives :meth:`cut_power`."""
        for disk in self.power_disks.values():
            disk.sync()

    def alive(self) -> list[int]:
        """Brokers with a process that is not paused."""
        up = (ProcessState.STARTING, ProcessState.RUNNING)
        return [broker_id for broker_id, broker in self.brokers.items() if broker.state in up]

    # -- a look past the proxy ----------------------------------------------------------------------------------

    async def view(self, broker_id: int) -> View | None:
        """What this broker believes; None if it does not answer."""
        address = self.listeners[broker_id]
        try:
            connection = await Connection.open(
                self._world,
                address.host,
                address.port,
                client_id="chaos-observer",
                timeout_ms=_LOOK_MS,
                negotiate=False,
            )
            try:
                request = MetadataRequest(topics=None)
                answer = await connection.send(request, version=_METADATA_VERSION, timeout_ms=_LOOK_MS)
            finally:
                connection.close()
        except ClientError:
            return None
        return View(
            frozenset(each.node_id for each in answer.brokers),
            answer.controller_id,
            {
                (topic.name, each.partition_index): PartitionView(
                    each.leader_id, tuple(each.replica_nodes), tuple(each.isr_nodes)
                )
                for topic in answer.topics
                for each in topic.partitions
            },
        )

    async def any_view(self) -> View:
        """What some living broker believes, the controller's if it can be had."""
        found = View()
        for broker_id in self.alive():
            view = await self.view(broker_id)
            if view is not None:
                found = view
                if view.controller == broker_id:
                    break
        return found

    async def wait_whole(self, timeout_s: float) -> str:
        """Wait until every broker believes that all is well; what was missing at the end, or nothing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            missing = ""
            for broker_id in sorted(self.broker_ids):
                view = await self.view(broker_id)
                missing = "it does not answer" if view is None else view.whole(self.broker_ids)
                if missing:
                    missing = f"broker {broker_id}: {missing}"
                    break
            if not missing or loop.time() > deadline:
                return missing
            await asyncio.sleep(0.1)

    # -- the end ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(self._end(broker) for broker in self.brokers.values()))
        if self.zookeeper is not None:
            with contextlib.suppress(CommandError):
                await self.zookeeper.stop()
        await self.proxy.close()
        self._ports.close()

    def take_disks_away(self, *, keep: bool) -> None:
        """What is on them is kept or not; all processes have ended."""
        for disk in self.disks.values():
            disk.unmount(keep=keep)
        with contextlib.ExitStack() as stack:
            for power_disk in self.power_disks.values():
                stack.callback(power_disk.close, keep=keep)

    async def _end(self, broker: BrokerSupervision) -> None:
        broker.close()
        with contextlib.suppress(CommandError):
            if broker.state is ProcessState.PAUSED:
                broker.resume()
            await broker.stop(controlled=False)
