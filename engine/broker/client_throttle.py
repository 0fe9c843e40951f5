"""Clients that want more than their quota: told so, and not heard for a while (KIP-219).

Kafka: QuotaManagers, ClientQuotaManager, ClientRequestQuotaManager, ControllerMutationQuotaManager (KIP-599),
ConnectionQuotas (KIP-612).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from engine.core.client_quota_meters import ClientQuotaMeters, MutationCharge, MutationQuotas, RateMeter
from engine.core.controller.client_quotas import (
    CONNECTION_CREATION_RATE,
    CONSUMER_BYTE_RATE,
    CONTROLLER_MUTATION_RATE,
    IP,
    PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE,
)
from engine.wire.apis import ApiKey

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
# From which version on a request is refused when the quota is exceeded; before, it is done and the client waits.
_STRICT_FROM = {ApiKey.CREATE_TOPICS: 6, ApiKey.DELETE_TOPICS: 5, ApiKey.CREATE_PARTITIONS: 3}
# The default of max.connection.creation.rate.
_NO_LIMIT = 2**31 - 1


class ClientThrottle:
    """The quotas of clients on this broker, and of those whose requests it answers as the controller."""

    def __init__(self, clock: Clock, config: BrokerConfig, metadata: MetadataCache) -> None:
        self._clock = clock
        self._metadata = metadata
        window = config.quota_window_num, config.quota_window_size_seconds * 1000.0
        self._produce = ClientQuotaMeters(PRODUCER_BYTE_RATE, *window)
        self._fetch = ClientQuotaMeters(CONSUMER_BYTE_RATE, *window)
        self._requests = ClientQuotaMeters(REQUEST_PERCENTAGE, *window)
        self._mutations = MutationQuotas(
            CONTROLLER_MUTATION_RATE,
            config.controller_quota_window_num,
            config.controller_quota_window_size_seconds * 1000.0,
        )
        self._config = config
        self._window = window
        self._accepted = RateMeter(*window)
        # Connections a second: by address, None for all others.
        self._connection_rates: dict[str | None, float] = {}
        self._connections = ClientQuotaMeters(CONNECTION_CREATION_RATE, *window)
        self._known: Mapping[Any, Any] = {}

    def _refresh(self) -> None:
        # Images share what did not change.
        quotas = self._metadata.image.client_quotas
        if quotas is not self._known:
            self._known = quotas
            self._produce.use(quotas)
            self._fetch.use(quotas)
            self._requests.use(quotas)
            self._mutations.use(quotas)
            self._connection_rates = {
                entity[0][1]: values[CONNECTION_CREATION_RATE]
                for entity, values in quotas.items()
                if entity[0][0] == IP and CONNECTION_CREATION_RATE in values
            }

    def throttles_producers(self) -> bool:
        """Whether any producer has a quota."""
        self._refresh()
        return self._produce.is_used

    def throttles_consumers(self) -> bool:
        """Whether any consumer has a quota."""
        self._refresh()
        return self._fetch.is_used

    def throttles_requests(self) -> bool:
        """Whether the time that any client's requests take has a quota."""
        self._refresh()
        return self._requests.is_used

    def most_bytes(self, context: RequestContext) -> float:
        """What a consumer may be given at one time."""
        return self._fetch.burst_of(_USER, context.client_id or "")

    def produced(self, context: RequestContext, size: int) -> int:
        """A producer wrote so much: how long (ms) it is not heard."""
        return self._produce.record(_USER, context.client_id or "", size, self._clock.monotonic_ms())

    def fetched(self, context: RequestContext, size: int) -> int:
        """A consumer is given so much: how long (ms) it is not heard afterwards."""
        return self._fetch.record(_USER, context.client_id or "", size, self._clock.monotonic_ms())

    def took(self, context: RequestContext, milliseconds: float) -> int:
        """A request kept the broker busy for so long: how long (ms) the client is not heard, a window at most."""
        percent = milliseconds / 10
        wait_ms = self._requests.record(_USER, context.client_id or "", percent, self._clock.monotonic_ms())
        return min(wait_ms, int(self._window[1]))

    def mutating(self, context: RequestContext) -> MutationCharge | None:
        """What a client's request to the controller pays with; None without a quota."""
        strict_from = _STRICT_FROM.get(ApiKey(context.api_key))
        if strict_from is None:
            return None
        self._refresh()
        if not self._mutations.is_used:
            return None
        now_ms = self._clock.monotonic_ms()
        is_strict = context.api_version >= strict_from
        return self._mutations.charge(_USER, context.client_id or "", now_ms, is_strict=is_strict)

    def told_quota(self, api: str, client_id: str) -> str:
        """The quota that a client of an API is held to, in words; empty if it has none of these."""
        for meters, unit in (
            (self._produce if api == ApiKey.PRODUCE.name else self._fetch, "bytes/s"),
            (self._requests, "% of a request handler's time"),
        ):
            found = meters.quota_of(_USER, client_id)
            if found is not None:
                return f"{found[0]:g} {unit}"
        return ""

    def connected(self, address: str) -> int:
        """Somebody connected: how long (ms) the connection is left alone and then closed, for the address has too many
        of them in too short a time; 0 if it may stay."""
        self._refresh()
        rates = self._connection_rates
        quota = rates.get(address, rates.get(None)) if rates else None
        if quota is None:
            return 0
        meter = self._connections.meter_of((None, address))
        now_ms = self._clock.monotonic_ms()
        most_ms = int(self._window[1])
        if quota == 0:
            return most_ms
        meter.record(1, now_ms)
        wait_ms = meter.throttle_ms(quota, now_ms)
        if wait_ms:
            # It will not have been one.
            meter.record(-1, now_ms)
        return min(wait_ms, most_ms)

    def accepted(self) -> int:
        """Somebody may stay: how long (ms) the connection waits, by max.connection.creation.rate."""
        quota = self._config.max_connection_creation_rate
        if quota >= _NO_LIMIT:
            return 0
        now_ms = self._clock.monotonic_ms()
        self._accepted.record(1, now_ms)
        return min(self._accepted.throttle_ms(max(quota, 1), now_ms), int(self._window[1]))


_Response = TypeVar("_Response", bound="ProduceResponse | FetchResponse | None")


def throttled(context: RequestContext, response: _Response, throttle_ms: int) -> _Response:
    """The answer (``None`` if the client wants none): it tells the client, whose connection is not read for so long."""
    if throttle_ms > 0:
        if response is not None:
            response.throttle_time_ms = throttle_ms
        context.connection.mute(throttle_ms)
        context.broker.refusals.throttled(context, ApiKey(context.api_key).name, throttle_ms)
    return response
