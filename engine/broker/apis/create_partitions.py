"""CreatePartitions (37), versions 0-3: more partitions for topics that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.CREATE_PARTITIONS, 0, 3, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: CreatePartitionsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
