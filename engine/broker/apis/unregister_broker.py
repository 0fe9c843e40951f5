"""UnregisterBroker (64), version 0: forget a broker that will not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.unregister_broker_request import UnregisterBrokerRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.UNREGISTER_BROKER, 0, 0, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: UnregisterBrokerRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
