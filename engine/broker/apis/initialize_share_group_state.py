"""InitializeShareGroupState (83), version 0: the group coordinator begins a share partition's state (KIP-932).

Answered by this broker's share coordinator; partitions that another one coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.initialize_share_group_state_request import InitializeShareGroupStateRequest
from engine.wire.messages.initialize_share_group_state_response import InitializeShareGroupStateResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.INITIALIZE_SHARE_GROUP_STATE, 0, 0)


async def handle(
    context: RequestContext, request: InitializeShareGroupStateRequest
) -> InitializeShareGroupStateResponse:
    """Answer each partition."""
    return await context.broker.sharing.coordinator.initialize(request)
