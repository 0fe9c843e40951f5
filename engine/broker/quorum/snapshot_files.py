"""Snapshot files of the metadata log: their names, their content (KIP-630; Kafka: Snapshots, RecordsSnapshotWriter).

A snapshot ``<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`` is a run of record batches: a control batch with
the header, the records of the image, a control batch with the footer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from engine.broker.quorum.batches import (
    decode_batch,
    is_snapshot_footer,
    metadata_batch,
    snapshot_footer_batch,
    snapshot_header_batch,
)
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.raft.voter_history import ControlRecords
from engine.record.batch import check_crc, iter_batches
from engine.record.reader import read_records
from engine.wire.message import Message
from engine.wire.record_frames import encode_metadata_record
from engine.world import Buffer

_NAME = re.compile(r"(\d{20})-(\d{10})\.checkpoint")
PARTIAL_SUFFIX = ".part"
BOOTSTRAP_FILE_NAME = "bootstrap.checkpoint"
# Records of a snapshot are cut into batches of about this size (at most 8 MiB: KafkaRaftClient.MAX_BATCH_SIZE_BYTES).
_BATCH_BYTES = 1 << 20


class SnapshotCorrupt(Exception):
    """A snapshot's bytes are not what its writer wrote."""


def snapshot_file_name(snapshot_id: OffsetAndEpoch) -> str:
    """Name of a snapshot's file."""
    return f"{snapshot_id.offset:020d}-{snapshot_id.epoch:010d}.checkpoint"


def parse_snapshot_file_name(name: str) -> OffsetAndEpoch | None:
    """The snapshot id that a file name says, or None if it is not the name of a finished snapshot."""
    match = _NAME.fullmatch(name)
    return None if match is None else OffsetAndEpoch(int(match[1]), int(match[2]))


def encode_snapshot(
    records: Iterable[Message],
    *,
    epoch: int,
    last_contained_log_timestamp_ms: int,
    now_ms: int,
    voters: ControlRecords = (),
) -> Iterator[bytes]:
    """The batches of a snapshot, in order. ``voters``: the control records of the quorum that belong into it."""
    yield snapshot_header_batch(last_contained_log_timestamp_ms, epoch=epoch, timestamp_ms=now_ms, more=voters)
    offset = 1 + len(voters)
    pending: list[bytes] = []
    size = 0
    for record in records:
        value = encode_metadata_record(record)
        pending.append(value)
        size += len(value)
        if size >= _BATCH_BYTES:
            yield metadata_batch(pending, base_offset=offset, epoch=epoch, timestamp_ms=now_ms)
            offset += len(pending)
            pending, size = [], 0
    if pending:
        yield metadata_batch(pending, base_offset=offset, epoch=epoch, timestamp_ms=now_ms)
        offset += len(pending)
    yield snapshot_footer_batch(base_offset=offset, epoch=epoch, timestamp_ms=now_ms)


def encode_bootstrap(records: Iterable[Message], now_ms: int) -> bytes:
    """``bootstrap.checkpoint``: the records that a new cluster's log begins with (BootstrapDirectory)."""
    return b"".join(encode_snapshot(records, epoch=0, last_contained_log_timestamp_ms=0, now_ms=now_ms))


def decode_snapshot(content: Buffer) -> list[Message]:
    """The metadata records of a snapshot.

    Raises:
        SnapshotCorrupt: it does not end with a footer.
        KafkaError: a batch is corrupt.
        MetadataNotUnderstood: a record is of a type or version that is not known.
    """
    records: list[Message] = []
    has_footer = False
    for header, batch in iter_batches(content):
        check_crc(batch, header)
        if header.is_control:
            has_footer = any(is_snapshot_footer(record.key) for record in read_records(batch))
        else:
            records += decode_batch(batch)
    if not has_footer:
        raise SnapshotCorrupt("the snapshot has no footer: it was cut off")
    return records
