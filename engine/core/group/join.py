"""JoinGroup: who may enter a group, and under which name.

A dynamic member first asks without a member id and is told one (MEMBER_ID_REQUIRED, version 4 and later, KIP-394), so
that a client that retries does not leave ghosts behind. A static member (KIP-345) that comes back without its member id
takes over its former place, and its former self is fenced.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.core.effects import Reply
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.context import ClientContext, Now
from engine.core.group.member import GroupMember, Protocols
from engine.core.group.rebalance import Rebalances
from engine.core.group.records import (
    GroupEffects,
    empty_group_metadata_record,
    group_metadata_record,
    is_writable,
)
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.sync_group_response import SyncGroupResponse

UNKNOWN_MEMBER_ID = ""

_MEMBER_ID_SUFFIX_BYTES = 37
_FIRST_VERSION_WITH_REQUIRED_MEMBER_ID = 4
_FIRST_VERSION_WITH_SKIP_ASSIGNMENT = 9


class _Join:
    """One JoinGroup request on its way."""

    __slots__ = ("context", "now", "out", "protocols", "reason", "rebalance_timeout_ms", "request", "token")

    def __init__(
        self, context: ClientContext, request: JoinGroupRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        self.context = context
        self.request = request
        self.now = now
        self.token = token
        self.out = out
        # A name twice would be counted twice; the first one is meant.
        protocols: dict[str, bytes] = {}
        for each in request.protocols:
            protocols.setdefault(each.name, bytes(each.metadata))
        self.protocols: Protocols = tuple(protocols.items())
        # Version 0 has no rebalance timeout of its own (KIP-62).
        timeout_ms = request.rebalance_timeout_ms
        self.rebalance_timeout_ms = request.session_timeout_ms if timeout_ms < 0 else timeout_ms
        self.reason = request.reason or "not provided"

    def is_writable(self) -> bool:
        """Whether what the request says of the member fits into a record; the member id adds a UUID to a name."""
        names = (self.context.client_id, self.request.group_instance_id or "", self.request.protocol_type)
        return all(
            is_writable(each, _MEMBER_ID_SUFFIX_BYTES) for each in (*names, *(name for name, _ in self.protocols))
        )

    def reply(self, response: JoinGroupResponse) -> None:
        self.out.reply.append(Reply(self.token, response))

    def refuse(self, error: ErrorCode, member_id: str | None = None) -> None:
        self.reply(
            JoinGroupResponse(
                member_id=self.request.member_id if member_id is None else member_id, error_code=int(error)
            )
        )


class Joins:
    """Handler of JoinGroup over the groups of a shard."""

    __slots__ = ("_new_uuid", "_rebalances")

    def __init__(self, rebalances: Rebalances, new_uuid: Callable[[], Uuid]) -> None:
        self._rebalances = rebalances
        self._new_uuid = new_uuid

    def handle(
        self, context: ClientContext, request: JoinGroupRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        """Answer or park one JoinGroup request (versions 0-9)."""
        join = _Join(context, request, now, token, out)
        limits = self._rebalances.limits
        if not request.group_id or not is_writable(request.group_id):
            join.refuse(ErrorCode.INVALID_GROUP_ID)
            return
        if not join.is_writable():
            join.refuse(ErrorCode.INVALID_REQUEST)
            return
        if not limits.group_min_session_timeout_ms <= request.session_timeout_ms <= limits.group_max_session_timeout_ms:
            join.refuse(ErrorCode.INVALID_SESSION_TIMEOUT)
            return
        group = self._rebalances.groups.get(request.group_id)
        is_new_member = request.member_id == UNKNOWN_MEMBER_ID
        if group is None:
            if not is_new_member:
                join.refuse(ErrorCode.UNKNOWN_MEMBER_ID)
                return
            if not request.protocol_type or not join.protocols:
                join.refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
                return
            group = self._create(request.group_id, join)
        if not self._accepts(group, request.member_id):
            self._forget(group, join)
            join.refuse(ErrorCode.GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID)
        elif not group.supports_protocols(request.protocol_type, [name for name, _ in join.protocols]):
            join.refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        elif is_new_member:
            self._join_new(group, join)
        else:
            self._join_existing(group, join)

    def _create(self, group_id: str, join: _Join) -> ClassicGroup:
        group = ClassicGroup(group_id, GroupState.EMPTY, join.now.wall_ms)
        self._rebalances.groups[group_id] = group
        # Nothing else of a new group is written before its first assignment; without this record a group that was
        # promised to a client (its member id) would be unknown to the next coordinator.
        join.out.append.append(empty_group_metadata_record(group))
        join.out.notes.append(
            Note(NoteKind.GROUP_CREATED, group_id, f"client {join.context.client_id!r} joined; reason: {join.reason}")
        )
        return group

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        max_size = self._rebalances.limits.group_max_size
        member = group.members.get(member_id)
        if group.is_empty:
            return True
        if group.state is GroupState.PREPARING_REBALANCE:
            # Counting those who wait, not the members: after group.max.size was lowered, the last to rejoin are out.
            waits = member is not None and member.awaiting_join is not None
            return waits or group.num_members_awaiting_join < max_size
        return member is not None or len(group.members) < max_size

    def _forget(self, group: ClassicGroup, join: _Join) -> None:
        member_id = join.request.member_id
        member = group.members.get(member_id)
        if member is not None:
            self._rebalances.remove_member(group, member, join.out)
        elif member_id in group.pending_join_members:
            self._rebalances.end_session(group, member_id)
            group.remove(member_id)
        else:
            return
        self._rebalances.maybe_complete_join_phase(group, join.now, join.out)

    # -- new members --------------------------------------------------------------------------------------------

    def _join_new(self, group: ClassicGroup, join: _Join) -> None:
        instance_id = join.request.group_instance_id
        prefix = join.context.client_id if instance_id is None else instance_id
        member_id = f"{prefix}-{_java_uuid(self._new_uuid())}"
        if instance_id is not None:
            if instance_id in group.static_members:
                self._replace_static_member(group, instance_id, member_id, join)
            else:
                self._add(group, member_id, join)
        elif join.context.api_version >= _FIRST_VERSION_WITH_REQUIRED_MEMBER_ID:
            group.pending_join_members[member_id] = None
            self._rebalances.reset_session(group, member_id, join.request.session_timeout_ms, join.now)
            join.refuse(ErrorCode.MEMBER_ID_REQUIRED, member_id)
        else:
            self._add(group, member_id, join)

    def _add(self, group: ClassicGroup, member_id: str, join: _Join) -> None:
        request = join.request
        member = GroupMember(
            member_id,
            request.group_instance_id,
            join.context.client_id,
            join.context.client_host,
            join.rebalance_timeout_ms,
            request.session_timeout_ms,
            request.protocol_type,
            join.protocols,
        )
        member.is_new = True
        if group.state is GroupState.PREPARING_REBALANCE and group.previous_state is GroupState.EMPTY:
            group.new_member_added = True
        group.add(member, join.token)
        # It cannot send heartbeats yet; what can expire is the parked request of a client that is long gone.
        self._rebalances.reset_session(group, member_id, self._rebalances.limits.new_member_join_timeout_ms, join.now)
        static = f" with group instance id {request.group_instance_id}" if member.is_static else ""
        join.out.notes.append(
            Note(
                NoteKind.MEMBER_JOINED,
                group.group_id,
                f"{member_id}{static} from {member.client_host}",
                {"members": len(group.members), "generation": group.generation_id},
            )
        )
        self._rebalances.prepare_rebalance_or_complete_join(
            group, f"adding new member {member_id}{static}; client reason: {join.reason}", join.now, join.out
        )

    def _replace_static_member(self, group: ClassicGroup, instance_id: str, member_id: str, join: _Join) -> None:
        rebalances = self._rebalances
        old_member_id = group.static_members[instance_id]
        old = group.members[old_member_id]
        old_leader_id = group.leader_id or ""
        fenced = int(ErrorCode.FENCED_INSTANCE_ID)
        rebalances.reply_join(group, old, JoinGroupResponse(member_id=old_member_id, error_code=fenced), join.out)
        rebalances.reply_sync(old, SyncGroupResponse(error_code=fenced), join.out)
        rebalances.end_session(group, old_member_id)
        member = group.replace_static_member(instance_id, member_id)
        group.update_member(
            member, join.protocols, join.rebalance_timeout_ms, join.request.session_timeout_ms, join.token
        )
        rebalances.reset_session(group, member_id, member.session_timeout_ms, join.now)
        told = f"{member_id} replaced {old_member_id} as {instance_id}"
        detail: Detail = {"member_id": old_member_id, "group_instance_id": instance_id, "by": member_id}
        join.out.notes += [
            Note(NoteKind.MEMBER_JOINED, group.group_id, told),
            Note(NoteKind.MEMBER_FENCED, group.group_id, f"{old_member_id}: FENCED_INSTANCE_ID: {told}", detail),
        ]
        if group.state is GroupState.STABLE:
            if group.protocol_name == group.select_protocol() and rebalances.is_writable(group):
                # The static member got its place and assignment back: no rebalance, that is what it is static for.
                join.out.append.append(group_metadata_record(group))
                response = rebalances.current_generation(group, member_id)
                if join.context.api_version >= _FIRST_VERSION_WITH_SKIP_ASSIGNMENT:
                    response.skip_assignment = group.is_leader(member_id)
                else:
                    # An old client that finds itself leader would assign anew: let it believe it follows.
                    response.leader = old_leader_id
                    response.members = []
                rebalances.reply_join(group, member, response, join.out)
            else:
                rebalances.prepare_rebalance(
                    group,
                    f"static member {member_id} with group instance id {instance_id} changes the group's protocol; "
                    f"client reason: {join.reason}",
                    join.now,
                    join.out,
                )
        elif group.state is GroupState.COMPLETING_REBALANCE:
            # The leader may be assigning to the old member id right now, which no longer exists.
            rebalances.prepare_rebalance(
                group,
                f"updating metadata of static member {member_id} with group instance id {instance_id}; "
                f"client reason: {join.reason}",
                join.now,
                join.out,
            )
        else:
            rebalances.maybe_complete_join_phase(group, join.now, join.out)

    # -- members that are known ---------------------------------------------------------------------------------

    def _join_existing(self, group: ClassicGroup, join: _Join) -> None:
        member_id = join.request.member_id
        if member_id in group.pending_join_members and join.request.group_instance_id is None:
            self._add(group, member_id, join)
            return
        try:
            group.validate_member(member_id, join.request.group_instance_id)
        except KafkaError as error:
            join.refuse(error.code)
            return
        member = group.members[member_id]
        state = group.state
        if state is GroupState.PREPARING_REBALANCE:
            self._rejoin(group, member, f"member {member_id} is joining during {state}", join)
        elif member.protocols != join.protocols:
            self._rejoin(group, member, f"updating metadata of member {member_id} during {state}", join)
        elif state is GroupState.STABLE and group.is_leader(member_id):
            # That is how a leader asks for a rebalance, say because its topics have new partitions.
            self._rejoin(group, member, f"leader {member_id} is rejoining during {state}", join)
        else:
            # The member missed the answer to its JoinGroup, or comes back unchanged: nothing has to move.
            assert state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE), f"{member} in {group}"
            join.reply(self._rebalances.current_generation(group, member_id))

    def _rejoin(self, group: ClassicGroup, member: GroupMember, reason: str, join: _Join) -> None:
        # A client that gave up on its parked request and asks again: the first one must not stay open for ever.
        self._rebalances.reply_join(
            group,
            member,
            JoinGroupResponse(member_id=member.member_id, error_code=int(ErrorCode.REBALANCE_IN_PROGRESS)),
            join.out,
        )
        group.update_member(
            member, join.protocols, join.rebalance_timeout_ms, join.request.session_timeout_ms, join.token
        )
        self._rebalances.prepare_rebalance_or_complete_join(
            group, f"{reason}; client reason: {join.reason}", join.now, join.out
        )


def _java_uuid(raw: Uuid) -> str:
    """Sixteen bytes as Java's UUID.toString writes them, the form that member ids have."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
