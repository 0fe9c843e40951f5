"""BeginQuorumEpoch (53), versions 0-1, on the controller listener. 1: voter key and leader endpoints (KIP-853)."""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.begin_quorum_epoch_request import BeginQuorumEpochRequest

API = ApiSpec(ApiKey.BEGIN_QUORUM_EPOCH, 0, 1, listeners=("controller",))


async def handle(context: RequestContext, request: BeginQuorumEpochRequest) -> Message:
    """Follow the new leader."""
    return await context.broker.quorum.handle_begin_quorum_epoch(request, context.api_version)
