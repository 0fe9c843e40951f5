"""CreateTopics (19), versions 2-7: topics with placed or given replicas and configs.

Version 5 adds the topic's configs to the answer (KIP-525), 6 THROTTLING_QUOTA_EXCEEDED (KIP-599: before, partitions
above the client's controller_mutation_rate are made, and it is not heard for a while), 7 the topic's id (KIP-516).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.create_topics_request import CreateTopicsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.CREATE_TOPICS, 2, 7, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: CreateTopicsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
