"""AlterShareGroupOffsets (91), version 0: an empty share group begins anew at other offsets (KIP-932).

Answered by the group's coordinator; NON_EMPTY_GROUP while the group has members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_share_group_offsets_request import AlterShareGroupOffsetsRequest
from engine.wire.messages.alter_share_group_offsets_response import AlterShareGroupOffsetsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.ALTER_SHARE_GROUP_OFFSETS, 0, 0)


async def handle(context: RequestContext, request: AlterShareGroupOffsetsRequest) -> AlterShareGroupOffsetsResponse:
    """Answer the request."""
    return await context.broker.sharing.offsets.alter(request)
