"""OffsetCommit versions 0 and 1 and OffsetFetch version 0, which Kafka served until 3.9 (KafkaApis, with ZooKeeper)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from engine.core.znodes.consumer_offsets import ZnodeNotUnderstood
from engine.model.errors import ErrorCode
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from engine.wire.messages.retired import offset_commit_request, offset_commit_response
from engine.wire.messages.retired.offset_fetch_request import OffsetFetchRequest
from engine.wire.messages.retired.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
)
from engine.zookeeper.errors import ZooKeeperError

if TYPE_CHECKING:
    from engine.broker.broker import Broker

_INVALID_OFFSET = -1


def as_asked_now(request: offset_commit_request.OffsetCommitRequest) -> OffsetCommitRequest:
    """The request as the coordinator takes it. Its partitions stay as they are: version 1 has their commits' times."""
    return OffsetCommitRequest(
        group_id=request.group_id,
        generation_id_or_member_epoch=request.generation_id_or_member_epoch,
        member_id=request.member_id,
        topics=[
            OffsetCommitRequestTopic(
                name=topic.name, partitions=cast("list[OffsetCommitRequestPartition]", topic.partitions)
            )
            for topic in request.topics
        ],
    )


def as_answered_before(response: OffsetCommitResponse) -> offset_commit_response.OffsetCommitResponse:
    """The answer as versions 0 and 1 have it."""
    return offset_commit_response.OffsetCommitResponse(
        topics=[
            offset_commit_response.OffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    offset_commit_response.OffsetCommitResponsePartition(each.partition_index, each.error_code)
                    for each in topic.partitions
                ],
            )
            for topic in response.topics
        ]
    )


async def commit_to_zookeeper(broker: Broker, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Version 0: whoever asks, the offset is set in ZooKeeper. There is no place for metadata there."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                partitions=await asyncio.gather(
                    *(_commit(broker, request.group_id, topic.name, each) for each in topic.partitions)
                ),
            )
            for topic in request.topics
        ]
    )


async def _commit(
    broker: Broker, group_id: str, topic: str, each: OffsetCommitRequestPartition
) -> OffsetCommitResponsePartition:
    number = each.partition_index
    storage = broker.groups.offset_storage
    assert storage is not None, "served only where the coordination is ZooKeeper"
    error = ErrorCode.NONE
    if _utf16_units(each.committed_metadata or "") > broker.config.offset_metadata_max_bytes:
        error = ErrorCode.OFFSET_METADATA_TOO_LARGE
    else:
        try:
            await storage.commit_directly(group_id, topic, number, each.committed_offset)
        except ZooKeeperError:
            # As Errors.forException knows no exception of ZooKeeper's.
            error = ErrorCode.UNKNOWN_SERVER_ERROR
    return OffsetCommitResponsePartition(partition_index=number, error_code=int(error))


async def fetch_from_zookeeper(broker: Broker, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Version 0: what stands in ZooKeeper."""
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=await asyncio.gather(
                    *(_fetch(broker, request.group_id, topic.name, each) for each in topic.partition_indexes)
                ),
            )
            for topic in request.topics or ()
        ]
    )


async def _fetch(broker: Broker, group_id: str, topic: str, number: int) -> OffsetFetchResponsePartition:
    storage = broker.groups.offset_storage
    assert storage is not None, "served only where the coordination is ZooKeeper"
    offset, error = None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    found = broker.metadata.image.topics_by_name.get(topic)
    if found is not None and number in found.partitions:
        try:
            offset = await storage.committed_directly(group_id, topic, number)
        except (ZooKeeperError, ZnodeNotUnderstood):
            error = ErrorCode.UNKNOWN_SERVER_ERROR
    if offset is not None:
        error = ErrorCode.NONE
    return OffsetFetchResponsePartition(
        partition_index=number,
        committed_offset=_INVALID_OFFSET if offset is None else offset,
        metadata="",
        error_code=int(error),
    )


def _utf16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
