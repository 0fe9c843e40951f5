"""Metadata (3), versions 0-13: brokers, topics, partitions, from this broker's copy of the metadata.

Topics by name, by id (v12+), or all (null, or the empty list in v0). A topic that does not exist is created when client
(v4+) and broker allow it, and the answer waits for it, bounded: clients of other brokers then find it at once, where
Kafka answers "unknown" and lets the client come again. An answer that would name a leader whose connections have just
broken waits up to half a second for the controller's verdict (docs/decisions/0004). Authorized operations are not
computed until security exists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.auto_topic_creation import create_missing_topics
from engine.broker.router import EncodedResponse
from engine.core.controller.topic_names import INTERNAL_TOPICS
from engine.model.errors import ErrorCode
from engine.model.ids import ZERO_UUID
from engine.wire import codec
from engine.wire.apis import ApiKey
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext
    from engine.core.controller.image import TopicImage

API = ApiSpec(ApiKey.METADATA, 0, 13)

_FIRST_VERSION_WITH_IDS = 12


def handle(
    context: RequestContext, request: MetadataRequest
) -> MetadataResponse | EncodedResponse | Awaitable[MetadataResponse | EncodedResponse]:
    """Answer at once from the image; waits only for topics being created, and for leaders that may have just died."""
    broker = context.broker
    # Versions 10 and 11 have a field for ids and no way to leave the name out: Kafka refuses the whole request.
    if context.api_version < _FIRST_VERSION_WITH_IDS and any(
        each.topic_id != ZERO_UUID for each in request.topics or ()
    ):
        return _refuse_all(request)
    if broker.replicas.suspects.any() and _suspected_for_ms(context, request) > 0:
        return _after_suspicion(context, request)
    return _answer(context, request)


def _refuse_all(request: MetadataRequest) -> MetadataResponse:
    code = int(ErrorCode.INVALID_REQUEST)
    topics = [MetadataResponseTopic(error_code=code, name=each.name or "") for each in request.topics or ()]
    return MetadataResponse(topics=topics)


def _answer(
    context: RequestContext, request: MetadataRequest
) -> MetadataResponse | EncodedResponse | Awaitable[MetadataResponse]:
    broker = context.broker
    if _wants_all(context, request):
        return _all_topics(context)
    if request.allow_auto_topic_creation and broker.config.auto_create_topics_enable:
        missing = [
            each.name
            for each in request.topics or []
            if each.name is not None
            and each.topic_id == ZERO_UUID
            and each.name not in broker.metadata.image.topics_by_name
        ]
        if missing:
            return _after_creation(context, request, missing)
    return _respond(context, request, {})


def _wants_all(context: RequestContext, request: MetadataRequest) -> bool:
    return request.topics is None or (context.api_version == 0 and not request.topics)


def _suspected_for_ms(context: RequestContext, request: MetadataRequest) -> float:
    """How long the answer may be held because it would name a leader that seems dead."""
    image, suspects = context.broker.metadata.image, context.broker.replicas.suspects
    if _wants_all(context, request):
        topics = list(image.topics_by_id.values())
    else:
        found = [image.topics_by_name.get(each.name or "") for each in request.topics or []]
        found += [image.topics_by_id.get(each.topic_id) for each in request.topics or []]
        topics = [each for each in found if each is not None]
    leaders = {partition.leader for topic in topics for partition in topic.partitions.values()}
    return max((suspects.left_ms(each) for each in leaders), default=0.0)


async def _after_suspicion(context: RequestContext, request: MetadataRequest) -> MetadataResponse | EncodedResponse:
    while (left_ms := _suspected_for_ms(context, request)) > 0:
        await context.broker.metadata.wait_for_change(left_ms)
    answer = _answer(context, request)
    return await answer if isinstance(answer, Awaitable) else answer


async def _after_creation(context: RequestContext, request: MetadataRequest, missing: list[str]) -> MetadataResponse:
    errors = await create_missing_topics(context.broker, sorted(set(missing)))
    return _respond(context, request, errors)


def _all_topics(context: RequestContext) -> EncodedResponse:
    """The whole picture, encoded once per version and metadata offset: every client asks for it again and again."""
    metadata = context.broker.metadata
    key = (context.api_version, context.listener, metadata.controller_for_clients(), metadata.lingering_brokers())
    parts = metadata.encoded_cache.get(key)
    if parts is None:
        response = _head(context)
        for name in sorted(metadata.image.topics_by_name):
            response.topics.append(_topic(context, metadata.image.topics_by_name[name]))
        parts = metadata.encoded_cache[key] = [codec.encode(response, context.api_version)]
    return EncodedResponse(list(parts))


def _head(context: RequestContext) -> MetadataResponse:
    broker = context.broker
    response = MetadataResponse(cluster_id=broker.cluster_id, controller_id=broker.metadata.controller_for_clients())
    lingering = broker.metadata.lingering_brokers()
    for each in broker.metadata.brokers_sorted():
        endpoint = each.listeners.get(context.listener)
        if endpoint is not None and (not each.fenced or each.broker_id in lingering):
            response.brokers.append(
                MetadataResponseBroker(node_id=each.broker_id, host=endpoint.host, port=endpoint.port, rack=each.rack)
            )
    return response


def _respond(context: RequestContext, request: MetadataRequest, errors: dict[str, ErrorCode]) -> MetadataResponse:
    response = _head(context)
    image = context.broker.metadata.image
    for wanted in request.topics or []:
        if wanted.topic_id != ZERO_UUID:
            topic = image.topics_by_id.get(wanted.topic_id)
            if topic is None:
                response.topics.append(
                    MetadataResponseTopic(
                        error_code=int(ErrorCode.UNKNOWN_TOPIC_ID), name=None, topic_id=wanted.topic_id
                    )
                )
                continue
        else:
            name = wanted.name or ""
            topic = image.topics_by_name.get(name)
            if topic is None:
                code = errors.get(name) or (
                    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                    if valid_topic_name(name)
                    else ErrorCode.INVALID_TOPIC_EXCEPTION
                )
                response.topics.append(
                    MetadataResponseTopic(error_code=int(code), name=name, is_internal=name in INTERNAL_TOPICS)
                )
                continue
        response.topics.append(_topic(context, topic))
    return response


def valid_topic_name(name: str) -> bool:
    """Kafka's rule (internals.Topic): 1 to 249 letters, digits, ``._-``, and neither ``.`` nor ``..``."""
    return (
        0 < len(name) <= 249
        and name not in (".", "..")
        and all(each.isascii() and (each.isalnum() or each in "._-") for each in name)
    )


def _topic(context: RequestContext, topic: TopicImage) -> MetadataResponseTopic:
    alive = context.broker.metadata.alive_brokers(context.listener)
    partitions = []
    for index in sorted(topic.partitions):
        each = topic.partitions[index]
        leader = each.leader
        code = ErrorCode.NONE
        if leader < 0 or leader not in alive:
            code = ErrorCode.LEADER_NOT_AVAILABLE
            leader = -1
        partitions.append(
            MetadataResponsePartition(
                error_code=int(code),
                partition_index=index,
                leader_id=leader,
                leader_epoch=each.leader_epoch,
                replica_nodes=list(each.replicas),
                isr_nodes=list(each.isr),
                offline_replicas=[replica for replica in each.replicas if replica not in alive],
            )
        )
    return MetadataResponseTopic(
        error_code=0,
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=partitions,
    )


async def wait_for_topics(broker: Broker, names: list[str], timeout_ms: float) -> None:
    """Return when every named topic is in this broker's image with leaders, or the time is up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    while any(not broker.metadata.topic_has_leaders(name) for name in names):
        left = deadline - loop.time()
        if left <= 0:
            return
        await broker.metadata.wait_for_change(left * 1000)
