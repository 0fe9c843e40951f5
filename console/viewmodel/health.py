"""What ails brokers and partitions, whatever the last metadata says.

Metadata names the leaders that the controller has elected. One that does not answer (killed a moment ago, paused, or
with nobody left to elect another) serves nobody: its partitions count as offline.
"""

from __future__ import annotations

from console.viewmodel.cells import Span
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState, TopicState


def silent_brokers(snapshot: ClusterSnapshot) -> frozenset[int]:
    """Those that were asked and do not answer."""
    return frozenset(broker.broker_id for broker in snapshot.brokers if broker.was_asked and not broker.reachable)


# Data older than this is told to be stale.
STALE_MS = 5_000


def leaderless_since_ms(snapshot: ClusterSnapshot) -> int:
    """When a leader of the metadata quorum was last told of, where brokers answer and none of them knows one any more:
    no majority is left to elect another. 0 where one is known, or nothing is."""
    quorum_ms = snapshot.quorum.observed_at_ms if snapshot.quorum is not None else 0
    return quorum_ms if quorum_ms and snapshot.metadata_observed_at_ms - quorum_ms > STALE_MS else 0


def has_controller(snapshot: ClusterSnapshot) -> bool | None:
    """Whether somebody is the active controller, as the metadata quorum, ZooKeeper or brokers tell; ``None`` before
    anybody has told."""
    if snapshot.quorum is not None:
        return snapshot.quorum.leader_id >= 0 and not leaderless_since_ms(snapshot)
    if snapshot.coordination != "zookeeper" or not snapshot.metadata_observed_at_ms:
        return None
    seen = snapshot.zookeeper
    if seen is not None and seen.controller is not None and not seen.error:
        return seen.controller.broker_id >= 0
    return snapshot.controller_id is not None and snapshot.controller_id >= 0


def is_unserved(partition: PartitionState, silent: frozenset[int]) -> bool:
    """Without a leader, or with one that does not answer."""
    return partition.is_offline or partition.leader in silent


def unserved(topic: TopicState, silent: frozenset[int]) -> int:
    """How many of its partitions nobody serves."""
    return sum(is_unserved(partition, silent) for partition in topic.partitions)


def partition_health(partition: PartitionState, silent: frozenset[int]) -> Span:
    """In a word."""
    if partition.error:
        return Span(f"✗ {partition.error}", "offline")
    if partition.is_offline:
        return Span("✗ offline", "offline")
    if partition.leader in silent:
        return Span("✗ no answer", "offline")
    if partition.is_under_replicated:
        return Span(f"◐ {len(partition.replicas) - len(partition.isr)} behind", "under_replicated")
    return Span("● in sync", "in_sync")
