"""Clients that write or read more than their quota: told so, and not heard for a while (KIP-219).

Kafka: QuotaManagers, ClientQuotaManager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from engine.core.client_quota_meters import ClientQuotaMeters
from engine.core.controller.client_quotas import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.broker.context import RequestContext
    from engine.broker.metadata_cache import MetadataCache
    from engine.model.broker_config import BrokerConfig
    from engine.wire.messages.fetch_response import FetchResponse
    from engine.wire.messages.produce_response import ProduceResponse
    from engine.world import Clock

# Until there is security.
_USER = "ANONYMOUS"


class ClientThrottle:
    """The quotas of producers and consumers on this broker."""

    def __init__(self, clock: Clock, config: BrokerConfig, metadata: MetadataCache) -> None:
        self._clock = clock
        self._metadata = metadata
        window = config.quota_window_num, config.quota_window_size_seconds * 1000.0
        self._produce = ClientQuotaMeters(PRODUCER_BYTE_RATE, *window)
        self._fetch = ClientQuotaMeters(CONSUMER_BYTE_RATE, *window)
        self._known: Mapping[Any, Any] = {}

    def _refresh(self) -> None:
        # Images share what did not change.
        quotas = self._metadata.image.client_quotas
        if quotas is not self._known:
            self._known = quotas
            self._produce.use(quotas)
            self._fetch.use(quotas)

    def throttles_producers(self) -> bool:
        """Whether any producer has a quota."""
        self._refresh()
        return self._produce.is_used

    def throttles_consumers(self) -> bool:
        """Whether any consumer has a quota."""
        self._refresh()
        return self._fetch.is_used

    def most_bytes(self, context: RequestContext) -> float:
        """What a consumer may be given at one time."""
        return self._fetch.burst_of(_USER, context.client_id or "")

    def produced(self, context: RequestContext, size: int) -> int:
        """A producer wrote so much: how long (ms) it is not heard."""
        return self._produce.record(_USER, context.client_id or "", size, self._clock.monotonic_ms())

    def fetched(self, context: RequestContext, size: int) -> int:
        """A consumer is given so much: how long (ms) it is not heard afterwards."""
        return self._fetch.record(_USER, context.client_id or "", size, self._clock.monotonic_ms())


_Response = TypeVar("_Response", bound="ProduceResponse | FetchResponse | None")


def throttled(context: RequestContext, response: _Response, throttle_ms: int) -> _Response:
    """The answer (``None`` if the client wants none): it tells the client, whose connection is not read for so long."""
    if throttle_ms > 0:
        if response is not None:
            response.throttle_time_ms = throttle_ms
        context.connection.mute(throttle_ms)
    return response
