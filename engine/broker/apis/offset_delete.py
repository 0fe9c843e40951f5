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
    """Delete what is known; unknown partitions get UNKNOWN_TOPIC_OR_PARTITION."""
    image = context.broker.metadata.image
    unknown: list[OffsetDeleteResponseTopic] = []
    for topic in request.topics:
        missing = [each for each in topic.partitions if image.partition(topic.name, each.partition_index) is None]
        if missing:
            topic.partitions = [each for each in topic.partitions if image.partition(topic.name, each.partition_index)]
            results = [
                OffsetDeleteResponsePartition(
                    partition_index=each.partition_index, error_code=int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                )
                for each in missing
            ]
            unknown.append(OffsetDeleteResponseTopic(name=topic.name, partitions=results))
    request.topics = [topic for topic in request.topics if topic.partitions]
    response = await context.broker.groups.delete_offsets(request)
    if response.error_code == ErrorCode.NONE:
        answered = {topic.name: topic for topic in response.topics}
        for refused in unknown:
            if refused.name in answered:
                answered[refused.name].partitions += refused.partitions
            else:
                response.topics.append(refused)
    return response
