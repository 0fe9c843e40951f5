"""SyncGroup, Heartbeat and LeaveGroup over the groups of a shard."""

from __future__ import annotations

from engine.core.effects import Reply
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.context import Now
from engine.core.group.member_notes import note_if_fenced
from engine.core.group.rebalance import Rebalances
from engine.core.group.records import GroupEffects
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.heartbeat_response import HeartbeatResponse
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.leave_group_response import LeaveGroupResponse, MemberResponse
from engine.wire.messages.sync_group_request import SyncGroupRequest
from engine.wire.messages.sync_group_response import SyncGroupResponse


class Membership:
    """Handlers of what a member does between its JoinGroup and its departure."""

    __slots__ = ("_rebalances",)

    def __init__(self, rebalances: Rebalances) -> None:
        self._rebalances = rebalances

    # -- sync ---------------------------------------------------------------------------------------------------

    def handle_sync(self, request: SyncGroupRequest, now: Now, token: object, out: GroupEffects) -> None:
        """Answer or park one SyncGroup request (versions 0-5; 5 checks the protocol, KIP-559)."""
        try:
            group = self._validate_sync(request)
        except KafkaError as error:
            out.reply.append(Reply(token, SyncGroupResponse(error_code=int(error.code))))
            return
        member = group.members[request.member_id]
        if group.state is GroupState.PREPARING_REBALANCE:
            error_code = int(ErrorCode.REBALANCE_IN_PROGRESS)
            out.reply.append(Reply(token, SyncGroupResponse(error_code=error_code)))
        elif group.state is GroupState.COMPLETING_REBALANCE:
            # A client that gave up on its parked request and asks again: the first one must not stay open for ever.
            superseded = SyncGroupResponse(error_code=int(ErrorCode.REBALANCE_IN_PROGRESS))
            self._rebalances.reply_sync(member, superseded, out)
            member.awaiting_sync = token
            self._rebalances.on_member_synced(group, member.member_id)
            if group.is_leader(member.member_id):
                assignments = {each.member_id: bytes(each.assignment) for each in request.assignments}
                self._rebalances.become_stable(group, assignments, now, out)
        else:
            assert group.state is GroupState.STABLE, f"sync in {group}"
            self._rebalances.on_member_synced(group, member.member_id)
            response = SyncGroupResponse(
                protocol_type=group.protocol_type, protocol_name=group.protocol_name, assignment=member.assignment
            )
            out.reply.append(Reply(token, response))

    def _validate_sync(self, request: SyncGroupRequest) -> ClassicGroup:
        group = self._group(request.group_id)
        group.validate_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation_id:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"the group is in generation {group.generation_id}")
        for asked, actual in (
            (request.protocol_type, group.protocol_type),
            (request.protocol_name, group.protocol_name),
        ):
            if asked is not None and actual is not None and asked != actual:
                raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"{asked!r} is not the group's {actual!r}")
        return group

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def handle_heartbeat(self, request: HeartbeatRequest, now: Now, token: object, out: GroupEffects) -> None:
        """Keep a member's session, and tell it when it has to rejoin (versions 0-4)."""
        error = ErrorCode.NONE
        try:
            group = self._group(request.group_id)
            group.validate_member(request.member_id, request.group_instance_id)
            if request.generation_id != group.generation_id:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"the group is in generation {group.generation_id}")
            member = group.members[request.member_id]
            self._rebalances.reset_session(group, member.member_id, member.session_timeout_ms, now)
            if group.state is GroupState.PREPARING_REBALANCE:
                error = ErrorCode.REBALANCE_IN_PROGRESS
        except KafkaError as refusal:
            error = refusal.code
            note_if_fenced(request.group_id, request.member_id, refusal, out)
        out.reply.append(Reply(token, HeartbeatResponse(error_code=int(error))))

    # -- leave --------------------------------------------------------------------------------------------------

    def handle_leave(self, request: LeaveGroupRequest, now: Now, token: object, out: GroupEffects) -> None:
        """Take members out of a group (versions 3-5; the shell turns 0-2 into this form).

        An administrator removes static members by their instance id alone (KIP-345); such an identity has no member
        id.
        """
        try:
            group = self._group(request.group_id)
        except KafkaError as error:
            if error.code is ErrorCode.INVALID_GROUP_ID:
                response = LeaveGroupResponse(error_code=int(error.code))
            else:
                response = LeaveGroupResponse(
                    members=[_leave_result(identity, error.code) for identity in request.members]
                )
            out.reply.append(Reply(token, response))
            return
        results = []
        left = []
        for identity in request.members:
            try:
                left.append(self._leave(group, identity, out))
                results.append(_leave_result(identity, ErrorCode.NONE))
            except KafkaError as error:
                results.append(_leave_result(identity, error.code))
        out.reply.append(Reply(token, LeaveGroupResponse(members=results)))
        if not left:
            return
        if group.state is GroupState.PREPARING_REBALANCE:
            self._rebalances.maybe_complete_join_phase(group, now, out)
        else:
            self._rebalances.after_departure(group, f"{', '.join(left)} left the group", now, out)

    def _leave(self, group: ClassicGroup, identity: MemberIdentity, out: GroupEffects) -> str:
        reason = identity.reason or "not provided"
        member_id = identity.member_id
        if member_id == "" and identity.group_instance_id is not None:
            holder = group.static_members.get(identity.group_instance_id)
            if holder is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"no instance {identity.group_instance_id}")
            member_id = holder
        elif member_id in group.pending_join_members:
            self._rebalances.end_session(group, member_id)
            group.remove(member_id)
            out.notes.append(
                Note(NoteKind.MEMBER_LEFT, group.group_id, f"{member_id} (had not joined yet); reason: {reason}")
            )
            return member_id
        else:
            group.validate_member(member_id, identity.group_instance_id)
        out.notes.append(
            Note(
                NoteKind.MEMBER_LEFT,
                group.group_id,
                f"{member_id}; reason: {reason}",
                {"generation": group.generation_id},
            )
        )
        self._rebalances.remove_member(group, group.members[member_id], out)
        return member_id

    def _group(self, group_id: str) -> ClassicGroup:
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID, "the group id is empty")
        group = self._rebalances.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"no group {group_id}")
        return group


def _leave_result(identity: MemberIdentity, error: ErrorCode) -> MemberResponse:
    return MemberResponse(
        member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=int(error)
    )
