"""The broker's door to its group coordinator (Kafka: GroupCoordinatorService).

Finds the partition of a group, hands the request to that partition's shard, and turns what goes wrong on the way into
the error that the API's clients know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from engine.broker.coordinator_log import (
    CoordinatorLogs,
    TransactionalProducer,
    TransactionMarker,
    client_error,
)
from engine.broker.coordinator_records import CoordinatorRecordCodec
from engine.broker.coordinator_runtime import CoordinatorRuntime
from engine.broker.coordinator_topic import CoordinatorTopic
from engine.broker.group_topics_view import GroupTopicsView, changed_topics
from engine.broker.refusals import tells_seldom
from engine.core.controller.feature_control import GROUP_FEATURE, STREAMS_FEATURE
from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.group_topics import GroupTopics, NoTopics
from engine.core.group.offset_requests import commit_error_response, txn_commit_error_response
from engine.core.group.records import ShareStatesToInitialize
from engine.core.group.shard import GroupCoordinatorShard
from engine.core.group.streams_heartbeat import StreamsAnswer
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note
from engine.model.topic_partition import TopicPartition
from engine.storage.producer_state import VerificationStateEntry
from engine.wire.messages.consumer_group_describe_response import DescribedGroup as DescribedConsumerGroup
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest
from engine.wire.messages.consumer_group_heartbeat_response import ConsumerGroupHeartbeatResponse
from engine.wire.messages.delete_groups_response import DeletableGroupResult
from engine.wire.messages.describe_groups_response import DescribedGroup
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.heartbeat_response import HeartbeatResponse
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.leave_group_request import LeaveGroupRequest
from engine.wire.messages.leave_group_response import LeaveGroupResponse
from engine.wire.messages.list_groups_request import ListGroupsRequest
from engine.wire.messages.list_groups_response import ListGroupsResponse
from engine.wire.messages.offset_commit_request import OffsetCommitRequest
from engine.wire.messages.offset_commit_response import OffsetCommitResponse
from engine.wire.messages.offset_delete_request import OffsetDeleteRequest
from engine.wire.messages.offset_delete_response import OffsetDeleteResponse
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup
from engine.wire.messages.offset_fetch_response import OffsetFetchResponseGroup
from engine.wire.messages.streams_group_describe_response import DescribedGroup as DescribedStreamsGroup
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest
from engine.wire.messages.streams_group_heartbeat_response import StreamsGroupHeartbeatResponse
from engine.wire.messages.sync_group_request import SyncGroupRequest
from engine.wire.messages.sync_group_response import SyncGroupResponse
from engine.wire.messages.txn_offset_commit_request import TxnOffsetCommitRequest
from engine.wire.messages.txn_offset_commit_response import TxnOffsetCommitResponse
from engine.world import World

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.offset_storage import OffsetStorage, Partitions
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.model.broker_config import BrokerConfig

log = logging.getLogger(__name__)

OFFSETS_TOPIC = "__consumer_offsets"

InitializeShareStates = Callable[[int, ShareStatesToInitialize], None]
"""``initialize(partition of the offsets topic, states)`` has the share coordinator begin the states."""

VerifyTransaction = Callable[[TopicPartition, str, int, int, int], Awaitable[VerificationStateEntry | None]]
"""``verify(partition, transactional_id, producer_id, producer_epoch, api_version)`` makes sure that the partition takes
part in the producer's open transaction (adds it, from TxnOffsetCommit version 5 on), and returns the guard under which
to append. Raises KafkaError with the code for the client."""

# What a partition that is not, or not yet, coordinated here says: the marker's sender looks again for its leader
# (KafkaApis.handleWriteTxnMarkersRequest).
_RETRIED_BY_MARKERS = frozenset(
    {
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
    }
)


def client_context(context: RequestContext) -> ClientContext:
    """What the coordinator remembers of a client."""
    return ClientContext(context.api_version, context.client_id or "", context.client_host)


def serves_consumer_protocol(config: BrokerConfig, image: MetadataImage) -> bool:
    """Whether consumer groups are switched on: by the cluster's group.version, and on this broker."""
    return image.features.get(GROUP_FEATURE, 0) > 0 and "consumer" in config.group_coordinator_rebalance_protocols


def serves_streams_protocol(config: BrokerConfig, image: MetadataImage) -> bool:
    """Whether streams groups are switched on: by the cluster's streams.version, and on this broker."""
    return image.features.get(STREAMS_FEATURE, 0) > 0 and "streams" in config.group_coordinator_rebalance_protocols


class GroupCoordinatorService:
    """Groups of this broker. Subscribe :meth:`on_metadata` to the metadata behind the replica manager."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        broker_id: int,
        logs: CoordinatorLogs,
        publish: Callable[[Iterable[Note]], None],
        offsets: OffsetStorage | None = None,
    ) -> None:
        """``offsets`` keeps committed offsets if not ``logs`` do; it stands before them then."""
        limits = GroupLimits(
            group_min_session_timeout_ms=config.group_min_session_timeout_ms,
            group_max_session_timeout_ms=config.group_max_session_timeout_ms,
            group_initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
            group_max_size=config.group_max_size,
            offset_metadata_max_bytes=config.offset_metadata_max_bytes,
            message_max_bytes=config.message_max_bytes,
            offsets_retention_ms=config.offsets_retention_minutes * 60_000,
            offsets_retention_check_interval_ms=config.offsets_retention_check_interval_ms,
            group_consumer_session_timeout_ms=config.group_consumer_session_timeout_ms,
            group_consumer_min_session_timeout_ms=config.group_consumer_min_session_timeout_ms,
            group_consumer_max_session_timeout_ms=config.group_consumer_max_session_timeout_ms,
            group_consumer_heartbeat_interval_ms=config.group_consumer_heartbeat_interval_ms,
            group_consumer_min_heartbeat_interval_ms=config.group_consumer_min_heartbeat_interval_ms,
            group_consumer_max_heartbeat_interval_ms=config.group_consumer_max_heartbeat_interval_ms,
            group_consumer_assignment_interval_ms=config.group_consumer_assignment_interval_ms,
            group_consumer_min_assignment_interval_ms=config.group_consumer_min_assignment_interval_ms,
            group_consumer_max_assignment_interval_ms=config.group_consumer_max_assignment_interval_ms,
            group_consumer_max_size=config.group_consumer_max_size,
            group_consumer_assignors=config.group_consumer_assignors,
            group_consumer_migration_policy=config.group_consumer_migration_policy,
            group_consumer_regex_refresh_interval_ms=config.group_consumer_regex_refresh_interval_ms,
            group_share_session_timeout_ms=config.group_share_session_timeout_ms,
            group_share_min_session_timeout_ms=config.group_share_min_session_timeout_ms,
            group_share_max_session_timeout_ms=config.group_share_max_session_timeout_ms,
            group_share_heartbeat_interval_ms=config.group_share_heartbeat_interval_ms,
            group_share_min_heartbeat_interval_ms=config.group_share_min_heartbeat_interval_ms,
            group_share_max_heartbeat_interval_ms=config.group_share_max_heartbeat_interval_ms,
            group_share_assignment_interval_ms=config.group_share_assignment_interval_ms,
            group_share_min_assignment_interval_ms=config.group_share_min_assignment_interval_ms,
            group_share_max_assignment_interval_ms=config.group_share_max_assignment_interval_ms,
            group_share_max_size=config.group_share_max_size,
            # Below offsets.commit.timeout.ms a request could still be under way.
            group_share_initialize_retry_interval_ms=max(
                config.group_share_initialize_retry_interval_ms, config.offsets_commit_timeout_ms
            ),
            group_streams_session_timeout_ms=config.group_streams_session_timeout_ms,
            group_streams_min_session_timeout_ms=config.group_streams_min_session_timeout_ms,
            group_streams_max_session_timeout_ms=config.group_streams_max_session_timeout_ms,
            group_streams_heartbeat_interval_ms=config.group_streams_heartbeat_interval_ms,
            group_streams_min_heartbeat_interval_ms=config.group_streams_min_heartbeat_interval_ms,
            group_streams_max_heartbeat_interval_ms=config.group_streams_max_heartbeat_interval_ms,
            group_streams_max_size=config.group_streams_max_size,
            group_streams_num_standby_replicas=config.group_streams_num_standby_replicas,
            group_streams_max_standby_replicas=config.group_streams_max_standby_replicas,
            group_streams_initial_rebalance_delay_ms=config.group_streams_initial_rebalance_delay_ms,
            group_streams_assignment_interval_ms=config.group_streams_assignment_interval_ms,
            group_streams_min_assignment_interval_ms=config.group_streams_min_assignment_interval_ms,
            group_streams_max_assignment_interval_ms=config.group_streams_max_assignment_interval_ms,
        )
        self._topics: GroupTopics = NoTopics()
        self.runtime: CoordinatorRuntime[GroupCoordinatorShard] = CoordinatorRuntime(
            world,
            OFFSETS_TOPIC,
            logs if offsets is None else offsets,
            CoordinatorRecordCodec("group"),
            lambda: GroupCoordinatorShard(
                limits,
                world.random.uuid,
                self._topics,
                keeps_offsets_in_log=offsets is None or offsets.keeps_offsets_in_log,
            ),
            write_timeout_ms=config.offsets_commit_timeout_ms,
            publish=tells_seldom(world.clock, publish),
            send=self._send,
            on_unloaded=None if offsets is None else offsets.on_unloaded,
            complete_loading=None if offsets is None else self._load_offsets,
        )
        self.offset_storage = offsets
        # Takes what share groups ask of the share coordinator.
        self.initialize_share_states: InitializeShareStates | None = None
        # Asks the transaction coordinator; None: transactions are taken at their producers' word.
        self.verify_transaction: VerifyTransaction | None = None
        self._topic = CoordinatorTopic(OFFSETS_TOPIC, broker_id, self.runtime, config.offsets_topic_num_partitions)

    # -- metadata -----------------------------------------------------------------------------------------------

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow elections of the offsets topic, tell groups of their topics, and forget offsets of deleted ones."""
        self._topics = topics = GroupTopicsView(image)
        changed, has_new = changed_topics(delta), bool(delta.created_topics)
        for shard in self.runtime.shards():
            shard.on_topics(topics, changed, has_new)
        self._topic.follow(image)
        deleted = [
            TopicPartition(each.name, number)
            for each in delta.deleted_topics.values()
            for number in sorted(each.partitions)
        ]
        if deleted:
            for number in self.runtime.active_partitions():
                self.runtime.run(number, lambda shard, now: shard.on_partitions_deleted(deleted))

    def _send(self, number: int, messages: list[ShareStatesToInitialize]) -> None:
        assert self.initialize_share_states is not None, "share groups are served without a share coordinator"
        for message in messages:
            self.initialize_share_states(number, message)

    async def shutdown(self) -> None:
        """Answer all who wait and stop."""
        await self.runtime.shutdown()

    def partition_for(self, group_id: str) -> int:
        """The partition of the offsets topic that coordinates the group."""
        return self._topic.partition_for(group_id)

    # -- membership ---------------------------------------------------------------------------------------------

    async def join_group(self, context: ClientContext, request: JoinGroupRequest) -> JoinGroupResponse:
        """JoinGroup; returns when the group's next generation starts, or the request is refused."""
        if not request.group_id:
            return JoinGroupResponse(member_id=request.member_id, error_code=int(ErrorCode.INVALID_GROUP_ID))
        try:
            answer: JoinGroupResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_join_group(context, request, now, token),
                writes=True,
            )
        except KafkaError as error:
            return JoinGroupResponse(error_code=int(error.code))
        return answer

    async def sync_group(self, request: SyncGroupRequest) -> SyncGroupResponse:
        """SyncGroup; returns when the leader's assignment is committed, or the request is refused."""
        if not request.group_id:
            return SyncGroupResponse(error_code=int(ErrorCode.INVALID_GROUP_ID))
        try:
            answer: SyncGroupResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_sync_group(request, now, token),
                writes=True,
            )
        except KafkaError as error:
            return SyncGroupResponse(error_code=int(error.code))
        return answer

    async def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Heartbeat. While the group is being loaded it is answered as if all were well: sessions start anew then."""
        if not request.group_id:
            return HeartbeatResponse(error_code=int(ErrorCode.INVALID_GROUP_ID))
        try:
            answer: HeartbeatResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_heartbeat(request, now, token),
            )
        except KafkaError as error:
            loading = error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            return HeartbeatResponse(error_code=int(ErrorCode.NONE if loading else error.code))
        return answer

    async def leave_group(self, request: LeaveGroupRequest) -> LeaveGroupResponse:
        """LeaveGroup, with the members in ``request.members`` in every version."""
        if not request.group_id:
            return LeaveGroupResponse(error_code=int(ErrorCode.INVALID_GROUP_ID))
        try:
            answer: LeaveGroupResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_leave_group(request, now, token),
            )
        except KafkaError as error:
            return LeaveGroupResponse(error_code=int(error.code))
        return answer

    async def consumer_group_heartbeat(
        self, context: ClientContext, request: ConsumerGroupHeartbeatRequest
    ) -> ConsumerGroupHeartbeatResponse:
        """ConsumerGroupHeartbeat; returns when what it changed is committed."""
        try:
            answer: ConsumerGroupHeartbeatResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_consumer_group_heartbeat(context, request, now, token),
                # A member that says more than that it lives will make records; others seldom do.
                writes=request.member_epoch <= 0
                or request.topic_partitions is not None
                or request.subscribed_topic_names is not None
                or request.subscribed_topic_regex is not None,
            )
        except KafkaError as error:
            return ConsumerGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message)
        return answer

    async def streams_group_heartbeat(
        self, context: ClientContext, request: StreamsGroupHeartbeatRequest
    ) -> StreamsAnswer:
        """StreamsGroupHeartbeat; returns when what it changed is committed."""
        try:
            answer: StreamsAnswer = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_streams_group_heartbeat(context, request, now, token),
                writes=request.member_epoch <= 0 or request.active_tasks is not None,
            )
        except KafkaError as error:
            return StreamsAnswer(StreamsGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message))
        return answer

    # -- offsets ------------------------------------------------------------------------------------------------

    async def _load_offsets(self, number: int, leader_epoch: int, shard: GroupCoordinatorShard) -> None:
        assert self.offset_storage is not None
        await self.offset_storage.complete_loading(
            number, leader_epoch, shard, lambda group_id: self.partition_for(group_id) == number
        )

    async def _look_for_others(self, group_id: str, partitions: Partitions | None = None) -> None:
        """Tell the coordinator of offsets that others have set where they are kept. Raises: KafkaError."""
        if self.offset_storage is None:
            return
        number = self.partition_for(group_id)
        self.runtime.shard(number)
        for topic, partition, offset in await self.offset_storage.set_by_others(number, group_id, partitions):
            self.runtime.shard(number).on_offset_set_by_others(group_id, topic, partition, offset)

    async def commit_offsets(self, context: ClientContext, request: OffsetCommitRequest) -> OffsetCommitResponse:
        """OffsetCommit; returns when the offsets are committed. Every topic must have its name."""
        if self.offset_storage is not None and not self.offset_storage.takes(request.group_id):
            return commit_error_response(request, ErrorCode.INVALID_GROUP_ID)
        try:
            answer: OffsetCommitResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_offset_commit(context, request, now, token),
                writes=True,
            )
        except KafkaError as error:
            return commit_error_response(request, error.code)
        return answer

    async def commit_offsets_in_transaction(
        self, context: ClientContext, request: TxnOffsetCommitRequest
    ) -> TxnOffsetCommitResponse:
        """TxnOffsetCommit; returns when the offsets are in the log for the transaction's end to decide on."""
        if not request.group_id or (
            self.offset_storage is not None and not self.offset_storage.takes(request.group_id)
        ):
            return txn_commit_error_response(request, ErrorCode.INVALID_GROUP_ID)
        number = self.partition_for(request.group_id)
        try:
            guard = None
            if self.verify_transaction is not None:
                guard = await self.verify_transaction(
                    TopicPartition(OFFSETS_TOPIC, number),
                    request.transactional_id,
                    request.producer_id,
                    request.producer_epoch,
                    context.api_version,
                )
            answer: TxnOffsetCommitResponse = await self.runtime.write_in_transaction(
                number,
                TransactionalProducer(request.producer_id, request.producer_epoch, guard),
                lambda shard, now, token: shard.handle_txn_offset_commit(context, request, now, token),
            )
        except KafkaError as error:
            return txn_commit_error_response(request, client_error(error.code))
        return answer

    async def complete_transaction(self, number: int, marker: TransactionMarker) -> None:
        """The group side of WriteTxnMarkers: write the marker into a partition of the offsets topic; returns when it
        is committed, and with it what the transaction's offsets became.

        Raises:
            KafkaError: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED; NOT_LEADER_OR_FOLLOWER, at which the
                transaction coordinator looks for the leader and tries again.
        """
        try:
            await self.runtime.complete_transaction(number, marker)
        except KafkaError as error:
            if error.code in _RETRIED_BY_MARKERS:
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, error.message) from None
            raise

    async def fetch_offsets(self, request: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup:
        """OffsetFetch of one group. Every topic must have its name."""
        wanted = None
        if request.topics is not None:
            wanted = [(topic.name, number) for topic in request.topics for number in topic.partition_indexes]
        try:
            await self._look_for_others(request.group_id, wanted)
            answer: OffsetFetchResponseGroup = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_offset_fetch(request, require_stable, token),
            )
        except KafkaError as error:
            code = error.code
            if code is ErrorCode.COORDINATOR_NOT_AVAILABLE:
                # Consumers before 3.9 know only this retriable error of the two here.
                code = ErrorCode.NOT_COORDINATOR
            return OffsetFetchResponseGroup(group_id=request.group_id, error_code=int(code))
        return answer

    async def delete_offsets(self, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
        """OffsetDelete."""
        if not request.group_id:
            return OffsetDeleteResponse(error_code=int(ErrorCode.INVALID_GROUP_ID))
        try:
            await self._look_for_others(request.group_id)
            answer: OffsetDeleteResponse = await self.runtime.submit(
                self.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_offset_delete(request, token),
                writes=True,
            )
        except KafkaError as error:
            return OffsetDeleteResponse(error_code=int(error.code))
        return answer

    # -- groups -------------------------------------------------------------------------------------------------

    def describe_groups(self, context: ClientContext, group_ids: list[str]) -> list[DescribedGroup]:
        """DescribeGroups, in the order asked."""
        answers = []
        for group_id in group_ids:
            try:
                shard = self.runtime.shard(self.partition_for(group_id))
            except KafkaError as error:
                answers.append(DescribedGroup(group_id=group_id, error_code=int(error.code)))
            else:
                answers += shard.describe_groups(context, [group_id])
        return answers

    def describe_consumer_groups(self, group_ids: list[str]) -> list[DescribedConsumerGroup]:
        """ConsumerGroupDescribe, in the order asked."""
        answers = []
        for group_id in group_ids:
            if not group_id:
                answers.append(DescribedConsumerGroup(error_code=int(ErrorCode.INVALID_GROUP_ID)))
                continue
            try:
                shard = self.runtime.shard(self.partition_for(group_id))
            except KafkaError as error:
                answers.append(DescribedConsumerGroup(group_id=group_id, error_code=int(error.code)))
            else:
                answers += shard.describe_consumer_groups([group_id])
        return answers

    def describe_streams_groups(self, group_ids: list[str]) -> list[DescribedStreamsGroup]:
        """StreamsGroupDescribe, in the order asked."""
        answers = []
        for group_id in group_ids:
            if not group_id:
                answers.append(DescribedStreamsGroup(error_code=int(ErrorCode.INVALID_GROUP_ID)))
                continue
            try:
                shard = self.runtime.shard(self.partition_for(group_id))
            except KafkaError as error:
                answers.append(DescribedStreamsGroup(group_id=group_id, error_code=int(error.code)))
            else:
                answers += shard.describe_streams_groups([group_id])
        return answers

    def list_groups(self, request: ListGroupsRequest) -> ListGroupsResponse:
        """ListGroups over all partitions that this broker leads."""
        response = ListGroupsResponse()
        if self.runtime.is_loading():
            # Half a list would look like groups that are gone.
            response.error_code = int(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
            return response
        for number in self.runtime.active_partitions():
            response.groups += self.runtime.shard(number).list_groups(request.states_filter, request.types_filter)
        return response

    async def delete_groups(self, group_ids: list[str]) -> list[DeletableGroupResult]:
        """DeleteGroups, in the order asked."""
        by_partition: dict[int, list[str]] = {}
        results: dict[str, ErrorCode] = {}
        for group_id in group_ids:
            if group_id:
                by_partition.setdefault(self.partition_for(group_id), []).append(group_id)
            else:
                results[group_id] = ErrorCode.INVALID_GROUP_ID
        partitions = sorted(by_partition)
        answers = await asyncio.gather(*(self._delete_in(number, by_partition[number]) for number in partitions))
        for answer in answers:
            results |= answer
        return [
            DeletableGroupResult(group_id=group_id, error_code=int(results[group_id]))
            for group_id in dict.fromkeys(group_ids)
        ]

    async def _delete_in(self, number: int, group_ids: list[str]) -> dict[str, ErrorCode]:
        try:
            for group_id in group_ids:
                await self._look_for_others(group_id)
            answer: Awaitable[list[DeletableGroupResult]] = self.runtime.submit(
                number, lambda shard, now, token: shard.handle_delete_groups(group_ids, token), writes=True
            )
            return {each.group_id: ErrorCode(each.error_code) for each in await answer}
        except KafkaError as error:
            return dict.fromkeys(group_ids, error.code)
