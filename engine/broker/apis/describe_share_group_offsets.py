"""DescribeShareGroupOffsets (90), versions 0-1: where share groups stand in partitions (KIP-932). Version 1 brings the
lag (KIP-1226): records that were not dealt with yet.

Answered by the group's coordinator; partitions that a group does not read have start offset -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_share_group_offsets_request import DescribeShareGroupOffsetsRequest
from engine.wire.messages.describe_share_group_offsets_response import DescribeShareGroupOffsetsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS, 0, 1)


async def handle(
    context: RequestContext, request: DescribeShareGroupOffsetsRequest
) -> DescribeShareGroupOffsetsResponse:
    """Answer the request."""
    return await context.broker.sharing.offsets.describe(request)
