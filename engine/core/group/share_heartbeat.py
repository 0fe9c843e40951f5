"""Share groups of a shard: heartbeats, sessions, and the state of their partitions at the share coordinator (KIP-932).

A heartbeat joins (member epoch 0), keeps a session, changes a subscription, or leaves (-1). Partitions that a group did
not read before are written down as initializing, and :class:`ShareStatesToInitialize` is sent; once the share
coordinator has them they are initialized, and the next heartbeat gives the group an epoch that assigns them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from engine.core.effects import Reply
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_member import JOIN_MEMBER_EPOCH, LEAVE_MEMBER_EPOCH, NO_PARTITIONS, Partitions
from engine.core.group.context import ClientContext, Now
from engine.core.group.group_topics import group_int
from engine.core.group.member_notes import lapsed, note_if_fenced, silent_for_ms
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord, ShareStatesToInitialize, is_writable
from engine.core.group.share_assignor import SharingMember, assign_shared
from engine.core.group.share_group import ShareGroup, ShareMember, StateTopic, StateTopics
from engine.core.group.share_records import (
    assignment_epoch_record,
    current_assignment_record,
    group_epoch_record,
    group_tombstones,
    member_metadata_record,
    member_tombstones,
    state_partitions_record,
    target_record,
)
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Detail, Note, NoteKind
from engine.wire.messages import share_group_describe_response as described
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from engine.wire.messages.share_group_heartbeat_response import (
    Assignment,
    ShareGroupHeartbeatResponse,
    TopicPartitions,
)

ASSIGNOR = "simple"
_RECORD_BYTES = 256


class ShareGroups:
    """The share groups of a shard. What is refused leaves no trace."""

    __slots__ = ("_asked_ms", "_consumer_groups", "_is_taken", "groups")

    def __init__(self, consumer_groups: ConsumerGroups, is_taken: Callable[[str], bool]) -> None:
        """``consumer_groups`` has the topics, limits and timers of the shard; ``is_taken(group_id)`` tells of groups of
        another type."""
        self._consumer_groups = consumer_groups
        self._is_taken = is_taken
        self.groups: dict[str, ShareGroup] = {}
        # Soft state: when the share coordinator was last asked for a group, monotonic.
        self._asked_ms: dict[str, float] = {}

    # -- configs ------------------------------------------------------------------------------------------------

    def _config(self, group_id: str, short: str) -> int:
        limits = self._consumer_groups.limits
        name = f"group_share_{short.replace('.', '_')}"
        low, high = (getattr(limits, name.replace("group_share", f"group_share_{each}")) for each in ("min", "max"))
        return group_int(self._consumer_groups.topics, group_id, f"share.{short}", getattr(limits, name), low, high)

    # -- heartbeat ----------------------------------------------------------------------------------------------

    def handle(
        self, context: ClientContext, request: ShareGroupHeartbeatRequest, now: Now, token: object, out: GroupEffects
    ) -> None:
        """Answer one request (version 1)."""
        try:
            self._validate(request)
            if request.member_epoch == LEAVE_MEMBER_EPOCH:
                response = self._leave(request, now, out)
            else:
                response = self._heartbeat(context, request, now, out)
        except KafkaError as error:
            note_if_fenced(request.group_id, request.member_id, error, out)
            response = ShareGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message)
        out.reply.append(Reply(token, response))

    @staticmethod
    def _validate(request: ShareGroupHeartbeatRequest) -> None:
        for text, name in (
            (request.member_id, "MemberId"),
            (request.group_id, "GroupId"),
            (request.rack_id, "RackId"),
        ):
            if text is not None and not text.strip():
                raise _invalid(f"{name} can't be empty.")
        if request.member_epoch == JOIN_MEMBER_EPOCH:
            if not request.subscribed_topic_names:
                raise _invalid("SubscribedTopicNames must be set in first request.")
        elif request.member_epoch < LEAVE_MEMBER_EPOCH:
            raise _invalid(f"MemberEpoch is invalid: {request.member_epoch}.")
        if not all(is_writable(text) for text in (request.group_id, request.member_id)):
            raise _invalid("the group id or the member id is too long")

    def group(self, group_id: str) -> ShareGroup:
        """Raises: KafkaError: GROUP_ID_NOT_FOUND."""
        group = self.groups.get(group_id)
        if group is None:
            what = "is not a share group." if self._is_taken(group_id) else "not found."
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}")
        return group

    def _heartbeat(
        self, context: ClientContext, request: ShareGroupHeartbeatRequest, now: Now, out: GroupEffects
    ) -> ShareGroupHeartbeatResponse:
        shared, group_id, member_id = self._consumer_groups, request.group_id, request.member_id
        joins = request.member_epoch == JOIN_MEMBER_EPOCH
        is_new_group = group_id not in self.groups
        group = (
            ShareGroup(group_id) if joins and is_new_group and not self._is_taken(group_id) else self.group(group_id)
        )
        max_size = shared.limits.group_share_max_size
        if len(group.members) >= max_size and member_id not in group.members:
            raise KafkaError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The share group has reached its maximum capacity of {max_size} members.",
            )
        is_new = member_id not in group.members
        member = ShareMember(member_id) if joins and is_new else group.member(member_id)
        _check_epoch(member, request.member_epoch)
        updated = member._replace(
            rack_id=member.rack_id if request.rack_id is None else request.rack_id,
            client_id=context.client_id,
            client_host=context.client_host,
            subscribed_topics=(
                member.subscribed_topics
                if request.subscribed_topic_names is None
                else frozenset(request.subscribed_topic_names)
            ),
        )
        records: list[GroupRecord] = []
        if updated != member or is_new:
            self._check_size(updated)
            records.append(member_metadata_record(group_id, updated))
        members = {**group.members, member_id: updated}
        names = {name for each in members.values() for name in each.subscribed_topics}
        metadata_hash = shared.metadata_hash(names)
        epoch = group.group_epoch
        bumped = (
            is_new
            or updated.subscribed_topics != member.subscribed_topics
            or metadata_hash != group.metadata_hash
            or self._has_unassigned(group, names)
        )
        if bumped:
            epoch += 1
            records.append(group_epoch_record(group_id, epoch, metadata_hash))
        target_epoch, target = group.assignment_epoch, group.targets.get(member_id, NO_PARTITIONS)
        if epoch > target_epoch and self._may_assign(group, now):
            target_epoch = epoch
            targets = self._assign(group, members)
            target = targets[member_id]
            records += [
                target_record(group_id, each, new) for each, new in targets.items() if new != group.targets.get(each)
            ]
            records.append(assignment_epoch_record(group_id, epoch, now.wall_ms))
        settled = updated
        if is_new or updated.member_epoch != target_epoch or updated.assigned != target:
            settled = updated._replace(
                member_epoch=target_epoch, previous_member_epoch=updated.member_epoch, assigned=target
            )
            records.append(current_assignment_record(group_id, settled))
        send = self._initialize_new(group, names, epoch, now, records)
        shared.append(records, out)
        out.send += send
        self._reset_session(group_id, member_id, now)
        self._note(self.groups[group_id], updated, is_new_group, is_new, bumped, out)
        response = ShareGroupHeartbeatResponse(
            member_id=member_id,
            member_epoch=settled.member_epoch,
            heartbeat_interval_ms=self._config(group_id, "heartbeat.interval.ms"),
        )
        if joins or request.subscribed_topic_names is not None or settled.assigned != member.assigned:
            response.assignment = Assignment(
                topic_partitions=[
                    TopicPartitions(topic_id=topic_id, partitions=sorted(numbers))
                    for topic_id, numbers in sorted(settled.assigned.items())
                ]
            )
        return response

    def _check_size(self, member: ShareMember) -> None:
        size = _RECORD_BYTES + sum(len(text.encode()) + 4 for text in (*member.subscribed_topics, member.rack_id or ""))
        limit = self._consumer_groups.limits.message_max_bytes
        if size > limit:
            raise _invalid(f"what the member says of itself takes {size} bytes, more than message.max.bytes, {limit}")

    def _may_assign(self, group: ShareGroup, now: Now) -> bool:
        since_ms = now.wall_ms - group.assignment_timestamp_ms
        return since_ms < 0 or since_ms >= self._config(group.group_id, "assignment.interval.ms")

    def _assign(self, group: ShareGroup, members: Mapping[str, ShareMember]) -> dict[str, Partitions]:
        readable = {
            topic_id: topic.partitions
            for topic_id, topic in group.initialized.items()
            if self._consumer_groups.topics.by_id(topic_id) is not None
        }
        return assign_shared(
            {
                member_id: SharingMember(
                    self._consumer_groups.topic_ids(member.subscribed_topics),
                    group.targets.get(member_id, NO_PARTITIONS),
                )
                for member_id, member in members.items()
            },
            readable,
        )

    # -- state at the share coordinator -------------------------------------------------------------------------

    def _has_unassigned(self, group: ShareGroup, names: Iterable[str]) -> bool:
        """Whether something that the group subscribes to was initialized since its targets were computed."""
        assigned = group.assigned_anywhere()
        return any(
            not topic.partitions <= assigned.get(topic_id, set())
            for topic_id in self._consumer_groups.topic_ids(names)
            if (topic := group.initialized.get(topic_id)) is not None
        )

    def _initialize_new(
        self, group: ShareGroup, names: Iterable[str], epoch: int, now: Now, records: list[GroupRecord]
    ) -> list[ShareStatesToInitialize]:
        """Write down what the group did not read before, and what is no more; ask for the former, and after a while
        again for what is still initializing."""
        topics = self._consumer_groups.topics
        wanted: dict[Uuid, StateTopic] = {}
        for name in sorted(set(names)):
            topic = topics.by_name(name)
            if topic is None:
                continue
            known: frozenset[int] = frozenset()
            for state in (group.initializing, group.initialized):
                if topic.topic_id in state:
                    known |= state[topic.topic_id].partitions
            new = frozenset(range(topic.partition_count)) - known
            if new and topic.topic_id not in group.deleting:
                wanted[topic.topic_id] = StateTopic(name, new)
        initializing, initialized = (
            {topic_id: topic for topic_id, topic in state.items() if topics.by_id(topic_id) is not None}
            for state in (group.initializing, group.initialized)
        )
        gone = len(initializing) + len(initialized) < len(group.initializing) + len(group.initialized)
        asked_ms = self._asked_ms.get(group.group_id)
        limits = self._consumer_groups.limits
        retry = bool(initializing) and (
            asked_ms is None or now.monotonic_ms - asked_ms >= limits.group_share_initialize_retry_interval_ms
        )
        asked = _joined(initializing, wanted) if retry else wanted
        if wanted or gone:
            records.append(
                state_partitions_record(group.group_id, _joined(initializing, wanted), initialized, group.deleting)
            )
        if not asked:
            return []
        self._asked_ms[group.group_id] = now.monotonic_ms
        return [ShareStatesToInitialize(group.group_id, epoch, asked)]

    def on_initialized(self, group_id: str, topics: StateTopics, out: GroupEffects) -> None:
        """The share coordinator has the state of these partitions."""
        group = self.groups.get(group_id)
        if group is None:
            return
        waiting = {
            topic_id: StateTopic(topic.name, topic.partitions & group.initializing[topic_id].partitions)
            for topic_id, topic in topics.items()
            if topic_id in group.initializing
        }
        done = {topic_id: topic for topic_id, topic in waiting.items() if topic.partitions}
        if done:
            record = state_partitions_record(
                group_id, _without(group.initializing, done), _joined(group.initialized, done), group.deleting
            )
            self._consumer_groups.append([record], out)
        if not group.initializing:
            self._asked_ms.pop(group_id, None)

    def on_altered(self, group_id: str, topics: StateTopics, now: Now, token: object, out: GroupEffects) -> None:
        """AlterShareGroupOffsets begins the state of these partitions anew. The reply is the state epoch, or
        KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP."""
        try:
            group = self.group(group_id)
            group.validate_delete()
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return
        epoch = group.group_epoch + 1
        records = [
            group_epoch_record(group_id, epoch, group.metadata_hash),
            state_partitions_record(
                group_id, _joined(group.initializing, topics), _without(group.initialized, topics), group.deleting
            ),
        ]
        self._consumer_groups.append(records, out)
        out.reply.append(Reply(token, epoch))

    def on_deleting(self, group_id: str, topic_ids: Collection[Uuid], token: object, out: GroupEffects) -> None:
        """DeleteShareGroupOffsets begins. The reply is what has to be deleted, as StateTopics, or a KafkaError as
        above."""
        try:
            group = self.group(group_id)
            group.validate_delete()
        except KafkaError as error:
            out.reply.append(Reply(token, error))
            return
        known = _joined(group.initialized, group.initializing)
        for topic_id in group.deleting:
            topic = self._consumer_groups.topics.by_id(topic_id)
            if topic is not None and topic_id not in known:
                # It was begun before, and did not end.
                known[topic_id] = StateTopic(topic.name, frozenset(range(topic.partition_count)))
        going = {topic_id: known[topic_id] for topic_id in sorted(topic_ids) if topic_id in known}
        if going:
            deleting = {**group.deleting, **{topic_id: topic.name for topic_id, topic in going.items()}}
            left = (_without(group.initializing, going), _without(group.initialized, going))
            self._consumer_groups.append([state_partitions_record(group_id, *left, deleting)], out)
        out.reply.append(Reply(token, going))

    def on_deleted(self, group_id: str, topic_ids: Collection[Uuid], out: GroupEffects) -> None:
        """The share coordinator has forgotten these topics."""
        group = self.groups.get(group_id)
        if group is None or not any(topic_id in group.deleting for topic_id in topic_ids):
            return
        deleting = {topic_id: name for topic_id, name in group.deleting.items() if topic_id not in topic_ids}
        record = state_partitions_record(group_id, group.initializing, group.initialized, deleting)
        self._consumer_groups.append([record], out)

    def delete(self, group_id: str, out: GroupEffects) -> None:
        """Remove a group that has no members."""
        self._asked_ms.pop(group_id, None)
        self._consumer_groups.append(group_tombstones(self.groups[group_id]), out)

    # -- leaving ------------------------------------------------------------------------------------------------

    def _leave(self, request: ShareGroupHeartbeatRequest, now: Now, out: GroupEffects) -> ShareGroupHeartbeatResponse:
        group = self.group(request.group_id)
        member = group.member(request.member_id)
        out.notes.append(Note(NoteKind.MEMBER_LEFT, group.group_id, f"{member.member_id} left"))
        self._remove(group, member, f"{member.member_id} left", out)
        return ShareGroupHeartbeatResponse(member_id=member.member_id, member_epoch=LEAVE_MEMBER_EPOCH)

    def _remove(self, group: ShareGroup, member: ShareMember, reason: str, out: GroupEffects) -> None:
        names = {
            name
            for member_id, each in group.members.items()
            if member_id != member.member_id
            for name in each.subscribed_topics
        }
        metadata_hash = self._consumer_groups.metadata_hash(names)
        records = member_tombstones(group.group_id, member.member_id)
        records.append(group_epoch_record(group.group_id, group.group_epoch + 1, metadata_hash))
        self._consumer_groups.append(records, out)
        self._consumer_groups.timers.cancel(TimerKey(TimerKind.SHARE_SESSION, group.group_id, member.member_id))
        kind = NoteKind.GROUP_REBALANCED if group.members else NoteKind.GROUP_EMPTIED
        out.notes.append(Note(kind, group.group_id, reason, group.detail()))

    # -- time ---------------------------------------------------------------------------------------------------

    def _reset_session(self, group_id: str, member_id: str, now: Now) -> None:
        key = TimerKey(TimerKind.SHARE_SESSION, group_id, member_id)
        self._consumer_groups.timers.schedule(key, now.monotonic_ms + self._config(group_id, "session.timeout.ms"))

    def on_session_expired(self, group_id: str, member_id: str, now: Now, out: GroupEffects) -> None:
        """A member was not heard of within its session timeout."""
        group = self.groups.get(group_id)
        member = None if group is None else group.members.get(member_id)
        if group is None or member is None:
            return
        timeout_ms = self._config(group_id, "session.timeout.ms")
        silent_ms = silent_for_ms(self._consumer_groups.timers, timeout_ms, now)
        told = f"{member_id}: {lapsed(timeout_ms, silent_ms)}"
        detail: Detail = {
            "member_id": member_id,
            "member_epoch": member.member_epoch,
            "group_epoch": group.group_epoch,
            "session_timeout_ms": timeout_ms,
            "silent_ms": silent_ms,
        }
        out.notes.append(Note(NoteKind.MEMBER_EXPIRED, group_id, told, detail))
        self._remove(group, member, told, out)

    def on_loaded(self, now: Now) -> None:
        """Every member's session starts anew, in full."""
        for group_id, group in self.groups.items():
            for member_id in group.members:
                self._reset_session(group_id, member_id, now)

    # -- describing ---------------------------------------------------------------------------------------------

    def described(self, group_id: str) -> described.DescribedGroup:
        """One group of a ShareGroupDescribe response."""
        try:
            group = self.group(group_id)
        except KafkaError as error:
            return described.DescribedGroup(
                group_id=group_id, group_state="Dead", error_code=int(error.code), error_message=error.message
            )
        return described.DescribedGroup(
            group_id=group_id,
            group_state=str(group.state),
            group_epoch=group.group_epoch,
            assignment_epoch=group.assignment_epoch,
            assignor_name=ASSIGNOR,
            members=[
                described.Member(
                    member_id=member.member_id,
                    rack_id=member.rack_id,
                    member_epoch=member.member_epoch,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    subscribed_topic_names=sorted(member.subscribed_topics),
                    assignment=described.Assignment(
                        topic_partitions=[
                            described.TopicPartitions(
                                topic_id=topic_id, topic_name=topic.name, partitions=sorted(numbers)
                            )
                            for topic_id, numbers in sorted(member.assigned.items())
                            if (topic := self._consumer_groups.topics.by_id(topic_id)) is not None
                        ]
                    ),
                )
                for member in group.members.values()
            ],
        )

    def _note(
        self,
        group: ShareGroup,
        member: ShareMember,
        is_new_group: bool,
        is_new: bool,
        bumped: bool,
        out: GroupEffects,
    ) -> None:
        group_id, detail = group.group_id, group.detail()
        if is_new_group:
            out.notes.append(
                Note(NoteKind.GROUP_CREATED, group_id, f"client {member.client_id!r} joined with the share protocol")
            )
        if is_new:
            told = f"{member.member_id} from {member.client_host}"
            out.notes.append(Note(NoteKind.MEMBER_JOINED, group_id, told, detail))
        if bumped:
            reason = f"new member {member.member_id}" if is_new else "a subscription, or what can be read, changed"
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group_id, reason, detail))


def _check_epoch(member: ShareMember, received: int) -> None:
    """Raises: KafkaError: FENCED_MEMBER_EPOCH for an epoch that is neither the member's nor the one before, which it
    has if an answer was lost."""
    if received in (JOIN_MEMBER_EPOCH, member.member_epoch, member.previous_member_epoch):
        return
    raise KafkaError(
        ErrorCode.FENCED_MEMBER_EPOCH,
        f"The share group member has a {'greater' if received > member.member_epoch else 'smaller'} member epoch "
        f"({received}) than the one known by the group coordinator ({member.member_epoch}). The member must abandon "
        "all its partitions and rejoin.",
    )


def _joined(topics: StateTopics, more: StateTopics) -> dict[Uuid, StateTopic]:
    result = dict(topics)
    for topic_id, topic in more.items():
        before = result.get(topic_id)
        result[topic_id] = topic if before is None else StateTopic(topic.name, before.partitions | topic.partitions)
    return result


def _without(topics: StateTopics, less: StateTopics) -> dict[Uuid, StateTopic]:
    result = {}
    for topic_id, topic in topics.items():
        left = topic.partitions - less[topic_id].partitions if topic_id in less else topic.partitions
        if left:
            result[topic_id] = StateTopic(topic.name, left)
    return result


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)
