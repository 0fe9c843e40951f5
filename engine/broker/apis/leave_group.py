"""LeaveGroup (13), versions 0-5: members leave, or an administrator removes them.

Versions 0-2 name one member at the top and get its error at the top; version 3 has a list with static members
(KIP-345), version 5 a reason each (KIP-800).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.leave_group_response import LeaveGroupResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.LEAVE_GROUP, 0, 5)

_FIRST_VERSION_WITH_MEMBERS = 3


async def handle(context: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Leave, translating the form of old versions both ways."""
    if context.api_version >= _FIRST_VERSION_WITH_MEMBERS:
        return await context.broker.groups.leave_group(request)
    members = [MemberIdentity(member_id=request.member_id)]
    response = await context.broker.groups.leave_group(LeaveGroupRequest(group_id=request.group_id, members=members))
    error_code = response.error_code or next((member.error_code for member in response.members), 0)
    return LeaveGroupResponse(error_code=error_code)
