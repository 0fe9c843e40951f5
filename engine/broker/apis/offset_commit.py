"""OffsetCommit (8), versions 2-10: store the positions of a group.

Version 5 drops the retention time, 6 adds the leader epoch, 7 static members (KIP-345), 9 answers GROUP_ID_NOT_FOUND
for a group that does not exist (KIP-848), 10 speaks of topics by id. Partitions of unknown topics get
UNKNOWN_TOPIC_OR_PARTITION (UNKNOWN_TOPIC_ID in version 10), the rest is committed. Not done: throttling by quota,
member epochs of the consumer protocol (KIP-848).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.offset_commit_request import OffsetCommitRequest, OffsetCommitRequestTopic
from engine.wire.messages.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.OFFSET_COMMIT, 2, 10)

_FIRST_VERSION_WITH_TOPIC_IDS = 10


async def handle(context: RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Resolve the topics, commit what is known, and answer in the order of the request."""
    image = context.broker.metadata.image
    by_id = context.api_version >= _FIRST_VERSION_WITH_TOPIC_IDS
    unknown = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    known: list[OffsetCommitRequestTopic] = []
    refused: dict[int, OffsetCommitResponseTopic] = {}
    for index, topic in enumerate(request.topics):
        found = image.topics_by_id.get(topic.topic_id) if by_id else image.topics_by_name.get(topic.name)
        if found is None:
            refused[index] = _error(topic, unknown)
        else:
            topic.name = found.name
            topic.topic_id = found.topic_id
            known.append(topic)
    request.topics = known
    if not known:
        return OffsetCommitResponse(topics=[refused[index] for index in sorted(refused)])
    response = await context.broker.groups.commit_offsets(client_context(context), request)
    for index in sorted(refused):
        response.topics.insert(index, refused[index])
    return response


def _error(topic: OffsetCommitRequestTopic, error: ErrorCode) -> OffsetCommitResponseTopic:
    return OffsetCommitResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            OffsetCommitResponsePartition(partition_index=each.partition_index, error_code=int(error))
            for each in topic.partitions
        ],
    )
