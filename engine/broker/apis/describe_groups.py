"""DescribeGroups (15), versions 0-6: state and members of classic groups.

Version 3 adds authorized operations, 4 the instance id, 6 GROUP_ID_NOT_FOUND for what does not exist (KIP-1043). There
is no authorizer yet, so every operation that a group has is authorized, as in a Kafka without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_groups_request import DescribeGroupsRequest
from engine.wire.messages.describe_groups_response import DescribeGroupsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_GROUPS, 0, 6)

# READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS (AclEntry.supportedOperations of a group).
ALL_GROUP_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))


def authorize_all(groups: Iterable[Any]) -> None:
    """Tell of each group that was found that everything is authorized: descriptions of all types of groups."""
    for group in groups:
        if group.error_code == ErrorCode.NONE:
            group.authorized_operations = ALL_GROUP_OPERATIONS


def handle(context: RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Describe the groups in the order asked."""
    groups = context.broker.groups.describe_groups(client_context(context), request.groups)
    if request.include_authorized_operations:
        authorize_all(groups)
    return DescribeGroupsResponse(groups=groups)
