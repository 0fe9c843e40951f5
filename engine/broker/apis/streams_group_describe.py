"""StreamsGroupDescribe (89), version 0: streams groups with their topology, members, epochs and tasks (KIP-1071).

Groups of other kinds are GROUP_ID_NOT_FOUND here. There is no authorizer that refuses, so every operation that a group
has is authorized. UNSUPPORTED_VERSION as StreamsGroupHeartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.apis.describe_groups import authorize_all
from engine.broker.group_coordinator_service import serves_streams_protocol
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.streams_group_describe_request import StreamsGroupDescribeRequest
from engine.wire.messages.streams_group_describe_response import DescribedGroup, StreamsGroupDescribeResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.STREAMS_GROUP_DESCRIBE, 0, 0)


def handle(context: RequestContext, request: StreamsGroupDescribeRequest) -> StreamsGroupDescribeResponse:
    """Describe the groups in the order asked."""
    if not serves_streams_protocol(context.broker.config, context.broker.metadata.image):
        refused = int(ErrorCode.UNSUPPORTED_VERSION)
        return StreamsGroupDescribeResponse(
            groups=[DescribedGroup(group_id=group_id, error_code=refused) for group_id in request.group_ids]
        )
    groups = context.broker.groups.describe_streams_groups(request.group_ids)
    if request.include_authorized_operations:
        authorize_all(groups)
    return StreamsGroupDescribeResponse(groups=groups)
