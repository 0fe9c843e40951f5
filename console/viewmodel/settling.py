"""When a picture is whole enough to be told once and for good: what a script gets must not depend on luck. Pure.

An observer fills its picture bit by bit, each broker at its own pace. A screen shows what is there; a command that
answers once waits until everybody who can answer has answered, and no longer.
"""

from __future__ import annotations

from console.viewmodel.health import silent_brokers
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, Source


def missing(snapshot: ClusterSnapshot) -> list[str]:
    """What has not been told yet, in words; empty when all that can be known is known.

    A broker that was asked and does not answer is known to be silent: nothing is waited for that only it could tell.
    """
    if not snapshot.metadata_observed_at_ms:
        return ["metadata"]
    waited: list[str] = []
    not_asked = [broker.broker_id for broker in snapshot.brokers if not broker.was_asked]
    if not_asked:
        waited.append(f"broker {', '.join(map(str, not_asked))}")
    if snapshot.source is Source.EMBEDDED and not any(broker.process for broker in snapshot.brokers):
        waited.append("the supervisor")
    if snapshot.quorum is None and snapshot.coordination != "zookeeper":
        waited.append("the metadata quorum")
    unknown = [topic.name for topic in snapshot.topics if topic.min_insync_replicas is None and not topic.error]
    if unknown:
        waited.append("topic configs")
    served = _served(snapshot)
    late = [group.group_id for group in snapshot.groups if not _is_whole(group, served)]
    if late:
        waited.append(f"group {late[0]}" + (f" and {len(late) - 1} more" if len(late) > 1 else ""))
    return waited


def _served(snapshot: ClusterSnapshot) -> frozenset[tuple[str, int]]:
    """Partitions whose leader answers."""
    silent = silent_brokers(snapshot)
    return frozenset(
        (each.topic, each.partition)
        for topic in snapshot.topics
        for each in topic.partitions
        if not each.is_offline and each.leader not in silent
    )


def _is_whole(group: GroupState, served: frozenset[tuple[str, int]]) -> bool:
    if group.error:
        return True
    # Log ends and commits come from different brokers: the first of both may miss each other by one poll.
    return bool(group.observed_at_ms) and all(
        each.lag is not None or each.committed_offset is None or (each.topic, each.partition) not in served
        for each in group.offsets
    )
