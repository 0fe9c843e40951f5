"""Batches of the metadata log: metadata records, and the control records of KRaft (ControlRecordType)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.core.raft.voter_history import ControlRecords
from engine.record.builder import NewRecord, build_batch
from engine.record.control import ControlRecordType, control_key, control_type_of
from engine.record.reader import read_records
from engine.wire import codec
from engine.wire.codec import DecodeError
from engine.wire.message import Message
from engine.wire.messages.leader_change_message import LeaderChangeMessage, Voter
from engine.wire.messages.snapshot_footer_record import SnapshotFooterRecord
from engine.wire.messages.snapshot_header_record import SnapshotHeaderRecord
from engine.wire.record_frames import decode_metadata_record, encode_metadata_record
from engine.world import Buffer


class MetadataNotUnderstood(Exception):
    """The metadata log has a record that this software cannot read: a newer Kafka wrote it."""


def control_batch(records: ControlRecords, *, base_offset: int, epoch: int, timestamp_ms: int) -> bytes:
    """A batch of control records."""
    return bytes(
        build_batch(
            [NewRecord(control_key(kind), value, timestamp=timestamp_ms) for kind, value in records],
            base_offset=base_offset,
            leader_epoch=epoch,
            is_control=True,
        )
    )


def leader_change_batch(
    leader_id: int,
    voter_ids: Iterable[int],
    granting_ids: Iterable[int],
    *,
    timestamp_ms: int,
    more: ControlRecords = (),
) -> bytes:
    """The first batch of a leader's epoch; ``more`` are further records in it."""
    message = LeaderChangeMessage(
        version=0,
        leader_id=leader_id,
        voters=[Voter(voter_id=each) for each in voter_ids],
        granting_voters=[Voter(voter_id=each) for each in granting_ids],
    )
    first = (ControlRecordType.LEADER_CHANGE, codec.encode(message, 0))
    return control_batch([first, *more], base_offset=0, epoch=0, timestamp_ms=timestamp_ms)


def snapshot_header_batch(
    last_contained_log_timestamp_ms: int, *, epoch: int, timestamp_ms: int, more: ControlRecords = ()
) -> bytes:
    """The first batch of a snapshot."""
    value = codec.encode(SnapshotHeaderRecord(0, last_contained_log_timestamp_ms), 0)
    records = [(ControlRecordType.SNAPSHOT_HEADER, value), *more]
    return control_batch(records, base_offset=0, epoch=epoch, timestamp_ms=timestamp_ms)


def snapshot_footer_batch(*, base_offset: int, epoch: int, timestamp_ms: int) -> bytes:
    """The last batch of a snapshot."""
    value = codec.encode(SnapshotFooterRecord(0), 0)
    records = [(ControlRecordType.SNAPSHOT_FOOTER, value)]
    return control_batch(records, base_offset=base_offset, epoch=epoch, timestamp_ms=timestamp_ms)


def is_snapshot_footer(key: bytes | memoryview | None) -> bool:
    """Whether a control record's key is that of a snapshot's footer."""
    return control_type_of(key) is ControlRecordType.SNAPSHOT_FOOTER


def encode_records(records: Iterable[Message]) -> list[bytes]:
    """Framed metadata records, ready to be values of a batch."""
    return [encode_metadata_record(record) for record in records]


def metadata_batch(values: Sequence[bytes], *, base_offset: int = 0, epoch: int = 0, timestamp_ms: int) -> bytes:
    """A batch of framed metadata records."""
    return bytes(
        build_batch(
            [NewRecord(None, value, timestamp=timestamp_ms) for value in values],
            base_offset=base_offset,
            leader_epoch=epoch,
        )
    )


def decode_batch(batch: Buffer) -> list[Message]:
    """The metadata records of a data batch.

    Raises:
        KafkaError: the batch is corrupt.
        MetadataNotUnderstood: a record is of a type or version that is not known.
    """
    found: list[Message] = []
    for record in read_records(batch):
        try:
            found.append(decode_metadata_record(record.value or b"")[0])
        except DecodeError as error:
            raise MetadataNotUnderstood(
                f"the record at offset {record.offset} of the metadata cannot be read ({error}): a newer version of "
                "Kafka than 4.3 wrote it, or it is damaged; start that version on this directory"
            ) from error
    return found
