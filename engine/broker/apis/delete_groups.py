"""DeleteGroups (42), versions 0-2: remove empty groups and their offsets (KIP-229).

Of a share group first the state goes that share coordinators have of it; where that fails the group stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_groups_request import DeleteGroupsRequest
from engine.wire.messages.delete_groups_response import DeletableGroupResult, DeleteGroupsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DELETE_GROUPS, 0, 2)


async def handle(context: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Delete; a name given twice is answered once."""
    broker, names = context.broker, list(dict.fromkeys(request.groups_names))
    kept = await broker.sharing.offsets.delete_all(names)
    results = await broker.groups.delete_groups([name for name in names if name not in kept])
    results += [DeletableGroupResult(group_id=name, error_code=int(error)) for name, error in kept.items()]
    return DeleteGroupsResponse(results=results)
