"""The supervisor of an embedded cluster: owns its data directory, its brokers, the workload and the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.commands import Commands
from engine.supervisor.control_server import ControlServer
from engine.supervisor.coordination import check_fresh, make_ensemble, remember
from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.facts import FactBus
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.faults import Fault, Faults
from engine.supervisor.ports import Ports, choose_addresses, choose_registry_port
from engine.supervisor.server_properties import Address, broker_properties, properties_text, voter_ids
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import AUTO_PORT, BrokerSpec, ClusterSpec
from engine.supervisor.workload_process import WorkloadProcess
from engine.supervisor.yaml_nodes import SpecError
from engine.supervisor.zookeeper_installation import ZooKeeperMissing
from engine.world import World

if TYPE_CHECKING:
    from engine.supervisor.acts import Acts
    from engine.supervisor.cluster_admin import ClusterAdmin
    from engine.supervisor.connect_workers import ClusterConnect
    from engine.supervisor.registry_process import RegistryProcess
    from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble

_START_TIMEOUT_S = 90.0
_SAMPLE_S = 2.0


class StartFailed(Exception):
    """The cluster did not come up; the message says why and where to look."""


class PortsTaken(Exception):
    """Fixed ports of the cluster file cannot be used; ``errors`` in the form of the file's mistakes."""

    def __init__(self, errors: list[SpecError]) -> None:
        super().__init__(f"{len(errors)} ports cannot be used")
        self.errors = errors


class Options(NamedTuple):
    """How to run a cluster."""

    spec: ClusterSpec
    spec_text: str
    fresh: bool = False
    keep: bool = False
    workload: bool = True
    # Makes a broker's command line from its properties file; tests put a dummy there.
    broker_command: Callable[[str], list[str]] | None = None
    # Whether brokers speak Kafka's protocol (a dummy does not).
    speaks_kafka: bool = True


class Supervisor:
    """One cluster from :meth:`start` to :meth:`shut_down`."""

    def __init__(self, world: World, data_dir: DataDir, options: Options) -> None:
        self._world = world
        self._data_dir = data_dir
        self._options = options
        self._state: dict[str, Any] = {}
        self._addresses: dict[int, Address] = {}
        self._ports = Ports(world.random)
        self._sampling: asyncio.Task[None] | None = None
        self._ready = False
        self._admin: ClusterAdmin | None = None
        self._acts: Acts | None = None
        self.bus = FactBus(world.clock)
        self.brokers: dict[int, BrokerSupervision] = {}
        # Its own servers, where ZooKeeper coordinates and they are its own.
        self.zookeeper: ZooKeeperEnsemble | None = None
        # Its schema registry, where its file has one.
        self.registry: RegistryProcess | None = None
        # Workers of Connect, where its file has some.
        self.connect: ClusterConnect | None = None
        self.workload: WorkloadProcess | None = None
        self.faults = Faults(world, self.bus, self.brokers, lambda: self._admin)
        self.stop_requested = asyncio.Event()
        self.control = ControlServer(self.bus, Commands(self).handle, self._console_came)
        self._is_watched = False
        self._warming: asyncio.Task[None] | None = None

    # -- start --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Own the directory, start everything, wait until every partition has a leader.

        Raises:
            DataDirError: the directory belongs to another, or is damaged.
            PortsTaken: fixed ports of the cluster file are in use.
            StartFailed: the cluster did not come up.
        """
        lock = self._data_dir.own()
        try:
            self._prepare()
            await self.control.start(self._data_dir.prepare_control_socket())
        except BaseException:
            self._ports.close()
            lock.release()
            raise
        self._lock = lock
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                if self.zookeeper is not None:
                    await self.zookeeper.start()
                await asyncio.gather(*(broker.start("the cluster starts") for broker in self.brokers.values()))
                await self._wait_until_ready()
                if self.registry is not None:
                    await self.registry.start()
        except (CommandError, TimeoutError) as error:
            reason = str(error) or f"the cluster was not ready within {_START_TIMEOUT_S:.0f} s"
            await self.shut_down(controlled=False)
            raise StartFailed(reason) from error
        self._start_connect()
        self._ready = True
        self._warm_up()
        self.bus.publish(self.as_fact())
        self._sampling = asyncio.ensure_future(self._sample())

    async def start_workload(self) -> None:
        """Start the workload if the file wants it started."""
        assert self.workload is not None, "the cluster was started"
        spec = self._options.spec.workload
        if self._options.workload and spec.start and not self.workload.is_empty:
            with contextlib.suppress(CommandError):
                await self.workload.start()

    def _prepare(self) -> None:
        options, data_dir = self._options, self._data_dir
        kept = data_dir.kept_processes()
        if kept:
            raise DataDirError(f"processes {_ids(kept)} still run from an earlier supervisor (--keep): end them first")
        if options.fresh:
            check_fresh(options.spec, data_dir.read_state())
            data_dir.remove_cluster()
        known = data_dir.read_state()
        state = known or {"brokers": {}, "topics_created": False}
        remember(options.spec, state, is_new=known is None, data_dir=data_dir.path)
        if options.spec.zookeeper is None:
            state.setdefault("cluster_id", data_dir.new_id())
        voters = voter_ids(options.spec)
        if state.setdefault("voters", voters) != voters:
            raise DataDirError(
                f"the voters of the cluster in {data_dir.path} are brokers {_ids(state['voters'])}, and the file's are "
                f"{_ids(voters)}: use its own file, another --data-dir, or --fresh (which deletes it)"
            )
        self._state = state
        brokers = brokers_of(options.spec, state)
        spec = options.spec._replace(brokers=brokers)
        self._addresses, errors = choose_addresses(spec, state["brokers"], self._ports)
        if errors:
            raise PortsTaken(errors)
        try:
            self.zookeeper = make_ensemble(self._world, self.bus, data_dir, spec, state, self._ports, keep=options.keep)
        except ZooKeeperMissing as error:
            raise StartFailed(str(error)) from error
        for broker in brokers:
            self._add(broker)
        self._check_connect(spec)
        self._prepare_registry(spec)
        data_dir.write_state(state)
        self._world.disk.write_atomic(data_dir.spec_file, options.spec_text.encode())
        self.workload = WorkloadProcess(
            self._world, self.bus, data_dir.path, options.spec.workload, self.bootstrap_servers
        )

    def _check_connect(self, spec: ClusterSpec) -> None:
        if spec.connect is not None:
            from engine.supervisor.connect_workers import missing_module

            if missing_module():
                raise StartFailed(f"{missing_module()}, or leave `connect:` out")

    def _prepare_registry(self, spec: ClusterSpec) -> None:
        if spec.registry is None:
            return
        from engine.supervisor.registry_process import RegistryProcess, missing_modules

        missing = missing_modules()
        if missing:
            raise StartFailed(missing)
        before = self._state.get("registry", {}).get("port")
        port, errors = choose_registry_port(spec.registry, before, self._ports)
        if errors:
            raise PortsTaken(errors)
        self._state["registry"] = {"port": port}
        self.registry = RegistryProcess(
            self._world, self.bus, self._data_dir, port, lambda: self.bootstrap_servers, spec.restart
        )

    def _start_connect(self) -> None:
        """Its workers begin beside everything else."""
        if self._options.spec.connect is None:
            return
        from engine.supervisor.connect_workers import ClusterConnect
        from engine.supervisor.worker_processes import WorkerProcessesError

        directory = self._data_dir.connect_dir()
        try:
            self.connect = ClusterConnect(
                self._options.spec, directory, self.bootstrap_servers, self.bus, self._world.clock
            )
        except WorkerProcessesError as error:
            self.bus.note("connect_worker_ended", "connect", str(error))
        else:
            self.connect.start()

    def _add(self, broker: BrokerSpec) -> BrokerSupervision:
        """Have a log directory, properties and a supervision for a broker whose address is known."""
        options, data_dir, state, broker_id = self._options, self._data_dir, self._state, broker.broker_id
        known = state["brokers"].setdefault(str(broker_id), {})
        known.update(self._addresses[broker_id]._asdict())
        if options.spec.zookeeper is None:
            known.setdefault("directory_id", data_dir.new_id())
            data_dir.format_log_dir(broker_id, state["cluster_id"], known["directory_id"])
        else:
            # Which cluster it is ZooKeeper tells the broker, and the broker writes it down.
            self._world.disk.make_dirs(data_dir.log_dir(broker_id))
        properties = broker_properties(
            options.spec, broker, self._addresses, data_dir.log_dir(broker_id), self.zookeeper_connect
        )
        text = properties_text(properties, "written by kconsole at every start; change the cluster file instead")
        self._world.disk.write_atomic(data_dir.properties_file(broker_id), text.encode())
        self.brokers[broker_id] = supervision = BrokerSupervision(
            self._world,
            self.bus,
            data_dir,
            broker_id,
            self._addresses[broker_id],
            options.spec.restart,
            keep=options.keep,
            command=options.broker_command,
        )
        return supervision

    # -- brokers that come and go -------------------------------------------------------------------------------

    async def add_broker(self, broker_id: int | None, rack: str | None) -> BrokerSupervision:
        """Start one broker more, and keep it: the next start of the cluster has it as well. It is no voter.

        Raises:
            CommandError: the id is taken, the cluster is not up, or the broker did not come up; it is kept then too.
        """
        if not self._ready:
            raise CommandError("the cluster is not up yet")
        if broker_id is None:
            broker_id = max(self.brokers) + 1
        if broker_id in self.brokers or broker_id in {each.broker_id for each in self._options.spec.brokers}:
            raise CommandError(f"there is a broker {broker_id} in the cluster, or in its file: give another id")
        host = next(iter(self._addresses.values())).host
        broker = BrokerSpec(broker_id, host, AUTO_PORT, AUTO_PORT, rack, {})
        chosen, _ = choose_addresses(self._options.spec._replace(brokers=(broker,)), {}, self._ports)
        self._addresses[broker_id] = chosen[broker_id]
        self._state.setdefault("added", []).append({"id": broker_id, "host": host, "rack": rack})
        supervision = self._add(broker)
        self._data_dir.write_state(self._state)
        if self._admin is not None:
            self._admin.learn(broker_id, chosen[broker_id])
        # A cut from all others is one from this broker, too.
        self.faults.tell_brokers()
        await supervision.start("it was added")
        await supervision.wait_ready()
        self.bus.publish(self.as_fact())
        return supervision

    async def remove_broker(self, broker_id: int) -> None:
        """Stop a broker that holds no replica, unregister it and forget it, its directory included.

        Raises:
            CommandError: it is a voter or has replicas, or the cluster does not let it go.
        """
        broker = self.brokers.get(broker_id)
        if broker is None:
            raise CommandError(f"there is no broker {broker_id}; the cluster has {_ids(sorted(self.brokers))}")
        if broker_id in voter_ids(self._options.spec):
            raise CommandError(
                f"broker {broker_id} is a voter of the metadata quorum, whose voters do not change: it can be drained, "
                "not removed"
            )
        if self._admin is not None:
            await self._let_go(self._admin, broker)
        elif broker.is_alive:
            await broker.stop()
        broker.close()
        host, *ports = self._addresses[broker_id]
        for port in ports:
            self._ports.release(host, port)
        del self.brokers[broker_id], self._addresses[broker_id]
        self._state["brokers"].pop(str(broker_id), None)
        added = self._state.get("added", [])
        self._state["added"] = [each for each in added if each["id"] != broker_id]
        if broker_id in {each.broker_id for each in self._options.spec.brokers}:
            self._state.setdefault("removed", []).append(broker_id)
        self._data_dir.write_state(self._state)
        self._world.disk.remove_tree(self._data_dir.broker_dir(broker_id))
        self.bus.publish(self.as_fact())

    async def _let_go(self, admin: ClusterAdmin, broker: BrokerSupervision) -> None:
        from engine.supervisor.cluster_admin import ClusterAdminError

        others = [each for each, other in sorted(self.brokers.items()) if other is not broker and other.is_ready]
        try:
            held = await admin.replicas_of(broker.broker_id, others)
            if held:
                raise CommandError(
                    f"broker {broker.broker_id} has {held} replicas: `kconsole drain {broker.broker_id}` moves them"
                )
            if broker.is_alive or broker.awaits_restart:
                await broker.stop()
            await admin.unregister(broker.broker_id, others)
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error
        admin.learn(broker.broker_id, None)

    async def _wait_until_ready(self) -> None:
        if self._options.speaks_kafka:
            # The brokers have the processors by now; what the protocol needs is imported beside them.
            from engine.supervisor.cluster_admin import ClusterAdmin

            self._admin = ClusterAdmin(self._world, self._addresses, has_quorum=not self.zookeeper_connect)
        await asyncio.gather(*(broker.wait_ready() for broker in self.brokers.values()))
        if "cluster_id" not in self._state:
            self._state["cluster_id"] = self._data_dir.cluster_id(min(self.brokers))
            self._data_dir.write_state(self._state)
        if self._admin is None:
            return
        from engine.supervisor.cluster_admin import ClusterAdminError

        topics = () if self._state["topics_created"] else self._options.spec.topics
        try:
            if topics:
                await self._admin.create_topics(sorted(self.brokers), topics)
            await self._admin.wait_for_leaders(sorted(self.brokers), [topic.name for topic in topics])
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error
        if not self._state["topics_created"]:
            self._state["topics_created"] = True
            self._data_dir.write_state(self._state)

    # -- what is --------------------------------------------------------------------------------------------------

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of all brokers."""
        return ",".join(str(self._addresses[broker_id]) for broker_id in sorted(self._addresses))

    @property
    def zookeeper_connect(self) -> str:
        """Kafka's zookeeper.connect, chroot and all; empty where a quorum coordinates."""
        if self.zookeeper is not None:
            return self.zookeeper.connect
        return "" if self._options.spec.zookeeper is None else self._options.spec.zookeeper.connect

    def zookeeper_rows(self) -> dict[str, Any]:
        """What is to be said of ZooKeeper: nothing, where it does not coordinate."""
        if not self.zookeeper_connect:
            return {}
        servers = [] if self.zookeeper is None else list(self.zookeeper.servers.values())
        return {"zookeeper": {"connect": self.zookeeper_connect, "servers": [server.as_row() for server in servers]}}

    def registry_row(self) -> dict[str, Any]:
        """What is to be said of the schema registry: nothing, where the cluster has none."""
        return {} if self.registry is None else {"registry": self.registry.as_row()}

    def connect_row(self) -> dict[str, Any]:
        """What is to be said of Connect's workers: nothing, where the cluster has none."""
        return {} if self.connect is None else {"connect": self.connect.workers.as_row()}

    def ready_line(self) -> dict[str, Any]:
        """What ``kconsole up --json`` prints."""
        return {
            **self.zookeeper_rows(),
            **self.registry_row(),
            "bootstrap_servers": self.bootstrap_servers,
            "control_socket": self.control.path,
            "brokers": [
                {
                    "id": broker.broker_id,
                    "pid": broker.pid,
                    "address": str(broker.address),
                    "log_dir": self._data_dir.log_dir(broker.broker_id),
                }
                for _, broker in sorted(self.brokers.items())
            ],
        }

    def as_fact(self) -> dict[str, Any]:
        """A ``cluster`` fact."""
        return {
            "type": "cluster",
            "cluster_id": self._state.get("cluster_id", ""),
            "ready": self._ready,
            "data_dir": self._data_dir.path,
            "bootstrap_servers": self.bootstrap_servers,
            "brokers": sorted(self.brokers),
            "zookeeper_connect": self.zookeeper_connect,
            "registry_url": "" if self.registry is None else self.registry.url,
            "supervisor_pid": os.getpid(),
        }

    def acts(self) -> Acts:
        """Measured kills. Raises: CommandError: the cluster is not up."""
        if self._admin is None or not self._ready:
            raise CommandError("the cluster is not up yet")
        if self._acts is None:
            from engine.supervisor.acts import Acts, Probe

            probe = Probe(self.bus, os.path.join(self._data_dir.path, "probe.log"), self.bootstrap_servers)
            settings = {"durability": self._options.spec.durability}
            self._acts = Acts(self._world, self.bus, self._admin, probe, settings)
        return self._acts

    async def begin_fault(self, wish: FaultWish, *, measure: bool, rate: float, patience_s: float | None) -> Fault:
        """Begin a fault, with stopwatch and ledger where clients can measure.

        Raises:
            CommandError: it cannot be done now.
        """
        if not measure or not self._ready or self._admin is None:
            return await self.faults.begin(wish)
        from engine.supervisor.acts import Begun
        from engine.supervisor.wholeness import wait_until_whole

        admin = self._admin
        begun: list[Fault] = []

        async def begin(act_id: int) -> Begun:
            fault = await self.faults.begin(wish)
            fault.act_id = act_id
            self.faults.publish()
            begun.append(fault)
            return Begun(fault.began_ns, fault.over, lambda timeout_s: wait_until_whole(admin, self.brokers, timeout_s))

        victim = self.brokers[wish.broker_id]
        others = [broker for broker in self.brokers.values() if broker is not victim]
        await self.acts().measure(
            wish.kind,
            victim,
            others,
            begin,
            acks=wish.acks,
            rate=rate,
            patience_s=patience_s,
            what=wish.words,
            min_isr=wish.min_isr,
        )
        return begun[0]

    def _console_came(self) -> None:
        self._is_watched = True
        self._warm_up()

    def _warm_up(self) -> None:
        # Who only runs the cluster needs no probe.
        if self._is_watched and self._ready and self._admin is not None and self._warming is None:
            self._warming = asyncio.ensure_future(self.acts().warm_up())

    async def _sample(self) -> None:
        from engine.supervisor.sampler import Sampler

        sampler = Sampler()
        while True:
            pids: set[int] = set()
            for broker in self.brokers.values():
                if broker.pid is None:
                    continue
                pids.add(broker.pid)
                usage = sampler.sample(broker.pid)
                if usage is not None:
                    broker.cpu_percent, broker.rss_bytes, broker.open_files = usage
                    self.bus.publish(broker.as_fact())
            for server in () if self.zookeeper is None else self.zookeeper.servers.values():
                usage = None if server.pid is None else sampler.sample(server.pid)
                if server.pid is not None and usage is not None:
                    pids.add(server.pid)
                    server.cpu_percent, server.rss_bytes = usage.cpu_percent, usage.rss_bytes
                    self.bus.publish(server.as_fact())
            sampler.forget_all_but(pids)
            await asyncio.sleep(_SAMPLE_S)

    # -- end ----------------------------------------------------------------------------------------------------

    async def shut_down(self, *, controlled: bool = True) -> None:
        """Stop the workload, then the brokers, leaders first moved away as long as there is a quorum to do it, then
        what coordinated them."""
        self._ready = False
        for task in (self._sampling, self._warming):
            if task is not None:
                task.cancel()
        await self.faults.close()
        for broker in self.brokers.values():
            broker.close()
        if self._acts is not None:
            await self._acts.close()
        if self.workload is not None:
            await self.workload.close()
        if self.connect is not None:
            await self.connect.stop()
        if self.registry is not None:
            await self.registry.stop()
        alive = [broker for _, broker in sorted(self.brokers.items()) if broker.is_alive]
        controller = -1
        if self._admin is not None:
            if controlled:
                controller = await self._admin.controller(broker.broker_id for broker in alive if broker.is_ready)
                # Without ZooKeeper nobody can take leaders away: brokers would wait for it in vain.
                controlled = controller >= 0 or not self.zookeeper_connect
            self._admin.close()
        try:
            await self.stop_brokers(alive, controlled, controller)
        finally:
            try:
                if self.zookeeper is not None:
                    await self.zookeeper.stop()
            finally:
                await self.control.close()
                self._ports.close()
                self._lock.release()

    async def stop_brokers(
        self, brokers: list[BrokerSupervision], controlled: bool = True, controller: int = -1
    ) -> None:
        """Stop several brokers, one after the other while the rest can take their leaders, the controller last.

        Raises:
            CommandError: one had to be killed; the others are stopped all the same.
        """
        voters = set(voter_ids(self._options.spec))
        failed: list[str] = []
        order = sorted(brokers, key=lambda each: (each.broker_id == controller, each.broker_id))
        together: list[BrokerSupervision] = []
        for broker in order:
            others = [
                each
                for each in self.brokers.values()
                if each is not broker and each.state is ProcessState.RUNNING and each not in together
            ]
            # Moving leaders takes a quorum that outlives the request, and somebody to move them to.
            quorum_stays = (
                len({each.broker_id for each in others} & voters) + (broker.broker_id in voters) > len(voters) // 2
                if self._options.spec.zookeeper is None
                else self.zookeeper is None or self.zookeeper.has_majority
            )
            if not controlled or not others or not quorum_stays:
                together.append(broker)
                continue
            try:
                await broker.stop()
            except CommandError as error:
                failed.append(str(error))
        results = await asyncio.gather(*(broker.stop(controlled=False) for broker in together), return_exceptions=True)
        failed += [str(result) for result in results if isinstance(result, BaseException)]
        if failed:
            raise CommandError("; ".join(failed))


def brokers_of(spec: ClusterSpec, state: dict[str, Any]) -> tuple[BrokerSpec, ...]:
    """The brokers of the cluster: those of its file, without those that were removed, and those that were added."""
    removed = set(state.get("removed", ()))
    brokers = [each for each in spec.brokers if each.broker_id not in removed]
    known = {each.broker_id for each in spec.brokers}
    brokers += [
        BrokerSpec(each["id"], each["host"], AUTO_PORT, AUTO_PORT, each["rack"], {})
        for each in state.get("added", ())
        if each["id"] not in known
    ]
    return tuple(brokers)


def _ids(broker_ids: list[int]) -> str:
    return ", ".join(map(str, broker_ids))
