"""FindCoordinator (10), versions 0-6: which broker coordinates a group.

Version 1 adds the key type, version 4 asks for many keys at once (KIP-699), version 6 the key type of share groups.
The offsets topic is created through the controller on the first question (AutoTopicCreationManager); the answer waits
for its leaders, within bounds, so that a first consumer starts without a round of retries.

Not built yet: transactions (key type 1) and share groups (2). A transactional producer is told
TRANSACTIONAL_ID_AUTHORIZATION_FAILED with the true reason as message. Of the codes that fit at all it is the one at
which both the Java client and librdkafka stop at once (librdkafka shows the message too); COORDINATOR_NOT_AVAILABLE is
retried for ever, and any other code librdkafka retries until init_transactions times out. Share groups are refused with
INVALID_REQUEST, as a Kafka without them does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.find_coordinator_response import Coordinator, FindCoordinatorResponse

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.FIND_COORDINATOR, 0, 6)

_GROUP, _TRANSACTION = 0, 1
_FIRST_BATCHED_VERSION = 4
_CREATE_TIMEOUT_MS = 2_000


async def handle(context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Answer each key; an error of one key does not touch the others."""
    problem = await _make_sure_of_offsets_topic(context.broker) if request.key_type == _GROUP else None
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


async def _make_sure_of_offsets_topic(broker: Broker) -> str | None:
    """Create the offsets topic if there is none, once for all keys; why it could not be."""
    if OFFSETS_TOPIC in broker.metadata.image.topics_by_name:
        return None
    try:
        await _create_offsets_topic(broker)
    except (ClientError, KafkaError, TimeoutError, OSError) as error:
        return f"{OFFSETS_TOPIC} could not be created: {error}"
    return None


def _find(context: RequestContext, key_type: int, key: str, problem: str | None) -> Coordinator:
    if key_type == _TRANSACTION:
        return _refused(
            key,
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "this broker does not support transactions yet; idempotent producers without transactional.id work",
        )
    if key_type != _GROUP:
        return _refused(key, ErrorCode.INVALID_REQUEST, f"coordinators of key type {key_type} are not supported")
    broker = context.broker
    topic = broker.metadata.image.topics_by_name.get(OFFSETS_TOPIC)
    if topic is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, problem or f"{OFFSETS_TOPIC} is being created")
    number = broker.groups.partition_for(key)
    leader = topic.partitions[number].leader
    leader_image = broker.metadata.image.brokers.get(leader)
    endpoint = None if leader_image is None else leader_image.listeners.get(context.listener)
    if leader_image is None or leader_image.fenced or endpoint is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{OFFSETS_TOPIC}-{number} has no leader")
    return Coordinator(key=key, node_id=leader, host=endpoint.host, port=endpoint.port)


def _refused(key: str, error: ErrorCode, message: str) -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=int(error), error_message=message)


async def _create_offsets_topic(broker: Broker) -> None:
    """Create the offsets topic as configured and wait until this broker knows its leaders.

    Raises:
        KafkaError: the controller refused, for instance INVALID_REPLICATION_FACTOR with too few brokers alive.
        ClientError, TimeoutError, OSError: no controller was reached in time.
    """
    config = broker.config
    request = CreateTopicsRequest(
        topics=[
            CreatableTopic(
                name=OFFSETS_TOPIC,
                num_partitions=config.offsets_topic_num_partitions,
                replication_factor=config.offsets_topic_replication_factor,
                configs=[
                    CreatableTopicConfig(name="cleanup.policy", value="compact"),
                    CreatableTopicConfig(name="compression.type", value="producer"),
                    CreatableTopicConfig(name="segment.bytes", value=str(config.offsets_topic_segment_bytes)),
                ],
            )
        ],
        timeout_ms=_CREATE_TIMEOUT_MS,
    )
    async with asyncio.timeout(_CREATE_TIMEOUT_MS / 1000):
        response = await broker.forward_to_controller(request, 7)
        for result in response.topics:
            code = ErrorCode(result.error_code)
            if code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                raise KafkaError(code, result.error_message or code.name)
        while not broker.metadata.topic_has_leaders(OFFSETS_TOPIC):
            await broker.metadata.wait_for_change(_CREATE_TIMEOUT_MS)
