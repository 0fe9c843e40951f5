"""FindCoordinator (10), versions 0-6: which broker coordinates a group or a transactional id.

Version 1 adds the key type, version 4 asks for many keys at once (KIP-699), version 6 the key type of share groups.
The coordinator's topic is created through the controller on the first question (AutoTopicCreationManager); the answer
waits for its leaders, within bounds, so that a first client starts without a round of retries.

Not built yet: share groups (key type 2). They are refused with INVALID_REQUEST, as a Kafka without them does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.coordinator_topic_creation import make_sure_of_topic
from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.broker.transaction_coordinator_service import TRANSACTION_TOPIC
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.find_coordinator_response import Coordinator, FindCoordinatorResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.FIND_COORDINATOR, 0, 6)

_GROUP, _TRANSACTION = 0, 1
_TOPICS = {_GROUP: OFFSETS_TOPIC, _TRANSACTION: TRANSACTION_TOPIC}
_FIRST_BATCHED_VERSION = 4


async def handle(context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Answer each key; an error of one key does not touch the others."""
    topic = _TOPICS.get(request.key_type)
    problem = None if topic is None else await make_sure_of_topic(context.broker, topic)
    if context.api_version >= _FIRST_BATCHED_VERSION:
        answers = [_find(context, request.key_type, key, problem) for key in request.coordinator_keys]
        return FindCoordinatorResponse(coordinators=answers)
    answer = _find(context, request.key_type, request.key, problem)
    return FindCoordinatorResponse(
        error_code=answer.error_code,
        error_message=answer.error_message,
        node_id=answer.node_id,
        host=answer.host,
        port=answer.port,
    )


def _find(context: RequestContext, key_type: int, key: str, problem: str | None) -> Coordinator:
    name = _TOPICS.get(key_type)
    if name is None:
        return _refused(key, ErrorCode.INVALID_REQUEST, f"coordinators of key type {key_type} are not supported")
    broker = context.broker
    topic = broker.metadata.image.topics_by_name.get(name)
    if topic is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, problem or f"{name} is being created")
    number = (broker.transactions if key_type == _TRANSACTION else broker.groups).partition_for(key)
    leader = topic.partitions[number].leader
    leader_image = broker.metadata.image.brokers.get(leader)
    endpoint = None if leader_image is None else leader_image.listeners.get(context.listener)
    if leader_image is None or leader_image.fenced or endpoint is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{name}-{number} has no leader")
    return Coordinator(key=key, node_id=leader, host=endpoint.host, port=endpoint.port)


def _refused(key: str, error: ErrorCode, message: str) -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=int(error), error_message=message)
