"""ShareAcknowledge (79), versions 1-2: what a member of a share group did with records that it had (KIP-932).

All of a partition's acknowledgements count, or none; they are persisted by the share coordinator before the answer.
Version 2 brings the renewal of locks (KIP-1222). UNSUPPORTED_VERSION as ShareFetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.leader_hints import NodeEndpoints, leader_hint
from engine.broker.share_group_service import serves_share_groups
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.apis import ApiKey
from engine.wire.messages.share_acknowledge_request import ShareAcknowledgeRequest
from engine.wire.messages.share_acknowledge_response import (
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
    ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.SHARE_ACKNOWLEDGE, 1, 2)


async def handle(context: RequestContext, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse:
    """Answer each partition."""
    broker = context.broker
    if not serves_share_groups(broker.metadata.image):
        return ShareAcknowledgeResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    sharing = broker.sharing.fetching
    try:
        acknowledged = await sharing.acknowledge(request)
    except KafkaError as error:
        return ShareAcknowledgeResponse(error_code=int(error.code), error_message=error.message)
    lock_ms = sharing.partitions.limits(request.group_id or "").record_lock_duration_ms
    response = ShareAcknowledgeResponse(acquisition_lock_timeout_ms=lock_ms)
    topics: dict[Uuid, list[PartitionData]] = {}
    for key, refused in acknowledged.items():
        answer = PartitionData(key.partition)
        if refused is not None:
            answer.error_code, answer.error_message = int(refused.code), refused.message
            hint = leader_hint(context, key.topic_id, key.partition, refused.code)
            if hint is not None:
                answer.current_leader = LeaderIdAndEpoch(hint.leader_id, hint.leader_epoch)
                if hint.endpoint is not None and NodeEndpoints(response.node_endpoints).lacks(hint.leader_id):
                    response.node_endpoints.append(NodeEndpoint(hint.leader_id, *hint.endpoint))
        answers = topics.get(key.topic_id)
        if answers is None:
            answers = topics[key.topic_id] = []
            response.responses.append(ShareAcknowledgeTopicResponse(key.topic_id, answers))
        answers.append(answer)
    return response
