"""Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup (KIP-848).

They are told what they know: a generation (their member epoch), a rebalance (REBALANCE_IN_PROGRESS) where something is
to be given up or to be had, an assignment in the consumer's embedded protocol. There is no leader and no waiting: the
coordinator assigns.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.core.effects import Reply
from engine.core.group.consumer_group import ConsumerGroup, ConsumerGroupState
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_heartbeat import (
    ConsumerHeartbeats,
    check_not_full,
    join_static,
    known_static,
    subscribed_after,
)
from engine.core.group.consumer_member import ClassicMetadata, ConsumerMember, MemberState, partitions_of, to_partitions
from engine.core.group.consumer_protocol import PROTOCOL_TYPE, read_subscription, write_assignment
from engine.core.group.consumer_records import member_metadata_record
from engine.core.group.context import ClientContext, Now
from engine.core.group.group_conversion import DISABLED, GroupConversion
from engine.core.group.member_notes import note_if_fenced
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, is_writable
from engine.core.group.regex_subscriptions import RegexChange, RegexSubscriptions
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.heartbeat_response import HeartbeatResponse
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.leave_group_request import LeaveGroupRequest
from engine.wire.messages.leave_group_response import LeaveGroupResponse, MemberResponse
from engine.wire.messages.sync_group_request import SyncGroupRequest
from engine.wire.messages.sync_group_response import SyncGroupResponse

_FIRST_JOIN_VERSION_WITH_REQUIRED_MEMBER_ID = 4


class ClassicMembers:
    """Handlers of the classic protocol over the consumer groups of a shard."""

    __slots__ = ("_conversion", "_groups", "_heartbeats", "_new_member_id", "_regexes")

    def __init__(
        self,
        groups: ConsumerGroups,
        regexes: RegexSubscriptions,
        conversion: GroupConversion,
        heartbeats: ConsumerHeartbeats,
        new_member_id: Callable[[], str],
    ) -> None:
        self._groups = groups
        self._regexes = regexes
        self._conversion = conversion
        self._heartbeats = heartbeats
        self._new_member_id = new_member_id

    # -- join ---------------------------------------------------------------------------------------------------

    def handle_join(
        self,
        group: ConsumerGroup,
        context: ClientContext,
        request: JoinGroupRequest,
        now: Now,
        token: object,
        out: GroupEffects,
    ) -> None:
        """Answer one JoinGroup request (versions 0-9) to a group that has members."""
        limits = self._groups.limits
        try:
            if (
                not limits.group_min_session_timeout_ms
                <= request.session_timeout_ms
                <= limits.group_max_session_timeout_ms
            ):
                raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT, "the session timeout is out of bounds")
            response = self._join(group, context, request, now, out)
        except KafkaError as error:
            full = error.code is ErrorCode.GROUP_MAX_SIZE_REACHED
            member_id = "" if full else request.member_id
            response = JoinGroupResponse(member_id=member_id, error_code=int(error.code))
        out.reply.append(Reply(token, response))

    def _join(
        self, group: ConsumerGroup, context: ClientContext, request: JoinGroupRequest, now: Now, out: GroupEffects
    ) -> JoinGroupResponse:
        groups, group_id, instance_id = self._groups, group.group_id, request.group_instance_id
        if self._conversion.policy == DISABLED:
            raise _inconsistent("the group has the consumer protocol, and migration is disabled")
        is_unknown = not request.member_id
        member_id = request.member_id or self._new_member_id()
        if not is_writable(member_id):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the member id is too long")
        check_not_full(group, member_id, groups.limits.group_consumer_max_size)
        # A name twice would be counted twice; the first one is meant.
        protocols: dict[str, bytes] = {}
        for each in request.protocols:
            protocols.setdefault(each.name, bytes(each.metadata))
        if not protocols or not group.supports_classic_protocols(request.protocol_type, list(protocols)):
            raise _inconsistent(f"Member {member_id}'s protocols are not supported.")
        needs_id = instance_id is None and context.api_version >= _FIRST_JOIN_VERSION_WITH_REQUIRED_MEMBER_ID
        if is_unknown and needs_id:
            return JoinGroupResponse(member_id=member_id, error_code=int(ErrorCode.MEMBER_ID_REQUIRED))
        subscription = read_subscription(next(iter(protocols.values())))
        rebalance_timeout_ms = request.rebalance_timeout_ms
        if rebalance_timeout_ms < 0:
            rebalance_timeout_ms = request.session_timeout_ms  # version 0 has none of its own (KIP-62)

        records: list[GroupRecord] = []
        holder = group.static_member(instance_id)
        replaced: ConsumerMember | None = None
        if instance_id is None:
            member = group.members.get(member_id, ConsumerMember(member_id))
        elif is_unknown:
            member, replaced = join_static(group, holder, member_id, instance_id, True, records)
        else:
            member = known_static(group, holder, member_id, instance_id)
        downgrades = replaced is not None and self._conversion.is_downgrade_by_replacing(group, replaced)
        updated = member._replace(
            instance_id=instance_id if instance_id is not None else member.instance_id,
            rack_id=subscription.rack_id if subscription.rack_id is not None else member.rack_id,
            rebalance_timeout_ms=rebalance_timeout_ms,
            subscribed_topics=frozenset(subscription.topics),
            subscribed_regex="",
            client_id=context.client_id,
            client_host=context.client_host,
            classic=ClassicMetadata(request.session_timeout_ms, tuple(protocols.items())),
        )
        if updated != member:
            groups.check_size(updated)
            records.append(member_metadata_record(group_id, updated))
        names_changed = updated.subscribed_topics != member.subscribed_topics
        regex_change = self._regexes.change(group, member, updated, records)
        changed = names_changed or regex_change is not RegexChange.NONE
        epoch, bumped, refreshed = group.group_epoch, False, False
        if changed or group.needs_metadata:
            epoch, bumped = groups.bump(group, changed, subscribed_after(group, updated, replaced), records)
            refreshed = True
        owned = [(groups.topics.by_name(each.topic), each.partitions) for each in subscription.owned_partitions]
        reported = to_partitions((topic.topic_id, numbers) for topic, numbers in owned if topic is not None)
        was_stable = group.state is ConsumerGroupState.STABLE
        is_new = member_id not in group.members
        if downgrades and replaced is not None:
            rebalance = group.assignment_epoch < epoch
            if not rebalance:
                target = group.target_of(updated)
                updated = groups.reconcile(group, updated, group.assignment_epoch, target, changed, reported, records)
            self._conversion.downgrade_by_replacing(group, replaced, updated, records, rebalance, now, out)
        else:
            target_epoch, target = groups.target(group, epoch, updated, replaced, now, records)
            updated = groups.reconcile(group, updated, target_epoch, target, changed, reported, records)
            groups.append(records, out)
            live = groups.groups[group_id]
            if refreshed:
                live.metadata_refresh_epoch = epoch
            if replaced is not None:
                groups.end_timers(group_id, replaced.member_id)
            groups.watch_revocation(group_id, updated, now)
            groups.timers.cancel(TimerKey(TimerKind.CONSUMER_JOIN, group_id, member_id))
            groups.reset_session(group_id, member_id, request.session_timeout_ms, now)
            groups.expect(TimerKind.CONSUMER_SYNC, group_id, updated, now)
            self._regexes.maybe_refresh(live, now)
            self._notes(live, updated, is_new, bumped, was_stable, bool(records), out)
        assert updated.classic is not None
        return JoinGroupResponse(
            member_id=member_id,
            generation_id=updated.member_epoch,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=updated.classic.supported_protocols[0][0],
        )

    def _notes(
        self,
        group: ConsumerGroup,
        member: ConsumerMember,
        is_new: bool,
        bumped: bool,
        was_stable: bool,
        changed: bool,
        out: GroupEffects,
    ) -> None:
        detail = group.detail()
        if is_new:
            told = f"{member.member_id} from {member.client_host}, with the classic protocol"
            out.notes.append(Note(NoteKind.MEMBER_JOINED, group.group_id, told, detail))
        if bumped:
            told = f"{member.member_id} joined or changed its subscription"
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group.group_id, told, detail))
        if changed:
            self._groups.note_progress(group.group_id, was_stable and not bumped, "all members have their targets", out)

    # -- sync ---------------------------------------------------------------------------------------------------

    def handle_sync(
        self, group: ConsumerGroup, request: SyncGroupRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        """Answer one SyncGroup request (versions 0-5): the assignment, at once."""
        try:
            response = self._sync(group, request, now)
        except KafkaError as error:
            response = SyncGroupResponse(error_code=int(error.code))
        out.reply.append(Reply(token, response))

    def _sync(self, group: ConsumerGroup, request: SyncGroupRequest, now: Now) -> SyncGroupResponse:
        member, classic = self._speaker(group, request.member_id, request.group_instance_id, request.generation_id)
        name, metadata = classic.supported_protocols[0]
        if request.protocol_type is not None and request.protocol_type != PROTOCOL_TYPE:
            raise _inconsistent(f"the protocol type {request.protocol_type} is not the group's, {PROTOCOL_TYPE}")
        if request.protocol_name is not None and request.protocol_name != name:
            raise _inconsistent(f"the protocol {request.protocol_name} is not what the member was told, {name}")
        if group.assignment_epoch > member.member_epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._groups.expect(TimerKind.CONSUMER_JOIN, group.group_id, member, now)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "there is a new target: the member has to join again")
        assignment = self._conversion.as_assignment(partitions_of(member.assigned))
        response = SyncGroupResponse(
            protocol_type=request.protocol_type,
            protocol_name=request.protocol_name,
            assignment=write_assignment(assignment, metadata),
        )
        self._groups.timers.cancel(TimerKey(TimerKind.CONSUMER_SYNC, group.group_id, member.member_id))
        self._groups.reset_session(group.group_id, member.member_id, classic.session_timeout_ms, now)
        return response

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def handle_heartbeat(
        self, group: ConsumerGroup, request: HeartbeatRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        """Answer one Heartbeat request (versions 0-4): whether there is something to join again for."""
        error = ErrorCode.NONE
        try:
            member, classic = self._speaker(group, request.member_id, request.group_instance_id, request.generation_id)
        except KafkaError as refusal:
            error = refusal.code
            note_if_fenced(group.group_id, request.member_id, refusal, out)
        else:
            self._groups.reset_session(group.group_id, member.member_id, classic.session_timeout_ms, now)
            if (
                member.member_epoch < group.assignment_epoch
                or member.state is MemberState.UNREVOKED_PARTITIONS
                or (member.state is MemberState.UNRELEASED_PARTITIONS and not group.waits_for_partitions(member))
            ):
                error = ErrorCode.REBALANCE_IN_PROGRESS
                self._groups.expect(TimerKind.CONSUMER_JOIN, group.group_id, member, now)
        out.reply.append(Reply(token, HeartbeatResponse(error_code=int(error))))

    def _speaker(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None, generation_id: int
    ) -> tuple[ConsumerMember, ClassicMetadata]:
        """The member of the classic protocol that speaks.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID (also for one of the consumer protocol), FENCED_INSTANCE_ID or
                ILLEGAL_GENERATION.
        """
        if instance_id is None:
            member = group.member(member_id)
        else:
            member = known_static(group, group.static_member(instance_id), member_id, instance_id)
        if member.classic is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member.member_id} does not use the classic protocol."
            )
        if generation_id != member.member_epoch:
            raise KafkaError(
                ErrorCode.ILLEGAL_GENERATION,
                f"generation {generation_id} is not the epoch of member {member_id}, {member.member_epoch}",
            )
        return member, member.classic

    # -- leave --------------------------------------------------------------------------------------------------

    def handle_leave(
        self, group: ConsumerGroup, request: LeaveGroupRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        """Take members out (versions 3-5; the shell turns 0-2 into this form), those of the consumer protocol too: an
        administrator does so."""
        results = []
        left: dict[str, ConsumerMember] = {}
        for identity in request.members:
            member_id, instance_id = identity.member_id, identity.group_instance_id
            error = ErrorCode.NONE
            try:
                if instance_id is None:
                    member = group.member(member_id)
                else:
                    holder = group.static_member(instance_id)
                    # An administrator names the instance alone.
                    member_or_named = member_id or (holder.member_id if holder is not None else "")
                    member = known_static(group, holder, member_or_named, instance_id)
                reason = identity.reason or "not provided"
                if member.member_id not in left:
                    told = f"{member.member_id}; reason: {reason}"
                    out.notes.append(Note(NoteKind.MEMBER_LEFT, group.group_id, told))
                left[member.member_id] = member
            except KafkaError as refusal:
                error = refusal.code
            results.append(MemberResponse(member_id=member_id, group_instance_id=instance_id, error_code=int(error)))
        self._heartbeats.remove(group, list(left.values()), f"{', '.join(left)} left the group", now, out)
        out.reply.append(Reply(token, LeaveGroupResponse(members=results)))


def _inconsistent(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, message)
