"""Takes the metrics that clients push (KIP-714) and tells them as facts.

Kafka: ClientMetricsManager, ClientTelemetryReceiver.

Kafka serves this only if a metrics plugin takes what clients push; here kconsole.client.telemetry.enable does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.client_telemetry import ClientAttributes, Subscribed, TelemetryInstances, subscribed
from engine.core.controller.image import CLIENT_METRICS_RESOURCE
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid, uuid_to_str
from engine.record.compression import Compression, decompress
from engine.wire.otlp import NotOtlp, read_metrics

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext
    from engine.wire.messages.push_telemetry_request import PushTelemetryRequest

# A push unpacks to this many times telemetry.max.bytes at most, and so many of its metrics are told.
_MOST_UNPACKED = 8
_MOST_METRICS = 500


class ClientTelemetry:
    """One broker's clients and what they push."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._instances = TelemetryInstances()

    def subscribe(self, context: RequestContext, instance_id: Uuid) -> Subscribed:
        """What the client shall push. Raises: KafkaError: THROTTLING_QUOTA_EXCEEDED."""
        found = self._subscribed(context, instance_id)
        self._instances.on_get(instance_id, found, self._broker.world.clock.monotonic_ms())
        return found

    def push(self, context: RequestContext, request: PushTelemetryRequest) -> None:
        """Take what a client pushes.

        Raises:
            KafkaError: what ``TelemetryInstances.on_push`` raises; UNSUPPORTED_COMPRESSION_TYPE; TELEMETRY_TOO_LARGE;
                INVALID_RECORD: it does not unpack, or is no metrics.
        """
        broker, instance_id = self._broker, request.client_instance_id
        self._instances.on_push(
            instance_id,
            self._subscribed(context, instance_id),
            request.subscription_id,
            is_terminating=request.terminating,
            now_ms=broker.world.clock.monotonic_ms(),
        )
        if not 0 <= request.compression_type <= max(Compression):
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression {request.compression_type}")
        limit = broker.config.telemetry_max_bytes
        if len(request.metrics) > limit:
            raise KafkaError(
                ErrorCode.TELEMETRY_TOO_LARGE, f"{len(request.metrics)} bytes; telemetry.max.bytes is {limit}"
            )
        metrics = {}
        if request.metrics:
            try:
                data = decompress(Compression(request.compression_type), request.metrics, limit * _MOST_UNPACKED)
                metrics = read_metrics(data, _MOST_METRICS)
            except (KafkaError, NotOtlp) as error:
                raise KafkaError(ErrorCode.INVALID_RECORD, str(error)) from None
        broker.publisher.publish(
            "client_metrics",
            client_instance_id=uuid_to_str(instance_id),
            terminating=request.terminating,
            metrics=metrics,
            **_attributes(context)._asdict(),
        )

    def _subscribed(self, context: RequestContext, instance_id: Uuid) -> Subscribed:
        configs = self._broker.metadata.image.configs
        subscriptions = {name: each for (kind, name), each in configs.items() if kind == CLIENT_METRICS_RESOURCE}
        return subscribed(subscriptions, instance_id, _attributes(context))


def _attributes(context: RequestContext) -> ClientAttributes:
    connection = context.connection
    name, version = connection.client_software
    return ClientAttributes(context.client_id or "", name, version, connection.peer_host, str(connection.peer_port))
