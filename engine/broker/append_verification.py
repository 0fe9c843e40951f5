"""Transactional batches on their way into the log: the coordinator is asked about those that may be the first of their
transaction in their partition (ReplicaManager.handleProduceAppend and maybeSendPartitionToTransactionCoordinator,
KIP-890)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.transaction_verification import TransactionSupportedOperation
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.record.batch import HEADER_BYTES, NO_SEQUENCE, read_header

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext
    from engine.storage.producer_state import VerificationStateEntry
    from engine.wire.messages.produce_request import ProduceRequest

_FIRST_VERSION_WITH_TRANSACTION_ABORTABLE = 11
_FIRST_VERSION_WITH_ADDED_PARTITIONS = 12
_FIRST_VERSION_WITH_TOPIC_IDS = 13
_FIRST_OFFSETS_VERSION_WITH_TRANSACTION_ABORTABLE = 4
_FIRST_OFFSETS_VERSION_WITH_ADDED_PARTITIONS = 5

# Producers of every age retry NOT_ENOUGH_REPLICAS without asking for metadata.
_AS_NOT_ENOUGH_REPLICAS = frozenset(
    {
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)


class OffsetsVerification:
    """A group's offsets in a transaction: TxnOffsetCommit."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __call__(
        self,
        partition: TopicPartition,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        api_version: int,
    ) -> VerificationStateEntry | None:
        """The guard under which to append; None if the transaction has begun in the partition, or nobody is asked.

        Raises:
            KafkaError: what the client is told.
        """
        broker = self._broker
        operation = _operation_of_offsets(api_version)
        replicas = broker.replicas
        if not (operation.supports_epoch_bump or replicas.config.transaction_partition_verification_enable):
            return None
        guard = replicas.find(partition.topic, None, partition.partition).log.producers.start_verification(
            producer_id,
            NO_SEQUENCE,
            producer_epoch,
            supports_epoch_bump=operation.supports_epoch_bump,
            now_ms=broker.world.clock.now_ms(),
        )
        if guard is None:
            return None
        found = await broker.verification.add_or_verify(
            transactional_id, producer_id, producer_epoch, [partition], operation
        )
        error = found.get(partition, ErrorCode.NONE)
        if error is ErrorCode.NETWORK_EXCEPTION:
            # At this one clients of every age try again without looking for another coordinator.
            error = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        if error is not ErrorCode.NONE:
            raise KafkaError(error)
        return guard


class ProduceVerification:
    """One request with a transactional id: what is to be asked, and what came of it."""

    __slots__ = ("_context", "_operation", "_producer", "_transactional_id", "errors", "guards")

    def __init__(self, context: RequestContext, request: ProduceRequest) -> None:
        """Note each partition whose batch may be the first of its transaction there."""
        assert request.transactional_id is not None
        self._context = context
        self._transactional_id: str = request.transactional_id
        self._operation = _operation_of(context.api_version)
        self._producer: tuple[int, int] | None = None
        self.errors: dict[TopicPartition, KafkaError] = {}
        self.guards: dict[TopicPartition, VerificationStateEntry] = {}
        replicas = context.broker.replicas
        if not (self._operation.supports_epoch_bump or replicas.config.transaction_partition_verification_enable):
            return
        now_ms = context.broker.world.clock.now_ms()
        by_id = context.api_version >= _FIRST_VERSION_WITH_TOPIC_IDS
        for topic in request.topic_data:
            for data in topic.partition_data:
                records = data.records
                if records is None or len(records) < HEADER_BYTES:
                    continue
                header = read_header(records)
                if not (header.is_transactional and header.has_producer_id):
                    continue
                try:
                    replica = replicas.find(topic.name, topic.topic_id if by_id else None, data.index)
                    replica.partition.leader_role()
                except KafkaError:
                    continue  # the append says the same
                producer = (header.producer_id, header.producer_epoch)
                if self._producer is not None and self._producer != producer:
                    self.errors[replica.topic_partition] = KafkaError(
                        ErrorCode.INVALID_PRODUCER_ID_MAPPING,
                        "a transactional request has records of one producer only",
                    )
                    continue
                self._producer = producer
                try:
                    guard = replica.log.producers.start_verification(
                        *(header.producer_id, header.base_sequence, header.producer_epoch),
                        supports_epoch_bump=self._operation.supports_epoch_bump,
                        now_ms=now_ms,
                    )
                except KafkaError as error:
                    self.errors[replica.topic_partition] = error
                    continue
                if guard is not None:
                    self.guards[replica.topic_partition] = guard

    async def ask(self) -> None:
        """Ask the coordinator; while the transaction before is being completed, again and again for a short time."""
        assert self._producer is not None
        broker = self._context.broker
        config, clock = broker.config, broker.world.clock
        limit_ms = min(config.add_partitions_to_txn_retry_backoff_max_ms, config.request_timeout_ms)
        deadline_ms = clock.monotonic_ms() + (limit_ms if self._operation.supports_epoch_bump else 0)
        while True:
            found = await broker.verification.add_or_verify(
                self._transactional_id, *self._producer, list(self.guards), self._operation
            )
            if ErrorCode.CONCURRENT_TRANSACTIONS not in found.values() or clock.monotonic_ms() >= deadline_ms:
                break
            await asyncio.sleep(config.add_partitions_to_txn_retry_backoff_ms / 1000)
        for topic_partition, error in found.items():
            self.errors[topic_partition] = self._told(error)

    def _told(self, error: ErrorCode) -> KafkaError:
        if error is ErrorCode.INVALID_TXN_STATE:
            return KafkaError(error, "the partition was not added to the transaction")
        if error in _AS_NOT_ENOUGH_REPLICAS or (
            error is ErrorCode.CONCURRENT_TRANSACTIONS and not self._operation.supports_epoch_bump
        ):
            return KafkaError(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                f"the coordinator could not say whether the partition is part of the transaction: {error.name}",
            )
        return KafkaError(error)


def _operation_of_offsets(version: int) -> TransactionSupportedOperation:
    if version >= _FIRST_OFFSETS_VERSION_WITH_ADDED_PARTITIONS:
        return TransactionSupportedOperation.ADD_PARTITION
    if version >= _FIRST_OFFSETS_VERSION_WITH_TRANSACTION_ABORTABLE:
        return TransactionSupportedOperation.GENERIC_ERROR_SUPPORTED
    return TransactionSupportedOperation.DEFAULT_ERROR


def _operation_of(version: int) -> TransactionSupportedOperation:
    if version >= _FIRST_VERSION_WITH_ADDED_PARTITIONS:
        return TransactionSupportedOperation.ADD_PARTITION
    if version >= _FIRST_VERSION_WITH_TRANSACTION_ABORTABLE:
        return TransactionSupportedOperation.GENERIC_ERROR_SUPPORTED
    return TransactionSupportedOperation.DEFAULT_ERROR
