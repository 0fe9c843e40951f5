"""A coordinator's topic, as :class:`~engine.broker.coordinator_runtime.CoordinatorRuntime` uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.core.replica.outputs import AppendCommitted
from engine.model.errors import ErrorCode, KafkaError
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression

if TYPE_CHECKING:
    from engine.broker.coordinator_log import KeyValue
    from engine.broker.replica import Replica
    from engine.broker.replica_manager import ReplicaManager
    from engine.world import Buffer, World


class _Committed:
    """The token of one append (CommitWaiter)."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()

    def on_committed(self, answer: AppendCommitted) -> None:
        if not self.future.done():
            self.future.set_result(answer.error)


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

    async def append(self, partition: int, leader_epoch: int, records: list[KeyValue], timeout_ms: int) -> None:
        """Append one batch and wait until it is committed.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER if the broker does not lead in ``leader_epoch``; REQUEST_TIMED_OUT,
                NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is in the log all the same.
        """
        replica = self._led(partition)
        if replica.partition.leader_epoch != leader_epoch:
            raise KafkaError(
                ErrorCode.NOT_LEADER_OR_FOLLOWER,
                f"{replica.topic_partition} is led in epoch {replica.partition.leader_epoch}, not {leader_epoch}",
            )
        now_ms = self._clock.now_ms()
        batch = build_batch(
            [NewRecord(key, value, timestamp=now_ms) for key, value in records], compression=self._compression
        )
        info = self._manager.append(replica, batch, -1, origin="coordinator")
        waiter = _Committed()
        answer = replica.partition.wait_until_committed(info.last_offset + 1, waiter)
        error = answer.error if answer is not None else None
        if error is None:
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    error = await waiter.future
            except TimeoutError:
                replica.partition.forget_waiting(waiter)
                raise KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT, f"{replica.topic_partition}: not committed within {timeout_ms} ms"
                ) from None
        if error is not ErrorCode.NONE:
            raise KafkaError(error, f"{replica.topic_partition}: {error.name}")

    def on_high_watermark_advanced(self, listener: Callable[[int, int], None]) -> None:
        """Have ``listener(partition, high_watermark)`` called whenever a high watermark advances."""
        self._manager.on_high_watermark_advanced(self._topic, listener)
