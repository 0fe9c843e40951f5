"""FetchSnapshot (59), versions 0-1, on the controller listener (KIP-630). 1: replica directory id (KIP-853)."""

from __future__ import annotations

from engine.broker.api_spec import ApiSpec
from engine.broker.context import RequestContext
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.fetch_snapshot_request import FetchSnapshotRequest

API = ApiSpec(ApiKey.FETCH_SNAPSHOT, 0, 1, listeners=("controller",))


async def handle(context: RequestContext, request: FetchSnapshotRequest) -> Message:
    """Answer a part of a snapshot of the metadata log."""
    return await context.broker.quorum.handle_fetch_snapshot(request, context.api_version)
