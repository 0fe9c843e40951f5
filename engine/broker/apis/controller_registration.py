"""ControllerRegistration (70), version 0: a controller's listeners and features (KIP-919)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.controller_registration_request import ControllerRegistrationRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.CONTROLLER_REGISTRATION, 0, 0, listeners=("controller",))


async def handle(context: RequestContext, request: ControllerRegistrationRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
