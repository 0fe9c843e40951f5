"""ConsumerGroupDescribe (69), versions 0-1: consumer groups with their members, epochs and assignments (KIP-848).

Version 1 tells which protocol each member speaks. Classic groups are GROUP_ID_NOT_FOUND here. There is no authorizer
that refuses, so every operation that a group has is authorized. UNSUPPORTED_VERSION as ConsumerGroupHeartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.apis.describe_groups import authorize_all
from engine.broker.group_coordinator_service import serves_consumer_protocol
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.consumer_group_describe_request import ConsumerGroupDescribeRequest
from engine.wire.messages.consumer_group_describe_response import ConsumerGroupDescribeResponse, DescribedGroup

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.CONSUMER_GROUP_DESCRIBE, 0, 1)


def handle(context: RequestContext, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse:
    """Describe the groups in the order asked."""
    if not serves_consumer_protocol(context.broker.config, context.broker.metadata.image):
        refused = int(ErrorCode.UNSUPPORTED_VERSION)
        return ConsumerGroupDescribeResponse(
            groups=[DescribedGroup(group_id=group_id, error_code=refused) for group_id in request.group_ids]
        )
    groups = context.broker.groups.describe_consumer_groups(request.group_ids)
    if request.include_authorized_operations:
        authorize_all(groups)
    return ConsumerGroupDescribeResponse(groups=groups)
