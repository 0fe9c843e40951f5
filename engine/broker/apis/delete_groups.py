"""DeleteGroups (42), versions 0-2: remove empty groups and their offsets (KIP-229)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_groups_request import DeleteGroupsRequest
from engine.wire.messages.delete_groups_response import DeleteGroupsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DELETE_GROUPS, 0, 2)


async def handle(context: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Delete; a name given twice is answered once."""
    return DeleteGroupsResponse(results=await context.broker.groups.delete_groups(request.groups_names))
