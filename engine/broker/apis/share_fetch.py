"""ShareFetch (78), versions 1-2: records for a member of a share group, and what it did with those it had (KIP-932).

Version 2 brings the record limit (ShareAcquireMode) and the renewal of locks (KIP-1222, KIP-1206). Records come in the
log's own batches with a list of the offsets that the member acquired. Answered with UNSUPPORTED_VERSION while
share.version is 0. Not built: smaller portions of records that were given often before (Kafka isolates them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.leader_hints import NodeEndpoints, leader_hint
from engine.broker.share_group_service import serves_share_groups
from engine.core.share.records import SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.apis import ApiKey
from engine.wire.messages.share_fetch_request import ShareFetchRequest
from engine.wire.messages.share_fetch_response import (
    AcquiredRecords,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
    ShareFetchableTopicResponse,
    ShareFetchResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.SHARE_FETCH, 1, 2)


async def handle(context: RequestContext, request: ShareFetchRequest) -> ShareFetchResponse:
    """Answer one fetch."""
    broker = context.broker
    if not serves_share_groups(broker.metadata.image):
        return ShareFetchResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    sharing = broker.sharing.fetching
    try:
        acknowledged, fetched = await sharing.fetch(context.connection, request, context.api_version)
    except KafkaError as error:
        return ShareFetchResponse(error_code=int(error.code), error_message=error.message)
    lock_ms = sharing.partitions.limits(request.group_id or "").record_lock_duration_ms
    response = ShareFetchResponse(acquisition_lock_timeout_ms=lock_ms)
    topics: dict[Uuid, list[PartitionData]] = {}
    for key in dict.fromkeys((*acknowledged, *fetched)):
        answer = PartitionData(key.partition, records=b"")
        found = fetched.get(key)
        if found is not None:
            answer.records = found.records
            answer.acquired_records = [AcquiredRecords(*each) for each in found.acquired]
            if found.error is not None:
                answer.error_code, answer.error_message = int(found.error.code), found.error.message
                _hint(context, response, answer, key, found.error)
        refused = acknowledged.get(key)
        if refused is not None:
            answer.acknowledge_error_code, answer.acknowledge_error_message = int(refused.code), refused.message
            _hint(context, response, answer, key, refused)
        answers = topics.get(key.topic_id)
        if answers is None:
            answers = topics[key.topic_id] = []
            response.responses.append(ShareFetchableTopicResponse(key.topic_id, answers))
        answers.append(answer)
    return response


def _hint(
    context: RequestContext,
    response: ShareFetchResponse,
    answer: PartitionData,
    key: SharePartitionKey,
    error: KafkaError,
) -> None:
    hint = leader_hint(context, key.topic_id, key.partition, error.code)
    if hint is None:
        return
    answer.current_leader = LeaderIdAndEpoch(hint.leader_id, hint.leader_epoch)
    if hint.endpoint is not None and NodeEndpoints(response.node_endpoints).lacks(hint.leader_id):
        response.node_endpoints.append(NodeEndpoint(hint.leader_id, *hint.endpoint))
