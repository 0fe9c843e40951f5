"""Control batches: one record whose key says what it marks (ControlRecordType, EndTransactionMarker).

The values of KRaft's control records are messages of Kafka's schemas: who has the codec encodes them.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, BatchHeader, Buffer, read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.reader import read_records

_KEY = Struct(">hh")
_END_TXN_VALUE = Struct(">hi")
_KEY_VERSION = 0
_END_TXN_VERSION = 0


class ControlRecordType(IntEnum):
    """The second int16 of a control record's key."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


class EndTransactionMarker(NamedTuple):
    """What a transaction's end marker says."""

    committed: bool
    coordinator_epoch: int


def control_key(control_type: ControlRecordType) -> bytes:
    """Key of a control record."""
    return _KEY.pack(_KEY_VERSION, control_type)


def control_type_of(key: Buffer | None) -> ControlRecordType | None:
    """Type that a control record's key says, or ``None`` for one that is not known.

    Raises:
        KafkaError: INVALID_RECORD if it is no such key.
    """
    if key is None or len(key) < _KEY.size:
        raise KafkaError(ErrorCode.INVALID_RECORD, "a control record's key has four bytes")
    version, number = _KEY.unpack_from(key)
    if version < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"a control record's key has version {version}")
    try:
        return ControlRecordType(number)
    except ValueError:
        return None


def build_control_batch(
    control_type: ControlRecordType,
    value: bytes,
    *,
    timestamp: int,
    base_offset: int = 0,
    leader_epoch: int = NO_LEADER_EPOCH,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    is_transactional: bool = False,
) -> bytes:
    """A control batch of one record. ``timestamp`` is in milliseconds."""
    return build_batch(
        [NewRecord(control_key(control_type), value, timestamp=timestamp)],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        is_transactional=is_transactional,
        is_control=True,
    )


def build_end_transaction_marker(
    *,
    committed: bool,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    timestamp: int,
    base_offset: int = 0,
    leader_epoch: int = NO_LEADER_EPOCH,
) -> bytes:
    """The batch that ends a producer's transaction in a partition (MemoryRecords.withEndTransactionMarker)."""
    return build_control_batch(
        ControlRecordType.COMMIT if committed else ControlRecordType.ABORT,
        _END_TXN_VALUE.pack(_END_TXN_VERSION, coordinator_epoch),
        timestamp=timestamp,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        is_transactional=True,
    )


def read_end_transaction_marker(batch: Buffer, header: BatchHeader | None = None) -> EndTransactionMarker | None:
    """The marker in a control batch; ``None`` if it marks something else.

    Raises:
        KafkaError: INVALID_RECORD for bytes that are no control record.
    """
    if header is None:
        header = read_header(batch)
    record = next(iter(read_records(batch, header)), None)
    if record is None:
        return None  # compaction removed it
    control_type = control_type_of(record.key)
    if control_type is not ControlRecordType.COMMIT and control_type is not ControlRecordType.ABORT:
        return None
    if record.value is None or len(record.value) < _END_TXN_VALUE.size:
        raise KafkaError(ErrorCode.INVALID_RECORD, "an end-of-transaction marker has six bytes")
    _, coordinator_epoch = _END_TXN_VALUE.unpack_from(record.value)
    return EndTransactionMarker(control_type is ControlRecordType.COMMIT, coordinator_epoch)


def transaction_outcome(batch: Buffer) -> bool | None:
    """``True`` if the control batch commits a transaction, ``False`` if it aborts one, ``None`` if it does neither."""
    marker = read_end_transaction_marker(batch)
    return None if marker is None else marker.committed
