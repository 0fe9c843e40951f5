"""AlterPartition (56), versions 2-3: a leader asks for another ISR (KIP-497, KIP-841, KIP-903)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_partition_request import AlterPartitionRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALTER_PARTITION, 2, 3, listeners=("controller",))


async def handle(context: RequestContext, request: AlterPartitionRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
