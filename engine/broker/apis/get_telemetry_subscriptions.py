"""GetTelemetrySubscriptions (71), version 0: which metrics a client shall push, how often (KIP-714).

Only with kconsole.client.telemetry.enable; Kafka serves it only with a plugin that takes the metrics. Subscriptions are
client-metrics resources (``kafka-client-metrics.sh``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import KafkaError
from engine.model.ids import ZERO_UUID
from engine.record.compression import Compression
from engine.wire.apis import ApiKey
from engine.wire.messages.get_telemetry_subscriptions_request import GetTelemetrySubscriptionsRequest
from engine.wire.messages.get_telemetry_subscriptions_response import GetTelemetrySubscriptionsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, 0, 0)

# What the client chooses its compression from, the best first.
_ACCEPTED = (Compression.ZSTD, Compression.LZ4, Compression.GZIP, Compression.SNAPPY)


def handle(context: RequestContext, request: GetTelemetrySubscriptionsRequest) -> GetTelemetrySubscriptionsResponse:
    """A client that has no id yet is given one."""
    broker = context.broker
    instance_id = request.client_instance_id
    if instance_id == ZERO_UUID:
        instance_id = broker.world.random.uuid()
    try:
        found = broker.telemetry.subscribe(context, instance_id)
    except KafkaError as error:
        return GetTelemetrySubscriptionsResponse(error_code=int(error.code))
    return GetTelemetrySubscriptionsResponse(
        client_instance_id=instance_id,
        subscription_id=found.subscription_id,
        accepted_compression_types=[int(each) for each in _ACCEPTED],
        push_interval_ms=found.push_interval_ms,
        telemetry_max_bytes=broker.config.telemetry_max_bytes,
        delta_temporality=True,
        requested_metrics=list(found.metrics),
    )
