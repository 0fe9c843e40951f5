"""ReadShareGroupStateSummary (87), versions 0-1: start offset and epochs of share partitions, not the records' states
(KIP-932). Version 1 brings the count of records behind the start offset that are dealt with (KIP-1226).

Answered by this broker's share coordinator; partitions that another one coordinates are NOT_COORDINATOR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.wire.apis import ApiKey
from engine.wire.messages.read_share_group_state_summary_request import ReadShareGroupStateSummaryRequest
from engine.wire.messages.read_share_group_state_summary_response import ReadShareGroupStateSummaryResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.READ_SHARE_GROUP_STATE_SUMMARY, 0, 1)


async def handle(
    context: RequestContext, request: ReadShareGroupStateSummaryRequest
) -> ReadShareGroupStateSummaryResponse:
    """Answer each partition."""
    return await context.broker.sharing.coordinator.read_summary(request)
