"""What a worker is doing, in Kafka's words."""

from __future__ import annotations

from enum import StrEnum

from engine.streams.errors import StreamsError


class WorkerStopped(StreamsError):
    """The worker was told to end while it waited for brokers."""


class WorkerState(StrEnum):
    """As ``KafkaStreams.State``."""

    CREATED = "CREATED"
    REBALANCING = "REBALANCING"
    RUNNING = "RUNNING"
    PENDING_SHUTDOWN = "PENDING_SHUTDOWN"
    NOT_RUNNING = "NOT_RUNNING"
    ERROR = "ERROR"
