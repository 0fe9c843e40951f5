"""WriteShareGroupState (85), versions 0-1: a partition's leader persists how far a share group has come
(KIP-932). Version 1 brings the count of records behind the start offset that are dealt with (KIP-1226).

Answered by this broker's share coordinator; partitions that another one coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.write_share_group_state_request import WriteShareGroupStateRequest
from engine.wire.messages.write_share_group_state_response import WriteShareGroupStateResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.WRITE_SHARE_GROUP_STATE, 0, 1)


async def handle(context: RequestContext, request: WriteShareGroupStateRequest) -> WriteShareGroupStateResponse:
    """Answer each partition."""
    return await context.broker.sharing.coordinator.write(request)
