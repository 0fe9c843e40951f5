"""The cluster of a drill: the embedded one, or, where the network is to fail, broker processes behind chaos' proxy."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from engine.client.errors import ClientError
from engine.drills.drill import ALL, CLIENTS, CONTROLLER, FOLLOWER, LEADER, OTHERS, UNDOING, ZOOKEEPER_ACTS, Act, Drill
from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.cluster_admin import ClusterAdmin, ClusterAdminError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import FactBus
from engine.supervisor.faults import Faults
from engine.supervisor.server_properties import Address, voter_ids
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.supervisor import Options, Supervisor
from engine.supervisor.wholeness import wait_until_whole, what_is_missing
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.world import World

_POLL_S = 0.03
_START_S = 60.0
# How long a controller may be looked for, or a leader.
_FIND_S = 10.0


class DrillCluster(ABC):
    """From :meth:`start` to :meth:`close`; nothing is restarted by itself but what crashed unasked."""

    def __init__(self, drill: Drill) -> None:
        self._topic = drill.load.topic.name
        self._voters = frozenset(voter_ids(drill.cluster))
        # Whom a role was when something was last done to it.
        self._hit: dict[str, int] = {}
        self._zookeeper_leader = 0

    bus: FactBus
    brokers: dict[int, BrokerSupervision]
    bootstrap: str
    """For clients."""
    faults: Faults
    """Those of brokers; the network's go through the proxy."""
    _admin: ClusterAdmin

    @abstractmethod
    async def start(self) -> None:
        """All brokers serve and all topics have leaders. Raises: CommandError and others: it does not come up."""

    @abstractmethod
    async def close(self) -> None:
        """End every process."""

    @property
    @abstractmethod
    def zookeeper(self) -> ZooKeeperEnsemble | None:
        """The servers that coordinate it, where there are some of its own."""

    async def _kill_all(self) -> None:
        """Nobody needs the data any more: nothing is to be handed over or written."""
        living = [broker for broker in self.brokers.values() if broker.is_alive or broker.awaits_restart]
        await asyncio.gather(*(broker.kill() for broker in living), return_exceptions=True)

    def network(self, act: Act, one: int, others: Iterable[int]) -> None:
        """Do it to the network. Raises: CommandError: there is no proxy."""
        raise CommandError(f"{act.kind} needs the proxy, and this cluster has none")

    def heal_network(self) -> None:
        """End all cuts and delays. Without a proxy there are none."""
        return None

    # -- who is meant -------------------------------------------------------------------------------------------

    async def whom(self, act: Act) -> list[int]:
        """The brokers that the act's targets mean now; other ends of the network's acts are left out.

        Raises:
            CommandError: nobody is it.
        """
        found: list[int] = []
        for target in act.targets:
            if target == ALL:
                return sorted(self.brokers)
            if target in (OTHERS, CLIENTS):
                continue
            if target.isdigit():
                found.append(int(target))
                continue
            if act.kind not in UNDOING:
                self._hit[target] = await self._find(target)
            found.append(self._hit[target])
        return found

    async def act_on_zookeeper(self, act: Act) -> None:
        """Do it to those of the ensemble's servers that it names; a start waits until they serve, if a majority runs.

        Raises:
            CommandError: it cannot be done, or nobody leads.
        """
        ensemble = self.zookeeper
        assert ensemble is not None, "the drill's file was read"
        if ALL in act.targets:
            which = list(ensemble.servers)
        elif LEADER in act.targets:
            if act.kind not in UNDOING:
                self._zookeeper_leader = await self._find_zookeeper_leader(ensemble)
            which = [self._zookeeper_leader]
        else:
            which = list(map(int, act.targets))
        await ensemble.act(ZOOKEEPER_ACTS[act.kind], which)

    async def _find_zookeeper_leader(self, ensemble: ZooKeeperEnsemble) -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIND_S):
                while ensemble.leader is None:
                    await asyncio.sleep(_POLL_S)
                    await ensemble.look()
                return ensemble.leader.server_id
        raise CommandError(f"no ZooKeeper server led within {_FIND_S:g} s")

    async def _find(self, role: str) -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIND_S):
                while True:
                    found = await self._look_for(role)
                    if found is not None:
                        return found
                    await asyncio.sleep(_POLL_S)
        raise CommandError(f"there was no {role} within {_FIND_S:g} s")

    async def _look_for(self, role: str) -> int | None:
        if role == CONTROLLER:
            controller = await self.controller()
            return controller if controller in self.brokers else None
        assert role in (LEADER, FOLLOWER), f"nobody is {role!r}"
        for broker_id in self.alive():
            try:
                metadata = await self._admin.metadata(broker_id)
            except ClientError:
                continue
            for topic in metadata.topics:
                for partition in topic.partitions:
                    if topic.name != self._topic or partition.partition_index or partition.leader_id < 0:
                        continue
                    followers = [each for each in partition.replica_nodes if each != partition.leader_id]
                    found = partition.leader_id if role == LEADER else next(iter(followers), None)
                    return None if found is None or found not in self.alive() else found
        return None

    async def controller(self) -> int:
        """The active controller; -1 if nobody knows it soon."""
        return await self._admin.controller(self.alive())

    def alive(self) -> list[int]:
        """Brokers whose process runs and is not paused."""
        up = (ProcessState.STARTING, ProcessState.RUNNING)
        return [broker_id for broker_id, broker in sorted(self.brokers.items()) if broker.state in up]

    def can_serve(self) -> bool:
        """Whether enough voters run to elect a controller, or enough of ZooKeeper's servers."""
        if self.zookeeper is not None:
            return self.zookeeper.has_majority
        return 2 * len(self._voters & set(self.alive())) > len(self._voters)

    # -- how it is ----------------------------------------------------------------------------------------------

    async def missing(self) -> str:
        """What keeps the cluster from being whole in the eyes of each broker; empty: all replicas are in sync."""
        return await what_is_missing(self._admin, self.brokers)

    async def wait_whole(self, timeout_s: float) -> str:
        """Wait until nothing is :meth:`missing`; what still was at the end of the time, or nothing."""
        return await wait_until_whole(self._admin, self.brokers, timeout_s)


class EmbeddedCluster(DrillCluster):
    """What ``kconsole up`` runs, with its supervisor in this process."""

    def __init__(self, world: World, directory: str, drill: Drill) -> None:
        super().__init__(drill)
        options = Options(drill.cluster, "# the cluster of a drill\n", fresh=True, workload=False)
        self._supervisor = Supervisor(world, DataDir(world, directory), options)
        self._world = world
        self._is_up = False
        self.bus, self.faults = self._supervisor.bus, self._supervisor.faults
        # Those that were started so far, if it is ended meanwhile.
        self.brokers = self._supervisor.brokers

    @property
    def zookeeper(self) -> ZooKeeperEnsemble | None:
        """The supervisor's."""
        return self._supervisor.zookeeper

    async def start(self) -> None:
        """As :meth:`DrillCluster.start`. Raises: StartFailed, DataDirError, PortsTaken."""
        await self._supervisor.start()
        self._is_up = True
        self.bootstrap = self._supervisor.bootstrap_servers
        addresses = {each: broker.address for each, broker in self.brokers.items()}
        self._admin = ClusterAdmin(self._world, addresses, has_quorum=self.zookeeper is None)

    async def close(self) -> None:
        """End it."""
        await self._kill_all()
        if self._is_up:
            self._admin.close()
            with contextlib.suppress(CommandError):
                await self._supervisor.shut_down(controlled=False)


class ProxiedCluster(DrillCluster):
    """Broker processes whose every connection, among themselves and with clients, passes through a proxy."""

    def __init__(self, world: World, directory: str, drill: Drill) -> None:
        super().__init__(drill)
        from engine.chaos.cluster import ChaosCluster
        from engine.chaos.machine import Machine

        self.brokers = {}
        self._chaos = ChaosCluster(world, directory, drill.cluster, Machine(frozenset()))
        self._topics = drill.cluster.topics
        self.bus = self._chaos.bus
        self.faults = Faults(world, self.bus, self._chaos.brokers, lambda: self._admin)
        self.bootstrap = self._chaos.bootstrap
        # Looks go past the proxy.
        listeners: Mapping[int, Address] = self._chaos.listeners
        self._admin = ClusterAdmin(world, listeners, has_quorum=self.zookeeper is None)

    @property
    def zookeeper(self) -> ZooKeeperEnsemble | None:
        """Past the proxy."""
        return self._chaos.zookeeper

    async def start(self) -> None:
        """As :meth:`DrillCluster.start`. Raises: CommandError, TimeoutError."""
        self.brokers = self._chaos.brokers
        try:
            async with asyncio.timeout(_START_S):
                await self._chaos.start()
                ids = sorted(self.brokers)
                await self._admin.wait_for_leaders(ids, [])
                await self._admin.create_topics(ids, self._topics)
                await self._admin.wait_for_leaders(ids, [topic.name for topic in self._topics])
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error
        except TimeoutError:
            raise CommandError(f"the cluster was not ready within {_START_S:g} s") from None

    async def close(self) -> None:
        """End it."""
        await self.faults.close()
        self._admin.close()
        await self._kill_all()
        await self._chaos.close()

    def network(self, act: Act, one: int, others: Iterable[int]) -> None:
        """Cut or delay."""
        for other in others:
            if act.kind == "cut":
                self._chaos.proxy.cut(one, other)
            elif act.kind == "delay":
                self._chaos.proxy.delay(one, other, act.delay_s)

    def heal_network(self) -> None:
        """What stood still arrives."""
        self._chaos.proxy.heal()
