"""PushTelemetry (72), version 0: metrics of a client, as OpenTelemetry has them (KIP-714).

Only with kconsole.client.telemetry.enable. Names and values go to the stream of facts; a push unpacks to eight times
telemetry.max.bytes at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.push_telemetry_request import PushTelemetryRequest
from engine.wire.messages.push_telemetry_response import PushTelemetryResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.PUSH_TELEMETRY, 0, 0)


def handle(context: RequestContext, request: PushTelemetryRequest) -> PushTelemetryResponse:
    """Taken, or refused with the reason."""
    try:
        context.broker.telemetry.push(context, request)
    except KafkaError as error:
        return PushTelemetryResponse(error_code=int(error.code))
    return PushTelemetryResponse()
