"""ListGroups (16), versions 0-5: the groups that this broker coordinates.

Version 4 filters by state (KIP-518), version 5 by type (KIP-848): classic, consumer, share or streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.list_groups_request import ListGroupsRequest
from engine.wire.messages.list_groups_response import ListGroupsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.LIST_GROUPS, 0, 5)


def handle(context: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse:
    """List groups by partition and id."""
    return context.broker.groups.list_groups(request)
