"""AlterPartitionReassignments (45), versions 0-1: move replicas between brokers (KIP-455).

Replicas that a topic's ``leader.`` and ``follower.replication.throttled.replicas`` name are copied no faster than the
brokers' ``leader.`` and ``follower.replication.throttled.rate`` while they are not in sync (KIP-73).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_partition_reassignments_request import AlterPartitionReassignmentsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, 1, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: AlterPartitionReassignmentsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
