"""The streams groups of a shard: their configs, targets and timers, who they are and how they are described (KIP-1071).

Nothing here changes a group. Inputs gather records first, then hand them to the shard, whose replay of them is the
change; an input that is refused on the way leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.context import Now
from engine.core.group.group_topics import GroupTopics, group_int
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, group_tombstone
from engine.core.group.streams_assignor import AssignedMember, TasksOf, assign
from engine.core.group.streams_description import described
from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_member import StreamsMember, TaskState
from engine.core.group.streams_records import assignment_epoch_record, group_tombstones, target_record
from engine.core.group.streams_tasks import NOTHING, TaskSet
from engine.core.group.streams_topics import ConfiguredTopology
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.streams_group_describe_response import DescribedGroup
from engine.wire.record_frames import encode_coordinator_key, encode_coordinator_value

STANDBY_REPLICAS = "num.standby.replicas"
"""The one config that goes into an assignment: another value is a reason for another one."""

# More than the rest of a batch takes that holds one record.
_BATCH_BYTES = 160


class StreamsGroups:
    """Groups by id, over the topics and timers that the consumer groups of the shard have too."""

    __slots__ = ("_epoch_of_rebalance", "_is_taken", "_shared", "append", "groups", "limits", "timers")

    def __init__(self, shared: ConsumerGroups, is_taken: Callable[[str], bool]) -> None:
        """``is_taken`` tells whether a group of another new protocol has that id."""
        self._shared = shared
        self._is_taken = is_taken
        self.append = shared.append
        self.limits = shared.limits
        self.timers = shared.timers
        self.groups: dict[str, StreamsGroup] = {}
        # The member epoch that a member has to leave before its rebalance timeout.
        self._epoch_of_rebalance: dict[TimerKey, int] = {}

    # -- topics -------------------------------------------------------------------------------------------------

    @property
    def topics(self) -> GroupTopics:
        """The metadata as of now."""
        return self._shared.topics

    def on_topics(self, changed: Collection[str]) -> None:
        """Topics of these names changed, came or went."""
        for group in self.groups.values():
            if group.topology is not None and not group.topology.required_topics().isdisjoint(changed):
                group.needs_metadata = True

    def metadata_hash(self, names: Collection[str]) -> int:
        """The hash of topics, those left out that do not exist."""
        return self._shared.metadata_hash(names)

    # -- finding ------------------------------------------------------------------------------------------------

    def existing(self, group_id: str) -> StreamsGroup:
        """Raises: KafkaError: GROUP_ID_NOT_FOUND if there is no such streams group."""
        group = self.groups.get(group_id)
        if group is None:
            taken = group_id in self._shared.rebalances.groups or self._is_taken(group_id)
            what = f"Group {group_id} is not a streams group." if taken else f"Group {group_id} not found."
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, what)
        return group

    def group_for(self, group_id: str, joins: bool, records: list[GroupRecord]) -> StreamsGroup:
        """The group that a heartbeat is for. One that ``joins`` may make it, also of a classic group without members.

        Raises:
            KafkaError: GROUP_ID_NOT_FOUND.
        """
        classic = self._shared.rebalances.groups.get(group_id)
        if group_id in self.groups or not joins or self._is_taken(group_id):
            return self.existing(group_id)
        if classic is None:
            return StreamsGroup(group_id)
        if not classic.is_empty:
            return self.existing(group_id)
        records.append(group_tombstone(group_id))
        return StreamsGroup(group_id)

    # -- configs ------------------------------------------------------------------------------------------------

    def session_timeout_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "streams.session.timeout.ms",
            limits.group_streams_session_timeout_ms,
            limits.group_streams_min_session_timeout_ms,
            limits.group_streams_max_session_timeout_ms,
        )

    def heartbeat_interval_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "streams.heartbeat.interval.ms",
            limits.group_streams_heartbeat_interval_ms,
            limits.group_streams_min_heartbeat_interval_ms,
            limits.group_streams_max_heartbeat_interval_ms,
        )

    def initial_delay_ms(self, group_id: str) -> int:
        default = self.limits.group_streams_initial_rebalance_delay_ms
        return group_int(self.topics, group_id, "streams.initial.rebalance.delay.ms", default)

    def assignment_configs(self, group_id: str) -> dict[str, str]:
        """What the assignor is told, as the records hold it."""
        limits = self.limits
        count = group_int(
            self.topics,
            group_id,
            "streams.num.standby.replicas",
            limits.group_streams_num_standby_replicas,
            0,
            limits.group_streams_max_standby_replicas,
        )
        return {STANDBY_REPLICAS: str(count)}

    def _assignment_interval_ms(self, group_id: str) -> int:
        limits = self.limits
        return group_int(
            self.topics,
            group_id,
            "streams.assignment.interval.ms",
            limits.group_streams_assignment_interval_ms,
            limits.group_streams_min_assignment_interval_ms,
            limits.group_streams_max_assignment_interval_ms,
        )

    # -- targets ------------------------------------------------------------------------------------------------

    def may_assign(self, group: StreamsGroup, now: Now) -> bool:
        """Targets are computed once in an interval, for many changes at a time (streams.assignment.interval.ms)."""
        since_ms = now.wall_ms - group.assignment_timestamp_ms
        # A clock that went back must not hold a group up until it is there again.
        return since_ms < 0 or since_ms >= self._assignment_interval_ms(group.group_id)

    def assign(
        self,
        group: StreamsGroup,
        group_epoch: int,
        members: Mapping[str, StreamsMember],
        configured: ConfiguredTopology,
        configs: Mapping[str, str],
        now: Now,
        records: list[GroupRecord],
    ) -> dict[str, TaskSet]:
        """New targets of all members, and the records that make them so; nothing for anybody while topics miss."""
        targets: dict[str, TaskSet] = dict.fromkeys(members, NOTHING)
        if configured.is_ready:
            last = {member_id: group.target_of(member_id) for member_id in members}
            targets = assign(
                {
                    member_id: AssignedMember(member.process_id, last[member_id].active, last[member_id].standby)
                    for member_id, member in members.items()
                },
                [
                    TasksOf(subtopology_id, each.task_count, each.is_stateful)
                    for subtopology_id, each in configured.subtopologies.items()
                ],
                int(configs.get(STANDBY_REPLICAS, "0")),
            )
        for member_id, target in targets.items():
            if target != group.targets.get(member_id):
                records.append(target_record(group.group_id, member_id, target))
        records.append(assignment_epoch_record(group.group_id, group_epoch, now.wall_ms))
        return targets

    def check_sizes(self, records: Collection[GroupRecord]) -> None:
        """Raises: KafkaError: INVALID_REQUEST for what fits into no batch: its append would fail."""
        for record in records:
            if record.value is None:
                continue
            value = encode_coordinator_value(record.value, record.value_version)
            size = len(encode_coordinator_key(record.key)) + len(value) + _BATCH_BYTES
            if size > self.limits.message_max_bytes:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    f"{record.value.NAME} takes {size} bytes, more than message.max.bytes, "
                    f"{self.limits.message_max_bytes}",
                )

    # -- timers -------------------------------------------------------------------------------------------------

    def reset_session(self, group_id: str, member_id: str, now: Now) -> None:
        """Push a member's session back by its timeout."""
        key = TimerKey(TimerKind.STREAMS_SESSION, group_id, member_id)
        self.timers.schedule(key, now.monotonic_ms + self.session_timeout_ms(group_id))

    def watch_revocation(self, group_id: str, member: StreamsMember, now: Now) -> None:
        """Give a member that has to give up tasks its rebalance timeout; end that of one that has done so."""
        key = TimerKey(TimerKind.STREAMS_REBALANCE, group_id, member.member_id)
        if member.state is TaskState.UNREVOKED_TASKS:
            self._epoch_of_rebalance[key] = member.member_epoch
            self.timers.schedule(key, now.monotonic_ms + member.rebalance_timeout_ms)
        else:
            self.timers.cancel(key)
            self._epoch_of_rebalance.pop(key, None)

    def is_revocation_overdue(self, key: TimerKey) -> bool:
        """Whether the member of a rebalance timer that is due is still where it was when the timer was set."""
        epoch = self._epoch_of_rebalance.pop(key, None)
        group = self.groups.get(key.group_id)
        member = None if group is None else group.members.get(key.member_id)
        return member is not None and member.member_epoch == epoch

    def end_timers(self, group_id: str, member_id: str) -> None:
        """Forget all deadlines of a member that is gone."""
        for kind in (TimerKind.STREAMS_SESSION, TimerKind.STREAMS_REBALANCE):
            key = TimerKey(kind, group_id, member_id)
            self.timers.cancel(key)
            self._epoch_of_rebalance.pop(key, None)

    # -- the groups themselves ----------------------------------------------------------------------------------

    def delete(self, group_id: str, out: GroupEffects) -> None:
        """Remove a group that has no members."""
        self.timers.cancel(TimerKey(TimerKind.STREAMS_INITIAL_DELAY, group_id))
        self.append(group_tombstones(group_id), out)

    def described(self, group_id: str) -> DescribedGroup:
        """One group of a StreamsGroupDescribe response (version 0)."""
        try:
            return described(self.existing(group_id))
        except KafkaError as error:
            return DescribedGroup(group_id=group_id, error_code=int(error.code), error_message=error.message)
