"""What a coordinator's runtime asks of its topic's logs and of the form of its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from engine.model.errors import ErrorCode
from engine.world import Buffer

KeyValue = tuple[bytes, bytes | None]


class CoordinatorLogs(Protocol):
    """The logs of the coordinator's topic on this broker, by partition number."""

    def log_start_offset(self, partition: int) -> int:
        """Raises: KafkaError: NOT_LEADER_OR_FOLLOWER if the partition is not led here."""

    def log_end_offset(self, partition: int) -> int: ...

    def high_watermark(self, partition: int) -> int: ...

    def max_batch_bytes(self, partition: int) -> int:
        """The topic's max.message.bytes."""

    def read(self, partition: int, offset: int, max_bytes: int) -> Buffer:
        """Whole batches from ``offset`` up to the log end, at least one."""

    def check_append(self, partition: int) -> None:
        """Raises: KafkaError: why an append would be refused now, for instance NOT_ENOUGH_REPLICAS."""

    async def append(self, partition: int, leader_epoch: int, records: list[KeyValue], timeout_ms: int) -> None:
        """Append one batch and return when it is committed (acks=all).

        The local append must happen before the first suspension, so that calls append in the order in which they are
        started.

        Raises:
            KafkaError: REQUEST_TIMED_OUT or NOT_ENOUGH_REPLICAS_AFTER_APPEND when the batch is in the log but not
                committed in time; anything else when it is not in the log.
        """

    def on_high_watermark_advanced(self, listener: Callable[[int, int], None]) -> None:
        """Have ``listener(partition, high_watermark)`` called whenever a high watermark advances."""


class RecordCodec(Protocol):
    """How a shard's records become bytes."""

    def encode(self, record: Any) -> KeyValue: ...

    def decode(self, key: Buffer, value: Buffer | None) -> tuple[Any, Any] | None:
        """Key and value, or None for a type of record that this version does not know."""


# Errors of an append after which the batch is in the log all the same.
APPENDED = frozenset({ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND})


def client_error(append_error: ErrorCode) -> ErrorCode:
    """What a client is told when an append failed (CoordinatorOperationExceptionHelper)."""
    match append_error:
        case (
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode.NOT_ENOUGH_REPLICAS
            | ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode.REQUEST_TIMED_OUT
        ):
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        case ErrorCode.NOT_LEADER_OR_FOLLOWER | ErrorCode.FENCED_LEADER_EPOCH | ErrorCode.KAFKA_STORAGE_ERROR:
            return ErrorCode.NOT_COORDINATOR
        case ErrorCode.MESSAGE_TOO_LARGE | ErrorCode.RECORD_LIST_TOO_LARGE | ErrorCode.INVALID_FETCH_SIZE:
            return ErrorCode.UNKNOWN_SERVER_ERROR
        case _:
            return append_error
