"""Any Kafka cluster, by its protocol alone: reading through the observer, acts through the admin client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from console.gateway.administering import ClusterAdministration
from console.gateway.bulk import Bulk
from console.gateway.connect_asking import ConnectAsking
from console.gateway.connect_http import ConnectPlace
from console.gateway.ensemble import Ensemble
from console.gateway.inspecting import OwnInspector
from console.gateway.meaning import meaning_of
from console.gateway.moving import Mover
from console.gateway.plain_errors import plain_errors, raise_failures
from console.gateway.producing import ProducerPool
from console.gateway.protocol import (
    NO_SIMULATION,
    BrokerLog,
    Capabilities,
    EventBatch,
    GatewayError,
    NewRecord,
    NewTopic,
    ProducedRecord,
    Tail,
    TailBatch,
)
from console.gateway.resetting import Resetter
from console.gateway.streams_http import WorkersByHttp
from console.viewmodel.configs import BROKER, TOPIC, ConfigOf, ConfigValue
from console.viewmodel.connections import ConnectionsFound
from console.viewmodel.moves import MovePlan, MoveRow
from console.viewmodel.reassigning import PlacementWish
from console.viewmodel.records import RecordView
from console.viewmodel.resets import ResetPlan, ResetWish
from console.viewmodel.segments import BatchPage, BatchView, Segments
from console.viewmodel.transactions import TransactionRow, TransactionsFound
from console.viewmodel.wire import WireBatch, WireRow
from engine.client.admin import AdminClient
from engine.client.admin.topics import NewTopic as TopicToCreate
from engine.client.admin.topics import is_not_needed
from engine.client.record_reader import RecordReader, StartAt, StartKind
from engine.client.security.secret import ClientProperties
from engine.client.security.world import secured
from engine.model.topic_partition import TopicPartition
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.observer import ClusterObserver, Pace
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source
from engine.supervisor.zookeeper_snapshot import ZnodesSeen
from engine.world.real import real_world

if TYPE_CHECKING:
    from console.contexts import Context
    from console.gateway.administration import Administration
    from engine.client.channel import Address
    from engine.zookeeper.config import ZooKeeperConfig

T = TypeVar("T")

_VIEWS_AT_ONCE = 500

NEEDS_PROCESSES = "needs the broker processes of an embedded cluster"
NEEDS_WORKLOAD = "the workload belongs to an embedded cluster"
NEEDS_LOGS = "needs the log files of an embedded cluster"
NEEDS_FILES = "needs an embedded cluster's files; or: kconsole storage dump-log"


def addresses_of(bootstrap_servers: str) -> list[Address]:
    """``h:p,h:p`` as pairs; IPv6 addresses stand in brackets."""
    found: list[Address] = []
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        found.append((host.strip("[]"), int(port)))
    return found


class AttachedGateway:
    """A cluster that somebody else runs."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        read_only: bool,
        client_config: Mapping[str, str],
        pace: Pace | None = None,
        zookeeper: ZooKeeperConfig | None = None,
    ) -> None:
        self._world = secured(real_world(), client_config)
        self._capabilities = Capabilities(
            Source.ATTACHED,
            read_only,
            bootstrap_servers,
            no_process_control=NEEDS_PROCESSES,
            no_workload=NEEDS_WORKLOAD,
            no_broker_logs=NEEDS_LOGS,
            no_ensemble_control=NEEDS_PROCESSES,
            missing_views={"simulation": NO_SIMULATION, "segments": NEEDS_FILES, "faults": NEEDS_PROCESSES},
        )
        self._client_config = ClientProperties(client_config)
        if client_config.get("security.protocol", "PLAINTEXT").upper() != "PLAINTEXT":
            # Kafka's tools need the same; where it is only a context knows (is_of).
            self._capabilities = self._capabilities._replace(command_config="client.properties")
        self._pace = pace
        self._observer: ClusterObserver | None = None
        self._admin: AdminClient | None = None
        self._producers: ProducerPool | None = None
        self._mover = Mover(self._admin_client)
        self.bulk = Bulk(self._admin_client, self._servers, self._client_config, self._check_writable)
        self._administration = ClusterAdministration(
            self._admin_client, self._world.clock.now_ms, self._check_writable, self._look_now
        )
        self._inspector = OwnInspector(self._world.clock)
        self._seen: ClusterSnapshot | None = None
        self._ensemble = Ensemble(self._world.clock, tell=self._tell, changed=self._ensemble_changed)
        if zookeeper is not None:
            self._ensemble.is_at(zookeeper)
        self._resetter = Resetter(self._admin_client, self._world.clock.now_ms)
        self._watched: frozenset[str] = frozenset()
        self.streams = WorkersByHttp(self._check_writable)
        # Where workers of Connect are, by group; whoever opens the cluster knows.
        self.connect_places: Callable[[], Mapping[str, ConnectPlace]] = dict
        self.connect = ConnectAsking(lambda: self.connect_places(), self._check_writable)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def bootstrap(self) -> list[Address]:
        """Where to begin."""
        return addresses_of(self._capabilities.bootstrap_servers)

    async def _observing(self) -> ClusterObserver:
        if self._observer is None:
            observer = ClusterObserver(
                self._world,
                await self.bootstrap(),
                source=self._capabilities.source,
                derive_events=self._capabilities.attached,
                pace=self._pace,
            )
            if self._observer is None:
                self._observer = observer
                observer.start()
                observer.watch(self._watched)
            else:
                await observer.close()
        return self._observer

    async def _admin_client(self) -> AdminClient:
        # Of its own: an act that waits for the controller must not hold up the observer's requests.
        if self._admin is None:
            self._admin = AdminClient(self._world, await self.bootstrap(), client_id="kconsole-admin")
        return self._admin

    async def close(self) -> None:
        self._mover.close()
        self._inspector.close()
        await self._ensemble.close()
        await self.streams.close()
        if self._observer is not None:
            await self._observer.close()
        if self._admin is not None:
            self._admin.close()
        if self._producers is not None:
            self._producers.close()

    # -- reading --------------------------------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        with plain_errors():
            observer = await self._observing()
            self._ensemble.begin()
            async for snapshot in observer.snapshots():
                self._seen = snapshot
                yield self._ensemble.seen_with(snapshot)

    def watch(self, topics: frozenset[str]) -> None:
        if topics != self._watched:
            self._watched = topics
            if self._observer is not None:
                self._observer.watch(topics)

    async def events(self) -> AsyncIterator[EventBatch]:
        with plain_errors():
            observer = await self._observing()
            async for events in observer.events():
                yield EventBatch(events)

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        with plain_errors():
            reader = RecordReader(
                self._world,
                await self.bootstrap(),
                tail.topics,
                partitions=tail.partitions,
                start=StartAt(StartKind(str(tail.read_from.start)), tail.read_from.value),
                starts=tail.starts,
                read_committed=tail.read_committed,
            )
            try:
                async for batch in reader:
                    records: list[RecordView] = []
                    for at in range(0, len(batch.records), _VIEWS_AT_ONCE):
                        records += map(record_view, batch.records[at : at + _VIEWS_AT_ONCE])
                        # Thousands at once would hold up a screen.
                        await asyncio.sleep(0)
                    yield TailBatch(records, batch.problem, batch.caught_up, batch.positions, batch.ends)
            finally:
                reader.close()

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        raise GatewayError(NEEDS_LOGS)

    async def segments(self, topic: str, partition: int) -> Segments:
        raise GatewayError(NEEDS_FILES)

    async def batches(self, path: str, position: int, limit: int) -> BatchPage:
        raise GatewayError(NEEDS_FILES)

    async def find_batch(self, path: str, offset: int) -> int:
        raise GatewayError(NEEDS_FILES)

    async def batch(self, path: str, position: int) -> BatchView:
        raise GatewayError(NEEDS_FILES)

    async def transactions(self) -> TransactionsFound:
        with plain_errors():
            admin = await self._admin_client()
            answers = await admin.transactions((await admin.metadata(())).brokers)
        now_ms = self._world.clock.now_ms()
        rows: list[TransactionRow] = []
        problems: list[str] = []
        for broker_id, answer in answers.items():
            if not isinstance(answer, list):
                problems.append(f"broker {broker_id} does not tell: {answer}")
                continue
            rows += [
                TransactionRow(
                    each.transactional_id,
                    each.coordinator,
                    each.state,
                    each.producer_id,
                    each.producer_epoch,
                    each.timeout_ms,
                    float(max(0, now_ms - each.start_time_ms)) if each.start_time_ms >= 0 and each.partitions else None,
                    tuple(map(str, each.partitions)),
                )
                for each in answer
            ]
        silent = tuple(broker_id for broker_id, answer in answers.items() if not isinstance(answer, list))
        return TransactionsFound(tuple(sorted(rows)), tuple(problems), silent)

    @property
    def administration(self) -> Administration:
        return self._administration

    async def connections(self) -> ConnectionsFound:
        return self._inspector.connections(self._seen)

    async def wire(self, broker_id: int | None, *, hold: bool = False) -> WireBatch:
        return self._inspector.wire(hold=hold)

    async def wire_message(self, row: WireRow) -> list[str]:
        return self._inspector.message(row, names_by_id(self._seen))

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        return await self._ensemble.znodes(opened, wanted)

    def _tell(self, event: ClusterEvent) -> None:
        if self._observer is not None:
            self._observer.tell(event)

    def _ensemble_changed(self) -> None:
        if self._observer is not None:
            self._observer.publish()

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        return await self._administration.configs(ConfigOf(TOPIC, topic))

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        return await self._administration.configs(ConfigOf(BROKER, str(broker_id)))

    # -- acts -----------------------------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self._capabilities.read_only:
            raise GatewayError(self._capabilities.read_only_because)

    def is_of(self, context: Context) -> None:
        """Read-only may be the context's own wish, and its credentials are known to Kafka's tools by a file."""
        if context.command_config:
            self._capabilities = self._capabilities._replace(command_config=context.command_config)
        if context.read_only:
            because = f"the context {context.name} is read-only"
            self._capabilities = self._capabilities._replace(read_only_because=because)

    def _look_now(self) -> None:
        if self._observer is not None:
            self._observer.refresh()

    async def _servers(self) -> str:
        return ",".join(_server(address) for address in await self.bootstrap())

    async def produce(self, record: NewRecord) -> ProducedRecord:
        self._check_writable()
        if self._producers is None:
            self._producers = ProducerPool(await self._servers(), self._client_config)
        produced = await asyncio.to_thread(self._producers.produce, record)
        self._look_now()
        return produced

    async def create_topic(self, topic: NewTopic) -> None:
        self._check_writable()
        wanted = TopicToCreate(
            topic.name,
            -1 if topic.partitions is None else topic.partitions,
            -1 if topic.replication_factor is None else topic.replication_factor,
            dict(topic.configs),
        )
        with plain_errors():
            raise_failures((await (await self._admin_client()).create_topics([wanted])).values())
        self._look_now()

    async def delete_topic(self, topic: str) -> None:
        self._check_writable()
        with plain_errors():
            raise_failures((await (await self._admin_client()).delete_topics([topic])).values())
        self._look_now()

    async def add_partitions(self, topic: str, total: int) -> None:
        self._check_writable()
        with plain_errors():
            raise_failures((await (await self._admin_client()).create_partitions({topic: total})).values())
        self._look_now()

    async def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        self._check_writable()
        wanted = None if partitions is None else [TopicPartition(*each) for each in partitions]
        with plain_errors():
            outcomes = await (await self._admin_client()).elect_leaders(wanted)
            raise_failures(each for each in outcomes.values() if not is_not_needed(each))
        self._look_now()
        return sum(1 for each in outcomes.values() if each is None)

    async def elect_unclean(self, partitions: Sequence[tuple[str, int]]) -> int:
        self._check_writable()
        with plain_errors():
            elected = await self._mover.elect_unclean(partitions)
        self._look_now()
        return elected

    async def plan_placement(self, wish: PlacementWish) -> MovePlan:
        with plain_errors():
            return await self._mover.plan_placement(wish)

    async def plan_reset(self, wish: ResetWish) -> ResetPlan:
        with plain_errors():
            return await self._resetter.plan(wish)

    async def reset_offsets(self, plan: ResetPlan) -> int:
        self._check_writable()
        with plain_errors():
            committed = await self._resetter.execute(plan)
        self._look_now()
        return committed

    # -- brokers that come and go ---------------------------------------------------------------------------------

    async def plan_moves(self, drained: Sequence[int]) -> MovePlan:
        with plain_errors():
            return await self._mover.plan(drained)

    async def begin_moves(self, plan: MovePlan, throttle_bytes: int | None) -> None:
        self._check_writable()
        with plain_errors():
            await self._mover.begin(plan, throttle_bytes)
        self._look_now()

    async def moves(self) -> list[MoveRow]:
        with plain_errors():
            return await self._mover.under_way()

    async def cancel_moves(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        self._check_writable()
        with plain_errors():
            cancelled = await self._mover.cancel(partitions)
        self._look_now()
        return cancelled

    async def add_broker(self, rack: str | None) -> int:
        raise GatewayError(NEEDS_PROCESSES)

    async def remove_broker(self, broker_id: int) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def kill_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def stop_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def pause_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def resume_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def start_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def restart_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def zookeeper_servers(self, act: str, server_ids: Sequence[int]) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def expire_session(self, broker_id: int) -> None:
        raise GatewayError(NEEDS_PROCESSES)

    async def begin_fault(self, wish: FaultWish) -> int:
        raise GatewayError(NEEDS_PROCESSES)

    async def heal_faults(self, fault_id: int | None) -> list[str]:
        raise GatewayError(NEEDS_PROCESSES)

    async def start_workload(self) -> None:
        raise GatewayError(NEEDS_WORKLOAD)

    async def stop_workload(self) -> None:
        raise GatewayError(NEEDS_WORKLOAD)

    async def add_member(self, group: str) -> None:
        raise GatewayError(NEEDS_WORKLOAD)

    async def remove_member(self, group: str) -> None:
        raise GatewayError(NEEDS_WORKLOAD)


def names_by_id(snapshot: ClusterSnapshot | None) -> dict[str, str]:
    """Topics by their ids."""
    return {each.topic_id: each.name for each in snapshot.topics} if snapshot is not None else {}


def record_view(record: Any) -> RecordView:
    """A fetched record as the console shows it. One that does not decode shows why."""
    value = f"(does not decode: {record.error})".encode() if record.error else record.value
    meaning = None if record.error else meaning_of(record)
    return RecordView(
        record.topic,
        record.partition,
        record.offset,
        max(0, record.timestamp_ms),
        record.key,
        value,
        record.headers,
        record.timestamp_type,
        record.leader_epoch,
        record.compression,
        record.producer_id,
        record.is_transactional,
        record.is_control,
        meaning,
        is_unreadable=bool(record.error),
    )


def _server(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
