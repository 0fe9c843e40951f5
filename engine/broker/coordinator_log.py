"""What a coordinator's runtime asks of its topic's logs and of the form of its records."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from engine.model.errors import ErrorCode
from engine.storage.producer_state import VerificationStateEntry
from engine.world import Buffer

KeyValue = tuple[bytes, bytes | None]


class TransactionalProducer(NamedTuple):
    """In whose transaction records are written. ``guard`` is what verified that the transaction is open, None where
    that was not asked for."""

    producer_id: int
    producer_epoch: int
    guard: VerificationStateEntry | None = None


class TransactionMarker(NamedTuple):
    """The end of a producer's transaction in one partition (WriteTxnMarkers)."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    committed: bool
    transaction_version: int


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

    def append(
        self,
        partition: int,
        leader_epoch: int,
        records: list[KeyValue],
        timeout_ms: int,
        producer: TransactionalProducer | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Append one batch now, in ``producer``'s transaction if there is one; what is returned waits until it is
        committed (acks=all).

        Raises:
            KafkaError: the batch is not in the log.

        What is returned raises:
            KafkaError: REQUEST_TIMED_OUT or NOT_ENOUGH_REPLICAS_AFTER_APPEND when the batch is not committed in time;
                any other when it will not be, or not here.
        """

    def append_marker(
        self, partition: int, leader_epoch: int, marker: TransactionMarker, timeout_ms: int
    ) -> Coroutine[Any, Any, None]:
        """The same for the end of a transaction."""

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
        case ErrorCode.NETWORK_EXCEPTION:
            # A transaction could not be verified: a code at which clients of every age try again (KIP-890).
            return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        case ErrorCode.MESSAGE_TOO_LARGE | ErrorCode.RECORD_LIST_TOO_LARGE | ErrorCode.INVALID_FETCH_SIZE:
            return ErrorCode.UNKNOWN_SERVER_ERROR
        case _:
            return append_error
