"""ElectLeaders (43), versions 0-2: preferred elections, from version 1 on unclean ones (KIP-460)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ELECT_LEADERS, 0, 2, listeners=("broker", "controller"))

_FIRST_VERSION_WITH_TOP_LEVEL_ERROR = 1


async def handle(context: RequestContext, request: ElectLeadersRequest) -> Message:
    """Answered by the active controller; version 0 tells errors of partitions only."""
    response: Any = await answer_or_forward(context, request)
    if context.api_version < _FIRST_VERSION_WITH_TOP_LEVEL_ERROR:
        response.error_code = 0
    return response  # type: ignore[no-any-return]
