"""OffsetDelete (47), version 0: forget committed offsets of topics that the group is not subscribed to (KIP-496)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.offset_delete_request import OffsetDeleteRequest
from engine.wire.messages.offset_delete_response import (
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.OFFSET_DELETE, 0, 0)


async def handle(context: RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Delete, topic by topic; unknown topics get UNKNOWN_TOPIC_OR_PARTITION."""
    topics_by_name = context.broker.metadata.image.topics_by_name
    unknown = [topic for topic in request.topics if topic.name not in topics_by_name]
    request.topics = [topic for topic in request.topics if topic.name in topics_by_name]
    response = await context.broker.groups.delete_offsets(request)
    if response.error_code == ErrorCode.NONE:
        for topic in unknown:
            results = [
                OffsetDeleteResponsePartition(
                    partition_index=each.partition_index, error_code=int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                )
                for each in topic.partitions
            ]
            response.topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=results))
    return response
