"""Offsets: where groups stand, where logs begin and end, also as each single replica sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from engine.client.admin.groups import GroupAdmin
from engine.client.admin.metadata import ClusterMetadata, MetadataAdmin
from engine.client.admin.outcome import Failure, check, refusal
from engine.client.admin.topics import by_topic
from engine.client.errors import ClientError, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from engine.wire.messages.list_offsets_response import ListOffsetsResponse
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_commit_response import OffsetCommitResponse
from engine.wire.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from engine.wire.messages.offset_delete_response import OffsetDeleteResponse
from engine.wire.messages.offset_fetch_request import OffsetFetchRequest, OffsetFetchRequestGroup
from engine.wire.messages.offset_fetch_response import OffsetFetchResponse

# Later versions name topics by id only.
_OFFSETS_BY_NAME = 9
_CONSUMER = -1
_COORDINATOR_RETRY_S = 0.1
# ListOffsetsRequest.DEBUGGING_REPLICA_ID: any replica answers, with its own log end.
_DEBUGGING = -2
_STALE_LEADER = (
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.LEADER_NOT_AVAILABLE,
)


class OffsetSpec(IntEnum):
    """Timestamps with a meaning of their own (OffsetSpec); any other is milliseconds since the epoch."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5


class OffsetAt(NamedTuple):
    """An offset in a log; -1 (and timestamp -1) where no record is that late."""

    offset: int
    timestamp: int
    leader_epoch: int


class CommittedOffset(NamedTuple):
    """A group's position in a partition."""

    offset: int
    leader_epoch: int
    metadata: str


class OffsetAdmin(GroupAdmin, MetadataAdmin):
    """Offsets of groups and of logs."""

    async def list_group_offsets(
        self, group_ids: Iterable[str], *, timeout_ms: float | None = None
    ) -> dict[str, dict[TopicPartition, CommittedOffset | KafkaError] | Failure]:
        """All committed offsets of each group."""
        wanted = sorted(set(group_ids))
        outcomes = await self._list_group_offsets(wanted, timeout_ms)
        moved = [
            group_id
            for group_id, outcome in outcomes.items()
            if isinstance(outcome, KafkaError)
            and outcome.code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        ]
        if moved:
            for group_id in moved:
                self._forget(group_id)
            outcomes.update(await self._list_group_offsets(moved, timeout_ms))
        return outcomes

    async def _list_group_offsets(
        self, group_ids: list[str], timeout_ms: float | None
    ) -> dict[str, dict[TopicPartition, CommittedOffset | KafkaError] | Failure]:
        grouped, failures = await self._by_coordinator(group_ids, timeout_ms)
        outcomes: dict[str, dict[TopicPartition, CommittedOffset | KafkaError] | Failure] = dict(failures)

        async def of_one(broker_id: int, ids: list[str]) -> None:
            outcomes.update(await self.list_group_offsets_of(broker_id, ids, timeout_ms=timeout_ms))

        await asyncio.gather(*(of_one(broker_id, ids) for broker_id, ids in sorted(grouped.items())))
        return outcomes

    async def list_group_offsets_of(
        self, broker_id: int, group_ids: list[str], *, timeout_ms: float | None = None
    ) -> dict[str, dict[TopicPartition, CommittedOffset | KafkaError] | Failure]:
        """All committed offsets of groups, by one broker, their coordinator."""
        request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=each, topics=None) for each in group_ids])
        try:
            response: OffsetFetchResponse = await self.brokers.send(
                broker_id, request, timeout_ms=timeout_ms, max_version=_OFFSETS_BY_NAME
            )
        except UnsupportedApi:
            return {each: await self._fetch_offsets_of_one(broker_id, each, timeout_ms) for each in group_ids}
        except ClientError as error:
            return dict.fromkeys(group_ids, error)
        return {
            group.group_id: refusal(group.error_code)
            or {
                TopicPartition(topic.name, each.partition_index): refusal(each.error_code)
                or CommittedOffset(each.committed_offset, each.committed_leader_epoch, each.metadata or "")
                for topic in group.topics
                for each in topic.partitions
                if each.error_code or each.committed_offset >= 0
            }
            for group in response.groups
        }

    async def _fetch_offsets_of_one(
        self, broker_id: int, group_id: str, timeout_ms: float | None
    ) -> dict[TopicPartition, CommittedOffset | KafkaError] | Failure:
        """OffsetFetch before version 8: one group a request."""
        try:
            response: OffsetFetchResponse = await self.brokers.send(
                broker_id, OffsetFetchRequest(group_id=group_id, topics=None), timeout_ms=timeout_ms, max_version=7
            )
        except ClientError as error:
            return error
        return refusal(response.error_code) or {
            TopicPartition(topic.name, each.partition_index): refusal(each.error_code)
            or CommittedOffset(each.committed_offset, each.committed_leader_epoch, each.metadata or "")
            for topic in response.topics
            for each in topic.partitions
            if each.error_code or each.committed_offset >= 0
        }

    async def alter_group_offsets(
        self,
        group_id: str,
        offsets: Mapping[TopicPartition, int] | Mapping[TopicPartition, CommittedOffset],
        *,
        timeout_ms: float | None = None,
    ) -> dict[TopicPartition, KafkaError | None]:
        """Set a group's positions, with leader epoch and metadata where given; the group must have no members.

        Raises:
            ClientError: no answer.
            KafkaError: the group has no coordinator.
        """
        whole = {
            each: offset if isinstance(offset, CommittedOffset) else CommittedOffset(offset, -1, "")
            for each, offset in offsets.items()
        }
        request = OffsetCommitRequest(
            group_id=group_id,
            topics=[
                OffsetCommitRequestTopic(
                    name=topic,
                    partitions=[
                        OffsetCommitRequestPartition(
                            partition_index=partition,
                            committed_offset=each.offset,
                            committed_leader_epoch=each.leader_epoch,
                            committed_metadata=each.metadata,
                        )
                        for partition in partitions
                        for each in (whole[TopicPartition(topic, partition)],)
                    ],
                )
                for topic, partitions in by_topic(offsets).items()
            ],
        )
        response: OffsetCommitResponse = await self.brokers.send(
            await self._coordinator(group_id, timeout_ms), request, timeout_ms=timeout_ms, max_version=_OFFSETS_BY_NAME
        )
        return {
            TopicPartition(topic.name, each.partition_index): refusal(each.error_code)
            for topic in response.topics
            for each in topic.partitions
        }

    async def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition], *, timeout_ms: float | None = None
    ) -> dict[TopicPartition, KafkaError | None]:
        """Forget positions in partitions that the group does not subscribe to.

        Raises:
            ClientError: no answer.
            KafkaError: the whole request is refused.
        """
        request = OffsetDeleteRequest(
            group_id=group_id,
            topics=[
                OffsetDeleteRequestTopic(
                    name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=each) for each in indexes]
                )
                for topic, indexes in by_topic(partitions).items()
            ],
        )
        response: OffsetDeleteResponse = await self.brokers.send(
            await self._coordinator(group_id, timeout_ms), request, timeout_ms=timeout_ms
        )
        check(response.error_code)
        return {
            TopicPartition(topic_response.name, each.partition_index): refusal(each.error_code)
            for topic_response in response.topics
            for each in topic_response.partitions
        }

    async def _coordinator(self, group_id: str, timeout_ms: float | None) -> int:
        """The coordinator, waited for where the first group of a cluster makes the offsets topic be created."""
        clock = self.brokers.world.clock
        deadline_ms = clock.monotonic_ms() + (timeout_ms or self.brokers.request_timeout_ms)
        while True:
            found = (await self.find_coordinators([group_id], refresh=True, timeout_ms=timeout_ms))[group_id]
            if isinstance(found, int):
                return found
            retriable = isinstance(found, KafkaError) and found.code.retriable
            if not retriable or clock.monotonic_ms() >= deadline_ms:
                raise found
            await asyncio.sleep(_COORDINATOR_RETRY_S)

    async def list_offsets(
        self,
        specs: Mapping[TopicPartition, int],
        *,
        leaders: Mapping[TopicPartition, int] | None = None,
        read_committed: bool = False,
        timeout_ms: float | None = None,
    ) -> dict[TopicPartition, OffsetAt | Failure]:
        """What each partition's leader answers for an :class:`OffsetSpec` or a timestamp.

        LATEST is the high watermark (with ``read_committed`` the last stable offset), EARLIEST the log start. With
        ``leaders`` given they are asked as they are; else the cluster's metadata tells them, anew where it was wrong.
        """
        if leaders is not None:
            return await self._list_offsets(specs, leaders, read_committed, timeout_ms)
        try:
            metadata = await self.cached_metadata()
            outcomes = await self._list_offsets(specs, metadata_leaders(metadata, specs), read_committed, timeout_ms)
            again = {
                partition: specs[partition]
                for partition, outcome in outcomes.items()
                if isinstance(outcome, KafkaError) and outcome.code in _STALE_LEADER
            }
            if again:
                metadata = await self.metadata(timeout_ms=timeout_ms)
                found = metadata_leaders(metadata, again)
                outcomes.update(await self._list_offsets(again, found, read_committed, timeout_ms))
        except (ClientError, KafkaError) as error:
            return dict.fromkeys(specs, error)
        return outcomes

    async def _list_offsets(
        self,
        specs: Mapping[TopicPartition, int],
        leaders: Mapping[TopicPartition, int],
        read_committed: bool,
        timeout_ms: float | None,
    ) -> dict[TopicPartition, OffsetAt | Failure]:
        outcomes: dict[TopicPartition, OffsetAt | Failure] = {}
        grouped: dict[int, dict[TopicPartition, int]] = {}
        for partition, spec in specs.items():
            leader = leaders.get(partition, -1)
            if leader < 0:
                outcomes[partition] = KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{partition} has no leader")
            else:
                grouped.setdefault(leader, {})[partition] = spec

        async def of_one(broker_id: int, part: dict[TopicPartition, int]) -> None:
            try:
                outcomes.update(
                    await self.list_offsets_of(
                        broker_id,
                        part,
                        replica_id=_CONSUMER,
                        read_committed=read_committed,
                        timeout_ms=timeout_ms,
                    )
                )
            except ClientError as error:
                outcomes.update(dict.fromkeys(part, error))

        await asyncio.gather(*(of_one(broker_id, part) for broker_id, part in sorted(grouped.items())))
        return outcomes

    async def list_offsets_of(
        self,
        broker_id: int,
        specs: Mapping[TopicPartition, int],
        *,
        replica_id: int = _DEBUGGING,
        read_committed: bool = False,
        timeout_ms: float | None = None,
    ) -> dict[TopicPartition, OffsetAt | Failure]:
        """Ask one broker. With the default ``replica_id`` followers answer too, and LATEST is the replica's own log
        end.

        Raises:
            ClientError: the broker does not answer.
        """
        request = ListOffsetsRequest(
            replica_id=replica_id,
            isolation_level=int(read_committed),
            topics=[
                ListOffsetsTopic(
                    name=topic,
                    partitions=[
                        ListOffsetsPartition(
                            partition_index=partition, timestamp=int(specs[TopicPartition(topic, partition)])
                        )
                        for partition in partitions
                    ],
                )
                for topic, partitions in by_topic(specs).items()
            ],
        )
        response: ListOffsetsResponse = await self.brokers.send(broker_id, request, timeout_ms=timeout_ms)
        return {
            TopicPartition(topic_response.name, each.partition_index): refusal(each.error_code)
            or OffsetAt(each.offset, each.timestamp, each.leader_epoch)
            for topic_response in response.topics
            for each in topic_response.partitions
        }


def metadata_leaders(metadata: ClusterMetadata, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The leader of each partition that the metadata knows."""
    leaders: dict[TopicPartition, int] = {}
    wanted: dict[str, set[int]] = {}
    for topic, partition in partitions:
        wanted.setdefault(topic, set()).add(partition)
    for name, indexes in wanted.items():
        topic_metadata = metadata.topics.get(name)
        for each in topic_metadata.partitions if topic_metadata else ():
            if each.partition in indexes:
                leaders[TopicPartition(name, each.partition)] = each.leader
    return leaders
