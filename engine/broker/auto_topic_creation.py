"""Topics created on first use (AutoTopicCreationManager), when auto.create.topics.enable allows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest

if TYPE_CHECKING:
    from engine.broker.broker import Broker

# A first use waits this long for its topic at most; the client then asks again by itself.
_WAIT_MS = 2000


async def create_missing_topics(broker: Broker, names: list[str]) -> dict[str, ErrorCode]:
    """Ask the controller for the topics and wait until this broker knows their leaders, bounded.

    Returns the error for each topic that could not be created; one that exists already is no error.
    """
    from engine.broker.apis.metadata import valid_topic_name, wait_for_topics

    errors: dict[str, ErrorCode] = {}
    wanted = []
    for name in names:
        if valid_topic_name(name):
            wanted.append(CreatableTopic(name=name, num_partitions=-1, replication_factor=-1))
        else:
            errors[name] = ErrorCode.INVALID_TOPIC_EXCEPTION
    if not wanted:
        return errors
    request = CreateTopicsRequest(topics=wanted, timeout_ms=_WAIT_MS, validate_only=False)
    try:
        async with asyncio.timeout(_WAIT_MS / 1000):
            response = await broker.forward_to_controller(request, 7)
    except (ClientError, KafkaError, TimeoutError, OSError):
        return errors | {each.name: ErrorCode.LEADER_NOT_AVAILABLE for each in wanted}
    created = []
    for result in response.topics:
        code = ErrorCode(result.error_code)
        if code in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
            created.append(result.name)
        else:
            errors[result.name] = code
    await wait_for_topics(broker, created, _WAIT_MS)
    return errors
