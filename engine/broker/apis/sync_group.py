"""SyncGroup (14), versions 0-5: hand in (the leader) or fetch (everyone) the assignment of a generation.

Version 3 adds static members (KIP-345); version 5 checks the protocol type and name (KIP-559). The answer waits for the
leader's assignment to be committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.sync_group_request import SyncGroupRequest
from engine.wire.messages.sync_group_response import SyncGroupResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.SYNC_GROUP, 0, 5)

_FIRST_VERSION_WITH_PROTOCOL = 5


async def handle(context: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse:
    """Sync; from version 5 on the protocol must be named."""
    named = request.protocol_type is not None and request.protocol_name is not None
    if context.api_version >= _FIRST_VERSION_WITH_PROTOCOL and not named:
        return SyncGroupResponse(error_code=int(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
    return await context.broker.groups.sync_group(request)
