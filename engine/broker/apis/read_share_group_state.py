"""ReadShareGroupState (84), version 0: a partition's leader learns how far share groups have come (KIP-932).

Answered by this broker's share coordinator; partitions that another one coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.read_share_group_state_request import ReadShareGroupStateRequest
from engine.wire.messages.read_share_group_state_response import ReadShareGroupStateResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.READ_SHARE_GROUP_STATE, 0, 0)


async def handle(context: RequestContext, request: ReadShareGroupStateRequest) -> ReadShareGroupStateResponse:
    """Answer each partition."""
    return await context.broker.sharing.coordinator.read(request)
