"""Offsets of share groups, told, set and deleted on the groups' coordinator (Kafka: GroupCoordinatorService).

Where a group stands is known to the share coordinators, the end of a partition to its leader; what the difference
between the two says of records that were not dealt with yet is the group's lag (KIP-1226).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.broker.group_coordinator_service import GroupCoordinatorService
from engine.broker.peer_channels import PeerChannels
from engine.broker.share_state_client import ShareStateClient
from engine.client.errors import ClientError
from engine.core.group.share_group import StateTopic
from engine.core.share.records import NO_OFFSET, UNKNOWN_COUNT, SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.messages import alter_share_group_offsets_response as altered
from engine.wire.messages import delete_share_group_offsets_response as deleted
from engine.wire.messages import describe_share_group_offsets_response as described
from engine.wire.messages.alter_share_group_offsets_request import AlterShareGroupOffsetsRequest
from engine.wire.messages.delete_share_group_offsets_request import DeleteShareGroupOffsetsRequest
from engine.wire.messages.describe_share_group_offsets_request import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
)
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.broker.replica_manager import ReplicaManager

_NO_LAG = -1
_CONSUMER = -1
_LATEST = -1
_LIST_OFFSETS_VERSION = 7
_NOT_KNOWN = "This server does not host this topic-partition."


class ShareGroupOffsets:
    """One for a broker."""

    def __init__(
        self,
        groups: GroupCoordinatorService,
        client: ShareStateClient,
        metadata: MetadataCache,
        replicas: ReplicaManager,
        peers: PeerChannels,
        *,
        request_timeout_ms: int,
    ) -> None:
        self._groups = groups
        self._client = client
        self._metadata = metadata
        self._replicas = replicas
        self._peers = peers
        self._request_timeout_ms = request_timeout_ms

    # -- describing ---------------------------------------------------------------------------------------------

    async def describe(self, request: DescribeShareGroupOffsetsRequest) -> described.DescribeShareGroupOffsetsResponse:
        """DescribeShareGroupOffsets: of the topics that are named, or of all that a group reads."""
        groups = await asyncio.gather(*(self._describe_group(group) for group in request.groups))
        return described.DescribeShareGroupOffsetsResponse(groups=list(groups))

    async def _describe_group(
        self, asked: DescribeShareGroupOffsetsRequestGroup
    ) -> described.DescribeShareGroupOffsetsResponseGroup:
        answer = described.DescribeShareGroupOffsetsResponseGroup(group_id=asked.group_id)
        try:
            if not asked.group_id:
                raise KafkaError(ErrorCode.INVALID_GROUP_ID, "a group has an id")
            group = self._groups.runtime.shard(self._groups.partition_for(asked.group_id)).share_groups.get(
                asked.group_id
            )
        except KafkaError as error:
            answer.error_code, answer.error_message = int(error.code), error.message
            return answer
        wanted: list[tuple[str, list[int]]]
        if asked.topics is None:
            wanted = (
                [] if group is None else [(each.name, sorted(each.partitions)) for each in group.initialized.values()]
            )
        else:
            wanted = [(each.topic_name, each.partitions) for each in asked.topics]
        topics = await asyncio.gather(*(self._describe_topic(asked.group_id, *each) for each in wanted))
        answer.topics.extend(topics)
        return answer

    async def _describe_topic(
        self, group_id: str, name: str, numbers: list[int]
    ) -> described.DescribeShareGroupOffsetsResponseTopic:
        topic = self._metadata.image.topics_by_name.get(name)
        topic_id = None if topic is None else topic.topic_id
        answers = await asyncio.gather(
            *(self._describe_partition(group_id, name, topic_id, number) for number in numbers)
        )
        return described.DescribeShareGroupOffsetsResponseTopic(
            topic_name=name, partitions=list(answers), **({} if topic_id is None else {"topic_id": topic_id})
        )

    async def _describe_partition(
        self, group_id: str, name: str, topic_id: Uuid | None, number: int
    ) -> described.DescribeShareGroupOffsetsResponsePartition:
        answer = described.DescribeShareGroupOffsetsResponsePartition(
            partition_index=number, start_offset=NO_OFFSET, lag=_NO_LAG
        )
        if topic_id is None:
            return answer
        try:
            state = await self._client.read_summary(SharePartitionKey(group_id, topic_id, number))
            answer.start_offset, answer.leader_epoch = state.start_offset, state.leader_epoch
            if state.start_offset != NO_OFFSET and state.delivery_complete_count != UNKNOWN_COUNT:
                end_offset = await self._end_offset(name, number)
                answer.lag = end_offset - state.start_offset - state.delivery_complete_count
        except KafkaError as error:
            answer.error_code, answer.error_message = int(error.code), error.message
        return answer

    async def _end_offset(self, topic: str, number: int) -> int:
        """The high watermark, from the leader. Raises: KafkaError."""
        state = self._metadata.image.partition(topic, number)
        leader = -1 if state is None else state.leader
        if leader == self._replicas.config.node_id:
            replica = self._replicas.find(topic, None, number)
            replica.partition.leader_role()
            return replica.partition.high_watermark
        if leader < 0 or not self._peers.knows(leader):
            raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{topic}-{number} has no leader")
        asked = ListOffsetsPartition(partition_index=number, timestamp=_LATEST)
        request = ListOffsetsRequest(replica_id=_CONSUMER, topics=[ListOffsetsTopic(topic, [asked])])
        try:
            response = await self._peers.to(leader).send(
                request, version=_LIST_OFFSETS_VERSION, timeout_ms=self._request_timeout_ms
            )
        except (ClientError, TimeoutError, OSError) as error:
            raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"broker {leader} did not answer: {error}") from None
        found = response.topics[0].partitions[0]
        if found.error_code != ErrorCode.NONE:
            raise KafkaError(ErrorCode(found.error_code), f"{topic}-{number}: the end of the log is not known")
        return int(found.offset)

    # -- setting ------------------------------------------------------------------------------------------------

    async def alter(self, request: AlterShareGroupOffsetsRequest) -> altered.AlterShareGroupOffsetsResponse:
        """AlterShareGroupOffsets: an empty group begins anew at other offsets."""
        response = altered.AlterShareGroupOffsetsResponse()
        wanted: dict[Uuid, StateTopic] = {}
        work: list[tuple[altered.AlterShareGroupOffsetsResponsePartition, SharePartitionKey, int]] = []
        for topic in request.topics:
            known = self._metadata.image.topics_by_name.get(topic.topic_name)
            answers = []
            for each in topic.partitions:
                answer = altered.AlterShareGroupOffsetsResponsePartition(partition_index=each.partition_index)
                answers.append(answer)
                if known is None or each.partition_index not in known.partitions:
                    answer.error_code = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                    answer.error_message = _NOT_KNOWN
                    continue
                before = wanted.get(known.topic_id, StateTopic(known.name, frozenset()))
                wanted[known.topic_id] = StateTopic(known.name, before.partitions | {each.partition_index})
                key = SharePartitionKey(request.group_id, known.topic_id, each.partition_index)
                work.append((answer, key, each.start_offset))
            response.responses.append(
                altered.AlterShareGroupOffsetsResponseTopic(
                    topic_name=topic.topic_name,
                    partitions=answers,
                    **({} if known is None else {"topic_id": known.topic_id}),
                )
            )
        try:
            state_epoch = await self._begin(
                request.group_id,
                lambda shard, now, token: shard.handle_alter_share_offsets(request.group_id, wanted, now, token),
            )
        except KafkaError as error:
            return altered.AlterShareGroupOffsetsResponse(error_code=int(error.code), error_message=error.message)
        errors = await asyncio.gather(
            *(_error_of(self._client.initialize(key, state_epoch, offset)) for _, key, offset in work)
        )
        done: dict[Uuid, StateTopic] = {}
        for (answer, key, _), problem in zip(work, errors, strict=True):
            if problem is not None:
                answer.error_code, answer.error_message = int(problem.code), problem.message
                continue
            before = done.get(key.topic_id, StateTopic(wanted[key.topic_id].name, frozenset()))
            done[key.topic_id] = StateTopic(before.name, before.partitions | {key.partition})
        if done:
            self._finish(request.group_id, lambda shard, now: shard.on_share_states_initialized(request.group_id, done))
        return response

    # -- deleting -----------------------------------------------------------------------------------------------

    async def delete(self, request: DeleteShareGroupOffsetsRequest) -> deleted.DeleteShareGroupOffsetsResponse:
        """DeleteShareGroupOffsets: an empty group forgets topics."""
        response = deleted.DeleteShareGroupOffsetsResponse()
        known: dict[Uuid, deleted.DeleteShareGroupOffsetsResponseTopic] = {}
        for each in request.topics:
            topic = self._metadata.image.topics_by_name.get(each.topic_name)
            answer = deleted.DeleteShareGroupOffsetsResponseTopic(topic_name=each.topic_name)
            response.responses.append(answer)
            if topic is None:
                answer.error_code, answer.error_message = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), _NOT_KNOWN
            else:
                answer.topic_id = topic.topic_id
                known[topic.topic_id] = answer
        try:
            going: dict[Uuid, StateTopic] = await self._begin(
                request.group_id,
                lambda shard, now, token: shard.handle_delete_share_offsets(request.group_id, list(known), token),
            )
        except KafkaError as error:
            return deleted.DeleteShareGroupOffsetsResponse(error_code=int(error.code), error_message=error.message)
        errors = await self._delete_states(request.group_id, going)
        for topic_id, problem in errors.items():
            known[topic_id].error_code, known[topic_id].error_message = int(problem.code), problem.message
        gone = [topic_id for topic_id in going if topic_id not in errors]
        if gone:
            self._finish(request.group_id, lambda shard, now: shard.on_share_states_deleted(request.group_id, gone))
        return response

    async def delete_all(self, group_ids: Iterable[str]) -> dict[str, ErrorCode]:
        """Before groups are deleted: the state of those that are share groups. The groups that must stay, and why."""
        refused: dict[str, ErrorCode] = {}
        for group_id in dict.fromkeys(group_ids):
            try:
                group = self._groups.runtime.shard(self._groups.partition_for(group_id)).share_groups.get(group_id)
            except KafkaError:
                continue  # its deletion says the same
            if group is None or group.members:
                continue
            errors: dict[Uuid, KafkaError] = {}
            for topics in (group.initialized, group.initializing):
                errors |= await self._delete_states(
                    group_id, {each: topic for each, topic in topics.items() if self._knows(each)}
                )
            for error in errors.values():
                refused[group_id] = error.code
        return refused

    def _knows(self, topic_id: Uuid) -> bool:
        return topic_id in self._metadata.image.topics_by_id

    async def _delete_states(self, group_id: str, topics: Any) -> dict[Uuid, KafkaError]:
        """Topics whose state could not be deleted."""
        keys = [
            SharePartitionKey(group_id, topic_id, number)
            for topic_id, topic in topics.items()
            for number in sorted(topic.partitions)
        ]
        errors = await asyncio.gather(*(_error_of(self._client.delete(key)) for key in keys))
        return {key.topic_id: error for key, error in zip(keys, errors, strict=True) if error is not None}

    # -- the group's record of it -------------------------------------------------------------------------------

    async def _begin(self, group_id: str, operation: Any) -> Any:
        """Raises: KafkaError: the group's refusal, or as ``CoordinatorRuntime.submit``."""
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID, "a group has an id")
        answer = await self._groups.runtime.submit(self._groups.partition_for(group_id), operation, writes=True)
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    def _finish(self, group_id: str, operation: Any) -> None:
        try:
            self._groups.runtime.run(self._groups.partition_for(group_id), operation, writes=True)
        except KafkaError:
            # Whoever coordinates the group next finds it begun: members ask for it again, deletions are asked anew.
            return


async def _error_of(work: Any) -> KafkaError | None:
    try:
        await work
    except KafkaError as error:
        return error
    return None
