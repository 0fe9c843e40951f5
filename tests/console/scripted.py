"""A gateway that plays a script: a cluster of three brokers in memory, changed by the acts that are done to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from console.gateway import (
    BrokerLog,
    Capabilities,
    ConfigValue,
    EventBatch,
    GatewayError,
    NewRecord,
    NewTopic,
    ProducedRecord,
    Tail,
    TailBatch,
)
from console.gateway.protocol import NO_SIMULATION
from console.gateway.segment_files import read_batch, read_batches
from console.viewmodel.moves import BrokerLoad, MovePlan, MoveRow, PlannedMove
from console.viewmodel.records import RecordView
from console.viewmodel.segments import BatchPage, BatchView, SegmentRow, Segments
from console.viewmodel.transactions import TransactionRow, TransactionsFound
from engine.record.builder import NewRecord as RecordToBuild
from engine.record.builder import build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.supervisor.snapshot import (
    Act,
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    Ledger,
    MemberState,
    PartitionState,
    ProcessFacts,
    ProcessState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    Stage,
    StageTime,
    TopicState,
    WorkloadMember,
    WorkloadState,
)
from tests.unit.storage.memory_disk import MemoryDisk

START_MS = 1_795_521_600_000

EMBEDDED = Capabilities(Source.EMBEDDED, bootstrap_servers="127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094")
_NEEDS = "needs the processes of an embedded cluster"
ATTACHED = Capabilities(
    Source.ATTACHED,
    bootstrap_servers="kafka-1:9092",
    no_process_control=_NEEDS,
    no_workload="the workload belongs to an embedded cluster",
    no_broker_logs="needs the log files of an embedded cluster",
    missing_views={"simulation": NO_SIMULATION, "segments": "needs the data directories of an embedded cluster"},
)


class FrozenClock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at_ms = START_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_ms(self) -> float:
        return float(self.at_ms - START_MS + 1_000_000)

    def advance(self, ms: int) -> None:
        self.at_ms += ms


def _partition(topic: str, number: int, at_ms: int, base: int) -> PartitionState:
    replicas = tuple((number + step) % 3 + 1 for step in range(3))
    end = base + number * 137
    return PartitionState(
        topic,
        number,
        replicas[0],
        4,
        replicas,
        replicas,
        log_start_offset=0,
        high_watermark=end,
        replica_states=tuple(
            ReplicaState(each, end + (2 if each == replicas[0] else 0), end * 180, True, at_ms, 0, end)
            for each in replicas
        ),
        size_bytes=end * 180,
        messages_in_per_s=3.4,
        observed_at_ms=at_ms,
    )


def _topic(name: str, partitions: int, at_ms: int, base: int, *, internal: bool = False, **configs: str) -> TopicState:
    return TopicState(
        name,
        f"id-{name}",
        internal,
        tuple(_partition(name, number, at_ms, base) for number in range(partitions)),
        2,
        {key.replace("_", "."): value for key, value in configs.items()},
    )


def _group(name: str, topic: TopicState, members: int, at_ms: int, lag: int, epoch: int | None = None) -> GroupState:
    """A classic group, or with an epoch a consumer group."""
    ids = [f"{name}-{at + 1}-0c1d2e3f-aaaa-bbbb-cccc-0123456789ab" for at in range(members)]
    owned: dict[str, list[int]] = {member: [] for member in ids}
    offsets = []
    for partition in topic.partitions:
        owner = ids[partition.partition % members]
        owned[owner].append(partition.partition)
        end = partition.high_watermark or 0
        offsets.append(GroupOffset(topic.name, partition.partition, end - lag, end, lag, owner))
    return GroupState(
        name,
        "Stable",
        "consumer",
        "range" if epoch is None else "uniform",
        "classic" if epoch is None else "consumer",
        coordinator=2,
        members=tuple(
            MemberState(
                member,
                None,
                f"{name}-{at + 1}",
                "/127.0.0.1",
                ((topic.name, tuple(owned[member])),),
                epoch,
                None if epoch is None else ((topic.name, tuple(owned[member])),),
                "" if epoch is None else "consumer",
            )
            for at, member in enumerate(ids)
        ),
        offsets=tuple(offsets),
        total_lag=lag * len(topic.partitions),
        observed_at_ms=at_ms,
        group_epoch=epoch,
        assignment_epoch=epoch,
    )


def sample_cluster(at_ms: int = START_MS, source: Source = Source.EMBEDDED) -> ClusterSnapshot:
    """Three brokers, five topics, two groups, a workload: all well."""
    topics = (
        _topic("clicks", 3, at_ms, 120_345, retention_ms="3600000"),
        _topic("customers", 3, at_ms, 8_120, cleanup_policy="compact"),
        _topic("orders", 6, at_ms, 80_002, compression_type="producer"),
        _topic("payments", 3, at_ms, 20_771),
        _topic("__consumer_offsets", 10, at_ms, 3_310, internal=True, cleanup_policy="compact"),
    )
    embedded = source is Source.EMBEDDED
    brokers = tuple(
        BrokerState(
            number,
            "127.0.0.1",
            9091 + number,
            f"rack-{'abc'[number - 1]}",
            reachable=True,
            fenced=False,
            is_controller=number == 2,
            observed_at_ms=at_ms,
            leaders=sum(each.leader == number for topic in topics for each in topic.partitions),
            replicas=25,
            in_sync=25,
            log_bytes=31_400_000 + number * 1_000_000,
            bytes_in_per_s=10_400.0 + number * 310,
            bytes_out_per_s=22_900.0 + number * 450,
            messages_in_per_s=19.0,
            process=ProcessFacts(
                number,
                ProcessState.RUNNING,
                41_000 + number,
                at_ms - 3_600_000,
                1,
                cpu_percent=2.1 + number,
                rss_bytes=61_000_000 + number * 700_000,
                open_files=88,
                log_dir=f"/data/broker-{number}/data",
            )
            if embedded
            else None,
        )
        for number in (1, 2, 3)
    )
    return ClusterSnapshot(
        at_ms,
        source,
        "mZy7kQ3tTrS0b1nVxWcd4A",
        2,
        7,
        brokers,
        topics,
        (_group("analytics", topics[0], 2, at_ms, 140), _group("billing", topics[2], 3, at_ms, 3, epoch=4)),
        QuorumState(
            2,
            7,
            1_204,
            tuple(QuorumVoter(number, 1_205, 0, True, at_ms - 300, at_ms - 300) for number in (1, 2, 3)),
            at_ms,
        ),
        WorkloadState(
            True,
            (
                WorkloadMember("shop", "producer", "orders", True, 20.0, 80_210),
                WorkloadMember("website", "producer", "clicks", True, 30.0, 120_650),
                WorkloadMember("analytics", "group", "clicks", True, 30.0, 120_400, members=2),
                WorkloadMember("billing", "group", "orders payments", True, 25.0, 101_100, members=3),
            ),
        )
        if embedded
        else None,
        metadata_observed_at_ms=at_ms,
    )


def kill_in(snapshot: ClusterSnapshot, victim: int) -> ClusterSnapshot:
    """The cluster after one broker died: other leaders, smaller ISRs, higher epochs."""
    topics = []
    for topic in snapshot.topics:
        partitions = []
        for each in topic.partitions:
            isr = tuple(broker for broker in each.isr if broker != victim)
            leader = each.leader if each.leader != victim else (isr[0] if isr else -1)
            epoch = each.leader_epoch + (leader != each.leader)
            partitions.append(replace(each, isr=isr, leader=leader, leader_epoch=epoch, offline_replicas=(victim,)))
        topics.append(replace(topic, partitions=tuple(partitions)))
    brokers = []
    for broker in snapshot.brokers:
        leaders = sum(each.leader == broker.broker_id for topic in topics for each in topic.partitions)
        if broker.broker_id != victim:
            brokers.append(replace(broker, leaders=leaders))
            continue
        process = broker.process
        brokers.append(
            replace(
                broker,
                reachable=False,
                fenced=True,
                leaders=0,
                in_sync=0,
                is_controller=False,
                process=replace(
                    process,
                    state=ProcessState.KILLED,
                    pid=None,
                    cpu_percent=None,
                    rss_bytes=None,
                    why="SIGKILL, asked for",
                )
                if process
                else None,
            )
        )
    return snapshot.with_facts(topics=tuple(topics), brokers=tuple(brokers))


def revive_in(snapshot: ClusterSnapshot, broker_id: int) -> ClusterSnapshot:
    """The cluster after that broker came back and caught up."""
    whole = sample_cluster(snapshot.at_ms)
    topics = []
    for topic in snapshot.topics:
        partitions = [
            replace(each, isr=each.replicas, offline_replicas=()) if broker_id in each.replicas else each
            for each in topic.partitions
        ]
        topics.append(replace(topic, partitions=tuple(partitions)))
    brokers = tuple(
        replace(whole.brokers[at], leaders=0) if broker.broker_id == broker_id else broker
        for at, broker in enumerate(snapshot.brokers)
    )
    return snapshot.with_facts(topics=tuple(topics), brokers=brokers)


def finished_act(act_id: int, victim: int, at_ms: int) -> Act:
    """A failover as it looks when all was measured."""
    survivors = [each for each in (1, 2, 3) if each != victim]
    return Act(
        act_id,
        "kill",
        victim,
        at_ms,
        9,
        victim == 2,
        (
            StageTime(Stage.KILLED, 0.0),
            StageTime(Stage.FENCED, 88.4),
            StageTime(Stage.LEADERS_COMMITTED, 131.2, detail="9 partitions"),
            StageTime(Stage.SEEN_BY_SURVIVORS, 139.9, survivors[0]),
            StageTime(Stage.SEEN_BY_SURVIVORS, 152.3, survivors[1]),
            StageTime(Stage.FIRST_PRODUCE, 241.0),
            StageTime(Stage.FIRST_FETCH, 247.7),
        ),
        Ledger("all", 1_204, 1_204, 0, 0, 0, True),
        True,
    )


class ScriptedGateway:
    """Everything that is asked of it is kept in ``calls``."""

    def __init__(
        self, clock: FrozenClock, capabilities: Capabilities = EMBEDDED, snapshot: ClusterSnapshot | None = None
    ) -> None:
        self.clock = clock
        self._capabilities = capabilities
        self.snapshot = snapshot or sample_cluster(clock.at_ms, capabilities.source)
        self.calls: list[tuple[Any, ...]] = []
        self.failing = ""
        self.refusing = ""
        self.moving: list[MoveRow] = []
        self._changed = asyncio.Event()
        self._events: list[ClusterEvent] = []
        self._new_events = asyncio.Event()
        self.records: list[RecordView] = []
        self._new_records = asyncio.Event()
        self.watched: frozenset[str] = frozenset()
        self.logs: dict[tuple[int, bool], list[str]] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def close(self) -> None:
        self.calls.append(("close",))

    # -- what the test does ---------------------------------------------------------------------------------------

    def show(self, snapshot: ClusterSnapshot) -> None:
        """The next picture."""
        self.snapshot = snapshot
        self._changed.set()

    def fail(self, reason: str) -> None:
        """The cluster is gone."""
        self.failing = reason
        self._changed.set()

    def tell(self, kind: str, subject: str, reason: str, source: str = "broker 1", **detail: Any) -> None:
        """Something happened."""
        event = ClusterEvent(len(self._events) + 1, self.clock.at_ms, kind, subject, reason, source, detail)
        self._events.append(event)
        self._new_events.set()

    def arrive(self, *records: RecordView) -> None:
        """Records come."""
        self.records += records
        self._new_records.set()

    # -- what the console does ------------------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        while True:
            if self.failing:
                raise GatewayError(self.failing)
            yield self.snapshot
            self._changed.clear()
            await self._changed.wait()

    def watch(self, topics: frozenset[str]) -> None:
        self.watched = topics

    async def events(self) -> AsyncIterator[EventBatch]:
        told = 0
        while True:
            if told < len(self._events):
                yield EventBatch(self._events[told:])
                told = len(self._events)
            self._new_events.clear()
            await self._new_events.wait()

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        self.calls.append(("tail", tail))
        told = 0
        while True:
            if self.failing:
                raise GatewayError(self.failing)
            if told < len(self.records):
                wanted = [
                    each
                    for each in self.records[told:]
                    if each.topic in tail.topics and (tail.partitions is None or each.partition in tail.partitions)
                ]
                told = len(self.records)
                yield TailBatch(wanted, caught_up=True)
            self._new_records.clear()
            await self._new_records.wait()

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        lines = self.logs.get((broker_id, previous), [])
        return BrokerLog(lines[position or 0 :], len(lines), f"/data/broker-{broker_id}/broker.log")

    async def segments(self, topic: str, partition: int) -> Segments:
        self._maybe_refuse()
        return Segments(
            tuple(
                _segment(broker_id, f"{topic}-{partition}", base, self.clock.at_ms)
                for broker_id in (1, 2, 3)
                for base in (0, 41_207, 79_990)
            )
        )

    async def batches(self, path: str, position: int, limit: int) -> BatchPage:
        self._maybe_refuse()
        return read_batches(sample_disk(path), path, position, limit)

    async def find_batch(self, path: str, offset: int) -> int:
        self.calls.append(("find_batch", offset))
        return 0

    async def batch(self, path: str, position: int) -> BatchView:
        self._maybe_refuse()
        return read_batch(sample_disk(path), path, position)

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        self._maybe_refuse()
        return [
            ConfigValue("cleanup.policy", "delete", "DEFAULT_CONFIG"),
            ConfigValue("min.insync.replicas", "2", "STATIC_BROKER_CONFIG"),
            ConfigValue("retention.ms", "3600000", "DYNAMIC_TOPIC_CONFIG"),
        ]

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        return [ConfigValue("log.dirs", "/data", "STATIC_BROKER_CONFIG", read_only=True)]

    def _maybe_refuse(self) -> None:
        if self.refusing:
            raise GatewayError(self.refusing)

    async def _act(self, *call: Any) -> None:
        self.calls.append(call)
        self._maybe_refuse()

    async def produce(self, record: NewRecord) -> ProducedRecord:
        await self._act("produce", record)
        return ProducedRecord(record.partition or 0, 80_002, 4.2)

    async def create_topic(self, topic: NewTopic) -> None:
        await self._act("create_topic", topic)

    async def delete_topic(self, topic: str) -> None:
        await self._act("delete_topic", topic)

    async def add_partitions(self, topic: str, total: int) -> None:
        await self._act("add_partitions", topic, total)

    async def alter_topic_configs(self, topic: str, changes: Mapping[str, str | None]) -> None:
        await self._act("alter_topic_configs", topic, dict(changes))

    async def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        await self._act("elect_preferred", partitions)
        return 3

    async def plan_moves(self, drained: Sequence[int]) -> MovePlan:
        self._maybe_refuse()
        if not drained:
            return MovePlan((), ())
        moves = [PlannedMove("orders", each, (2, 3, 1), (4, 3, 1), 700 << 20) for each in range(2)]
        loads = [BrokerLoad(2, (9, 7), (3, 1), (6 << 30, 4 << 30)), BrokerLoad(4, (0, 2), (0, 2), (0, 2 << 30))]
        return MovePlan(tuple(moves), tuple(loads))

    async def begin_moves(self, plan: MovePlan, throttle_bytes: int | None) -> None:
        await self._act("begin_moves", len(plan.moves), throttle_bytes)
        self.moving = [
            MoveRow(
                each.topic, each.partition, (*each.after, 2), (4,), (2,), (each.partition + 1) * (230 << 20), 700 << 20
            )
            for each in plan.moves
        ]

    async def moves(self) -> list[MoveRow]:
        self._maybe_refuse()
        return list(self.moving)

    async def cancel_moves(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        await self._act("cancel_moves", partitions)
        cancelled = len(self.moving) if partitions is None else len(partitions)
        self.moving = [] if partitions is None else [e for e in self.moving if (e.topic, e.partition) not in partitions]
        return cancelled

    async def add_broker(self, rack: str | None) -> int:
        await self._act("add_broker", rack)
        return 4

    async def remove_broker(self, broker_id: int) -> None:
        await self._act("remove_broker", broker_id)

    async def transactions(self) -> TransactionsFound:
        self._maybe_refuse()
        rows = [
            TransactionRow("ledger-1", 1, "Ongoing", 4001, 7, 60_000, 2_000.0, ("orders-0", "orders-3")),
            TransactionRow("ledger-2", 3, "CompleteCommit", 4002, 0, 60_000, None, ()),
            TransactionRow("ledger-3", 2, "Ongoing", 4003, 1, 60_000, 320_000.0, ("payments-1",)),
        ]
        return TransactionsFound(tuple(rows))

    async def kill_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("kill", *broker_ids)
        for broker_id in broker_ids:
            acts = (*self.snapshot.acts, finished_act(len(self.snapshot.acts) + 1, broker_id, self.clock.at_ms))
            before = self.snapshot
            self.show(kill_in(before, broker_id).with_facts(acts=acts))
            self.tell("process_killed", f"broker {broker_id}", "SIGKILL, asked for", "supervisor")
            self.clock.advance(88)
            self.tell("broker_fenced", f"broker {broker_id}", "its connection to the controller was lost", "broker 2")
            for topic, topic_before in zip(self.snapshot.topics, before.topics, strict=True):
                for now, was in zip(topic.partitions, topic_before.partitions, strict=True):
                    self._tell_moves(now, was, broker_id)

    def _tell_moves(self, now: PartitionState, was: PartitionState, victim: int) -> None:
        subject, epochs = f"{now.topic}-{now.partition}", f"epoch {was.leader_epoch}→{now.leader_epoch}"
        if now.leader != was.leader:
            reason = f"leader {was.leader}→{now.leader}, {epochs}: broker {victim} fenced"
            self.tell("leader_changed", subject, reason, "broker 2")
        self.tell("isr_shrunk", subject, f"ISR {list(was.isr)}→{list(now.isr)}: broker {victim} fenced", "broker 2")

    async def stop_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("stop", *broker_ids)

    async def pause_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("pause", *broker_ids)

    async def resume_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("resume", *broker_ids)

    async def start_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("start", *broker_ids)
        for broker_id in broker_ids:
            self.show(revive_in(self.snapshot, broker_id))

    async def restart_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("restart", *broker_ids)

    async def start_workload(self) -> None:
        await self._act("start_workload")

    async def stop_workload(self) -> None:
        await self._act("stop_workload")

    async def add_member(self, group: str) -> None:
        await self._act("add_member", group)

    async def remove_member(self, group: str) -> None:
        await self._act("remove_member", group)


def _segment(broker_id: int, partition: str, base: int, at_ms: int) -> SegmentRow:
    """Of three, the last one active and a little behind on followers."""
    is_active = base == 79_990
    return SegmentRow(
        broker_id,
        f"/data/broker-{broker_id}/data/{partition}/{base:020d}.log",
        base,
        {0: 41_207, 41_207: 79_990}.get(base, 80_004 - broker_id % 2),
        7_411 if is_active else 67_108_000,
        (0, 0, -1) if is_active else (98_304, 147_456, -1),
        12 if is_active else None,
        14 if is_active else None,
        START_MS - 3_600_000 + base * 40,
        START_MS - 3_600_000 + base * 44 if not is_active else at_ms - 900,
        at_ms - 900 if is_active else START_MS - 1_000_000 + base,
        is_active,
    )


def sample_disk(path: str) -> MemoryDisk:
    """A segment with batches of each codec, an aborted transaction, and one batch that lost a bit."""
    disk = MemoryDisk()
    disk.make_dirs(path.rpartition("/")[0])
    file = disk.open(path, append=True, create=True)
    offset, at_ms = 79_990, START_MS + 5_000
    for number in range(12):
        records = [
            RecordToBuild(
                b"key-%d" % (number * 7 + each), b'{"order":%d,"currency":"EUR"}' % (offset + each), timestamp=at_ms
            )
            for each in range(1 + number % 3)
        ]
        batch = bytearray(
            build_batch(
                records,
                base_offset=offset,
                leader_epoch=4,
                compression=Compression(number % 5),
                **({"producer_id": 2001, "producer_epoch": 0, "base_sequence": number} if number % 2 else {}),
                is_transactional=number == 9,
            )
        )
        if number == 6:
            batch[-3] ^= 4
        file.append([bytes(batch)])
        offset, at_ms = offset + len(records), at_ms + 1_700
    marker = build_end_transaction_marker(
        committed=False,
        producer_id=2001,
        producer_epoch=0,
        coordinator_epoch=3,
        timestamp=at_ms,
        base_offset=offset,
        leader_epoch=4,
    )
    file.append([marker, bytes(marker[:20])])
    return disk


def record(topic: str, partition: int, offset: int, at_ms: int, **fields: Any) -> RecordView:
    """A record such as the sample's workload makes."""
    value = {
        "order": offset,
        "customer": f"key-{offset % 500}",
        "amount": 5 + offset % 495,
        "currency": ("EUR", "USD", "GBP")[offset % 3],
    }
    fields.setdefault("key", f"key-{offset % 500}".encode())
    fields.setdefault("value", json.dumps(value).encode())
    fields.setdefault("leader_epoch", 4)
    return RecordView(topic, partition, offset, at_ms, **fields)
