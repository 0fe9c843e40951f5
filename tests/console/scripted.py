"""A gateway that plays a script: a cluster of three brokers in memory, changed by the acts that are done to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from sample_connect import ScriptedConnect
from sample_files import sample_disk, segment
from sample_schemas import ScriptedSchemas
from sample_snapshots import START_MS, finished_act, kill_in, newer_groups, revive_in, sample_cluster
from sample_streams import ScriptedStreams, with_workers
from sample_zookeeper import sample_znodes
from scripted_administration import ScriptedAdministration
from scripted_bulk import ScriptedBulk

from console.gateway import (
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
from console.gateway.moving import shown_plan, wished_moves
from console.gateway.protocol import NO_SIMULATION
from console.gateway.segment_files import read_batch, read_batches
from console.viewmodel.configs import BROKER, TOPIC, ConfigOf, ConfigValue
from console.viewmodel.connections import ConnectionRow, ConnectionsFound
from console.viewmodel.moves import BrokerLoad, MovePlan, MoveRow, PlannedMove
from console.viewmodel.reassigning import PlacementWish
from console.viewmodel.records import RecordView
from console.viewmodel.resets import LogFacts, ResetPlan, ResetWish, partitions_of, plan_reset
from console.viewmodel.segments import BatchPage, BatchView, Segments
from console.viewmodel.transactions import TransactionRow, TransactionsFound
from console.viewmodel.wire import WireBatch, WireRow
from engine.model.topic_partition import TopicPartition
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.placement_plan import BrokerPlace, PartitionPlace, PlanError
from engine.supervisor.replica_moves import Room, Survey
from engine.supervisor.snapshot import (
    ActiveFault,
    ClusterEvent,
    ClusterSnapshot,
    PartitionState,
    Source,
)
from engine.supervisor.zookeeper_snapshot import ZnodesSeen

EMBEDDED = Capabilities(Source.EMBEDDED, bootstrap_servers="127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094")
_NEEDS = "needs the processes of an embedded cluster"
ATTACHED = Capabilities(
    Source.ATTACHED,
    bootstrap_servers="kafka-1:9092",
    no_process_control=_NEEDS,
    no_workload="the workload belongs to an embedded cluster",
    no_broker_logs="needs the log files of an embedded cluster",
    missing_views={
        "simulation": NO_SIMULATION,
        "faults": _NEEDS,
        "segments": "needs the data directories of an embedded cluster",
    },
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
        self._tails = 0
        # How often something passed on the wire, and was told.
        self.passing, self._passed = 1, 0
        self.watched: frozenset[str] = frozenset()
        self.administration = ScriptedAdministration(self._act, self._maybe_refuse)
        self.logs: dict[tuple[int, bool], list[str]] = {}
        self.bulk = ScriptedBulk(self)
        self.streams = ScriptedStreams(self)
        self.schemas = ScriptedSchemas(lambda: bool(self.refusing))
        self.connect = ScriptedConnect(self)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def close(self) -> None:
        self.calls.append(("close",))

    @property
    def has_news(self) -> bool:
        """Whether something is told that the console has not taken yet."""
        if self.failing:
            return False
        unread = self._tails > 0 and self._new_records.is_set()
        return unread or self._changed.is_set() or self._new_events.is_set()

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
        self._tails += 1
        try:
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
                    ends = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in wanted}
                    yield TailBatch(wanted, "", True, ends, ends)
                self._new_records.clear()
                await self._new_records.wait()
        finally:
            self._tails -= 1

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        lines = self.logs.get((broker_id, previous), [])
        return BrokerLog(lines[position or 0 :], len(lines), f"/data/broker-{broker_id}/broker.log")

    async def segments(self, topic: str, partition: int) -> Segments:
        self._maybe_refuse()
        return Segments(
            tuple(
                segment(broker_id, f"{topic}-{partition}", base, self.clock.at_ms)
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
        return await self.administration.configs(ConfigOf(TOPIC, topic))

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        return await self.administration.configs(ConfigOf(BROKER, str(broker_id)))

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

    async def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        await self._act("elect_preferred", partitions)
        return 3

    async def connections(self) -> ConnectionsFound:
        self._maybe_refuse()
        at_ms = self.clock.at_ms - 60_000
        rdkafka = "librdkafka 2.16.1"
        rows = [
            ConnectionRow(
                1, 3, "127.0.0.1:40001", "CONTROLLER", "raft-client-2", "", "broker", at_ms, 420, 71_000, 9_800, 1, 20.0
            ),
            ConnectionRow(
                1,
                17,
                "127.0.0.1:40002",
                "PLAINTEXT",
                "billing-1",
                rdkafka,
                "client",
                at_ms,
                1_204,
                180_000,
                2_400_000,
                0,
                300.0,
            ),
            ConnectionRow(
                2, 9, "127.0.0.1:40003", "PLAINTEXT", "billing-1", rdkafka, "client", at_ms, 88, 12_000, 11_000, 0, 90.0
            ),
        ]
        return ConnectionsFound(tuple(rows))

    async def wire(self, broker_id: int | None, *, hold: bool = False) -> WireBatch:
        self._maybe_refuse()
        self.calls.append(("wire", hold))
        if hold:
            return WireBatch(())
        if self._passed == self.passing:
            return WireBatch(())
        self._passed += 1
        at_ms, number = self.clock.at_ms + self._passed, self._passed * 10
        rows = [
            WireRow(
                1,
                1,
                number,
                at_ms,
                17,
                "127.0.0.1:40002",
                "PLAINTEXT",
                "billing-1",
                "Produce",
                10,
                42,
                222,
                57,
                60,
                2_300,
                40,
                0,
                (),
            ),
            WireRow(
                1,
                1,
                number + 1,
                at_ms,
                17,
                "127.0.0.1:40002",
                "PLAINTEXT",
                "billing-1",
                "Fetch",
                17,
                43,
                120,
                60,
                12,
                90,
                8,
                0,
                ("NOT_LEADER_OR_FOLLOWER",),
            ),
            WireRow(
                1,
                1,
                number + 2,
                at_ms,
                4,
                "127.0.0.1:40004",
                "PLAINTEXT",
                "broker-2-fetcher-1",
                "Fetch",
                17,
                171,
                120,
                359,
                79,
                310_000,
                12,
                0,
                (),
            ),
        ]
        return WireBatch(tuple(rows))

    async def wire_message(self, row: WireRow) -> list[str]:
        self._maybe_refuse()
        return [
            "HEADER",
            "client_id: billing-1",
            "REQUEST",
            "acks: -1",
            "topic_data:",
            "  - name: orders",
            "RESPONSE",
            "throttle_time_ms: 0",
        ]

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        self._maybe_refuse()
        return sample_znodes(opened, wanted, self.clock.at_ms)

    async def zookeeper_servers(self, act: str, server_ids: Sequence[int]) -> None:
        await self._act("zookeeper_servers", act, list(server_ids))

    async def expire_session(self, broker_id: int) -> None:
        await self._act("expire_session", broker_id)

    async def elect_unclean(self, partitions: Sequence[tuple[str, int]]) -> int:
        await self._act("elect_unclean", partitions)
        return len(partitions)

    async def plan_placement(self, wish: PlacementWish) -> MovePlan:
        self._maybe_refuse()
        found = [each for topic in self.snapshot.topics for each in topic.partitions]
        survey = Survey(
            [BrokerPlace(each.broker_id, each.rack) for each in self.snapshot.brokers if each.reachable],
            [PartitionPlace(TopicPartition(e.topic, e.partition), e.replicas, e.size_bytes or 0) for e in found],
            {},
            {each.broker_id: (Room("/data", 8 << 30, 1 << 20),) for each in self.snapshot.brokers},
            {TopicPartition(each.topic, each.partition): each.leader for each in found},
            {TopicPartition(each.topic, each.partition): each.isr for each in found},
        )
        try:
            return shown_plan(survey, wished_moves(survey, wish), {"orders": 2, "payments": 2})
        except PlanError as error:
            raise GatewayError(str(error)) from error

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

    async def plan_reset(self, wish: ResetWish) -> ResetPlan:
        self._maybe_refuse()
        committed = {("orders", each): 900 + each for each in range(4)}
        starts, ends = {each: 20 for each in committed}, {each: 1_000 for each in committed}
        existing = {"orders": range(4)}
        return plan_reset(wish, partitions_of(wish, committed, {}, existing), LogFacts(committed, starts, ends))

    async def reset_offsets(self, plan: ResetPlan) -> int:
        await self._act("reset_offsets", plan.wish.group, [(each.partition, each.after) for each in plan.offsets])
        return len(plan.offsets)

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

    async def add_newer_groups(self, _: Sequence[int]) -> None:
        """Not asked for by the console: a share group and a streams group more."""
        self.show(newer_groups(self.snapshot))

    async def run_workers(self, _: Sequence[int]) -> None:
        """Not asked for by the console: an application over streams in Python."""
        self.show(with_workers(newer_groups(self.snapshot)))

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
            self.tell("leader_changed", subject, reason, "broker 2", **{"from": was.leader, "to": now.leader})
        reason = f"ISR {list(was.isr)}→{list(now.isr)}: broker {victim} fenced"
        self.tell("isr_shrunk", subject, reason, "broker 2", removed=[victim])

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

    async def begin_fault(self, wish: FaultWish) -> int:
        await self._act("begin_fault", wish)
        number = len(self.snapshot.faults) + 1
        heals_at_ms = self.clock.at_ms + int(wish.for_ms) if wish.for_ms else None
        fault = ActiveFault(number, wish.kind, wish.broker_id, wish.words, self.clock.at_ms, heals_at_ms, "", number)
        self.show(self.snapshot.with_facts(faults=(*self.snapshot.faults, fault)))
        self.tell("fault_begun", f"broker {wish.broker_id}", f"{wish.words}, asked for", "supervisor", fault=wish.kind)
        return number

    async def heal_faults(self, fault_id: int | None) -> list[str]:
        await self._act("heal_faults", fault_id)
        healed = [each for each in self.snapshot.faults if fault_id in (None, each.fault_id)]
        self.show(self.snapshot.with_facts(faults=tuple(e for e in self.snapshot.faults if e not in healed)))
        return [each.what for each in healed]

    async def add_two_faults(self, broker_ids: Sequence[int]) -> None:
        """Not asked for by the console: a disk that is slow for a while, and brokers that restart."""
        faults = (
            FaultWish("slow fsync", broker_ids[0], by_ms=200, for_ms=30_000),
            FaultWish("rolling restart", 1),
        )
        for wish in faults:
            await self.begin_fault(wish)
        slow, rolling = self.snapshot.faults
        rolling = replace(rolling, progress="2 of 3: broker 2 waits, orders-3 has replicas [1, 2, 3], in sync [2, 3]")
        self.show(self.snapshot.with_facts(faults=(slow, rolling)))
        self.clock.advance(4_000)

    async def start_workload(self) -> None:
        await self._act("start_workload")

    async def stop_workload(self) -> None:
        await self._act("stop_workload")

    async def add_member(self, group: str) -> None:
        await self._act("add_member", group)

    async def remove_member(self, group: str) -> None:
        await self._act("remove_member", group)
