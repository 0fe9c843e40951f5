"""Heartbeat (12), versions 0-4: a member of a classic group is alive; learns of rebalances.

Version 3 adds static members (KIP-345).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.heartbeat_response import HeartbeatResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.HEARTBEAT, 0, 4)


async def handle(context: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answer as the group's coordinator does."""
    return await context.broker.groups.heartbeat(request)
