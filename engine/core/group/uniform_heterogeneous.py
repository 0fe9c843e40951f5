"""The uniform assignor where members subscribe to different topics (Kafka: UniformHeterogeneousAssignmentBuilder).

Members keep what they have, what is free goes to the least loaded subscriber, and then topics are balanced one after
the other, partitions going from the most to the least loaded of a topic's subscribers, until a round over all topics
changes nothing. A perfect balance can be out of reach, or many rounds away: the rounds are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heapreplace

from engine.core.group.consumer_member import Partitions
from engine.model.ids import Uuid

_MAX_ROUNDS = 16
_NOBODY = -1


def assign_heterogeneous(
    subscribed: Mapping[str, frozenset[Uuid]],
    targets: Mapping[str, Partitions],
    partition_counts: Mapping[Uuid, int],
) -> dict[str, Partitions]:
    """Targets by member id, from topics and former targets by member id and partitions by topic."""
    return _Builder(subscribed, targets, partition_counts).build()


class _Builder:
    """Members are numbers, in order of their ids."""

    __slots__ = ("_counts", "_loads", "_member_ids", "_owners", "_subscribers")

    def __init__(
        self,
        subscribed: Mapping[str, frozenset[Uuid]],
        targets: Mapping[str, Partitions],
        partition_counts: Mapping[Uuid, int],
    ) -> None:
        self._member_ids = sorted(subscribed)
        self._counts = partition_counts
        self._loads = [0] * len(self._member_ids)
        self._subscribers: dict[Uuid, list[int]] = {}
        for member, member_id in enumerate(self._member_ids):
            for topic_id in sorted(subscribed[member_id]):
                self._subscribers.setdefault(topic_id, []).append(member)
        self._owners: dict[Uuid, list[int]] = {
            topic_id: [_NOBODY] * partition_counts[topic_id] for topic_id in self._subscribers
        }
        for member, member_id in enumerate(self._member_ids):
            for topic_id, numbers in targets[member_id].items():
                if topic_id not in subscribed[member_id]:
                    continue
                owners = self._owners[topic_id]
                for number in sorted(numbers):
                    if number < len(owners) and owners[number] == _NOBODY:
                        owners[number] = member
                        self._loads[member] += 1

    def build(self) -> dict[str, Partitions]:
        topics = sorted(self._subscribers, key=self._difficulty)
        for topic_id in topics:
            self._assign_free(topic_id)
        self._balance([topic_id for topic_id in topics if len(self._subscribers[topic_id]) > 1])
        assigned: list[dict[Uuid, set[int]]] = [{} for _ in self._member_ids]
        for topic_id, owners in sorted(self._owners.items()):
            for number, member in enumerate(owners):
                assigned[member].setdefault(topic_id, set()).add(number)
        return {
            member_id: {topic_id: frozenset(numbers) for topic_id, numbers in mine.items()}
            for member_id, mine in zip(self._member_ids, assigned, strict=True)
        }

    def _difficulty(self, topic_id: Uuid) -> tuple[float, int, Uuid]:
        """Topics with most partitions a subscriber come first, then those with fewest subscribers."""
        subscribers = len(self._subscribers[topic_id])
        return (-self._counts[topic_id] / subscribers, subscribers, topic_id)

    def _assign_free(self, topic_id: Uuid) -> None:
        least_loaded = [(self._loads[member], member) for member in self._subscribers[topic_id]]
        heapify(least_loaded)
        for number, owner in enumerate(self._owners[topic_id]):
            if owner == _NOBODY:
                load, member = least_loaded[0]
                heapreplace(least_loaded, (load + 1, member))
                self._move(topic_id, number, member)

    def _balance(self, topics: list[Uuid]) -> None:
        last_changed: Uuid | None = None
        for _ in range(_MAX_ROUNDS):
            for topic_id in topics:
                if topic_id == last_changed:
                    return  # a whole round without a change
                if self._balance_topic(topic_id) or last_changed is None:
                    last_changed = topic_id

    def _balance_topic(self, topic_id: Uuid) -> bool:
        """Move partitions of one topic until its subscribers differ by one at most, or nobody too loaded has any."""
        subscribers = self._subscribers[topic_id]
        owned: dict[int, list[int]] = {}
        for number, owner in enumerate(self._owners[topic_id]):
            owned.setdefault(owner, []).append(number)
        moved = False
        while True:
            least = min(subscribers, key=lambda member: (self._loads[member], member))
            givers = [member for member in subscribers if owned.get(member)]
            most = max(givers, key=lambda member: (self._loads[member], member), default=least)
            if self._loads[most] - self._loads[least] <= 1:
                return moved
            self._move(topic_id, owned[most].pop(), least)
            moved = True

    def _move(self, topic_id: Uuid, number: int, member: int) -> None:
        owners = self._owners[topic_id]
        if owners[number] != _NOBODY:
            self._loads[owners[number]] -= 1
        owners[number] = member
        self._loads[member] += 1
