"""ShareGroupHeartbeat (76), version 1: members of share groups join, stay and leave (KIP-932).

Answered with UNSUPPORTED_VERSION while share.version is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.broker.share_group_service import serves_share_groups
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from engine.wire.messages.share_group_heartbeat_response import ShareGroupHeartbeatResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.SHARE_GROUP_HEARTBEAT, 1, 1)


async def handle(context: RequestContext, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse:
    """Answer one heartbeat."""
    if not serves_share_groups(context.broker.metadata.image):
        return ShareGroupHeartbeatResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    return await context.broker.sharing.groups.heartbeat(client_context(context), request)
