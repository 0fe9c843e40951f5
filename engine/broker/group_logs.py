"""A coordinator's topic, as :class:`~engine.broker.coordinator_runtime.CoordinatorRuntime` uses it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from engine.broker.commit_wait import until_committed
from engine.model.errors import ErrorCode, KafkaError
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker

if TYPE_CHECKING:
    from engine.broker.coordinator_log import KeyValue, TransactionalProducer, TransactionMarker
    from engine.broker.replica import Replica
    from engine.broker.replica_manager import ReplicaManager
    from engine.storage.producer_state import VerificationStateEntry
    from engine.world import Buffer, World


async def _checked(replica: Replica, committed: Coroutine[Any, Any, ErrorCode], timeout_ms: int) -> None:
    error = await committed
    if error is ErrorCode.REQUEST_TIMED_OUT:
        raise KafkaError(error, f"{replica.topic_partition}: not committed within {timeout_ms} ms")
    if error is not ErrorCode.NONE:
        raise KafkaError(error, f"{replica.topic_partition}: {error.name}")


class TopicLogs:
    """CoordinatorLogs over the replicas that this broker leads."""

    def __init__(self, world: World, manager: ReplicaManager, topic: str, compression: Compression) -> None:
        """``compression`` is offsets.topic.compression.codec."""
        self._clock = world.clock
        self._manager = manager
        self._topic = topic
        self._compression = compression

    def _led(self, partition: int) -> Replica:
        replica = self._manager.find(self._topic, None, partition)
        replica.partition.leader_role()
        return replica

    def log_start_offset(self, partition: int) -> int:
        """Raises: KafkaError: NOT_LEADER_OR_FOLLOWER if the partition is not led here."""
        return self._led(partition).log.log_start_offset

    def log_end_offset(self, partition: int) -> int:
        """Where the next record goes. Raises as above."""
        return self._led(partition).log.log_end_offset

    def high_watermark(self, partition: int) -> int:
        """What is committed. Raises as above."""
        return self._led(partition).partition.high_watermark

    def max_batch_bytes(self, partition: int) -> int:
        """The topic's max.message.bytes. Raises as above."""
        return self._led(partition).log.config.max_message_bytes

    def read(self, partition: int, offset: int, max_bytes: int) -> Buffer:
        """Whole batches from ``offset`` up to the log end. Raises as above, or KAFKA_STORAGE_ERROR."""
        replica = self._led(partition)
        try:
            return replica.log.read(offset, max_bytes)
        except OSError as error:
            raise self._manager.read_failed(replica, error) from error

    def check_append(self, partition: int) -> None:
        """Raises as above, or NOT_ENOUGH_REPLICAS with an ISR below the minimum."""
        self._led(partition).partition.check_append(-1)

    def append(
        self,
        partition: int,
        leader_epoch: int,
        records: list[KeyValue],
        timeout_ms: int,
        producer: TransactionalProducer | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Append one batch; what is returned waits until it is committed.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER if the broker does not lead in ``leader_epoch``; INVALID_PRODUCER_EPOCH
                for a producer that was fenced here. It is not in the log.

        What is returned raises:
            KafkaError: REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is in the log all the same.
        """
        now_ms = self._clock.now_ms()
        new = [NewRecord(key, value, timestamp=now_ms) for key, value in records]
        if producer is None:
            batch = build_batch(new, compression=self._compression)
        else:
            batch = build_batch(
                new,
                compression=self._compression,
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                is_transactional=True,
            )
        guard = None if producer is None else producer.guard
        return self._append(partition, leader_epoch, batch, timeout_ms, guard=guard)

    def append_marker(
        self, partition: int, leader_epoch: int, marker: TransactionMarker, timeout_ms: int
    ) -> Coroutine[Any, Any, None]:
        """The same for the end of a transaction.

        Raises also: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
        """
        batch = build_end_transaction_marker(
            committed=marker.committed,
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            timestamp=self._clock.now_ms(),
        )
        return self._append(partition, leader_epoch, batch, timeout_ms, transaction_version=marker.transaction_version)

    def _append(
        self,
        partition: int,
        leader_epoch: int,
        batch: bytes,
        timeout_ms: int,
        *,
        transaction_version: int = 0,
        guard: VerificationStateEntry | None = None,
    ) -> Coroutine[Any, Any, None]:
        replica = self._led(partition)
        if replica.partition.leader_epoch != leader_epoch:
            raise KafkaError(
                ErrorCode.NOT_LEADER_OR_FOLLOWER,
                f"{replica.topic_partition} is led in epoch {replica.partition.leader_epoch}, not {leader_epoch}",
            )
        info = self._manager.append(
            replica,
            batch,
            -1,
            origin="coordinator",
            transaction_version=transaction_version,
            verification=guard,
        )
        committed = until_committed(replica, info.last_offset + 1, timeout_ms)
        return _checked(replica, committed, timeout_ms)

    def on_high_watermark_advanced(self, listener: Callable[[int, int], None]) -> None:
        """Have ``listener(partition, high_watermark)`` called whenever a high watermark advances."""
        self._manager.on_high_watermark_advanced(self._topic, listener)
