"""ConsumerGroupHeartbeat: everything a member of the consumer protocol ever says to its group (KIP-848).

One request joins (member epoch 0), keeps a session, changes a subscription, acknowledges revocations, leaves (-1), or
leaves a static member's place free for a while (-2). The answer tells the member's epoch, and its partitions when they
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from engine.core.effects import Reply
from engine.core.group.consumer_group import ConsumerGroup, ConsumerGroupState
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_member import (
    JOIN_MEMBER_EPOCH,
    LEAVE_MEMBER_EPOCH,
    LEAVE_STATIC_MEMBER_EPOCH,
    OWNS_NOTHING,
    ConsumerMember,
    OwnedPartitions,
    Partitions,
    to_partitions,
)
from engine.core.group.consumer_records import (
    current_assignment_record,
    group_epoch_record,
    member_metadata_record,
    member_tombstones,
    regex_tombstone,
    target_record,
)
from engine.core.group.context import ClientContext, Now
from engine.core.group.group_conversion import GroupConversion
from engine.core.group.member_notes import lapsed, note_if_fenced, silent_for_ms
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, is_writable
from engine.core.group.regex_subscriptions import RegexChange, RegexSubscriptions
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest
from engine.wire.messages.consumer_group_heartbeat_response import (
    Assignment,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)

_FIRST_VERSION_WITH_CLIENT_MEMBER_ID = 1
_NO_TIMEOUT = -1


class ConsumerHeartbeats:
    """Handler of ConsumerGroupHeartbeat over the groups of a shard."""

    __slots__ = ("_conversion", "_groups", "_new_member_id", "_regexes")

    def __init__(
        self,
        groups: ConsumerGroups,
        regexes: RegexSubscriptions,
        conversion: GroupConversion,
        new_member_id: Callable[[], str],
    ) -> None:
        self._groups = groups
        self._regexes = regexes
        self._conversion = conversion
        self._new_member_id = new_member_id

    def handle(
        self,
        context: ClientContext,
        request: ConsumerGroupHeartbeatRequest,
        now: Now,
        token: object,
        out: GroupEffects,
    ) -> None:
        """Answer one request (versions 0-1)."""
        try:
            self._validate(request, context.api_version)
            if request.member_epoch in (LEAVE_MEMBER_EPOCH, LEAVE_STATIC_MEMBER_EPOCH):
                response = self._leave(request, now, out)
            else:
                response = self._heartbeat(context, request, now, out)
        except KafkaError as error:
            note_if_fenced(request.group_id, request.member_id, error, out)
            response = ConsumerGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message)
        out.reply.append(Reply(token, response))

    def _validate(self, request: ConsumerGroupHeartbeatRequest, api_version: int) -> None:
        epoch = request.member_epoch
        if api_version >= _FIRST_VERSION_WITH_CLIENT_MEMBER_ID or epoch > 0 or epoch == LEAVE_MEMBER_EPOCH:
            _not_blank(request.member_id, "MemberId can't be empty.")
        _not_blank(request.group_id, "GroupId can't be empty.")
        _not_blank(request.instance_id, "InstanceId can't be empty.")
        _not_blank(request.rack_id, "RackId can't be empty.")
        if epoch == JOIN_MEMBER_EPOCH:
            if request.rebalance_timeout_ms == _NO_TIMEOUT:
                raise _invalid("RebalanceTimeoutMs must be provided in first request.")
            if request.topic_partitions is None or request.topic_partitions:
                raise _invalid("TopicPartitions must be empty when (re-)joining.")
            if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
                raise _invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
                )
        elif epoch == LEAVE_STATIC_MEMBER_EPOCH:
            if request.instance_id is None:
                raise _invalid("InstanceId can't be null.")
        elif epoch < LEAVE_STATIC_MEMBER_EPOCH:
            raise _invalid("MemberEpoch is invalid.")
        supported = self._groups.limits.group_consumer_assignors
        if request.server_assignor is not None and request.server_assignor not in supported:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_ASSIGNOR,
                f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: "
                f"{', '.join(supported)}.",
            )
        # Keys of records hold strings of 16 bits' length.
        if not all(is_writable(text) for text in (request.group_id, request.member_id)):
            raise _invalid("the group id or the member id is too long")
        if request.subscribed_topic_regex is not None and not is_writable(request.subscribed_topic_regex):
            raise _invalid("SubscribedTopicRegex is too long")

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def _heartbeat(
        self, context: ClientContext, request: ConsumerGroupHeartbeatRequest, now: Now, out: GroupEffects
    ) -> ConsumerGroupHeartbeatResponse:
        groups = self._groups
        group_id = request.group_id
        joins = request.member_epoch == JOIN_MEMBER_EPOCH
        known = groups.groups.get(group_id)
        was_stable = known is not None and known.state is ConsumerGroupState.STABLE
        records: list[GroupRecord] = []
        group = self._conversion.group_for(group_id, joins, records)
        check_not_full(group, request.member_id, groups.limits.group_consumer_max_size)
        member_id = request.member_id or self._new_member_id()
        reported = _reported(request)
        member, replaced = self._member(group, member_id, request, reported, records)
        updated = member._replace(
            instance_id=member.instance_id if request.instance_id is None else request.instance_id,
            rack_id=member.rack_id if request.rack_id is None else request.rack_id,
            rebalance_timeout_ms=(
                member.rebalance_timeout_ms
                if request.rebalance_timeout_ms == _NO_TIMEOUT
                else request.rebalance_timeout_ms
            ),
            server_assignor=member.server_assignor if request.server_assignor is None else request.server_assignor,
            subscribed_topics=(
                member.subscribed_topics
                if request.subscribed_topic_names is None
                else frozenset(request.subscribed_topic_names)
            ),
            subscribed_regex=(
                member.subscribed_regex if request.subscribed_topic_regex is None else request.subscribed_topic_regex
            ),
            client_id=context.client_id,
            client_host=context.client_host,
            classic=None,
        )
        if updated != member:
            groups.check_size(updated)
            records.append(member_metadata_record(group_id, updated))
        names_changed = updated.subscribed_topics != member.subscribed_topics
        regex_change = self._regexes.change(group, member, updated, records)
        bump = names_changed or regex_change is RegexChange.RESOLVED
        subscription_changed = names_changed or regex_change is not RegexChange.NONE
        epoch, refreshed = group.group_epoch, False
        bumped = False
        if bump or group.needs_metadata:
            names = subscribed_after(group, updated, replaced)
            epoch, bumped = groups.bump(group, bump, names, records)
            refreshed = True
        target_epoch, target = groups.target(group, epoch, updated, replaced, now, records)
        settled = groups.reconcile(group, updated, target_epoch, target, subscription_changed, reported, records)

        # Nothing is refused from here on.
        self._conversion.commit_upgrade(group_id, now, out)
        is_new = member_id not in group.members
        groups.append(records, out)
        live = groups.groups[group_id]
        if refreshed:
            live.metadata_refresh_epoch = epoch
        if replaced is not None:
            groups.end_timers(group_id, replaced.member_id)
        if settled != updated or replaced is not None:
            groups.watch_revocation(group_id, settled, now)
        groups.reset_session(group_id, member_id, groups.session_timeout_ms(group_id), now)
        self._regexes.maybe_refresh(live, now)
        self._notes(live, updated, replaced, known is None, is_new, bumped, was_stable, bool(records), out)
        response = ConsumerGroupHeartbeatResponse(
            member_id=member_id,
            member_epoch=settled.member_epoch,
            heartbeat_interval_ms=groups.heartbeat_interval_ms(group_id),
        )
        if joins or _is_full(request) or settled.assigned != member.assigned:
            response.assignment = _assignment(settled.assigned)
        return response

    def _member(
        self,
        group: ConsumerGroup,
        member_id: str,
        request: ConsumerGroupHeartbeatRequest,
        reported: Partitions | None,
        records: list[GroupRecord],
    ) -> tuple[ConsumerMember, ConsumerMember | None]:
        """The member as it is, or a new one; and the static member that it replaces."""
        joins = request.member_epoch == JOIN_MEMBER_EPOCH
        if request.instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                if not joins:
                    group.member(member_id)  # refuses
                member = ConsumerMember(member_id)
            _check_epoch(member, request.member_epoch, reported)
            return member, None
        holder = group.static_member(request.instance_id)
        if joins:
            return join_static(group, holder, member_id, request.instance_id, False, records)
        holder = known_static(group, holder, member_id, request.instance_id)
        _check_epoch(holder, request.member_epoch, reported)
        return holder, None

    def _notes(
        self,
        group: ConsumerGroup,
        member: ConsumerMember,
        replaced: ConsumerMember | None,
        is_new_group: bool,
        is_new_member: bool,
        bumped: bool,
        was_stable: bool,
        changed: bool,
        out: GroupEffects,
    ) -> None:
        group_id = group.group_id
        detail = group.detail()
        if is_new_group:
            reason = f"client {member.client_id!r} joined with the consumer protocol"
            out.notes.append(Note(NoteKind.GROUP_CREATED, group_id, reason))
        reason = f"a subscription of {member.member_id} or its topics changed"
        if is_new_member:
            instance = f" with group instance id {member.instance_id}" if member.instance_id is not None else ""
            told = f"{member.member_id}{instance} from {member.client_host}"
            if replaced is not None:
                told = f"{member.member_id} replaced {replaced.member_id} as {member.instance_id}"
            out.notes.append(Note(NoteKind.MEMBER_JOINED, group_id, told, detail))
            reason = f"new member {member.member_id}"
        if bumped:
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group_id, reason, detail))
        if changed:
            self._groups.note_progress(group_id, was_stable and not bumped, "all members have their targets", out)

    # -- leaving ------------------------------------------------------------------------------------------------

    def _leave(
        self, request: ConsumerGroupHeartbeatRequest, now: Now, out: GroupEffects
    ) -> ConsumerGroupHeartbeatResponse:
        group = self._conversion.existing(request.group_id)
        member_id, instance_id = request.member_id, request.instance_id
        if instance_id is None:
            member = group.member(member_id)
        else:
            member = known_static(group, group.static_member(instance_id), member_id, instance_id)
        response = ConsumerGroupHeartbeatResponse(member_id=member_id, member_epoch=request.member_epoch)
        if instance_id is not None and request.member_epoch == LEAVE_STATIC_MEMBER_EPOCH:
            # Its place and its partitions stay until it comes back, or its session ends.
            away = member._replace(
                member_epoch=LEAVE_STATIC_MEMBER_EPOCH,
                pending_revocation=OWNS_NOTHING,
                assigned={topic_id: dict.fromkeys(numbers, 0) for topic_id, numbers in member.assigned.items()},
            )
            self._groups.append([current_assignment_record(group.group_id, away)], out)
            told = f"{member_id}: the static member {instance_id} left for a while"
            out.notes.append(Note(NoteKind.MEMBER_LEFT, group.group_id, told))
            return response
        out.notes.append(Note(NoteKind.MEMBER_LEFT, group.group_id, f"{member_id} left"))
        self.remove(group, [member], f"{member_id} left", now, out)
        return response

    def remove(
        self, group: ConsumerGroup, members: Collection[ConsumerMember], reason: str, now: Now, out: GroupEffects
    ) -> None:
        """Take members out: the group epoch rises, or the group becomes a classic one if only classic members stay."""
        if not members:
            return
        leaving = {member.member_id for member in members}
        conversion = self._conversion
        if conversion.is_downgrade_without(group, leaving) and conversion.downgrade(
            group, leaving, f"downgraded: {reason}", now, out
        ):
            return
        records: list[GroupRecord] = []
        for member_id in sorted(leaving):
            records += member_tombstones(group.group_id, member_id)
        counts: dict[str, int] = {}
        for member in members:
            if member.subscribed_regex:
                counts[member.subscribed_regex] = counts.get(member.subscribed_regex, 0) + 1
        gone = [regex for regex, count in sorted(counts.items()) if group.regex_subscribers.get(regex) == count]
        records += [regex_tombstone(group.group_id, regex) for regex in gone]
        names: set[str] = set()
        for member_id, member in group.members.items():
            if member_id not in leaving:
                names |= member.subscribed_topics
        for regex, resolved in group.resolved_regexes.items():
            if regex not in gone:
                names |= resolved.topics
        epoch = group.group_epoch + 1
        records.append(group_epoch_record(group.group_id, epoch, self._groups.metadata_hash(names)))
        self._groups.append(records, out)
        for member_id in sorted(leaving):
            self._groups.end_timers(group.group_id, member_id)
        kind = NoteKind.GROUP_REBALANCED if group.members else NoteKind.GROUP_EMPTIED
        out.notes.append(Note(kind, group.group_id, reason, group.detail()))

    # -- time ---------------------------------------------------------------------------------------------------

    def on_timer(self, key: TimerKey, now: Now, out: GroupEffects) -> None:
        """A session or a rebalance timeout is over."""
        overdue = key.kind is not TimerKind.CONSUMER_REBALANCE or self._groups.is_revocation_overdue(key)
        group = self._groups.groups.get(key.group_id)
        member = None if group is None else group.members.get(key.member_id)
        if group is None or member is None or not overdue:
            return
        groups = self._groups
        classic = member.classic
        timeout_ms = groups.session_timeout_ms(key.group_id) if classic is None else classic.session_timeout_ms
        silent_ms = silent_for_ms(groups.timers, timeout_ms, now)
        why = {
            TimerKind.CONSUMER_SESSION: lapsed(timeout_ms, silent_ms),
            TimerKind.CONSUMER_REBALANCE: (
                f"it did not give up its partitions within its rebalance timeout of {member.rebalance_timeout_ms} ms"
            ),
            TimerKind.CONSUMER_JOIN: "it did not join again within its rebalance timeout",
            TimerKind.CONSUMER_SYNC: "it did not send SyncGroup within its rebalance timeout",
        }[key.kind]
        told = f"{member.member_id}: {why}"
        detail: Detail = {
            "member_id": member.member_id,
            "member_epoch": member.member_epoch,
            "group_epoch": group.group_epoch,
        }
        if key.kind is TimerKind.CONSUMER_SESSION:
            detail |= {"session_timeout_ms": timeout_ms, "silent_ms": silent_ms}
        out.notes.append(Note(NoteKind.MEMBER_EXPIRED, key.group_id, told, detail))
        self.remove(group, [member], told, now, out)

    def on_loaded(self, now: Now) -> None:
        """Every member's session starts anew, in full; so does the time to give up partitions."""
        groups = self._groups
        for group_id, group in groups.groups.items():
            for member in group.members.values():
                timeout_ms = (
                    groups.session_timeout_ms(group_id) if member.classic is None else member.classic.session_timeout_ms
                )
                groups.reset_session(group_id, member.member_id, timeout_ms, now)
                groups.watch_revocation(group_id, member, now)


def join_static(
    group: ConsumerGroup,
    holder: ConsumerMember | None,
    member_id: str,
    instance_id: str,
    is_classic: bool,
    records: list[GroupRecord],
) -> tuple[ConsumerMember, ConsumerMember | None]:
    """A static member that joins: new, or in the place of its former self, whose assignment it takes over.

    Raises:
        KafkaError: UNRELEASED_INSTANCE_ID if another member of the consumer protocol is in that place now.
    """
    if holder is None:
        return group.members.get(member_id, ConsumerMember(member_id)), None
    if not is_classic and holder.classic is None and holder.member_epoch != LEAVE_STATIC_MEMBER_EPOCH:
        raise KafkaError(
            ErrorCode.UNRELEASED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} cannot join the group because the instance id "
            f"is owned by {holder.member_id} member.",
        )
    member = holder._replace(member_id=member_id, member_epoch=0, previous_member_epoch=0)
    records += member_tombstones(group.group_id, holder.member_id)
    records.append(member_metadata_record(group.group_id, member))
    records.append(target_record(group.group_id, member_id, group.targets.get(holder.member_id, {})))
    records.append(current_assignment_record(group.group_id, member))
    return member, holder


def known_static(
    group: ConsumerGroup, holder: ConsumerMember | None, member_id: str, instance_id: str
) -> ConsumerMember:
    """The static member that speaks. Raises: KafkaError: UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID."""
    if holder is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    if holder.member_id != member_id:
        raise KafkaError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {holder.member_id}.",
        )
    return holder


def subscribed_after(group: ConsumerGroup, updated: ConsumerMember, replaced: ConsumerMember | None) -> set[str]:
    """Names of all topics that the group subscribes to once a member has been updated."""
    names = set(updated.subscribed_topics)
    former = replaced or group.members.get(updated.member_id)
    for member_id, member in group.members.items():
        if former is None or member_id != former.member_id:
            names |= member.subscribed_topics
    dropped = None
    if (
        former is not None
        and former.subscribed_regex != updated.subscribed_regex
        and group.regex_subscribers.get(former.subscribed_regex) == 1
    ):
        dropped = former.subscribed_regex
    for regex, resolved in group.resolved_regexes.items():
        if regex != dropped:
            names |= resolved.topics
    return names


def _check_epoch(member: ConsumerMember, received: int, reported: Partitions | None) -> None:
    """Raises: KafkaError: FENCED_MEMBER_EPOCH for an epoch of the future, and for one of the past, unless the answer
    that told the present one may have been lost."""
    if received in (JOIN_MEMBER_EPOCH, member.member_epoch):
        return
    lost = (
        received == member.previous_member_epoch
        and received < member.member_epoch
        and reported is not None
        and all(numbers <= member.assigned.get(topic_id, {}).keys() for topic_id, numbers in reported.items())
    )
    if not lost:
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The consumer group member has a {'greater' if received > member.member_epoch else 'smaller'} member "
            f"epoch ({received}) than the one known by the group coordinator ({member.member_epoch}). The member must "
            "abandon all its partitions and rejoin.",
        )


def _reported(request: ConsumerGroupHeartbeatRequest) -> Partitions | None:
    if request.topic_partitions is None:
        return None
    return to_partitions((each.topic_id, each.partitions) for each in request.topic_partitions)


def _is_full(request: ConsumerGroupHeartbeatRequest) -> bool:
    """Whether the member told all of itself, as it does when it does not know what was heard of it before."""
    return (
        request.rebalance_timeout_ms != _NO_TIMEOUT
        and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
        and request.topic_partitions is not None
    )


def _assignment(assigned: OwnedPartitions) -> Assignment:
    return Assignment(
        topic_partitions=[
            TopicPartitions(topic_id=topic_id, partitions=sorted(numbers))
            for topic_id, numbers in sorted(assigned.items())
        ]
    )


def check_not_full(group: ConsumerGroup, member_id: str, max_size: int) -> None:
    if len(group.members) >= max_size and member_id not in group.members:
        raise KafkaError(
            ErrorCode.GROUP_MAX_SIZE_REACHED,
            f"The consumer group has reached its maximum capacity of {max_size} members.",
        )


def _not_blank(text: str | None, message: str) -> None:
    if text is not None and not text.strip():
        raise _invalid(message)


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)
