"""ListPartitionReassignments (46), version 0: what is being moved (KIP-455)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.list_partition_reassignments_request import ListPartitionReassignmentsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: ListPartitionReassignmentsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
