"""Envelope (58), version 0: a client's request that a broker passes on to the active controller (KIP-590).

Brokers of this project and of Kafka forward in this way what only the controller can do. What is inside is a request
with its header, and so is the answer. If this node is not the active controller the envelope says so, and the broker
asks another. Until there is security the principal inside is read and of no consequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.enveloping import answer_enveloped, open_envelope
from engine.core.controller.error_responses import is_not_controller
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.envelope_request import EnvelopeRequest
from engine.wire.messages.envelope_response import EnvelopeResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.ENVELOPE, 0, 0, listeners=("controller",))


async def handle(context: RequestContext, request: EnvelopeRequest) -> EnvelopeResponse:
    """Answer what is inside; errors of the envelope alone are its own (EnvelopeUtils)."""
    try:
        enclosed = open_envelope(context, request)
        response = await enclosed.answer()
    except KafkaError as error:
        return EnvelopeResponse(error_code=int(error.code))
    if is_not_controller(response):
        return EnvelopeResponse(error_code=int(ErrorCode.NOT_CONTROLLER))
    return EnvelopeResponse(response_data=answer_enveloped(enclosed.context, response))
