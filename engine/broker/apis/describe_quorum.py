"""DescribeQuorum (55), versions 0-2. 1: fetch and caught-up timestamps (KIP-836); 2: directory ids, nodes (KIP-853).

Only the quorum's leader knows how far each replica is. On the broker listener any broker answers, by asking the leader;
on the controller listener a node that does not lead says NOT_LEADER_OR_FOLLOWER, as in Kafka.
"""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest
from engine.wire.messages.describe_quorum_response import DescribeQuorumResponse

API = ApiSpec(ApiKey.DESCRIBE_QUORUM, 0, 2, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: DescribeQuorumRequest) -> Message:
    """Describe here if this node leads, otherwise forward."""
    broker = context.broker
    if context.is_controller_listener or broker.quorum.is_leader:
        return await broker.quorum.handle_describe_quorum(request, context.api_version)
    try:
        response: Message = await broker.forward_for(context, request)
    except (ClientError, KafkaError, TimeoutError, OSError):
        # There is no leader now, or it is just changing: clients ask again.
        return DescribeQuorumResponse(error_code=int(ErrorCode.NOT_LEADER_OR_FOLLOWER))
    return response
