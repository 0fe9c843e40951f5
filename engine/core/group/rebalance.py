"""Rebalances: who is waited for, when a generation starts, what happens when time runs out.

The part of Kafka's GroupMetadataManager that turns joins, departures and timeouts into generations. Two differences of
form, none of outcome: a group becomes Stable when the leader's assignment is *appended* (Kafka: committed) because all
replies of a shard are held back until its appends are committed; and a failed append is undone by reloading the shard.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from engine.core.effects import Reply
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.context import GroupLimits, Now
from engine.core.group.member import NO_ASSIGNMENT, GroupMember
from engine.core.group.member_notes import lapsed, silent_for_ms
from engine.core.group.records import GroupEffects, batch_bytes, group_metadata_record
from engine.core.group.states import GroupState
from engine.core.group.timers import Timers
from engine.model.errors import ErrorCode
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages.join_group_response import JoinGroupResponse, JoinGroupResponseMember
from engine.wire.messages.sync_group_response import SyncGroupResponse


class TimerKind(StrEnum):
    """What a deadline of a shard is for."""

    SESSION = "session"
    """A member's session, or a pending member id's, or a new member's parked JoinGroup."""
    JOIN = "join"
    """The end of the join phase: initial rebalance delay, or rebalance timeout."""
    SYNC = "sync"
    """The end of waiting for SyncGroup requests."""
    CONSUMER_SESSION = "consumer_session"
    """A member's session in a consumer group, whichever protocol it speaks."""
    CONSUMER_REBALANCE = "consumer_rebalance"
    """A member of the consumer protocol gives up partitions."""
    CONSUMER_JOIN = "consumer_join"
    """A member of the classic protocol in a consumer group was told to join again."""
    CONSUMER_SYNC = "consumer_sync"
    """A member of the classic protocol in a consumer group has joined and shall ask for its assignment."""
    SHARE_SESSION = "share_session"
    """A member's session in a share group."""
    REGEX = "regex"
    """The next piece of matching a group's regular expressions."""
    STREAMS_SESSION = "streams_session"
    """A member's session in a streams group."""
    STREAMS_REBALANCE = "streams_rebalance"
    """A member of a streams group gives up tasks."""
    STREAMS_INITIAL_DELAY = "streams_initial_delay"
    """A new streams group waits for more members."""
    OFFSET_EXPIRY = "offset_expiry"
    """The next look for expired offsets."""


STREAMS_TIMERS = frozenset({TimerKind.STREAMS_SESSION, TimerKind.STREAMS_REBALANCE, TimerKind.STREAMS_INITIAL_DELAY})


class TimerKey(NamedTuple):
    """A deadline's name."""

    kind: TimerKind
    group_id: str = ""
    member_id: str = ""


class Rebalances:
    """The groups of a shard, their timers, and the rebalance logic that requests and timeouts share.

    Methods take ``out`` and add replies, records and notes to it.
    """

    __slots__ = ("groups", "limits", "timers")

    def __init__(self, limits: GroupLimits) -> None:
        self.limits = limits
        self.groups: dict[str, ClassicGroup] = {}
        self.timers: Timers[TimerKey] = Timers()

    # -- sessions -----------------------------------------------------------------------------------------------

    def reset_session(self, group: ClassicGroup, member_id: str, timeout_ms: int, now: Now) -> None:
        """Push a member's session (or a pending member id's) back by its timeout."""
        self.timers.schedule(TimerKey(TimerKind.SESSION, group.group_id, member_id), now.monotonic_ms + timeout_ms)

    def end_session(self, group: ClassicGroup, member_id: str) -> None:
        """Forget a session."""
        self.timers.cancel(TimerKey(TimerKind.SESSION, group.group_id, member_id))

    def on_session_expired(self, group_id: str, member_id: str, now: Now, out: GroupEffects) -> None:
        """A member was not heard of for its session timeout."""
        group = self.groups.get(group_id)
        if group is None:
            return
        if member_id in group.pending_join_members:
            group.remove(member_id)
            out.notes.append(Note(NoteKind.MEMBER_EXPIRED, group_id, f"{member_id} never came back with its member id"))
            if group.state is GroupState.PREPARING_REBALANCE and group.has_all_members_joined:
                self.complete_join(group, now, out)
            return
        member = group.members.get(member_id)
        # A parked request satisfies the session; the answer to it starts the next one.
        if member is None or member.has_satisfied_heartbeat():
            return
        silent_ms = silent_for_ms(self.timers, member.session_timeout_ms, now)
        reason = (
            "its first JoinGroup was parked too long" if member.is_new else lapsed(member.session_timeout_ms, silent_ms)
        )
        out.notes.append(
            Note(
                NoteKind.MEMBER_EXPIRED,
                group_id,
                f"{member_id}: {reason}",
                {
                    "member_id": member_id,
                    "session_timeout_ms": member.session_timeout_ms,
                    "silent_ms": silent_ms,
                    "generation": group.generation_id,
                },
            )
        )
        self.remove_member(group, member, out)
        self.after_departure(group, f"removing member {member_id}: {reason}", now, out)

    def remove_member(self, group: ClassicGroup, member: GroupMember, out: GroupEffects) -> None:
        """Take a member out; a parked JoinGroup of it is answered so that a living client joins again."""
        self.reply_join(
            group, member, JoinGroupResponse(member_id="", error_code=int(ErrorCode.UNKNOWN_MEMBER_ID)), out
        )
        self.reply_sync(member, SyncGroupResponse(error_code=int(ErrorCode.UNKNOWN_MEMBER_ID)), out)
        self.end_session(group, member.member_id)
        group.remove(member.member_id)

    def after_departure(self, group: ClassicGroup, reason: str, now: Now, out: GroupEffects) -> None:
        """One or more members left: rebalance, or see whether the join phase is complete without them."""
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            self.prepare_rebalance(group, reason, now, out)
        elif group.state is GroupState.PREPARING_REBALANCE and group.has_all_members_joined:
            self.complete_join(group, now, out)

    # -- join phase ---------------------------------------------------------------------------------------------

    def prepare_rebalance_or_complete_join(self, group: ClassicGroup, reason: str, now: Now, out: GroupEffects) -> None:
        """A member joined or changed: start a rebalance, or see whether the running one is complete."""
        if group.can_rebalance:
            self.prepare_rebalance(group, reason, now, out)
        else:
            self.maybe_complete_join_phase(group, now, out)

    def prepare_rebalance(self, group: ClassicGroup, reason: str, now: Now, out: GroupEffects) -> None:
        """Stop the current generation and wait for everyone to join again."""
        if group.state is GroupState.COMPLETING_REBALANCE:
            # Those who wait for an assignment of the generation that will not be: send them back to join.
            self._reset_assignments(group, ErrorCode.REBALANCE_IN_PROGRESS, now, out)
        self._cancel_sync_timer(group)
        initial = group.is_empty
        delay_ms = self.limits.group_initial_rebalance_delay_ms
        group.transition_to(GroupState.PREPARING_REBALANCE, now)
        group.rebalance_reason = reason
        out.notes.append(
            Note(
                NoteKind.GROUP_REBALANCED,
                group.group_id,
                reason,
                {"generation": group.generation_id, "members": len(group.members), "initial": initial},
            )
        )
        if initial:
            # The first member is seldom the only one: give the others time, so that the group starts once.
            group.initial_rebalance_remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
            group.new_member_added = False
            self._schedule_join(group, delay_ms, now)
        elif group.has_all_members_joined:
            self.complete_join(group, now, out)
        else:
            self._schedule_join(group, group.rebalance_timeout_ms, now)

    def maybe_complete_join_phase(self, group: ClassicGroup, now: Now, out: GroupEffects) -> None:
        """Complete the join phase if everyone is there; an initial rebalance sits out its delay."""
        if (
            group.state is GroupState.PREPARING_REBALANCE
            and group.previous_state is not GroupState.EMPTY
            and group.has_all_members_joined
        ):
            self.complete_join(group, now, out)

    def on_join_timer(self, group_id: str, now: Now, out: GroupEffects) -> None:
        """The initial rebalance delay or the rebalance timeout has passed."""
        group = self.groups.get(group_id)
        if group is None or group.state is not GroupState.PREPARING_REBALANCE:
            return
        if (
            group.previous_state is GroupState.EMPTY
            and group.new_member_added
            and group.initial_rebalance_remaining_ms > 0
        ):
            # Someone came during the delay: wait once more, within the rebalance timeout (KIP-134).
            group.new_member_added = False
            delay_ms = min(self.limits.group_initial_rebalance_delay_ms, group.initial_rebalance_remaining_ms)
            group.initial_rebalance_remaining_ms -= delay_ms
            self._schedule_join(group, delay_ms, now)
            return
        self.complete_join(group, now, out)

    def complete_join(self, group: ClassicGroup, now: Now, out: GroupEffects) -> None:
        """Start the next generation with those who joined; dynamic members who did not are out (KIP-345)."""
        self.timers.cancel(TimerKey(TimerKind.JOIN, group.group_id))
        for member in list(group.members.values()):
            if member.awaiting_join is None and not member.is_static:
                self.end_session(group, member.member_id)
                group.remove(member.member_id)
                out.notes.append(
                    Note(
                        NoteKind.MEMBER_EXPIRED,
                        group.group_id,
                        f"{member.member_id} did not rejoin within the rebalance timeout of "
                        f"{member.rebalance_timeout_ms} ms",
                        {"member_id": member.member_id, "rebalance_timeout_ms": member.rebalance_timeout_ms},
                    )
                )
        if not group.maybe_elect_new_joined_leader() and group.members:
            # Only static members that are away: keep the group for as long as their sessions last.
            self._schedule_join(group, group.rebalance_timeout_ms, now)
            return
        group.init_next_generation(now)
        if group.is_empty:
            out.append.append(group_metadata_record(group))
            out.notes.append(
                Note(NoteKind.GROUP_EMPTIED, group.group_id, "no members left", {"generation": group.generation_id})
            )
            return
        for member in group.members.values():
            self.reply_join(group, member, self.current_generation(group, member.member_id), out)
            self.reset_session(group, member.member_id, member.session_timeout_ms, now)
            member.is_new = False
            group.pending_sync_members[member.member_id] = None
        self.timers.schedule(TimerKey(TimerKind.SYNC, group.group_id), now.monotonic_ms + group.rebalance_timeout_ms)

    def current_generation(self, group: ClassicGroup, member_id: str) -> JoinGroupResponse:
        """The successful JoinGroup answer for a member; only the leader sees the members."""
        return JoinGroupResponse(
            generation_id=group.generation_id,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name,
            leader=group.leader_id or "",
            member_id=member_id,
            members=self.members_for_leader(group) if group.is_leader(member_id) else [],
        )

    @staticmethod
    def members_for_leader(group: ClassicGroup) -> list[JoinGroupResponseMember]:
        """Whom the leader has to assign partitions to."""
        assert group.protocol_name is not None
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                metadata=member.metadata(group.protocol_name),
            )
            for member in group.members.values()
        ]

    def _schedule_join(self, group: ClassicGroup, delay_ms: int, now: Now) -> None:
        self.timers.schedule(TimerKey(TimerKind.JOIN, group.group_id), now.monotonic_ms + delay_ms)

    # -- sync phase ---------------------------------------------------------------------------------------------

    def on_sync_timer(self, group_id: str, now: Now, out: GroupEffects) -> None:
        """Members that have not asked for their assignment in time are out (KAFKA-10413)."""
        group = self.groups.get(group_id)
        if group is None or group.state not in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            return
        late = list(group.pending_sync_members)
        if not late:
            return
        for member_id in late:
            timeout_ms = group.rebalance_timeout_ms
            told = f"{member_id} did not sync within the rebalance timeout of {timeout_ms} ms"
            detail: Detail = {"member_id": member_id, "rebalance_timeout_ms": timeout_ms}
            out.notes.append(Note(NoteKind.MEMBER_EXPIRED, group_id, told, detail))
            member = group.members.get(member_id)
            if member is None:
                group.remove(member_id)
            else:
                self.remove_member(group, member, out)
        self.prepare_rebalance(
            group, f"removing members that did not send SyncGroup in time: {', '.join(late)}", now, out
        )

    def on_member_synced(self, group: ClassicGroup, member_id: str) -> None:
        """A member has sent SyncGroup for the current generation."""
        group.pending_sync_members.pop(member_id, None)
        if not group.pending_sync_members:
            self.timers.cancel(TimerKey(TimerKind.SYNC, group.group_id))

    def become_stable(self, group: ClassicGroup, assignments: dict[str, bytes], now: Now, out: GroupEffects) -> None:
        """The leader has assigned: write the generation down and answer those who wait for it.

        An assignment that makes the group's record too large to be written is refused, and the members join again.
        """
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, NO_ASSIGNMENT)
        if not self.is_writable(group):
            self._reset_assignments(group, ErrorCode.UNKNOWN_SERVER_ERROR, now, out)
            reason = f"the assignment of generation {group.generation_id} does not fit into a message"
            self.prepare_rebalance(group, reason, now, out)
            return
        group.transition_to(GroupState.STABLE, now)
        out.append.append(group_metadata_record(group))
        self._propagate_assignments(group, ErrorCode.NONE, now, out)
        out.notes.append(
            Note(
                NoteKind.GROUP_STABLE,
                group.group_id,
                group.rebalance_reason,
                {
                    "generation": group.generation_id,
                    "members": len(group.members),
                    "leader": group.leader_id,
                    "protocol": group.protocol_name,
                },
            )
        )

    def is_writable(self, group: ClassicGroup) -> bool:
        """Whether the group fits into one message."""
        return batch_bytes(group) <= self.limits.message_max_bytes

    def _reset_assignments(self, group: ClassicGroup, error: ErrorCode, now: Now, out: GroupEffects) -> None:
        for member in group.members.values():
            member.assignment = NO_ASSIGNMENT
        self._propagate_assignments(group, error, now, out)

    def _propagate_assignments(self, group: ClassicGroup, error: ErrorCode, now: Now, out: GroupEffects) -> None:
        known = error is ErrorCode.NONE
        for member in group.members.values():
            if member.awaiting_sync is None:
                continue
            response = SyncGroupResponse(
                error_code=int(error),
                protocol_type=group.protocol_type if known else None,
                protocol_name=group.protocol_name if known else None,
                assignment=member.assignment,
            )
            self.reply_sync(member, response, out)
            # While its request was parked the session did not count: start it anew.
            self.reset_session(group, member.member_id, member.session_timeout_ms, now)

    def _cancel_sync_timer(self, group: ClassicGroup) -> None:
        group.pending_sync_members.clear()
        self.timers.cancel(TimerKey(TimerKind.SYNC, group.group_id))

    # -- parked requests ----------------------------------------------------------------------------------------

    @staticmethod
    def reply_join(group: ClassicGroup, member: GroupMember, response: JoinGroupResponse, out: GroupEffects) -> None:
        """Answer a member's parked JoinGroup, if there is one."""
        token = group.take_awaiting_join(member)
        if token is not None:
            out.reply.append(Reply(token, response))

    @staticmethod
    def reply_sync(member: GroupMember, response: SyncGroupResponse, out: GroupEffects) -> None:
        """Answer a member's parked SyncGroup, if there is one."""
        token = member.awaiting_sync
        if token is not None:
            member.awaiting_sync = None
            out.reply.append(Reply(token, response))
