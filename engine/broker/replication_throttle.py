"""How fast replicas that are not in sync are copied, of partitions that are to be throttled (KIP-73).

Kafka: ReplicationQuotaManager. ``kafka-reassign-partitions.sh --throttle`` sets both sides: the topic's config says
which replicas, the broker's how many bytes a second all of them together get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.core.client_quota_meters import RateMeter

if TYPE_CHECKING:
    from engine.model.broker_config import BrokerConfig
    from engine.world import Clock


class ReplicationThrottle:
    """One side: what leaders here give away, or what followers here ask for."""

    def __init__(self, clock: Clock, config: BrokerConfig, rate: Callable[[], int]) -> None:
        """``rate()``: bytes a second, as it holds now."""
        self._clock = clock
        self._node_id = config.node_id
        self._rate = rate
        window_ms = config.replication_quota_window_size_seconds * 1000.0
        # Without the burst at the beginning that clients are allowed (SimpleRate).
        self._meter = RateMeter(config.replication_quota_window_num, window_ms, bursts=False)

    def names(self, replicas: tuple[str, ...], partition: int) -> bool:
        """Whether a topic's config names this broker's replica of the partition."""
        if not replicas:
            return False
        return "*" in replicas or f"{partition}:{self._node_id}" in replicas

    @property
    def is_exceeded(self) -> bool:
        """Whether no more may be copied for a while."""
        return self._meter.rate(self._clock.monotonic_ms()) > self._rate()

    def record(self, size: int) -> None:
        """So many bytes of throttled replicas were copied."""
        self._meter.record(size, self._clock.monotonic_ms())
