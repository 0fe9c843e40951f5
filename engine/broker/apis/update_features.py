"""UpdateFeatures (57), versions 0-2: raise or lower feature levels (KIP-584)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.update_features_request import UpdateFeaturesRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.UPDATE_FEATURES, 0, 2, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: UpdateFeaturesRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
