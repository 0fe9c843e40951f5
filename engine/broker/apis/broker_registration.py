"""BrokerRegistration (62), versions 0-4: a broker asks to belong to the cluster (KIP-631).

The connection that it comes over counts as the broker's own from then on: its end means the broker's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.broker_registration_request import BrokerRegistrationRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.BROKER_REGISTRATION, 0, 4, listeners=("controller",))


async def handle(context: RequestContext, request: BrokerRegistrationRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
