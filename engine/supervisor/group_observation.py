"""What an observer has seen of the groups: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from engine.client.admin import group_descriptions as described
from engine.client.admin.group_descriptions import GroupDescription, MemberDescription
from engine.client.admin.groups import ListedGroup
from engine.client.admin.offsets import CommittedOffset
from engine.client.admin.share_offsets import ShareOffset
from engine.model.topic_partition import TopicPartition
from engine.supervisor.snapshot import (
    GroupOffset,
    GroupState,
    MemberState,
    StreamsTasks,
    StreamsTopology,
    Subtopology,
)

_LAG_SAMPLES = 120
# A group may be listed by two brokers while it goes from one to the other; what one listed earlier than this is past.
_HANDOVER_MS = 5_000


class Seen(NamedTuple):
    """A figure and the wall-clock time at which it was true."""

    value: int
    at_ms: int


class _Position(NamedTuple):
    """Where a group stands in a partition. ``lag`` is that of a share group, which its coordinator tells or does not
    (``None``); others have theirs from the log's end."""

    offset: int
    metadata: str = ""
    is_shared: bool = False
    lag: int | None = None

    def lag_until(self, end: int | None) -> int | None:
        """Records that are not dealt with."""
        return self.lag if self.is_shared else _lag(self.offset, end)


class _Group:
    __slots__ = ("description", "error", "lags", "listed", "positions", "positions_at_ms", "seen_at_ms")

    def __init__(self, listed: ListedGroup) -> None:
        self.listed = listed
        self.description: GroupDescription | None = None
        self.positions: dict[TopicPartition, _Position] = {}
        self.positions_at_ms = 0
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
        positions = {partition: _Position(each.offset, each.metadata) for partition, each in committed.items()}
        lags = [_lag(each.offset, log_end(partition)) for partition, each in committed.items()]
        self._on_positions(group_id, positions, lags, at_ms)

    def on_share_offsets(self, group_id: str, offsets: Mapping[TopicPartition, ShareOffset], at_ms: int) -> None:
        """All positions of a share group."""
        positions = {
            partition: _Position(each.start_offset, is_shared=True, lag=each.lag) for partition, each in offsets.items()
        }
        self._on_positions(group_id, positions, [each.lag for each in offsets.values()], at_ms)

    def _on_positions(
        self, group_id: str, positions: dict[TopicPartition, _Position], lags: list[int | None], at_ms: int
    ) -> None:
        group = self._groups.get(group_id)
        if group is None:
            return
        group.positions, group.positions_at_ms = positions, at_ms
        if group.description is None:
            group.seen_at_ms = at_ms
        known = [each for each in lags if each is not None]
        if known:
            group.lags.append((at_ms, sum(known)))

    def states(self, log_end: Callable[[TopicPartition], Seen | None]) -> tuple[GroupState, ...]:
        """All groups, sorted by id; ``log_end`` tells how far a group can have read."""
        return tuple(self._state(self._groups[group_id], log_end) for group_id in sorted(self._groups))

    @staticmethod
    def _state(group: _Group, log_end: Callable[[TopicPartition], Seen | None]) -> GroupState:
        description = group.description
        members = [
            _member(
                each,
                description.topology if description else None,
                lambda at: at in group.positions or log_end(at) is not None,
            )
            for each in (description.members if description else ())
        ]
        is_shared = group.listed.group_type == "share"
        owner = {
            TopicPartition(topic, index): None if is_shared else member.member_id
            for member in members
            for topic, indexes in member.assignment
            for index in indexes
        }
        offsets = []
        for partition in sorted({*group.positions, *owner}):
            position = group.positions.get(partition)
            seen = log_end(partition)
            end = seen.value if seen else None
            if seen and position and seen.at_ms <= group.positions_at_ms:
                # The log has grown since: a group commits nothing that is not there.
                end = max(seen.value, position.offset)
            offsets.append(
                GroupOffset(
                    partition.topic,
                    partition.partition,
                    position.offset if position else None,
                    end,
                    position.lag_until(end) if position else None,
                    owner.get(partition),
                    position.metadata if position else "",
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
            members=tuple(members),
            offsets=tuple(offsets),
            total_lag=sum(lags) if lags else None,
            lag_history=tuple(group.lags),
            # As old as the older half of what is shown.
            observed_at_ms=min(group.seen_at_ms, group.positions_at_ms or group.seen_at_ms),
            error=group.error,
            group_epoch=description.group_epoch if description else None,
            assignment_epoch=description.assignment_epoch if description else None,
            topology=_topology(description.topology) if description and description.topology else None,
        )


def _lag(committed: int, end: int | None) -> int | None:
    # The end may have been seen a moment before the commit.
    return None if end is None else max(0, end - committed)


def _member(
    member: MemberDescription,
    topology: described.StreamsTopology | None,
    exists: Callable[[TopicPartition], bool],
) -> MemberState:
    if member.tasks is not None and member.assignment is None:
        assignment = _read_by(member.tasks.active, topology, exists)
    else:
        assignment = tuple(sorted((member.assignment or {}).items()))
    return MemberState(
        member.member_id,
        member.instance_id,
        member.client_id,
        member.host,
        assignment,
        member.member_epoch,
        None if member.target is None else tuple(sorted(member.target.items())),
        member.protocol,
        _tasks(member.tasks),
        _tasks(member.target_tasks),
        member.process_id,
        member.user_endpoint,
    )


def _read_by(
    active: Mapping[str, tuple[int, ...]],
    topology: described.StreamsTopology | None,
    exists: Callable[[TopicPartition], bool],
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The partitions that active tasks read: those of their number, of each topic that has so many."""
    found: dict[str, set[int]] = {}
    for each in (topology.subtopologies or ()) if topology else ():
        for topic in {*each.source_topics, *each.repartition_source_topics}:
            numbers = active.get(each.subtopology_id, ())
            found.setdefault(topic, set()).update(number for number in numbers if exists(TopicPartition(topic, number)))
    return tuple((topic, tuple(sorted(numbers))) for topic, numbers in sorted(found.items()) if numbers)


def _tasks(tasks: described.StreamsTasks | None) -> StreamsTasks | None:
    if tasks is None:
        return None
    return StreamsTasks(*(tuple(sorted(each.items())) for each in tasks))


def _topology(topology: described.StreamsTopology) -> StreamsTopology:
    if topology.subtopologies is None:
        return StreamsTopology(topology.epoch, None)
    return StreamsTopology(topology.epoch, tuple(Subtopology(*each) for each in topology.subtopologies))
