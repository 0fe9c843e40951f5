"""The assignor of share groups (Kafka: SimpleAssignor).

Every partition is with at least one member that subscribes to it, every such member has at least one partition if there
is one, and members stay with what they have as far as that allows. With fewer members than partitions each partition is
with one member; with more, members share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from engine.core.group.consumer_member import Partitions, to_partitions
from engine.model.ids import Uuid

Each = tuple[Uuid, int]


class SharingMember(NamedTuple):
    """What the assignor sees of a member: ids of its topics, and what it has."""

    topic_ids: frozenset[Uuid]
    assigned: Partitions


def assign_shared(
    members: Mapping[str, SharingMember], partitions: Mapping[Uuid, Collection[int]]
) -> dict[str, Partitions]:
    """Targets by member; ``partitions`` are those that can be read, by topic id."""
    everything = [(topic_id, number) for topic_id in sorted(partitions) for number in sorted(partitions[topic_id])]
    readers = {
        each: [member_id for member_id in sorted(members) if each[0] in members[member_id].topic_ids]
        for each in everything
    }
    wanted = [each for each in everything if readers[each]]
    active = {member_id for each in wanted for member_id in readers[each]}
    targets: dict[str, set[Each]] = {member_id: set() for member_id in members}
    if not wanted:
        return {member_id: {} for member_id in members}
    # So many members a partition, and so many partitions a member, at most.
    sharing = -(-len(active) // len(wanted))
    load = -(-len(wanted) * sharing // max(len(active), 1))
    shared = dict.fromkeys(wanted, 0)
    for member_id in sorted(active):
        for topic_id, numbers in sorted(members[member_id].assigned.items()):
            for each in ((topic_id, number) for number in sorted(numbers)):
                if (
                    topic_id in members[member_id].topic_ids
                    and shared.get(each, sharing) < sharing
                    and len(targets[member_id]) < load
                ):
                    targets[member_id].add(each)
                    shared[each] += 1
    # Partitions that nobody has go to those who have least.
    for each in wanted:
        if not shared[each]:
            _give(min(readers[each], key=lambda member_id: (len(targets[member_id]), member_id)), each, targets, shared)
    # Members that have nothing share what is shared least.
    for member_id in sorted(active):
        if not targets[member_id]:
            mine = [each for each in wanted if each[0] in members[member_id].topic_ids]
            _give(member_id, min(mine, key=lambda each: (shared[each], each)), targets, shared)
    return {
        member_id: to_partitions((topic_id, (number,)) for topic_id, number in sorted(target))
        for member_id, target in targets.items()
    }


def _give(member_id: str, each: Each, targets: dict[str, set[Each]], shared: dict[Each, int]) -> None:
    targets[member_id].add(each)
    shared[each] += 1
