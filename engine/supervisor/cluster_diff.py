"""Events derived by comparing two snapshots, for clusters that do not tell by themselves: no I/O, no clock.

What came and went between two samples is not seen, and the time is the later sample's; the source says ``observed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.model.notes import NoteKind
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, GroupState, PartitionState, TopicState


class Change(NamedTuple):
    """One difference: an event without its number and time."""

    kind: str
    subject: str
    reason: str
    detail: dict[str, Any]


def changes(before: ClusterSnapshot, after: ClusterSnapshot, *, groups: bool = True) -> list[Change]:
    """What changed, causes first: brokers, controller, topics and partitions, groups.

    Nothing is derived from a picture that has no metadata yet; ``groups`` False leaves groups out (before every
    coordinator has listed its own, a group that appears is not a new one).
    """
    if not before.metadata_observed_at_ms or not after.metadata_observed_at_ms:
        return []
    found = [*_broker_changes(before, after), *_controller_changes(before, after), *_topic_changes(before, after)]
    if groups:
        found += _group_changes(before, after)
    return found


def _broker_changes(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Change]:
    earlier = {each.broker_id: each for each in before.brokers}
    for broker in after.brokers:
        was = earlier.pop(broker.broker_id, None)
        subject = f"broker {broker.broker_id}"
        if was is None:
            yield Change(NoteKind.BROKER_REGISTERED, subject, f"at {broker.host}:{broker.port}", {})
            continue
        # Before the first contact nothing is known.
        if was.reachable and not broker.reachable:
            yield Change("broker_unreachable", subject, broker.error, _of(broker))
        elif broker.reachable and not was.reachable and was.observed_at_ms:
            yield Change("broker_reachable", subject, "answers again", _of(broker))
        if was.fenced is not None and broker.fenced is not None and was.fenced != broker.fenced:
            if broker.fenced:
                yield Change(NoteKind.BROKER_FENCED, subject, "the controller counts it as down", _of(broker))
            else:
                yield Change(NoteKind.BROKER_UNFENCED, subject, "the controller counts it as up", _of(broker))
        for path in broker.failed_log_dirs:
            if path not in was.failed_log_dirs:
                yield Change(NoteKind.LOG_DIR_FAILED, subject, f"log directory {path} is offline", _of(broker))
    for broker_id in sorted(earlier):
        yield Change(NoteKind.BROKER_UNREGISTERED, f"broker {broker_id}", "no longer registered", {})


def _of(broker: BrokerState) -> dict[str, Any]:
    return {"leaders": broker.leaders, "replicas": broker.replicas}


def _controller_changes(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Change]:
    was = (before.controller_id, before.controller_epoch)
    now = (after.controller_id, after.controller_epoch)
    if was == now or after.controller_id is None or was == (None, None):
        return
    yield Change(
        "controller_changed",
        f"broker {after.controller_id}",
        f"controller moved from {_name(before.controller_id)} to {_name(after.controller_id)}"
        if before.controller_id != after.controller_id
        else f"controller {after.controller_id} was elected again",
        {"from": before.controller_id, "to": after.controller_id, "epoch": after.controller_epoch},
    )


def _name(broker_id: int | None) -> str:
    return "nobody" if broker_id is None or broker_id < 0 else str(broker_id)


def _topic_changes(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Change]:
    earlier = {each.name: each for each in before.topics}
    for topic in after.topics:
        was = earlier.pop(topic.name, None)
        if was is topic:
            continue
        if was is not None and was.topic_id != topic.topic_id:
            yield Change(NoteKind.TOPIC_DELETED, topic.name, f"id {was.topic_id}", {})
            was = None
        if was is None:
            yield Change(
                NoteKind.TOPIC_CREATED, topic.name, f"{len(topic.partitions)} partitions", {"id": topic.topic_id}
            )
            continue
        yield from _partition_changes(was, topic)
    for name in sorted(earlier):
        yield Change(NoteKind.TOPIC_DELETED, name, f"id {earlier[name].topic_id}", {})


def _partition_changes(before: TopicState, after: TopicState) -> Iterator[Change]:
    if len(after.partitions) > len(before.partitions):
        yield Change(
            NoteKind.PARTITIONS_ADDED,
            after.name,
            f"from {len(before.partitions)} to {len(after.partitions)} partitions",
            {},
        )
    earlier = {each.partition: each for each in before.partitions}
    for partition in after.partitions:
        was = earlier.get(partition.partition)
        if was is not None and was is not partition:
            yield from _changes_of(was, partition)


def _changes_of(was: PartitionState, now: PartitionState) -> Iterator[Change]:
    subject = f"{now.topic}-{now.partition}"
    if was.leader != now.leader or was.leader_epoch != now.leader_epoch:
        detail = {"from": was.leader, "to": now.leader, "epoch": now.leader_epoch}
        if now.is_offline:
            yield Change(
                "partition_offline", subject, f"leader {_name(was.leader)} is gone and nobody may lead", detail
            )
        elif was.leader == now.leader:
            yield Change(NoteKind.LEADER_CHANGED, subject, f"leader {now.leader} in a new epoch", detail)
        else:
            back = " (preferred)" if now.leader == now.preferred_leader else ""
            yield Change(NoteKind.LEADER_CHANGED, subject, f"leader {_name(was.leader)} → {now.leader}{back}", detail)
    left = [each for each in was.isr if each not in now.isr]
    joined = [each for each in now.isr if each not in was.isr]
    isr = {"isr": list(now.isr), "left": left, "joined": joined}
    if left:
        yield Change(NoteKind.ISR_SHRUNK, subject, f"{_ids(left)} left the ISR, {_ids(now.isr)} in sync", isr)
    if joined:
        yield Change(NoteKind.ISR_EXPANDED, subject, f"{_ids(joined)} joined the ISR, {_ids(now.isr)} in sync", isr)
    if was.replicas != now.replicas:
        yield Change(
            NoteKind.REPLICAS_CHANGED,
            subject,
            f"replicas {_ids(was.replicas)} → {_ids(now.replicas)}",
            {"replicas": list(now.replicas)},
        )


def _ids(broker_ids: Any) -> str:
    return ", ".join(map(str, broker_ids)) or "nobody"


_REBALANCING = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")


def _group_changes(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Change]:
    earlier = {each.group_id: each for each in before.groups}
    for group in after.groups:
        was = earlier.pop(group.group_id, None)
        if was is None:
            yield Change(NoteKind.GROUP_CREATED, group.group_id, f"{group.group_type} group, {group.state}", {})
        elif was.observed_at_ms and group.observed_at_ms:
            yield from _changes_of_group(was, group)
    for group_id in sorted(earlier):
        yield Change(NoteKind.GROUP_DELETED, group_id, "no coordinator lists it", {})


def _changes_of_group(was: GroupState, now: GroupState) -> Iterator[Change]:
    before = {each.member_id: each for each in was.members}
    after = {each.member_id: each for each in now.members}
    for member_id in sorted(after.keys() - before.keys()):
        member = after[member_id]
        yield Change(
            NoteKind.MEMBER_JOINED, now.group_id, f"{member.client_id} {member.host} joined", {"member": member_id}
        )
    for member_id in sorted(before.keys() - after.keys()):
        member = before[member_id]
        yield Change(
            NoteKind.MEMBER_LEFT, now.group_id, f"{member.client_id} {member.host} left", {"member": member_id}
        )
    shares = {each.member_id: each.assignment for each in now.members}
    moved = shares != {each.member_id: each.assignment for each in was.members}
    detail = {"members": len(now.members), "state": now.state}
    if was.state != now.state:
        if now.state in _REBALANCING:
            yield Change(NoteKind.GROUP_REBALANCED, now.group_id, f"{was.state} → {now.state}", detail)
            return
        if now.state == "Empty":
            yield Change(NoteKind.GROUP_EMPTIED, now.group_id, "the last member left", detail)
            return
        if now.state == "Stable":
            yield Change(NoteKind.GROUP_STABLE, now.group_id, f"{len(now.members)} members", detail)
            return
    if moved and now.state == "Stable":
        yield Change(NoteKind.GROUP_REBALANCED, now.group_id, f"{len(now.members)} members share anew", detail)
    if was.coordinator != now.coordinator:
        yield Change(
            "coordinator_changed",
            now.group_id,
            f"coordinator {_name(was.coordinator)} → {_name(now.coordinator)}",
            {"from": was.coordinator, "to": now.coordinator},
        )
