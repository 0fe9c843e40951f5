"""EndQuorumEpoch (54), versions 0-1, on the controller listener. 1: candidates with directory ids (KIP-853)."""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.end_quorum_epoch_request import EndQuorumEpochRequest

API = ApiSpec(ApiKey.END_QUORUM_EPOCH, 0, 1, listeners=("controller",))


async def handle(context: RequestContext, request: EndQuorumEpochRequest) -> Message:
    """Hear that the leader resigns; the preferred successor stands at once."""
    return await context.broker.quorum.handle_end_quorum_epoch(request, context.api_version)
