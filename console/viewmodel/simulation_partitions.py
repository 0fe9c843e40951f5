"""The partitions of a simulated cluster, each with the logs of all of its replicas side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.viewmodel.cells import Cell, Column, Span, cell
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState

_METADATA = "__cluster_metadata"


@dataclass(frozen=True, slots=True)
class RunPartition:
    """One partition."""

    state: PartitionState

    @property
    def key(self) -> str:
        """For the table."""
        return f"{self.state.topic}-{self.state.partition}"

    @property
    def is_led(self) -> bool:
        """Whether its leader is there, whatever the metadata says."""
        return self.state.leader >= 0 and self.state.leader not in self.state.offline_replicas

    @property
    def is_healthy(self) -> bool:
        """Led, and every replica in the ISR."""
        return self.is_led and len(self.state.isr) >= len(self.state.replicas)


def run_partitions(snapshot: ClusterSnapshot) -> list[RunPartition]:
    """Those whose ISR is not whole, or that nobody leads, come first."""
    rows = [RunPartition(each) for topic in snapshot.topics for each in topic.partitions]
    return sorted(rows, key=lambda row: (row.is_healthy, row.key))


def _leader(row: RunPartition) -> Cell:
    leader = row.state.leader
    if leader < 0:
        return cell("none", "offline")
    return (Span("★ ", "leader" if row.is_led else "offline"), Span(str(leader), "text" if row.is_led else "offline"))


def _isr(row: RunPartition) -> Cell:
    tone = "in_sync" if len(row.state.isr) >= len(row.state.replicas) else "under_replicated"
    return cell(",".join(map(str, row.state.isr)) or "–", tone)


def _log(broker_id: int) -> Callable[[RunPartition], Cell]:
    def make(row: RunPartition) -> Cell:
        log = next((each for each in row.state.replica_states if each.broker_id == broker_id), None)
        if log is None:
            return cell("")
        if log.log_end_offset is None:
            return cell("–", "muted")
        tone = "leader" if broker_id == row.state.leader else "text" if log.in_sync else "under_replicated"
        return (Span(f"{log.log_end_offset:,}", tone), Span(f" /{log.high_watermark:,}", "muted"))

    return make


def partition_columns(brokers: Sequence[int]) -> tuple[Column, ...]:
    """A column a broker: where its replica's log ends, and its high watermark."""
    return (
        Column("partition", "PARTITION", lambda row: cell(row.key), 12, max_width=26, cut_middle=True),
        Column("leader", "LEADER", _leader, 6, flashes=True),
        Column("epoch", "EPOCH", lambda row: cell(row.state.leader_epoch), 5, right=True, flashes=True),
        Column("isr", "ISR", _isr, 7, flashes=True, max_width=11),
        *(Column(f"broker-{each}", f"{each}: END /HW", _log(each), 14, right=True, max_width=18) for each in brokers),
    )
