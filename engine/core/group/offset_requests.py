"""OffsetCommit, OffsetFetch, OffsetDelete, and the expiry of offsets (the logic of Kafka's OffsetMetadataManager)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from engine.core.effects import Reply
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.consumer_coordination import ConsumerCoordination
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.context import ClientContext, Now
from engine.core.group.offsets import (
    INVALID_OFFSET,
    NO_EXPIRE_TIMESTAMP_MS,
    NO_LEADER_EPOCH,
    OffsetAndMetadata,
    OffsetStore,
    is_mismatched_topic_id,
)
from engine.core.group.rebalance import Rebalances
from engine.core.group.records import GroupRecord, is_writable, offset_commit_record, offset_tombstone
from engine.core.group.states import GroupState
from engine.core.group.streams_group import StreamsGroup
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.offset_commit_request import OffsetCommitRequest, OffsetCommitRequestPartition
from engine.wire.messages.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from engine.wire.messages.offset_delete_request import OffsetDeleteRequest
from engine.wire.messages.offset_delete_response import (
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup
from engine.wire.messages.offset_fetch_response import (
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from engine.wire.messages.retired.offset_commit_request import (
    OffsetCommitRequestPartition as RetiredCommitPartition,
)
from engine.wire.messages.txn_offset_commit_request import TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition
from engine.wire.messages.txn_offset_commit_response import (
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

PartitionCheck: TypeAlias = Callable[[Uuid, str, int], None]
"""``check(topic_id, topic, partition)`` raises KafkaError where a member of an older epoch may not commit."""

_FIRST_COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND = 9
# As late as a record can say.
_LATEST_TIMESTAMP_MS = 0x7FFFFFFFFFFFFFFF
_DEFAULT_RETENTION_MS = -1
_NO_TIMESTAMP = -1


class OffsetRequests:
    """Handlers of offset requests over the groups and offsets of a shard."""

    __slots__ = ("_consumer", "_consumer_groups", "_offsets", "_rebalances", "_streams_groups")

    def __init__(self, rebalances: Rebalances, consumer: ConsumerCoordination, offsets: OffsetStore) -> None:
        self._rebalances = rebalances
        self._consumer = consumer
        self._consumer_groups: Mapping[str, ConsumerGroup] = consumer.groups
        self._streams_groups: Mapping[str, StreamsGroup] = consumer.streams.groups
        self._offsets = offsets

    def _refuse_share_group(self, group_id: str) -> None:
        """Raises: KafkaError: GROUP_ID_NOT_FOUND for a share group: it has no offsets to commit."""
        if group_id in self._consumer.share.groups:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is a share group.")

    # -- commit -------------------------------------------------------------------------------------------------

    def commit(
        self, context: ClientContext, request: OffsetCommitRequest, now: Now
    ) -> tuple[OffsetCommitResponse, list[GroupRecord]]:
        """Offsets of a group member, or of a client that manages its partitions itself (versions 1-10).

        Every topic must have its name; in version 10 the shell has found it by the topic id.

        Raises:
            KafkaError: the whole request is refused; the codes are those of
                :meth:`ClassicGroup.validate_offset_commit`, for a group that does not exist GROUP_ID_NOT_FOUND
                (version 9 and later) or ILLEGAL_GENERATION, and INVALID_GROUP_ID for an id that no record can hold.
        """
        self._refuse_share_group(request.group_id)
        behind = self._validate_commit(context, request, now)
        expire_timestamp_ms = NO_EXPIRE_TIMESTAMP_MS
        if request.retention_time_ms != _DEFAULT_RETENTION_MS:
            expire_timestamp_ms = min(now.wall_ms + request.retention_time_ms, _LATEST_TIMESTAMP_MS)
        response = OffsetCommitResponse()
        records = []
        for topic in request.topics:
            results = []
            for each in topic.partitions:
                if self._is_too_large(each.committed_metadata or ""):
                    error = ErrorCode.OFFSET_METADATA_TOO_LARGE
                else:
                    error = ErrorCode.NONE
                    if behind is not None:
                        behind(topic.topic_id, topic.name, each.partition_index)
                    offset = _offset_from_request(each, now, expire_timestamp_ms, topic.topic_id)
                    records.append(offset_commit_record(request.group_id, topic.name, each.partition_index, offset))
                results.append(
                    OffsetCommitResponsePartition(partition_index=each.partition_index, error_code=int(error))
                )
            response.topics.append(
                OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=results)
            )
        return response, records

    def commit_in_transaction(
        self, request: TxnOffsetCommitRequest, now: Now
    ) -> tuple[TxnOffsetCommitResponse, list[GroupRecord]]:
        """Offsets that count when the producer's transaction is committed (TxnOffsetCommit, versions 0-5).

        Raises:
            KafkaError: the whole request is refused: the codes of :meth:`ClassicGroup.validate_offset_commit`,
                ILLEGAL_GENERATION for a member of a group that does not exist, and INVALID_GROUP_ID.
        """
        self._refuse_share_group(request.group_id)
        behind = None
        group = self._rebalances.groups.get(request.group_id)
        if request.group_id in self._consumer_groups or request.group_id in self._streams_groups:
            behind = self._validate_commit_in_transaction(request)
        elif group is not None:
            group.validate_offset_commit(
                request.member_id, request.group_instance_id, request.generation_id, is_transactional=True
            )
        elif not is_writable(request.group_id):
            raise KafkaError(ErrorCode.INVALID_GROUP_ID, "the group id is too long")
        elif request.generation_id >= 0:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"Group {request.group_id} not found.")
        response = TxnOffsetCommitResponse()
        records = []
        for topic in request.topics:
            results = []
            for each in topic.partitions:
                error = ErrorCode.NONE
                if self._is_too_large(each.committed_metadata or ""):
                    error = ErrorCode.OFFSET_METADATA_TOO_LARGE
                else:
                    if behind is not None:
                        self._check_behind(behind, topic.name, each.partition_index)
                    # Without the topic's id, as Kafka writes them: no version of the request has it.
                    offset = _offset_from_request(each, now, NO_EXPIRE_TIMESTAMP_MS, ZERO_UUID)
                    records.append(offset_commit_record(request.group_id, topic.name, each.partition_index, offset))
                results.append(TxnOffsetCommitResponsePartition(each.partition_index, int(error)))
            response.topics.append(TxnOffsetCommitResponseTopic(topic.name, results))
        return response, records

    def _validate_commit_in_transaction(self, request: TxnOffsetCommitRequest) -> PartitionCheck | None:
        """As :meth:`_validate_commit`, in a group with member epochs; producers know ILLEGAL_GENERATION, no epochs."""
        try:
            return self._member_check(
                request.group_id, request.member_id, request.group_instance_id, request.generation_id, None
            )
        except KafkaError as error:
            raise _as_generation(error) from None

    def _member_check(
        self, group_id: str, member_id: str, instance_id: str | None, epoch: int, api_version: int | None
    ) -> PartitionCheck | None:
        """Check a member of a consumer or streams group; ``api_version`` of OffsetCommit, None in a transaction.

        Returns what is to be asked for each partition if the member's epoch is an older one.
        """
        transactional, version = api_version is None, api_version or 0
        streams_group = self._streams_groups.get(group_id)
        if streams_group is not None:
            streams_member = streams_group.validate_offset_commit(
                member_id, instance_id, epoch, transactional=transactional, api_version=version
            )
            if streams_member is None:
                return None
            return lambda topic_id, topic, partition: streams_group.validate_partition_commit(
                streams_member, epoch, topic, partition
            )
        member = self._consumer_groups[group_id].validate_offset_commit(
            member_id, instance_id, epoch, transactional=transactional, api_version=version
        )
        if member is None:
            return None
        return lambda topic_id, topic, partition: ConsumerGroup.validate_partition_commit(
            member, epoch, topic_id, topic, partition
        )

    def _check_behind(self, check: PartitionCheck, topic: str, partition: int) -> None:
        topic_id = self._consumer.topic_id(topic)
        if topic_id is None:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"there is no topic {topic}")
        try:
            check(topic_id, topic, partition)
        except KafkaError as error:
            raise _as_generation(error) from None

    def _is_too_large(self, metadata: str) -> bool:
        """The limit is one of Java's characters: of UTF-16 units, of which a code point outside the BMP takes two."""
        limit = self._rebalances.limits.offset_metadata_max_bytes
        units = len(metadata)
        if units <= limit < 2 * units and not metadata.isascii():
            units = len(metadata.encode("utf-16-le")) // 2
        return units > limit or not is_writable(metadata)

    def _validate_commit(self, context: ClientContext, request: OffsetCommitRequest, now: Now) -> PartitionCheck | None:
        """Check who commits. Returns what is to be asked for each partition of a member in an older epoch."""
        generation_id = request.generation_id_or_member_epoch
        if request.group_id in self._consumer_groups or request.group_id in self._streams_groups:
            return self._member_check(
                request.group_id, request.member_id, request.group_instance_id, generation_id, context.api_version
            )
        group = self._rebalances.groups.get(request.group_id)
        if group is None:
            if not is_writable(request.group_id):
                raise KafkaError(ErrorCode.INVALID_GROUP_ID, "the group id is too long")
            if generation_id < 0:
                return None  # replaying the commit creates a simple group
            if context.api_version >= _FIRST_COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND:
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} not found.")
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION, f"Group {request.group_id} not found.")
        group.validate_offset_commit(request.member_id, request.group_instance_id, generation_id)
        if group.state in (GroupState.STABLE, GroupState.PREPARING_REBALANCE):
            # A commit is a sign of life as good as a heartbeat.
            member = group.members[request.member_id]
            self._rebalances.reset_session(group, member.member_id, member.session_timeout_ms, now)
        return None

    # -- fetch --------------------------------------------------------------------------------------------------

    def fetch(self, request: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup:
        """Committed offsets of one group: of the topics asked for, or of all (topics None).

        A partition without an offset answers -1 and no error, also where the group does not exist. With
        ``require_stable`` a partition with an unfinished transactional commit answers UNSTABLE_OFFSET_COMMIT
        (KIP-447). Every topic must have its name (see :meth:`commit`).

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH or ILLEGAL_GENERATION for who says that it is a member of
                a consumer group, and is not, or was.
        """
        group_id = request.group_id
        with_epochs = self._consumer_groups.get(group_id) or self._streams_groups.get(group_id)
        if with_epochs is not None:
            with_epochs.validate_offset_fetch(request.member_id, request.member_epoch)
        answers = []
        if request.topics is None:
            by_topic: dict[str, OffsetFetchResponseTopics] = {}
            for name, partition, offset in self._offsets.committed.of_group(group_id):
                answer = by_topic.get(name)
                if answer is None:
                    answer = by_topic[name] = OffsetFetchResponseTopics(name=name, topic_id=offset.topic_id)
                answer.partitions.append(self._fetched(group_id, name, partition, offset, require_stable))
            answers = list(by_topic.values())
        else:
            for topic in request.topics:
                answer = OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id)
                for partition in topic.partition_indexes:
                    stored = self._offsets.committed.get(group_id, topic.name, partition)
                    if stored is not None and is_mismatched_topic_id(stored.topic_id, topic.topic_id):
                        stored = None
                    answer.partitions.append(self._fetched(group_id, topic.name, partition, stored, require_stable))
                answers.append(answer)
        return OffsetFetchResponseGroup(group_id=group_id, topics=answers)

    def _fetched(
        self, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata | None, require_stable: bool
    ) -> OffsetFetchResponsePartitions:
        if require_stable and self._offsets.has_pending(group_id, topic, partition):
            return OffsetFetchResponsePartitions(
                partition_index=partition,
                committed_offset=INVALID_OFFSET,
                committed_leader_epoch=NO_LEADER_EPOCH,
                metadata="",
                error_code=int(ErrorCode.UNSTABLE_OFFSET_COMMIT),
            )
        if offset is None:
            return OffsetFetchResponsePartitions(
                partition_index=partition,
                committed_offset=INVALID_OFFSET,
                committed_leader_epoch=NO_LEADER_EPOCH,
                metadata="",
            )
        return OffsetFetchResponsePartitions(
            partition_index=partition,
            committed_offset=offset.committed_offset,
            committed_leader_epoch=offset.leader_epoch,
            metadata=offset.metadata,
        )

    # -- delete -------------------------------------------------------------------------------------------------

    def delete(self, request: OffsetDeleteRequest) -> tuple[OffsetDeleteResponse, list[GroupRecord]]:
        """Forget offsets of topics that the group is not subscribed to (version 0, KIP-496).

        Raises:
            KafkaError: GROUP_ID_NOT_FOUND or NON_EMPTY_GROUP.
        """
        group = (
            self._consumer_groups.get(request.group_id)
            or self._streams_groups.get(request.group_id)
            or self._rebalances.groups.get(request.group_id)
        )
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} not found.")
        if isinstance(group, ClassicGroup):
            group.validate_offset_delete()
        response = OffsetDeleteResponse()
        records = []
        for topic in request.topics:
            subscribed = group.is_subscribed_to(topic.name)
            results = []
            for each in topic.partitions:
                partition = each.partition_index
                error = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if subscribed else ErrorCode.NONE
                results.append(OffsetDeleteResponsePartition(partition_index=partition, error_code=int(error)))
                if not subscribed and self._has_offset(request.group_id, topic.name, partition):
                    records.append(offset_tombstone(request.group_id, topic.name, partition))
            response.topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=results))
        return response, records

    def as_records(self, keys: Iterable[tuple[str, str, int]]) -> Iterable[GroupRecord]:
        """Committed offsets by group, topic and partition, as the log has them."""
        for group_id, topic, partition in keys:
            offset = self._offsets.committed.get(group_id, topic, partition)
            if offset is not None:
                yield offset_commit_record(group_id, topic, partition, offset)

    def delete_all(self, group_id: str) -> list[GroupRecord]:
        """Tombstones for everything that a group has committed."""
        tables = [self._offsets.committed, *self._offsets.pending_by_producer.values()]
        found = {(topic, partition) for table in tables for topic, partition, _ in table.of_group(group_id)}
        return [offset_tombstone(group_id, topic, partition) for topic, partition in sorted(found)]

    def delete_of_partitions(self, partitions: Iterable[TopicPartition]) -> list[GroupRecord]:
        """Tombstones for the offsets of partitions that no longer exist."""
        wanted = sorted(set(partitions))
        tables = [self._offsets.committed, *self._offsets.pending_by_producer.values()]
        group_ids = sorted({group_id for table in tables for group_id in table.by_group})
        return [
            offset_tombstone(group_id, topic, partition)
            for group_id in group_ids
            for topic, partition in wanted
            if self._has_offset(group_id, topic, partition)
        ]

    def _has_offset(self, group_id: str, topic: str, partition: int) -> bool:
        return self._offsets.committed.get(group_id, topic, partition) is not None or self._offsets.has_pending(
            group_id, topic, partition
        )

    # -- expiry -------------------------------------------------------------------------------------------------

    def expired(self, group: ClassicGroup, now: Now) -> tuple[list[GroupRecord], bool]:
        """Tombstones for a group's expired offsets, and whether nothing is left of it but the group itself (KIP-211).

        Offsets of an empty group expire ``offsets.retention.minutes`` after it became empty; those of a group without
        members ever, or of topics that a stable consumer group no longer subscribes to, after their last commit.
        """
        group_id = group.group_id
        left = self._offsets.has_open_transaction(group_id)
        simple = group.protocol_type is None
        if not simple and not group.is_empty:
            known = group.uses_consumer_protocol and group.subscribed_topics is not None
            if not known or group.state is not GroupState.STABLE:
                return [], False
        since_empty_ms = group.current_state_timestamp_ms if group.is_empty and not simple else None
        records = []
        for topic, partition, offset in self._offsets.committed.of_group(group_id):
            base_ms = offset.commit_timestamp_ms if since_empty_ms is None else since_empty_ms
            if (
                group.is_subscribed_to(topic)
                or not offset.is_expired(base_ms, now.wall_ms, self._rebalances.limits.offsets_retention_ms)
                or self._offsets.has_pending(group_id, topic, partition)
            ):
                left = True
            else:
                records.append(offset_tombstone(group_id, topic, partition))
        return records, not left

    def expired_of_consumer_group(
        self, group: ConsumerGroup | StreamsGroup, now: Now
    ) -> tuple[list[GroupRecord], bool]:
        """The same for a group with member epochs: offsets of topics that nobody subscribes to expire after their last
        commit."""
        group_id = group.group_id
        left = self._offsets.has_open_transaction(group_id)
        subscribed = group.subscribed_topics()
        records = []
        for topic, partition, offset in self._offsets.committed.of_group(group_id):
            if (
                topic in subscribed
                or not offset.is_expired(
                    offset.commit_timestamp_ms, now.wall_ms, self._rebalances.limits.offsets_retention_ms
                )
                or self._offsets.has_pending(group_id, topic, partition)
            ):
                left = True
            else:
                records.append(offset_tombstone(group_id, topic, partition))
        return records, not left


def commit_error_response(request: OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse:
    """The refusal of a whole OffsetCommit: the code at each partition."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(partition_index=each.partition_index, error_code=int(error))
                    for each in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def txn_commit_error_response(request: TxnOffsetCommitRequest, error: ErrorCode) -> TxnOffsetCommitResponse:
    """The refusal of a whole TxnOffsetCommit: the code at each partition."""
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                topic.name,
                [TxnOffsetCommitResponsePartition(each.partition_index, int(error)) for each in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def commit_refused(token: object, request: OffsetCommitRequest, error: ErrorCode) -> Reply:
    """The same as a reply."""
    return Reply(token, commit_error_response(request, error))


def _as_generation(error: KafkaError) -> KafkaError:
    is_stale = error.code is ErrorCode.STALE_MEMBER_EPOCH
    return KafkaError(ErrorCode.ILLEGAL_GENERATION, error.message) if is_stale else error


def _offset_from_request(
    each: OffsetCommitRequestPartition | RetiredCommitPartition | TxnOffsetCommitRequestPartition,
    now: Now,
    expire_timestamp_ms: int,
    topic_id: bytes,
) -> OffsetAndMetadata:
    commit_timestamp_ms = now.wall_ms
    # Version 1 of OffsetCommit lets the client say when it was.
    if isinstance(each, RetiredCommitPartition) and each.commit_timestamp != _NO_TIMESTAMP:
        commit_timestamp_ms = each.commit_timestamp
    return OffsetAndMetadata(
        each.committed_offset,
        each.committed_leader_epoch,
        each.committed_metadata or "",
        commit_timestamp_ms,
        expire_timestamp_ms,
        topic_id,
        record_offset=-1,
    )
