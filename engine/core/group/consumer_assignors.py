"""The assignors of the consumer protocol: who shall have which partitions (KIP-848).

Pure functions of what members subscribe to and of what they were to have before. ``uniform`` balances over all topics
and moves as little as it can (Kafka: UniformAssignor); ``range`` gives each member a range of each topic, so that
partitions of the same number of several topics meet at one member (Kafka: RangeAssignor). Neither looks at racks, as in
Kafka 4.3. Whoever is served first is decided by the order of members, which is that of their ids here: in Kafka it is
that of a hash table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from engine.core.group.consumer_member import NO_PARTITIONS, Partitions
from engine.core.group.uniform_heterogeneous import assign_heterogeneous
from engine.model.ids import Uuid


class AssignedMember(NamedTuple):
    """A member as assignors see it: topics it may get partitions of, and its former target."""

    instance_id: str | None
    topic_ids: frozenset[Uuid]
    target: Partitions


Members: TypeAlias = Mapping[str, AssignedMember]
Assignor: TypeAlias = Callable[[Members, Mapping[Uuid, int]], dict[str, Partitions]]
"""From members by id and numbers of partitions by topic to targets by member id; members left out get nothing."""


def uniform(members: Members, partition_counts: Mapping[Uuid, int]) -> dict[str, Partitions]:
    """Equal numbers of partitions, one more at most, wherever subscriptions allow it; then as few moves as possible."""
    if not members:
        return {}
    subscriptions = {member.topic_ids for member in members.values()}
    if len(subscriptions) > 1:
        subscribed = {member_id: member.topic_ids for member_id, member in members.items()}
        targets = {member_id: member.target for member_id, member in members.items()}
        return assign_heterogeneous(subscribed, targets, partition_counts)
    (topic_ids,) = subscriptions
    return _uniform_homogeneous(members, topic_ids, partition_counts)


def _uniform_homogeneous(
    members: Members, topic_ids: frozenset[Uuid], partition_counts: Mapping[Uuid, int]
) -> dict[str, Partitions]:
    topics = sorted(topic_ids)
    owners = _owners(members)
    unassigned = [
        (topic_id, number)
        for topic_id in topics
        for number in range(partition_counts[topic_id])
        if (topic_id, number) not in owners
    ]
    quota, extra = divmod(sum(partition_counts[topic_id] for topic_id in topics), len(members))
    member_ids = sorted(members)
    kept: dict[str, dict[Uuid, set[int]]] = {}
    room: dict[str, int] = {}
    for index, member_id in enumerate(member_ids):
        left = quota + 1 if extra else quota
        mine: dict[Uuid, set[int]] = {}
        for topic_id, numbers in sorted(members[member_id].target.items()):
            if topic_id not in topic_ids:
                continue
            # Another member may be down for it too: after a static member was replaced, for instance.
            still = [
                number
                for number in sorted(numbers)
                if number < partition_counts[topic_id] and owners[topic_id, number] == member_id
            ]
            if still[:left]:
                mine[topic_id] = set(still[:left])
            unassigned += [(topic_id, number) for number in still[left:]]
            left -= len(still[:left])
        has_extra = bool(extra)
        if left and has_extra and len(member_ids) - index > extra:
            # It does not need its extra partition: leave it to one that has it already and would have to move it.
            left -= 1
            has_extra = False
        extra -= has_extra
        kept[member_id] = mine
        room[member_id] = left
    waiting = iter(unassigned)
    for member_id in member_ids:
        for _, (topic_id, number) in zip(range(room[member_id]), waiting, strict=False):
            kept[member_id].setdefault(topic_id, set()).add(number)
    assert next(waiting, None) is None, "partitions were left unassigned"
    return {member_id: _frozen(mine) for member_id, mine in kept.items()}


def range_assignor(members: Members, partition_counts: Mapping[Uuid, int]) -> dict[str, Partitions]:
    """A range of each topic for each of its subscribers, in order of instance id, then member id."""
    order = sorted(
        members,
        key=lambda member_id: (
            members[member_id].instance_id is None,
            members[member_id].instance_id or member_id,
            member_id,
        ),
    )
    targets: dict[str, dict[Uuid, frozenset[int]]] = {member_id: {} for member_id in order}
    for topic_id in sorted({topic_id for member in members.values() for topic_id in member.topic_ids}):
        subscribers = [member_id for member_id in order if topic_id in members[member_id].topic_ids]
        quota, extra = divmod(partition_counts[topic_id], len(subscribers))
        start = 0
        for index, member_id in enumerate(subscribers):
            end = start + quota + (index < extra)
            if start < end:
                targets[member_id][topic_id] = frozenset(range(start, end))
            start = end
    return dict(targets)


ASSIGNORS: Mapping[str, Assignor] = {"uniform": uniform, "range": range_assignor}
"""By the names that members and group.consumer.assignors use."""


def _owners(members: Members) -> dict[tuple[Uuid, int], str]:
    """Whose target a partition is in; the first in order of member ids where there are two."""
    owners: dict[tuple[Uuid, int], str] = {}
    for member_id in sorted(members):
        for topic_id, numbers in members[member_id].target.items():
            for number in numbers:
                owners.setdefault((topic_id, number), member_id)
    return owners


def _frozen(assignment: Mapping[Uuid, set[int]]) -> Partitions:
    if not assignment:
        return NO_PARTITIONS
    return {topic_id: frozenset(numbers) for topic_id, numbers in assignment.items() if numbers}
