"""AllocateProducerIds (67), version 0: a block of producer ids for a broker (KIP-730)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALLOCATE_PRODUCER_IDS, 0, 0, listeners=("controller",))


async def handle(context: RequestContext, request: AllocateProducerIdsRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
