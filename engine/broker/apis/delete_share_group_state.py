"""DeleteShareGroupState (86), version 0: the group coordinator ends a share partition's state (KIP-932).

Answered by this broker's share coordinator; partitions that another one coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_share_group_state_request import DeleteShareGroupStateRequest
from engine.wire.messages.delete_share_group_state_response import DeleteShareGroupStateResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DELETE_SHARE_GROUP_STATE, 0, 0)


async def handle(context: RequestContext, request: DeleteShareGroupStateRequest) -> DeleteShareGroupStateResponse:
    """Answer each partition."""
    return await context.broker.sharing.coordinator.delete(request)
