"""ElectLeaders (43), versions 0-2: preferred elections, from version 1 on unclean ones (KIP-460)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ELECT_LEADERS, 0, 2, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: ElectLeadersRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
