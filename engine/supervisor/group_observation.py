"""What an observer has seen of the groups: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from engine.client.admin.groups import GroupDescription, ListedGroup
from engine.client.admin.offsets import CommittedOffset
from engine.model.topic_partition import TopicPartition
from engine.supervisor.snapshot import GroupOffset, GroupState, MemberState

_LAG_SAMPLES = 120
# A group may be listed by two brokers while it goes from one to the other; what one listed earlier than this is past.
_HANDOVER_MS = 5_000


class _Group:
    __slots__ = ("committed", "description", "error", "lags", "listed", "seen_at_ms")

    def __init__(self, listed: ListedGroup) -> None:
        self.listed = listed
        self.description: GroupDescription | None = None
        self.committed: dict[TopicPartition, CommittedOffset] = {}
        self.seen_at_ms = 0
        self.error = ""
        self.lags: deque[tuple[int, int]] = deque(maxlen=_LAG_SAMPLES)


class GroupObservation:
    """Groups by id. One stays until its own coordinator, answering, lists it no more."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._listed_by: dict[int, frozenset[str]] = {}
        self._listed_at_ms: dict[int, int] = {}

    def on_listing(self, broker_id: int, groups: Iterable[ListedGroup], at_ms: int) -> None:
        """All groups that a broker coordinates."""
        listed = {each.group_id: each for each in groups}
        self._listed_by[broker_id] = frozenset(listed)
        self._listed_at_ms[broker_id] = at_ms
        for group_id, each in listed.items():
            known = self._groups.get(group_id)
            if known is None:
                self._groups[group_id] = _Group(each)
            else:
                known.listed = each
        for group_id in [each for each in self._groups if each not in listed]:
            if self._groups[group_id].listed.coordinator == broker_id:
                elsewhere = [
                    other
                    for other, ids in sorted(self._listed_by.items())
                    if group_id in ids and at_ms - self._listed_at_ms[other] < _HANDOVER_MS
                ]
                if elsewhere:
                    self._groups[group_id].listed = self._groups[group_id].listed._replace(coordinator=elsewhere[0])
                else:
                    del self._groups[group_id]

    def listed_by(self, broker_id: int) -> frozenset[str] | None:
        """The groups of the broker's last listing; ``None`` before the first."""
        return self._listed_by.get(broker_id)

    def on_described(self, description: GroupDescription, at_ms: int) -> None:
        """State and members of a group."""
        group = self._groups.get(description.group_id)
        if group is not None:
            group.description = description
            group.seen_at_ms = at_ms
            group.error = ""

    def on_failed(self, group_id: str, error: str) -> None:
        """A group could not be described; its last figures stay."""
        group = self._groups.get(group_id)
        if group is not None:
            group.error = error

    def on_offsets(
        self,
        group_id: str,
        committed: Mapping[TopicPartition, CommittedOffset],
        at_ms: int,
        log_end: Callable[[TopicPartition], int | None],
    ) -> None:
        """All committed offsets of a group."""
        group = self._groups.get(group_id)
        if group is None:
            return
        group.committed = dict(committed)
        if group.description is None:
            group.seen_at_ms = at_ms
        lags = [_lag(each.offset, log_end(partition)) for partition, each in committed.items()]
        known = [each for each in lags if each is not None]
        if known:
            group.lags.append((at_ms, sum(known)))

    def states(self, log_end: Callable[[TopicPartition], int | None]) -> tuple[GroupState, ...]:
        """All groups, sorted by id."""
        return tuple(self._state(self._groups[group_id], log_end) for group_id in sorted(self._groups))

    @staticmethod
    def _state(group: _Group, log_end: Callable[[TopicPartition], int | None]) -> GroupState:
        description = group.description
        members = description.members if description else ()
        owner: dict[TopicPartition, str] = {}
        for member in members:
            for topic, indexes in (member.assignment or {}).items():
                for index in indexes:
                    owner[TopicPartition(topic, index)] = member.member_id
        offsets = []
        for partition in sorted({*group.committed, *owner}):
            committed = group.committed.get(partition)
            end = log_end(partition)
            offsets.append(
                GroupOffset(
                    partition.topic,
                    partition.partition,
                    committed.offset if committed else None,
                    end,
                    _lag(committed.offset, end) if committed else None,
                    owner.get(partition),
                    committed.metadata if committed else "",
                )
            )
        lags = [each.lag for each in offsets if each.lag is not None]
        return GroupState(
            group_id=group.listed.group_id,
            state=description.state if description else group.listed.state,
            protocol_type=description.protocol_type if description else group.listed.protocol_type,
            protocol=description.protocol if description else "",
            group_type=group.listed.group_type or (description.group_type if description else "classic"),
            coordinator=group.listed.coordinator,
            members=tuple(
                MemberState(
                    each.member_id,
                    each.instance_id,
                    each.client_id,
                    each.host,
                    tuple(sorted((each.assignment or {}).items())),
                    each.member_epoch,
                    None if each.target is None else tuple(sorted(each.target.items())),
                    each.protocol,
                )
                for each in members
            ),
            offsets=tuple(offsets),
            total_lag=sum(lags) if lags else None,
            lag_history=tuple(group.lags),
            observed_at_ms=group.seen_at_ms,
            error=group.error,
            group_epoch=description.group_epoch if description else None,
            assignment_epoch=description.assignment_epoch if description else None,
        )


def _lag(committed: int, end: int | None) -> int | None:
    # The end may have been seen a moment before the commit.
    return None if end is None else max(0, end - committed)
