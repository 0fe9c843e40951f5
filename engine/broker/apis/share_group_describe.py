"""ShareGroupDescribe (77), version 1: share groups with their members, epochs and assignments (KIP-932).

Groups of other types are GROUP_ID_NOT_FOUND here. There is no authorizer that refuses, so every operation that a group
has is authorized. UNSUPPORTED_VERSION as ShareGroupHeartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.apis.describe_groups import authorize_all
from engine.broker.share_group_service import serves_share_groups
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.share_group_describe_request import ShareGroupDescribeRequest
from engine.wire.messages.share_group_describe_response import DescribedGroup, ShareGroupDescribeResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.SHARE_GROUP_DESCRIBE, 1, 1)


def handle(context: RequestContext, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse:
    """Describe the groups in the order asked."""
    if not serves_share_groups(context.broker.metadata.image):
        refused = int(ErrorCode.UNSUPPORTED_VERSION)
        return ShareGroupDescribeResponse(
            groups=[DescribedGroup(group_id=group_id, error_code=refused) for group_id in request.group_ids]
        )
    groups = context.broker.sharing.groups.describe(request.group_ids)
    if request.include_authorized_operations:
        authorize_all(groups)
    return ShareGroupDescribeResponse(groups=groups)
