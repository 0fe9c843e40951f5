"""Records of ``__transaction_state``: what the machine appends, in the versions that Kafka 4.3 writes (TransactionLog).

Values are written in version 1 (flexible: with the previous and next producer id and the client's transaction.version)
from transaction.version 1 on, else in version 0. Keys are not flexible: a transactional id has at most 32,767 bytes.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from engine.core.effects import Effects
from engine.core.txn.metadata import NO_PRODUCER_EPOCH, TransactionMetadata
from engine.core.txn.states import TransactionState
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.transaction_log_key import TransactionLogKey
from engine.wire.messages.transaction_log_value import PartitionsSchema, TransactionLogValue

MAX_STRING_BYTES = 32_767
_FIRST_TRANSACTION_VERSION_WITH_FLEXIBLE_RECORDS = 1


class TransactionRecord(NamedTuple):
    """One record to append; ``value`` None is a tombstone, ``value_version`` then means nothing."""

    key: TransactionLogKey
    value: TransactionLogValue | None
    value_version: int


class MarkersToWrite(NamedTuple):
    """The decision about a transaction is in the log: tell it to the leaders of its partitions.

    The shell answers with ``on_markers_written``, for some of the partitions or for all of them; a transaction without
    partitions is answered at once.
    """

    transactional_id: str
    producer_id: int
    producer_epoch: int
    committed: bool
    partitions: tuple[TopicPartition, ...]
    transaction_version: int


class ProducerIdWanted(NamedTuple):
    """A transaction timed out, and its producer's epochs are used up: ``on_timed_out`` wants another producer id."""

    transactional_id: str
    producer_id: int
    producer_epoch: int


TransactionSend: TypeAlias = MarkersToWrite | ProducerIdWanted

TransactionEffects: TypeAlias = Effects[TransactionRecord, TransactionSend]
"""Sends and replies must be held back until everything appended so far is committed (TransactionCoordinatorShard)."""


def is_writable(transactional_id: str) -> bool:
    """Whether a record can hold the id."""
    return len(transactional_id) * 4 <= MAX_STRING_BYTES or len(transactional_id.encode()) <= MAX_STRING_BYTES


def transaction_record(metadata: TransactionMetadata, transaction_version: int) -> TransactionRecord:
    """A state of a transactional id. ``transaction_version`` is the cluster's."""
    assert metadata.state not in (TransactionState.DEAD, TransactionState.PREPARE_EPOCH_FENCE), metadata
    value = TransactionLogValue(
        producer_id=metadata.producer_id,
        producer_epoch=metadata.producer_epoch,
        transaction_timeout_ms=metadata.timeout_ms,
        transaction_status=int(metadata.state),
        transaction_partitions=_by_topic(metadata),
        transaction_last_update_timestamp_ms=metadata.last_update_timestamp_ms,
        transaction_start_timestamp_ms=metadata.start_timestamp_ms,
    )
    is_flexible = transaction_version >= _FIRST_TRANSACTION_VERSION_WITH_FLEXIBLE_RECORDS
    if is_flexible:
        value.previous_producer_id = metadata.previous_producer_id
        value.next_producer_id = metadata.next_producer_id
        value.client_transaction_version = metadata.client_transaction_version
    return TransactionRecord(TransactionLogKey(metadata.transactional_id), value, int(is_flexible))


def _by_topic(metadata: TransactionMetadata) -> list[PartitionsSchema] | None:
    if metadata.state is TransactionState.EMPTY:
        return None
    by_topic: dict[str, PartitionsSchema] = {}
    for topic, partition in sorted(metadata.partitions):
        by_topic.setdefault(topic, PartitionsSchema(topic)).partition_ids.append(partition)
    return list(by_topic.values())


def transaction_tombstone(transactional_id: str) -> TransactionRecord:
    """The end of a transactional id."""
    return TransactionRecord(TransactionLogKey(transactional_id), None, 0)


def metadata_from_value(transactional_id: str, value: TransactionLogValue) -> TransactionMetadata:
    """What a record says. Raises ``ValueError`` for a state that is not known."""
    state = TransactionState(value.transaction_status)
    partitions = () if state is TransactionState.EMPTY else value.transaction_partitions or ()
    return TransactionMetadata(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        producer_epoch=value.producer_epoch,
        last_producer_epoch=NO_PRODUCER_EPOCH,
        timeout_ms=value.transaction_timeout_ms,
        state=state,
        partitions=frozenset(
            TopicPartition(each.topic, number) for each in partitions for number in each.partition_ids
        ),
        start_timestamp_ms=value.transaction_start_timestamp_ms,
        last_update_timestamp_ms=value.transaction_last_update_timestamp_ms,
        client_transaction_version=value.client_transaction_version,
    )
