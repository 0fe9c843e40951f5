"""StreamsGroupHeartbeat: everything a member of a streams group ever says to its group (KIP-1071).

One request joins (member epoch 0) and tells the topology, keeps a session, acknowledges tasks that were taken, asks the
whole application to end, or leaves (-1). The answer tells the member's epoch, its tasks when they changed, and what
stands in the way. As in Kafka 4.3 a topology cannot be changed, members are not static, and there are no warm-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from engine.core.effects import Reply
from engine.core.group.context import ClientContext, Now
from engine.core.group.member_notes import lapsed, note_if_fenced, silent_for_ms
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, is_writable
from engine.core.group.streams_endpoints import partitions_by_endpoint
from engine.core.group.streams_group import NOT_VALIDATED, StreamsGroup, StreamsGroupState
from engine.core.group.streams_groups import StreamsGroups
from engine.core.group.streams_member import (
    JOIN_MEMBER_EPOCH,
    LEAVE_MEMBER_EPOCH,
    LEAVE_STATIC_MEMBER_EPOCH,
    Endpoint,
    StreamsMember,
)
from engine.core.group.streams_reconciliation import reconcile
from engine.core.group.streams_records import (
    current_assignment_record,
    group_epoch_record,
    member_record,
    member_tombstones,
    topology_record,
)
from engine.core.group.streams_tasks import NOTHING, Tasks, TaskSet, to_tasks, without_epochs
from engine.core.group.streams_topics import ConfiguredTopology, StreamsStatus, configure
from engine.core.group.streams_topology import InternalTopic, StreamsTopology, topology_from
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest
from engine.wire.messages.streams_group_heartbeat_response import Status, StreamsGroupHeartbeatResponse, TaskIds

_NO_TIMEOUT = -1


class StreamsAnswer(NamedTuple):
    """The reply to a heartbeat; ``to_create`` are internal topics that the shell shall have the controller create."""

    response: StreamsGroupHeartbeatResponse
    to_create: tuple[InternalTopic, ...] = ()


class _Topology(NamedTuple):
    """What a heartbeat found out about the topology."""

    topology: StreamsTopology
    configured: ConfiguredTopology
    metadata_hash: int
    changed: bool

    @property
    def validated_epoch(self) -> int:
        return self.topology.epoch if self.configured.is_ready else NOT_VALIDATED


class StreamsHeartbeats:
    """Handler of StreamsGroupHeartbeat over the streams groups of a shard."""

    __slots__ = ("_groups",)

    def __init__(self, groups: StreamsGroups) -> None:
        self._groups = groups

    def handle(
        self,
        context: ClientContext,
        request: StreamsGroupHeartbeatRequest,
        now: Now,
        token: object,
        out: GroupEffects,
    ) -> None:
        """Answer one request (version 0) with a :class:`StreamsAnswer`."""
        try:
            _validate(request)
            if request.member_epoch in (LEAVE_MEMBER_EPOCH, LEAVE_STATIC_MEMBER_EPOCH):
                answer = StreamsAnswer(self._leave(request, now, out))
            else:
                answer = self._heartbeat(context, request, now, out)
        except KafkaError as error:
            note_if_fenced(request.group_id, request.member_id, error, out)
            answer = StreamsAnswer(
                StreamsGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message)
            )
        out.reply.append(Reply(token, answer))

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def _heartbeat(
        self, context: ClientContext, request: StreamsGroupHeartbeatRequest, now: Now, out: GroupEffects
    ) -> StreamsAnswer:
        groups, group_id, member_id = self._groups, request.group_id, request.member_id
        joins = request.member_epoch == JOIN_MEMBER_EPOCH
        records: list[GroupRecord] = []
        statuses: list[Status] = []
        group = groups.group_for(group_id, joins, records)
        was_new, was_stable = group_id not in groups.groups, group.state is StreamsGroupState.STABLE
        max_size = groups.limits.group_streams_max_size
        if joins and len(group.members) >= max_size:
            full = f"The streams group has reached its maximum capacity of {max_size} members."
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED, full)
        member = group.members.get(member_id) or (StreamsMember(member_id) if joins else group.member(member_id))
        reported = _reported(request)
        _check_epoch(member, request.member_epoch, reported)
        updated = _updated(member, context, request)
        bump = updated != member
        if bump:
            records.append(member_record(group_id, updated))

        found = self._topology(group, request, records)
        if group.topology is not None and updated.topology_epoch < group.topology.epoch:
            detail = (
                f"The member's topology epoch {updated.topology_epoch} is behind the group's topology epoch "
                f"{group.topology.epoch}."
            )
            statuses.append(_status(StreamsStatus.STALE_TOPOLOGY, detail))
        if found.configured.is_ready:
            _check_tasks(found.configured, request)
        configs = groups.assignment_configs(group_id)
        bump = (
            bump
            or found.changed
            or found.validated_epoch != group.validated_topology_epoch
            or configs != group.assignment_configs
        )
        epoch = group.group_epoch + bump
        if bump:
            records.append(group_epoch_record(group_id, epoch, found.metadata_hash, found.validated_epoch, configs))
        target_epoch, target, begins_delay = self._target(
            group, epoch, updated, found.configured, configs, now, records, statuses
        )
        settled = updated
        if not updated.is_reconciled_to(target_epoch):
            settled = reconcile(updated, target_epoch=target_epoch, target=target, owners=group, reported=reported)
            if settled != updated:
                records.append(current_assignment_record(group_id, settled))
        groups.check_sizes(records)

        # Nothing is refused from here on.
        is_new = member_id not in group.members
        groups.append(records, out)
        live = groups.groups[group_id]
        live.configured, live.needs_metadata = found.configured, False
        if begins_delay:
            key = TimerKey(TimerKind.STREAMS_INITIAL_DELAY, group_id)
            groups.timers.schedule(key, now.monotonic_ms + groups.initial_delay_ms(group_id))
        if settled != updated:
            groups.watch_revocation(group_id, settled, now)
        groups.reset_session(group_id, member_id, now)
        if request.shutdown_application and live.shutdown_requested_by is None:
            live.shutdown_requested_by = member_id
        self._notes(live, settled, was_new, is_new, bump, was_stable, bool(records), out)
        return self._answer(live, member, settled, request, found.configured, statuses)

    def _topology(
        self, group: StreamsGroup, request: StreamsGroupHeartbeatRequest, records: list[GroupRecord]
    ) -> _Topology:
        """The group's topology, or the first one that a member tells, over the topics of now.

        Raises:
            KafkaError: INVALID_REQUEST for another topology than the group's, STREAMS_INVALID_TOPOLOGY.
        """
        topology = group.topology
        if request.topology is not None:
            told = topology_from(request.topology)
            if topology is None:
                records.append(topology_record(group.group_id, told))
                topology = told
            elif topology.epoch <= told.epoch and topology != told:
                raise _invalid("Topology updates are not supported yet.")
        if topology is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_SERVER_ERROR, "The topology is null and the group topology is also null."
            )
        configured = group.configured
        if configured is not None and not group.needs_metadata:
            return _Topology(topology, configured, group.metadata_hash, False)
        metadata_hash = self._groups.metadata_hash(topology.required_topics())
        changed = metadata_hash != group.metadata_hash
        if changed or configured is None:
            configured = configure(topology, self._groups.topics)
        return _Topology(topology, configured, metadata_hash, changed)

    def _target(
        self,
        group: StreamsGroup,
        epoch: int,
        updated: StreamsMember,
        configured: ConfiguredTopology,
        configs: Mapping[str, str],
        now: Now,
        records: list[GroupRecord],
        statuses: list[Status],
    ) -> tuple[int, TaskSet, bool]:
        """The epoch of the target assignment, the member's target, and whether the wait for more members begins."""
        groups = self._groups
        is_waiting = TimerKey(TimerKind.STREAMS_INITIAL_DELAY, group.group_id) in groups.timers
        begins = group.is_empty and not is_waiting and groups.initial_delay_ms(group.group_id) > 0
        if is_waiting or begins:
            detail = "Assignment delayed due to the configured initial rebalance delay."
            statuses.append(_status(StreamsStatus.ASSIGNMENT_DELAYED, detail))
            return group.assignment_epoch, NOTHING, begins
        if group.assignment_epoch >= epoch:
            return group.assignment_epoch, group.target_of(updated.member_id), False
        if not groups.may_assign(group, now):
            detail = "Assignment delayed due to the configured assignment interval."
            statuses.append(_status(StreamsStatus.ASSIGNMENT_DELAYED, detail))
            return group.assignment_epoch, group.target_of(updated.member_id), False
        members = {**group.members, updated.member_id: updated}
        targets = groups.assign(group, epoch, members, configured, configs, now, records)
        return epoch, targets[updated.member_id], False

    def _answer(
        self,
        group: StreamsGroup,
        before: StreamsMember,
        member: StreamsMember,
        request: StreamsGroupHeartbeatRequest,
        configured: ConfiguredTopology,
        statuses: list[Status],
    ) -> StreamsAnswer:
        response = StreamsGroupHeartbeatResponse(
            member_id=member.member_id,
            member_epoch=member.member_epoch,
            heartbeat_interval_ms=self._groups.heartbeat_interval_ms(group.group_id),
        )
        if request.member_epoch == JOIN_MEMBER_EPOCH or member.assigned != before.assigned:
            response.active_tasks = _task_ids(without_epochs(member.assigned.active))
            response.standby_tasks = _task_ids(member.assigned.standby)
            response.warmup_tasks = _task_ids(member.assigned.warmup)
            group.endpoint_epoch += member.user_endpoint is not None
        response.endpoint_information_epoch = group.endpoint_epoch
        if group.endpoint_epoch != request.endpoint_information_epoch:
            response.partitions_by_user_endpoint = partitions_by_endpoint(group, self._groups.topics)
        if configured.problem is not None:
            statuses.append(_status(configured.problem.status, configured.problem.detail))
        if group.shutdown_requested_by is not None:
            detail = (
                f"Streams group member {group.shutdown_requested_by} encountered a fatal error and requested a "
                "shutdown for the entire application."
            )
            statuses.append(_status(StreamsStatus.SHUTDOWN_APPLICATION, detail))
        response.status = statuses
        return StreamsAnswer(response, configured.to_create)

    def _notes(
        self,
        group: StreamsGroup,
        member: StreamsMember,
        is_new_group: bool,
        is_new_member: bool,
        bumped: bool,
        was_stable: bool,
        changed: bool,
        out: GroupEffects,
    ) -> None:
        group_id, detail = group.group_id, group.detail()
        if is_new_group:
            reason = f"client {member.client_id!r} joined with the streams protocol"
            out.notes.append(Note(NoteKind.GROUP_CREATED, group_id, reason))
        reason = f"what {member.member_id} says of itself, the topics or the group's configs changed"
        if is_new_member:
            out.notes.append(
                Note(NoteKind.MEMBER_JOINED, group_id, f"{member.member_id} from {member.client_host}", detail)
            )
            reason = f"new member {member.member_id}"
        if bumped:
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group_id, reason, detail))
        if changed and group.state is StreamsGroupState.STABLE and (bumped or not was_stable):
            out.notes.append(Note(NoteKind.GROUP_STABLE, group_id, "all members have their tasks", detail))

    # -- leaving ------------------------------------------------------------------------------------------------

    def _leave(
        self, request: StreamsGroupHeartbeatRequest, now: Now, out: GroupEffects
    ) -> StreamsGroupHeartbeatResponse:
        group = self._groups.existing(request.group_id)
        member = group.member(request.member_id)
        if request.shutdown_application and group.shutdown_requested_by is None:
            group.shutdown_requested_by = member.member_id
        reason = f"{member.member_id} left"
        out.notes.append(Note(NoteKind.MEMBER_LEFT, group.group_id, reason))
        self._remove(group, member, reason, out)
        return StreamsGroupHeartbeatResponse(member_id=request.member_id, member_epoch=request.member_epoch, status=[])

    def _remove(self, group: StreamsGroup, member: StreamsMember, reason: str, out: GroupEffects) -> None:
        """Take a member out: the group epoch rises."""
        records = member_tombstones(group.group_id, member.member_id)
        records.append(
            group_epoch_record(
                group.group_id,
                group.group_epoch + 1,
                group.metadata_hash,
                group.validated_topology_epoch,
                group.assignment_configs,
            )
        )
        self._groups.append(records, out)
        self._groups.end_timers(group.group_id, member.member_id)
        kind = NoteKind.GROUP_REBALANCED if group.members else NoteKind.GROUP_EMPTIED
        out.notes.append(Note(kind, group.group_id, reason, group.detail()))

    # -- time ---------------------------------------------------------------------------------------------------

    def on_loaded(self, now: Now) -> None:
        """The log has been replayed: every member's session starts anew, in full."""
        for group in self._groups.groups.values():
            for member in group.members.values():
                self._groups.reset_session(group.group_id, member.member_id, now)
                self._groups.watch_revocation(group.group_id, member, now)

    def on_timer(self, key: TimerKey, now: Now, out: GroupEffects) -> None:
        """A session or a rebalance timeout is over, or the wait for the first members."""
        group = self._groups.groups.get(key.group_id)
        if key.kind is TimerKind.STREAMS_INITIAL_DELAY:
            if group is not None:
                self._assign_after_delay(group, now, out)
            return
        overdue = key.kind is TimerKind.STREAMS_SESSION or self._groups.is_revocation_overdue(key)
        member = None if group is None else group.members.get(key.member_id)
        if group is None or member is None or not overdue:
            return
        timeout_ms = self._groups.session_timeout_ms(key.group_id)
        silent_ms = silent_for_ms(self._groups.timers, timeout_ms, now)
        detail: Detail = {"member_id": member.member_id, "session_timeout_ms": timeout_ms, "silent_ms": silent_ms}
        why = lapsed(timeout_ms, silent_ms)
        if key.kind is TimerKind.STREAMS_REBALANCE:
            why = f"it did not give up its tasks within its rebalance timeout of {member.rebalance_timeout_ms} ms"
            detail = {"member_id": member.member_id, "rebalance_timeout_ms": member.rebalance_timeout_ms}
        reason = f"{member.member_id} is out: {why}"
        out.notes.append(Note(NoteKind.MEMBER_EXPIRED, group.group_id, reason, detail))
        self._remove(group, member, reason, out)

    def _assign_after_delay(self, group: StreamsGroup, now: Now, out: GroupEffects) -> None:
        if group.is_empty or group.configured is None or group.group_epoch <= group.assignment_epoch:
            return
        records: list[GroupRecord] = []
        configs = group.assignment_configs
        self._groups.assign(group, group.group_epoch, group.members, group.configured, configs, now, records)
        self._groups.append(records, out)


# -- requests ----------------------------------------------------------------------------------------------------


def _validate(request: StreamsGroupHeartbeatRequest) -> None:
    """Raises: KafkaError: INVALID_REQUEST or STREAMS_INVALID_TOPOLOGY, in Kafka's order and words."""
    _refuse(request.instance_id is not None, "Static membership is not yet supported.")
    _refuse(request.task_offsets is not None, "TaskOffsets are not supported yet.")
    _refuse(request.task_end_offsets is not None, "TaskEndOffsets are not supported yet.")
    _refuse(bool(request.warmup_tasks), "WarmupTasks are not supported yet.")
    topology = request.topology
    if topology is not None:
        regexes = any(each.source_topic_regex for each in topology.subtopologies)
        _refuse(regexes, "Regular expressions for source topics are not supported yet.")
    _refuse(not request.member_id.strip(), "MemberId can't be empty.")
    _refuse(not request.group_id.strip(), "GroupId can't be empty.")
    _refuse(request.rack_id is not None and not request.rack_id.strip(), "RackId can't be empty.")
    task_lists = (request.active_tasks, request.standby_tasks, request.warmup_tasks)
    epoch = request.member_epoch
    if epoch == JOIN_MEMBER_EPOCH:
        _refuse(request.rebalance_timeout_ms == _NO_TIMEOUT, "RebalanceTimeoutMs must be provided in first request.")
        for tasks, name in zip(task_lists, ("ActiveTasks", "StandbyTasks", "WarmupTasks"), strict=True):
            _refuse(tasks is None or bool(tasks), f"{name} must be empty when (re-)joining.")
        if topology is None:
            raise _invalid("Topology must be non-null when (re-)joining.")
        _check_changelogs(topology)
    elif epoch == LEAVE_STATIC_MEMBER_EPOCH:
        raise _invalid("InstanceId can't be null.")
    elif epoch < LEAVE_STATIC_MEMBER_EPOCH:
        raise _invalid(f"MemberEpoch is {epoch}, but must be greater than or equal to -2.")
    some = [tasks is not None for tasks in task_lists]
    _refuse(any(some) and not all(some), "If one task-type is non-null, all must be non-null.")
    _refuse(epoch != JOIN_MEMBER_EPOCH and topology is not None, "Topology can only be provided when (re-)joining.")
    # Keys of records hold strings of 16 bits' length.
    writable = is_writable(request.group_id) and is_writable(request.member_id)
    _refuse(not writable, "the group id or the member id is too long")


def _check_changelogs(topology: Any) -> None:
    if topology.epoch < 0:
        raise KafkaError(ErrorCode.STREAMS_INVALID_TOPOLOGY_EPOCH, "Topology epoch must be non-negative.")
    for subtopology in topology.subtopologies:
        for topic in subtopology.state_changelog_topics:
            if topic.partitions != 0:
                raise KafkaError(
                    ErrorCode.STREAMS_INVALID_TOPOLOGY,
                    f"Changelog topic {topic.name} must have an undefined partition count, but it is set to "
                    f"{topic.partitions}.",
                )


def _updated(member: StreamsMember, context: ClientContext, request: StreamsGroupHeartbeatRequest) -> StreamsMember:
    """The member with what the request says of it; what it leaves out stays."""
    changes: dict[str, Any] = {"client_id": context.client_id, "client_host": context.client_host}
    if request.rack_id is not None:
        changes["rack_id"] = request.rack_id
    if request.rebalance_timeout_ms != _NO_TIMEOUT:
        changes["rebalance_timeout_ms"] = request.rebalance_timeout_ms
    if request.topology is not None:
        changes["topology_epoch"] = request.topology.epoch
    if request.process_id is not None:
        changes["process_id"] = request.process_id
    if request.client_tags is not None:
        changes["client_tags"] = tuple(sorted({each.key: each.value for each in request.client_tags}.items()))
    if request.user_endpoint is not None:
        changes["user_endpoint"] = Endpoint(request.user_endpoint.host, request.user_endpoint.port)
    return member._replace(**changes)


def _reported(request: StreamsGroupHeartbeatRequest) -> TaskSet | None:
    if request.active_tasks is None or request.standby_tasks is None or request.warmup_tasks is None:
        return None
    return TaskSet(to_tasks(request.active_tasks), to_tasks(request.standby_tasks), to_tasks(request.warmup_tasks))


def _check_epoch(member: StreamsMember, received: int, reported: TaskSet | None) -> None:
    """Raises: KafkaError: FENCED_MEMBER_EPOCH for an epoch of the future, and for one of the past, unless the answer
    that told the present one may have been lost."""
    if received in (JOIN_MEMBER_EPOCH, member.member_epoch):
        return
    has = member.assigned
    lost = (
        received == member.previous_member_epoch
        and received < member.member_epoch
        and reported is not None
        and _is_part(reported.active, without_epochs(has.active))
        and _is_part(reported.standby, has.standby)
        and _is_part(reported.warmup, has.warmup)
    )
    if not lost:
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The streams group member has a {'greater' if received > member.member_epoch else 'smaller'} member epoch "
            f"({received}) than the one known by the group coordinator ({member.member_epoch}). The member must "
            "abandon all its partitions and rejoin.",
        )


def _is_part(tasks: Tasks, of: Tasks) -> bool:
    return all(numbers <= of.get(subtopology_id, frozenset()) for subtopology_id, numbers in tasks.items())


def _check_tasks(configured: ConfiguredTopology, request: StreamsGroupHeartbeatRequest) -> None:
    """Raises: KafkaError: INVALID_REQUEST for tasks that are not in the topology."""
    for listed in (request.active_tasks, request.standby_tasks, request.warmup_tasks):
        for each in listed or ():
            subtopology = configured.subtopologies.get(each.subtopology_id)
            if subtopology is None:
                raise _invalid(f"Subtopology {each.subtopology_id} does not exist in the topology.")
            for number in each.partitions:
                if not 0 <= number < subtopology.task_count:
                    raise _invalid(
                        f"Task {number} for subtopology {each.subtopology_id} is invalid. Number of tasks for this "
                        f"subtopology: {subtopology.task_count}"
                    )


def _task_ids(tasks: Mapping[str, Iterable[int]]) -> list[TaskIds]:
    return [TaskIds(subtopology_id=each, partitions=sorted(numbers)) for each, numbers in sorted(tasks.items())]


def _status(status: StreamsStatus, detail: str) -> Status:
    return Status(status_code=int(status), status_detail=detail)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise _invalid(message)


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)
