"""JoinGroup (11), versions 0-9: enter a group's next generation (classic protocol).

Version 1 adds the rebalance timeout (KIP-62), 4 asks new members to come back with their id (KIP-394), 5 static members
(KIP-345), 7 returns the protocol type (KIP-559), 8 a reason (KIP-800), 9 tells a leader to skip the assignment
(KIP-814). The answer waits for the other members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.wire.apis import ApiKey
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.join_group_response import JoinGroupResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.JOIN_GROUP, 0, 9)

_FIRST_VERSION_WITH_NULLABLE_PROTOCOL = 7


async def handle(context: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse:
    """Join, and say that there is no protocol in the form of the version: errors name none."""
    response = await context.broker.groups.join_group(client_context(context), request)
    if not response.protocol_name:
        response.protocol_name = None if context.api_version >= _FIRST_VERSION_WITH_NULLABLE_PROTOCOL else ""
    return response
