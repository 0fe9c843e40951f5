"""OffsetFetch (9), versions 1-10: read the committed positions of groups.

Version 2 reads all topics (null list) and has a top-level error, 5 the leader epoch, 7 ``require_stable`` (KIP-447), 8
many groups at once (KIP-709), 9 member id and epoch of the consumer protocol (KIP-848), checked in consumer groups, 10
topic ids. Answers wait until the offsets they tell are committed.

Where the cluster's coordination is ZooKeeper version 0 is served too, as by Kafka 3.9: it reads offsets from
ZooKeeper's ``/consumers``, and a partition without one answers UNKNOWN_TOPIC_OR_PARTITION.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.old_offset_requests import fetch_from_zookeeper
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from engine.wire.messages.offset_fetch_response import (
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from engine.wire.messages.retired.offset_fetch_request import OffsetFetchRequest as RetiredRequest
from engine.wire.messages.retired.offset_fetch_response import OffsetFetchResponse as RetiredResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.core.controller.image import MetadataImage

API = ApiSpec(ApiKey.OFFSET_FETCH, 1, 10, zookeeper_min_version=0)

_FIRST_VERSION_WITH_TOP_LEVEL_ERROR = 2
_FIRST_VERSION_WITH_GROUPS = 8
_FIRST_VERSION_WITH_TOPIC_IDS = 10


async def handle(
    context: RequestContext, request: OffsetFetchRequest | RetiredRequest
) -> OffsetFetchResponse | RetiredResponse:
    """Answer one group (up to version 7) or many."""
    if isinstance(request, RetiredRequest):
        return await fetch_from_zookeeper(context.broker, request)
    service = context.broker.groups
    image = context.broker.metadata.image
    if context.api_version < _FIRST_VERSION_WITH_GROUPS:
        group = _as_group(request)
        _add_topic_ids(group, image)
        return _as_single(context.api_version, request, await service.fetch_offsets(group, request.require_stable))
    by_id = context.api_version >= _FIRST_VERSION_WITH_TOPIC_IDS
    answers = await asyncio.gather(
        *(_fetch_group(context, group, request.require_stable, image, by_id) for group in request.groups)
    )
    return OffsetFetchResponse(groups=answers)


async def _fetch_group(
    context: RequestContext, group: OffsetFetchRequestGroup, require_stable: bool, image: MetadataImage, by_id: bool
) -> OffsetFetchResponseGroup:
    unknown: dict[int, OffsetFetchResponseTopics] = {}
    fetches_all = group.topics is None
    if by_id and group.topics is not None:
        known = []
        for index, topic in enumerate(group.topics):
            found = image.topics_by_id.get(topic.topic_id)
            if found is None:
                unknown[index] = _unknown_topic_id(topic)
            else:
                topic.name = found.name
                known.append(topic)
        group.topics = known
    elif not by_id:
        _add_topic_ids(group, image)
    answer = await context.broker.groups.fetch_offsets(group, require_stable)
    if answer.error_code:
        return answer
    if by_id and fetches_all:
        # What was committed for a topic that is gone has no id to be told under.
        existing = []
        for each in answer.topics:
            topic_image = image.topics_by_name.get(each.name)
            if topic_image is not None:
                each.topic_id = topic_image.topic_id
                existing.append(each)
        answer.topics = existing
    for index in sorted(unknown):
        answer.topics.insert(index, unknown[index])
    return answer


def _add_topic_ids(group: OffsetFetchRequestGroup, image: MetadataImage) -> None:
    """With the id known, offsets of an earlier topic of the same name are not told."""
    for topic in group.topics or ():
        found = image.topics_by_name.get(topic.name)
        if found is not None:
            topic.topic_id = found.topic_id


def _unknown_topic_id(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics:
    return OffsetFetchResponseTopics(
        topic_id=topic.topic_id,
        partitions=[
            OffsetFetchResponsePartitions(
                partition_index=partition,
                committed_offset=-1,
                metadata="",
                error_code=int(ErrorCode.UNKNOWN_TOPIC_ID),
            )
            for partition in topic.partition_indexes
        ],
    )


def _as_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)


def _as_single(api_version: int, request: OffsetFetchRequest, group: OffsetFetchResponseGroup) -> OffsetFetchResponse:
    if group.error_code and api_version < _FIRST_VERSION_WITH_TOP_LEVEL_ERROR:
        # No place for a group's error: each partition carries it.
        topics = [
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=partition, committed_offset=-1, metadata="", error_code=group.error_code
                    )
                    for partition in topic.partition_indexes
                ],
            )
            for topic in request.topics or ()
        ]
        return OffsetFetchResponse(topics=topics)
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=each.partition_index,
                    committed_offset=each.committed_offset,
                    committed_leader_epoch=each.committed_leader_epoch,
                    metadata=each.metadata,
                    error_code=each.error_code,
                )
                for each in topic.partitions
            ],
        )
        for topic in group.topics
    ]
    return OffsetFetchResponse(topics=topics, error_code=group.error_code)
