"""ConsumerGroupHeartbeat (68), versions 0-1: members of consumer groups join, stay, reconcile and leave (KIP-848).

Version 1 adds subscriptions by regular expression, and member ids that clients make themselves. Answered with
UNSUPPORTED_VERSION while group.version is 0 or ``consumer`` is not in group.coordinator.rebalance.protocols, as in
Kafka. Not done: assignors other than uniform and range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context, serves_consumer_protocol
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest
from engine.wire.messages.consumer_group_heartbeat_response import ConsumerGroupHeartbeatResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.CONSUMER_GROUP_HEARTBEAT, 0, 1)


async def handle(context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
    """Answer one heartbeat."""
    if not serves_consumer_protocol(context.broker.config, context.broker.metadata.image):
        return ConsumerGroupHeartbeatResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    return await context.broker.groups.consumer_group_heartbeat(client_context(context), request)
