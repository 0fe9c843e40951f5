"""Vote (52), versions 0-2, on the controller listener. 1: voter key (KIP-853); 2: pre-vote (KIP-996)."""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.vote_request import VoteRequest

API = ApiSpec(ApiKey.VOTE, 0, 2, listeners=("controller",))


async def handle(context: RequestContext, request: VoteRequest) -> Message:
    """Give or refuse this node's vote; answered when it is on disk."""
    return await context.broker.quorum.handle_vote(request, context.api_version)
