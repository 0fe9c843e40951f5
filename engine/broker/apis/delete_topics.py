"""DeleteTopics (20), versions 1-6: by name, from version 6 on by id as well (KIP-516)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.DELETE_TOPICS, 1, 6, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: DeleteTopicsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
