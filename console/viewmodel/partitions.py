"""Partitions as rows: who leads, who is in sync, and how far each replica's log goes."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.health import is_unserved, partition_health, silent_brokers
from console.viewmodel.topics import is_internal
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState, ReplicaState


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition."""

    partition: PartitionState
    named: bool
    age_ms: float
    silent: frozenset[int] = frozenset()

    @property
    def key(self) -> str:
        """``topic-partition``."""
        return f"{self.partition.topic}-{self.partition.partition}"

    @property
    def is_healthy(self) -> bool:
        """Served, and whole."""
        partition = self.partition
        return not (is_unserved(partition, self.silent) or partition.is_under_replicated or partition.error)


def partition_rows(
    snapshot: ClusterSnapshot, *, topics: frozenset[str] | None = None, broker: int | None = None
) -> list[PartitionRow]:
    """Of some topics, or of a broker's replicas, or all."""
    rows = []
    silent = silent_brokers(snapshot)
    for topic in sorted(snapshot.topics, key=lambda each: (is_internal(each), each.name)):
        if topics is not None and topic.name not in topics:
            continue
        for partition in topic.partitions:
            if broker is None or broker in partition.replicas:
                named = topics is None or len(topics) != 1
                age_ms = text.age_ms(snapshot.at_ms, partition.observed_at_ms)
                rows.append(PartitionRow(partition, named, age_ms, silent))
    return rows


def _partition(row: PartitionRow) -> Cell:
    if row.named:
        return cell(row.key)
    return cell(row.partition.partition)


def _leader(row: PartitionRow) -> Cell:
    partition = row.partition
    if partition.is_offline:
        return cell("✗ none", "offline")
    if partition.leader in row.silent:
        return cell(f"✗ {partition.leader}", "offline")
    if partition.leader != partition.preferred_leader:
        return (Span("★ ", "muted"), Span(str(partition.leader), "leader"))
    return (Span("★ ", "leader"), Span(str(partition.leader), "leader"))


def _replicas(row: PartitionRow) -> Cell:
    partition = row.partition
    spans: list[Span] = []
    for at, replica in enumerate(partition.replicas):
        if at:
            spans.append(Span(",", "muted"))
        if replica in partition.offline_replicas:
            tone = "offline"
        elif replica not in partition.isr:
            tone = "under_replicated"
        else:
            tone = "leader" if replica == partition.leader else "follower"
        spans.append(Span(str(replica), tone))
    return tuple(spans)


def _isr(row: PartitionRow) -> Cell:
    partition = row.partition
    tone = "under_replicated" if partition.is_under_replicated else "in_sync"
    if partition.is_offline:
        tone = "offline"
    return cell(text.id_list(partition.isr) or "none", tone)


def _replica_ends(row: PartitionRow) -> Cell:
    """``1:1042 2:1042 3:998 -44``: the log end offset of each replica, what a follower lacks behind it."""
    partition = row.partition
    states = {state.broker_id: state for state in partition.replica_states}
    leader = states.get(partition.leader)
    spans: list[Span] = []
    for replica in partition.replicas:
        if spans:
            spans.append(Span("  "))
        state = states.get(replica)
        spans.append(Span(f"{replica}:", "muted"))
        if state is None or state.log_end_offset is None:
            spans.append(Span("–", "muted"))
            continue
        tone = "leader" if replica == partition.leader else "follower" if replica in partition.isr else "offline"
        spans.append(Span(f"{state.log_end_offset:,}", tone))
        if leader is not None and leader.log_end_offset is not None and replica != partition.leader:
            behind = leader.log_end_offset - state.log_end_offset
            if behind > 0:
                spans.append(Span(f" -{behind:,}", "under_replicated"))
    return tuple(spans)


def _count(value: int | None, tone: str = "text") -> Cell:
    return UNKNOWN if value is None else cell(text.count(value), tone)


PARTITION_COLUMNS: tuple[Column, ...] = (
    Column(
        "partition",
        "PARTITION",
        _partition,
        9,
        lambda row: (row.partition.topic, row.partition.partition),
        max_width=40,
        cut_middle=True,
    ),
    Column("leader", "LEADER", _leader, 6, lambda row: row.partition.leader, flashes=True),
    Column(
        "epoch",
        "EPOCH",
        lambda row: cell(row.partition.leader_epoch),
        5,
        lambda row: row.partition.leader_epoch,
        right=True,
        flashes=True,
    ),
    Column("replicas", "REPLICAS", _replicas, 9, lambda row: row.partition.replicas),
    Column("isr", "ISR", _isr, 8, lambda row: len(row.partition.isr), flashes=True),
    Column(
        "start",
        "START",
        lambda row: _count(row.partition.log_start_offset, "muted"),
        8,
        lambda row: row.partition.log_start_offset or 0,
        right=True,
        priority=2,
    ),
    Column(
        "hw",
        "HIGH WM",
        lambda row: _count(row.partition.high_watermark),
        10,
        lambda row: row.partition.high_watermark or 0,
        right=True,
        descending=True,
    ),
    Column(
        "health",
        "HEALTH",
        lambda row: (partition_health(row.partition, row.silent),),
        11,
        lambda row: row.is_healthy,
        priority=1,
        flashes=True,
    ),
    Column("leo", "LOG END OF EACH REPLICA", _replica_ends, 32, priority=3, max_width=60),
    Column(
        "rate",
        "RATE",
        lambda row: (
            UNKNOWN
            if row.partition.messages_in_per_s is None
            else cell(text.per_second(row.partition.messages_in_per_s))
        ),
        8,
        lambda row: row.partition.messages_in_per_s or 0,
        right=True,
        priority=4,
        descending=True,
    ),
    Column(
        "size",
        "SIZE",
        lambda row: UNKNOWN if row.partition.size_bytes is None else cell(text.size(row.partition.size_bytes)),
        9,
        lambda row: row.partition.size_bytes or 0,
        right=True,
        priority=5,
        descending=True,
    ),
    Column(
        "elr",
        "ELR",
        lambda row: cell(text.id_list(row.partition.eligible_leader_replicas) or "–", "muted"),
        6,
        priority=6,
    ),
)


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica of a partition: where its log begins, is committed and ends."""

    replica: ReplicaState
    leads: bool
    role: str
    tone: str
    behind: int | None
    age_ms: float

    @property
    def key(self) -> str:
        """Of its broker."""
        return str(self.replica.broker_id)


def replica_rows(partition: PartitionState, now_ms: int, silent: frozenset[int] = frozenset()) -> list[ReplicaRow]:
    """In the order of the assignment; ``silent`` brokers do not answer."""
    leader = next((each for each in partition.replica_states if each.broker_id == partition.leader), None)
    end = leader.log_end_offset if leader is not None else None
    rows = []
    for state in partition.replica_states:
        if state.broker_id in silent and state.broker_id not in partition.offline_replicas:
            role, tone = "✗ no answer", "offline"
        elif state.broker_id == partition.leader:
            role, tone = "★ leader", "leader"
        elif state.broker_id in partition.offline_replicas:
            role, tone = "✗ offline", "offline"
        elif state.broker_id in partition.isr:
            role, tone = "● in sync", "in_sync"
        else:
            role, tone = "◐ catching up", "under_replicated"
        behind = None if end is None or state.log_end_offset is None else max(0, end - state.log_end_offset)
        leads = state.broker_id == partition.leader
        rows.append(ReplicaRow(state, leads, role, tone, behind, text.age_ms(now_ms, state.observed_at_ms)))
    return rows


def _behind(row: ReplicaRow) -> Cell:
    if row.behind is None or row.leads:
        return UNKNOWN
    return cell(text.count(row.behind), "under_replicated" if row.behind else "muted")


def replica_columns(partition: str) -> tuple[Column, ...]:
    """Headed by the partition's name."""
    return (
        Column("broker", partition, lambda row: cell(f"broker {row.key}"), 10, max_width=30),
        Column("role", "ROLE", lambda row: cell(row.role, row.tone), 13, flashes=True),
        Column("start", "LOG START", lambda row: _count(row.replica.log_start_offset, "muted"), 10, right=True),
        Column("hw", "HIGH WM", lambda row: _count(row.replica.high_watermark), 10, right=True),
        Column("leo", "LOG END", lambda row: _count(row.replica.log_end_offset), 10, right=True),
        Column("behind", "BEHIND", _behind, 6, right=True),
        Column(
            "size",
            "SIZE",
            lambda row: UNKNOWN if row.replica.size_bytes is None else cell(text.size(row.replica.size_bytes), "muted"),
            9,
            right=True,
            priority=1,
        ),
    )
