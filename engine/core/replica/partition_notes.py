"""What a partition replica tells of itself: how its ISR changed, what of its log was cut away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.model.notes import Detail, Note, NoteKind

if TYPE_CHECKING:
    from engine.core.replica.partition import Partition
    from engine.core.replica.remote_replica import RemoteReplica


def why_caught_up(replica: RemoteReplica, high_watermark: int) -> str:
    """Why a follower may join the ISR."""
    return (
        f"replica {replica.broker_id} caught up: it has everything before offset {replica.log_end_offset}, "
        f"high watermark {high_watermark}"
    )


def why_behind(broker_id: int, replica: RemoteReplica | None, log_end_offset: int, now_ms: float) -> str:
    """Why a follower must leave the ISR of a leader whose log ends there."""
    if replica is None or replica.log_end_offset < 0:
        return f"replica {broker_id} never fetched from this leader"
    return (
        f"replica {broker_id} is at offset {replica.log_end_offset}, "
        f"{log_end_offset - replica.log_end_offset} behind, "
        f"last caught up {(now_ms - replica.last_caught_up_ms) / 1000:.1f} s ago"
    )


def isr_note(replica: Partition, before: frozenset[int], after: frozenset[int], reason: str) -> Note:
    """Of a leader, whose ISR is another one now."""
    topic, partition = replica.topic_partition
    detail: Detail = {
        "topic": topic,
        "partition": partition,
        "from": sorted(before),
        "to": sorted(after),
        "added": sorted(after - before),
        "removed": sorted(before - after),
        "leader": replica.view.local_broker_id,
        "leader_epoch": replica.leader_epoch,
        "partition_epoch": replica.partition_epoch,
        "high_watermark": replica.high_watermark,
        "log_end_offset": replica.log_end_offset,
        "min_insync_replicas": replica.effective_min_isr,
        "source": "leader",
    }
    kind = NoteKind.ISR_SHRUNK if before - after else NoteKind.ISR_EXPANDED
    return Note(kind, f"{topic}-{partition}", reason, detail)


def truncation_note(replica: Partition, before: int, high_watermark: int, reason: str) -> Note:
    """Of a follower, whose log ended at ``before`` and whose high watermark was as given."""
    topic, partition = replica.topic_partition
    detail: Detail = {
        "topic": topic,
        "partition": partition,
        "from": before,
        "to": replica.log_end_offset,
        "records": before - replica.log_end_offset,
        "high_watermark": high_watermark,
        "below_high_watermark": replica.log_end_offset < high_watermark,
        "leader": replica.leader_id,
        "leader_epoch": replica.leader_epoch,
    }
    return Note(NoteKind.LOG_TRUNCATED, f"{topic}-{partition}", reason, detail)
