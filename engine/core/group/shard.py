"""The group coordinator of one partition of ``__consumer_offsets`` (Kafka: GroupCoordinatorShard).

Inputs are requests, the time, and the records of the log; every input returns one :class:`GroupEffects`:

1. ``append``: records for the partition's log. Their effect on the machine's state is immediate.
2. ``reply``: answers, each to the ``token`` that came with its request, now or long ago (a parked JoinGroup or
   SyncGroup). The shell must hold every reply back until all that the shard has appended so far is committed: a reply
   may tell of state that only those records make durable. Replies go out in order.
3. ``notes``: facts for people.

If an append fails, the machine's state is ahead of the log: the shell drops the shard (:meth:`on_unloaded`) and loads a
new one from the log. Law: ``replay`` of the log into a new shard gives the same :meth:`durable_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from engine.core.effects import Effects, Reply
from engine.core.group import describe
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.consumer_coordination import ConsumerCoordination
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.consumer_records import CONSUMER_GROUP_KEYS, replay_consumer_group
from engine.core.group.context import ClientContext, GroupLimits, Now
from engine.core.group.group_topics import GroupTopics, NoTopics
from engine.core.group.join import Joins
from engine.core.group.membership import Membership
from engine.core.group.offset_requests import OffsetRequests, commit_refused, txn_commit_error_response
from engine.core.group.offsets import NO_PRODUCER_ID, OffsetAndMetadata, OffsetStore
from engine.core.group.rebalance import Rebalances, TimerKey, TimerKind
from engine.core.group.records import (
    GroupEffects,
    GroupRecord,
    group_from_value,
    group_metadata_record,
    group_tombstone,
    offset_from_value,
)
from engine.core.group.share_group import ShareGroup, StateTopics
from engine.core.group.share_records import SHARE_GROUP_KEYS, replay_share_group
from engine.core.group.states import GroupState
from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_records import STREAMS_GROUP_KEYS, replay_streams_group
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Note, NoteKind
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.consumer_group_describe_response import DescribedGroup as DescribedConsumerGroup
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest
from engine.wire.messages.consumer_group_heartbeat_response import ConsumerGroupHeartbeatResponse
from engine.wire.messages.delete_groups_response import DeletableGroupResult
from engine.wire.messages.describe_groups_response import DescribedGroup
from engine.wire.messages.group_metadata_key import GroupMetadataKey
from engine.wire.messages.group_metadata_value import GroupMetadataValue
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.leave_group_request import LeaveGroupRequest
from engine.wire.messages.list_groups_response import ListedGroup
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_request import OffsetCommitRequest
from engine.wire.messages.offset_commit_value import OffsetCommitValue
from engine.wire.messages.offset_delete_request import OffsetDeleteRequest
from engine.wire.messages.offset_delete_response import OffsetDeleteResponse
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup
from engine.wire.messages.offset_fetch_response import OffsetFetchResponseGroup
from engine.wire.messages.share_group_describe_response import DescribedGroup as DescribedShareGroup
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from engine.wire.messages.streams_group_describe_response import DescribedGroup as DescribedStreamsGroup
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest
from engine.wire.messages.sync_group_request import SyncGroupRequest
from engine.wire.messages.sync_group_response import SyncGroupResponse
from engine.wire.messages.txn_offset_commit_request import TxnOffsetCommitRequest


class GroupCoordinatorShard:
    """Groups and offsets of one partition. Not for concurrent use: one input at a time."""

    __slots__ = (
        "_consumer",
        "_joins",
        "_keeps_offsets_in_log",
        "_membership",
        "_next_record_offset",
        "_not_in_log",
        "_offset_requests",
        "_rebalances",
        "offsets",
    )

    def __init__(
        self,
        limits: GroupLimits,
        new_uuid: Callable[[], Uuid],
        topics: GroupTopics | None = None,
        *,
        keeps_offsets_in_log: bool = True,
    ) -> None:
        """``new_uuid`` gives sixteen fresh random bytes for a member id; the machine draws no other randomness.

        ``topics`` is the metadata as of now; :meth:`on_topics` tells of later ones. Without ``keeps_offsets_in_log``
        the shell keeps committed offsets elsewhere, all but those of transactions (offsets.storage).
        """
        self._keeps_offsets_in_log = keeps_offsets_in_log
        # What was kept elsewhere before and has to come into the log: group, topic, partition.
        self._not_in_log: dict[tuple[str, str, int], None] = {}
        self.offsets = OffsetStore()
        # Behind everything replayed so far. What the machine appends will stand there or later, and in this order.
        self._next_record_offset = 0
        self._rebalances = Rebalances(limits)
        self._joins = Joins(self._rebalances, new_uuid)
        self._membership = Membership(self._rebalances)
        self._consumer = ConsumerCoordination(self._rebalances, self._append, topics or NoTopics(), new_uuid)
        self._offset_requests = OffsetRequests(self._rebalances, self._consumer, self.offsets)

    @property
    def groups(self) -> dict[str, ClassicGroup]:
        """Classic groups by id. For reading."""
        return self._rebalances.groups

    @property
    def consumer_groups(self) -> dict[str, ConsumerGroup]:
        """Consumer groups by id. For reading; no id is in both."""
        return self._consumer.groups

    @property
    def share_groups(self) -> dict[str, ShareGroup]:
        """Share groups by id. For reading; no id is in both others."""
        return self._consumer.share.groups

    @property
    def streams_groups(self) -> dict[str, StreamsGroup]:
        """Streams groups by id. For reading; no id is in two kinds of groups."""
        return self._consumer.streams.groups

    def on_topics(self, topics: GroupTopics, changed: Collection[str], has_new: bool) -> None:
        """The metadata is another: ``changed`` are the names of topics that changed, ``has_new`` if some are new."""
        self._consumer.on_topics(topics, changed, has_new)

    # -- the log ------------------------------------------------------------------------------------------------

    def replay(self, key: Any, value: Any, *, record_offset: int = -1, producer_id: int = NO_PRODUCER_ID) -> None:
        """Apply one record of the log; what later versions write is skipped."""
        self._next_record_offset = max(self._next_record_offset, record_offset + 1)
        if isinstance(key, OffsetCommitKey):
            self.replay_offset_commit(key, value, record_offset=record_offset, producer_id=producer_id)
        elif isinstance(key, GroupMetadataKey):
            self.replay_group_metadata(key, value)
        elif isinstance(key, CONSUMER_GROUP_KEYS):
            if value is not None and key.group_id in self.groups:
                # A commit that is older than the group made a simple one of its name.
                del self.groups[key.group_id]
            replay_consumer_group(self.consumer_groups, key, value)
        elif isinstance(key, SHARE_GROUP_KEYS):
            replay_share_group(self.share_groups, key, value)
        elif isinstance(key, STREAMS_GROUP_KEYS):
            if value is not None:
                self.groups.pop(key.group_id, None)
            replay_streams_group(self.streams_groups, key, value)

    def replay_offset_commit(
        self, key: OffsetCommitKey, value: OffsetCommitValue | None, *, record_offset: int, producer_id: int
    ) -> None:
        """A committed offset, or its end. A commit to no known group makes a simple group."""
        if value is None:
            self.offsets.replay_tombstone(key.group, key.topic, key.partition)
            return
        if not self._is_known(key.group):
            self.groups[key.group] = ClassicGroup(key.group, GroupState.EMPTY, None)
        offset = offset_from_value(value, record_offset)
        self.offsets.replay_commit(producer_id, key.group, key.topic, key.partition, offset)

    def replay_kept_offset(self, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata) -> bool:
        """A committed offset from outside of the log, which came after the log's ``record_offset``: it counts unless
        the log has a later one. Returns whether it does."""
        existing = self.offsets.committed.get(group_id, topic, partition)
        if existing is not None and existing.record_offset > offset.record_offset:
            return False
        if not self._is_known(group_id):
            self.groups[group_id] = ClassicGroup(group_id, GroupState.EMPTY, None)
        self.offsets.replay_commit(NO_PRODUCER_ID, group_id, topic, partition, offset)
        if self._keeps_offsets_in_log:
            self._not_in_log[group_id, topic, partition] = None
        return True

    @property
    def last_record_offset(self) -> int:
        """The last record of the log that this shard knows of; -1: none."""
        return self._next_record_offset - 1

    def replay_group_metadata(self, key: GroupMetadataKey, value: GroupMetadataValue | None) -> None:
        """A generation of a group, or its end."""
        if value is not None:
            self.groups[key.group] = group_from_value(key.group, value)
            return
        group = self.groups.pop(key.group, None)
        if group is None:
            return
        for member_id in [*group.members, *group.pending_join_members]:
            self._rebalances.end_session(group, member_id)

    def replay_end_transaction_marker(self, producer_id: int, committed: bool) -> None:
        """The end of a transaction that committed offsets."""
        self.offsets.replay_end_transaction(producer_id, committed)

    def durable_state(self) -> dict[str, object]:
        """What the log says of this shard, in a form that compares.

        Groups in the middle of a rebalance are left out: their last durable generation is only in the log.
        """
        groups = {
            group_id: group_metadata_record(group).value
            for group_id, group in sorted(self.groups.items())
            if group.state in (GroupState.EMPTY, GroupState.STABLE)
        }
        offsets = [
            (group_id, topic, partition, offset._replace(record_offset=-1))
            for group_id in sorted(self.offsets.committed.by_group)
            for topic, partition, offset in self.offsets.committed.of_group(group_id)
        ]
        consumer_groups = {group_id: group.durable_state() for group_id, group in sorted(self.consumer_groups.items())}
        pending = [
            (producer_id, group_id, topic, partition, offset._replace(record_offset=-1))
            for producer_id, table in sorted(self.offsets.pending_by_producer.items())
            for group_id in sorted(table.by_group)
            for topic, partition, offset in table.of_group(group_id)
        ]
        share_groups = {group_id: group.durable_state() for group_id, group in sorted(self.share_groups.items())}
        streams_groups = {group_id: group.durable_state() for group_id, group in sorted(self.streams_groups.items())}
        return {
            "groups": groups,
            "consumer_groups": consumer_groups,
            "streams_groups": streams_groups,
            "share_groups": share_groups,
            "offsets": offsets,
            "pending": pending,
        }

    def _is_known(self, group_id: str) -> bool:
        return any(group_id in each for each in (self.groups, self.consumer_groups, self.streams_groups))

    # -- life ---------------------------------------------------------------------------------------------------

    def on_loaded(self, now: Now) -> GroupEffects:
        """The log has been replayed and this broker leads: every member's session starts anew, in full."""
        out: GroupEffects = Effects()
        rebalances = self._rebalances
        max_size = rebalances.limits.group_max_size
        for group in list(self.groups.values()):
            for member in group.members.values():
                rebalances.reset_session(group, member.member_id, member.session_timeout_ms, now)
            if len(group.members) > max_size:
                reason = f"loaded with {len(group.members)} members, above group.max.size of {max_size}"
                rebalances.prepare_rebalance(group, reason, now, out)
        self._consumer.heartbeats.on_loaded(now)
        self._consumer.share.on_loaded(now)
        self._consumer.streams_heartbeats.on_loaded(now)
        self._schedule_offset_expiry(now)
        self._append(list(self._offset_requests.as_records(self._not_in_log)), out)
        self._not_in_log.clear()
        return out

    def on_unloaded(self, error: ErrorCode = ErrorCode.NOT_COORDINATOR) -> GroupEffects:
        """This broker no longer leads (or the state is ahead of the log): answer all parked requests with ``error``.

        The shard must not be used afterwards.
        """
        out: GroupEffects = Effects()
        code = int(error)
        for group in self.groups.values():
            for member in group.members.values():
                response = JoinGroupResponse(member_id=member.member_id, error_code=code)
                self._rebalances.reply_join(group, member, response, out)
                self._rebalances.reply_sync(member, SyncGroupResponse(error_code=code), out)
        return out

    # -- time ---------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When :meth:`on_timer` is due next (monotonic milliseconds), or None."""
        return self._rebalances.timers.next_deadline_ms()

    def on_timer(self, now: Now) -> GroupEffects:
        """Time has passed: sessions, rebalance timeouts, offset expiry."""
        out: GroupEffects = Effects()
        timers = self._rebalances.timers
        while (key := timers.pop_due(now.monotonic_ms)) is not None:
            self._on_deadline(key, now, out)
        return out

    def _on_deadline(self, key: TimerKey, now: Now, out: GroupEffects) -> None:
        if key.kind is TimerKind.SESSION:
            self._rebalances.on_session_expired(key.group_id, key.member_id, now, out)
        elif key.kind is TimerKind.JOIN:
            self._rebalances.on_join_timer(key.group_id, now, out)
        elif key.kind is TimerKind.SYNC:
            self._rebalances.on_sync_timer(key.group_id, now, out)
        elif key.kind is TimerKind.OFFSET_EXPIRY:
            self._expire_offsets(now, out)
            self._schedule_offset_expiry(now)
        else:
            self._consumer.on_timer(key, now, out)

    def _schedule_offset_expiry(self, now: Now) -> None:
        interval_ms = self._rebalances.limits.offsets_retention_check_interval_ms
        self._rebalances.timers.schedule(TimerKey(TimerKind.OFFSET_EXPIRY), now.monotonic_ms + interval_ms)

    def _expire_offsets(self, now: Now, out: GroupEffects) -> None:
        retention_ms = self._rebalances.limits.offsets_retention_ms
        deleted = f"no members, and nothing committed in the last {retention_ms} ms"
        for group in list(self.groups.values()):
            records, nothing_left = self._offset_requests.expired(group, now)
            if nothing_left and group.is_empty and not group.pending_join_members:
                records.append(group_tombstone(group.group_id))
                out.notes.append(Note(NoteKind.GROUP_DELETED, group.group_id, deleted))
            self._append(records, out)
        for consumer_group in list(self.consumer_groups.values()):
            records, nothing_left = self._offset_requests.expired_of_consumer_group(consumer_group, now)
            self._append(records, out)
            if nothing_left and consumer_group.is_empty:
                self._consumer.delete(consumer_group.group_id, out)
                out.notes.append(Note(NoteKind.GROUP_DELETED, consumer_group.group_id, deleted))
        for streams_group in list(self.streams_groups.values()):
            records, nothing_left = self._offset_requests.expired_of_consumer_group(streams_group, now)
            self._append(records, out)
            if nothing_left and streams_group.is_empty:
                self._consumer.streams.delete(streams_group.group_id, out)
                out.notes.append(Note(NoteKind.GROUP_DELETED, streams_group.group_id, deleted))

    # -- membership ---------------------------------------------------------------------------------------------

    def handle_join_group(
        self, context: ClientContext, request: JoinGroupRequest, now: Now, token: object
    ) -> GroupEffects:
        """JoinGroup, versions 0-9. The reply may come out of a later input."""
        out: GroupEffects = Effects()
        group = self.consumer_groups.get(request.group_id)
        streams_group = self.streams_groups.get(request.group_id)
        if request.group_id in self.share_groups or (streams_group is not None and streams_group.members):
            refused = int(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
            out.reply.append(Reply(token, JoinGroupResponse(member_id=request.member_id, error_code=refused)))
        elif streams_group is not None:
            self._join_instead(context, request, now, token, self._consumer.streams.delete, out)
        elif group is None:
            self._joins.handle(context, request, now, token, out)
        elif group.members:
            self._consumer.classic_members.handle_join(group, context, request, now, token, out)
        else:
            self._join_instead(context, request, now, token, self._consumer.delete, out)
        return out

    def _join_instead(
        self,
        context: ClientContext,
        request: JoinGroupRequest,
        now: Now,
        token: object,
        delete: Callable[[str, GroupEffects], None],
        out: GroupEffects,
    ) -> None:
        """Join where there is an empty group of another kind: it is whatever its first member makes of it."""
        joined: GroupEffects = Effects()
        self._joins.handle(context, request, now, token, joined)
        if request.group_id in self.groups:
            delete(request.group_id, out)
        out.merge(joined)

    def handle_sync_group(self, request: SyncGroupRequest, now: Now, token: object) -> GroupEffects:
        """SyncGroup, versions 0-5. The reply may come out of a later input."""
        out: GroupEffects = Effects()
        group = self.consumer_groups.get(request.group_id)
        if group is None:
            self._membership.handle_sync(request, now, token, out)
        else:
            self._consumer.classic_members.handle_sync(group, request, now, token, out)
        return out

    def handle_heartbeat(self, request: HeartbeatRequest, now: Now, token: object) -> GroupEffects:
        """Heartbeat, versions 0-4."""
        out: GroupEffects = Effects()
        group = self.consumer_groups.get(request.group_id)
        if group is None:
            self._membership.handle_heartbeat(request, now, token, out)
        else:
            self._consumer.classic_members.handle_heartbeat(group, request, now, token, out)
        return out

    def handle_consumer_group_heartbeat(
        self, context: ClientContext, request: ConsumerGroupHeartbeatRequest, now: Now, token: object
    ) -> GroupEffects:
        """ConsumerGroupHeartbeat, versions 0-1."""
        out: GroupEffects = Effects()
        if request.group_id in self.share_groups or request.group_id in self.streams_groups:
            message = f"Group {request.group_id} is not a consumer group."
            code = int(ErrorCode.GROUP_ID_NOT_FOUND)
            out.reply.append(Reply(token, ConsumerGroupHeartbeatResponse(error_code=code, error_message=message)))
            return out
        self._consumer.heartbeats.handle(context, request, now, token, out)
        return out

    def handle_share_group_heartbeat(
        self, context: ClientContext, request: ShareGroupHeartbeatRequest, now: Now, token: object
    ) -> GroupEffects:
        """ShareGroupHeartbeat, version 1."""
        out: GroupEffects = Effects()
        self._consumer.share.handle(context, request, now, token, out)
        return out

    def on_share_states_initialized(self, group_id: str, topics: StateTopics) -> GroupEffects:
        """The share coordinator has the state of these partitions of a share group."""
        out: GroupEffects = Effects()
        self._consumer.share.on_initialized(group_id, topics, out)
        return out

    def handle_alter_share_offsets(self, group_id: str, topics: StateTopics, now: Now, token: object) -> GroupEffects:
        """AlterShareGroupOffsets begins; see :meth:`ShareGroups.on_altered`."""
        out: GroupEffects = Effects()
        self._consumer.share.on_altered(group_id, topics, now, token, out)
        return out

    def handle_delete_share_offsets(self, group_id: str, topic_ids: Collection[Uuid], token: object) -> GroupEffects:
        """DeleteShareGroupOffsets begins; see :meth:`ShareGroups.on_deleting`."""
        out: GroupEffects = Effects()
        self._consumer.share.on_deleting(group_id, topic_ids, token, out)
        return out

    def on_share_states_deleted(self, group_id: str, topic_ids: Collection[Uuid]) -> GroupEffects:
        """The share coordinator has forgotten these topics of a share group."""
        out: GroupEffects = Effects()
        self._consumer.share.on_deleted(group_id, topic_ids, out)
        return out

    def handle_streams_group_heartbeat(
        self, context: ClientContext, request: StreamsGroupHeartbeatRequest, now: Now, token: object
    ) -> GroupEffects:
        """StreamsGroupHeartbeat, version 0. The reply is a StreamsAnswer."""
        out: GroupEffects = Effects()
        self._consumer.streams_heartbeats.handle(context, request, now, token, out)
        return out

    def handle_leave_group(self, request: LeaveGroupRequest, now: Now, token: object) -> GroupEffects:
        """LeaveGroup, versions 3-5 (the shell brings 0-2 into that form)."""
        out: GroupEffects = Effects()
        group = self.consumer_groups.get(request.group_id)
        if group is None:
            self._membership.handle_leave(request, now, token, out)
        else:
            self._consumer.classic_members.handle_leave(group, request, now, token, out)
        return out

    # -- offsets ------------------------------------------------------------------------------------------------

    def handle_offset_commit(
        self, context: ClientContext, request: OffsetCommitRequest, now: Now, token: object
    ) -> GroupEffects:
        """OffsetCommit, versions 2-10; every topic with its name."""
        out: GroupEffects = Effects()
        try:
            response, records = self._offset_requests.commit(context, request, now)
        except KafkaError as error:
            out.reply.append(commit_refused(token, request, error.code))
            return out
        if records and not self._is_known(request.group_id):
            reason = f"client {context.client_id!r} committed offsets without being a member"
            out.notes.append(Note(NoteKind.GROUP_CREATED, request.group_id, reason))
        self._append(records, out)
        out.reply.append(Reply(token, response))
        return out

    def handle_txn_offset_commit(
        self, context: ClientContext, request: TxnOffsetCommitRequest, now: Now, token: object
    ) -> GroupEffects:
        """TxnOffsetCommit, versions 0-5, of a transaction that is open.

        What is appended has no effect yet: the shell writes it in the producer's name, which the log may refuse, and
        then replays it.
        """
        out: GroupEffects = Effects()
        try:
            response, out.append = self._offset_requests.commit_in_transaction(request, now)
        except KafkaError as error:
            out.reply.append(Reply(token, txn_commit_error_response(request, error.code)))
            return out
        if out.append and not self._is_known(request.group_id):
            reason = f"client {context.client_id!r} committed offsets in a transaction without being a member"
            out.notes.append(Note(NoteKind.GROUP_CREATED, request.group_id, reason))
        out.reply.append(Reply(token, response))
        return out

    def handle_offset_fetch(
        self, request: OffsetFetchRequestGroup, require_stable: bool, token: object
    ) -> GroupEffects:
        """OffsetFetch for one group; the reply is an OffsetFetchResponseGroup. Held back like all replies, so it never
        tells of an offset that could still be lost (G3)."""
        out: GroupEffects = Effects()
        try:
            response = self._offset_requests.fetch(request, require_stable)
        except KafkaError as error:
            response = OffsetFetchResponseGroup(group_id=request.group_id, error_code=int(error.code))
        out.reply.append(Reply(token, response))
        return out

    def handle_offset_delete(self, request: OffsetDeleteRequest, token: object) -> GroupEffects:
        """OffsetDelete, version 0."""
        out: GroupEffects = Effects()
        try:
            response, records = self._offset_requests.delete(request)
        except KafkaError as error:
            out.reply.append(Reply(token, OffsetDeleteResponse(error_code=int(error.code))))
            return out
        self._append(records, out)
        out.reply.append(Reply(token, response))
        return out

    def on_offset_set_by_others(
        self, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata | None
    ) -> None:
        """A committed offset was set where it is kept, past its coordinator, or deleted (None)."""
        if offset is None:
            self.offsets.committed.remove(group_id, topic, partition)
        else:
            self.replay_kept_offset(group_id, topic, partition, offset)

    def on_partitions_deleted(self, partitions: Iterable[TopicPartition]) -> GroupEffects:
        """Topics were deleted: their offsets go, so that a new topic of the same name does not inherit them."""
        out: GroupEffects = Effects()
        self._append(self._offset_requests.delete_of_partitions(partitions), out)
        return out

    # -- groups -------------------------------------------------------------------------------------------------

    def handle_delete_groups(self, group_ids: list[str], token: object) -> GroupEffects:
        """DeleteGroups for groups of this shard; the reply is a list of DeletableGroupResult."""
        out: GroupEffects = Effects()
        results = []
        for group_id in group_ids:
            error = ErrorCode.NONE
            kinds = (self.groups, self.consumer_groups, self.share_groups, self.streams_groups)
            group = next((each[group_id] for each in kinds if group_id in each), None)
            if group is None:
                error = ErrorCode.GROUP_ID_NOT_FOUND
            else:
                try:
                    group.validate_delete()
                except KafkaError as refusal:
                    error = refusal.code
            if error is ErrorCode.NONE:
                self._append(self._offset_requests.delete_all(group_id), out)
                if group_id in self.consumer_groups:
                    self._consumer.delete(group_id, out)
                elif group_id in self.share_groups:
                    self._consumer.share.delete(group_id, out)
                elif group_id in self.streams_groups:
                    self._consumer.streams.delete(group_id, out)
                else:
                    self._append([group_tombstone(group_id)], out)
                out.notes.append(Note(NoteKind.GROUP_DELETED, group_id, "a client asked for it"))
            results.append(DeletableGroupResult(group_id=group_id, error_code=int(error)))
        out.reply.append(Reply(token, results))
        return out

    def describe_groups(self, context: ClientContext, group_ids: list[str]) -> list[DescribedGroup]:
        """DescribeGroups for groups of this shard, as of now: not held back, for what it tells is not promised."""
        return [describe.described(self.groups.get(group_id), group_id, context.api_version) for group_id in group_ids]

    def describe_consumer_groups(self, group_ids: list[str]) -> list[DescribedConsumerGroup]:
        """ConsumerGroupDescribe for groups of this shard, as of now."""
        return [self._consumer.described(group_id) for group_id in group_ids]

    def describe_share_groups(self, group_ids: list[str]) -> list[DescribedShareGroup]:
        """ShareGroupDescribe for groups of this shard, as of now."""
        return [self._consumer.share.described(group_id) for group_id in group_ids]

    def describe_streams_groups(self, group_ids: list[str]) -> list[DescribedStreamsGroup]:
        """StreamsGroupDescribe for groups of this shard, as of now."""
        return [self._consumer.streams.described(group_id) for group_id in group_ids]

    def list_groups(self, states_filter: list[str], types_filter: list[str]) -> list[ListedGroup]:
        """ListGroups over this shard; filters are names in any case, and an empty filter lets all pass."""
        groups: list[describe.AnyGroup] = [
            *self.groups.values(),
            *self.consumer_groups.values(),
            *self.share_groups.values(),
            *self.streams_groups.values(),
        ]
        return describe.listed(groups, states_filter, types_filter)

    # -- records ------------------------------------------------------------------------------------------------

    def _append(self, records: list[GroupRecord], out: GroupEffects) -> None:
        """Append records whose replay *is* their effect on the state."""
        for record in records:
            out.append.append(record)
            next_offset = self._next_record_offset
            if not self._keeps_offsets_in_log and isinstance(record.key, OffsetCommitKey):
                # It takes no place in the log, and comes after all that stands there.
                next_offset -= 1
            self.replay(record.key, record.value, record_offset=next_offset)
