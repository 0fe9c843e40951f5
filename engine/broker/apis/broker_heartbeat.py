"""BrokerHeartbeat (63), versions 0-2: a broker lives, and may ask to be unfenced or to go (KIP-631)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.broker_heartbeat_request import BrokerHeartbeatRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.BROKER_HEARTBEAT, 0, 2, listeners=("controller",))


async def handle(context: RequestContext, request: BrokerHeartbeatRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
