"""What is in the files of a log directory, as JSON objects one after the other. Kafka: DumpLogSegments.

Each object has ``kind`` and ``file``. The names of their fields are those that DumpLogSegments prints, where it prints
them. A file that is not as it should be has an object of kind ``corrupt`` (``position`` in bytes, ``problem``), and an
active segment whose end is still being written one of kind ``tail``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from engine.model.errors import KafkaError
from engine.model.ids import uuid_to_str
from engine.model.properties import read_properties
from engine.record.batch import DELETE_HORIZON_MASK, BatchHeader, increment_sequence
from engine.record.compression import Compression
from engine.record.reader import Record, read_records
from engine.storage.checkpoints import (
    CLEAN_SHUTDOWN,
    META_PROPERTIES,
    PARTITION_METADATA,
    CheckpointCorrupt,
    decode_lines,
    read_partition_metadata,
)
from engine.storage.inspection.batches import FoundBatch, Stop, position_of, walk
from engine.storage.inspection.index_entries import (
    aborted_entries,
    offset_entries,
    time_entries,
)
from engine.storage.inspection.payloads import Decoder, decoded, decoder_for
from engine.storage.leader_epochs import FILE_NAME as LEADER_EPOCHS
from engine.storage.producer_snapshot import SUFFIX as SNAPSHOT_SUFFIX
from engine.storage.producer_snapshot import SnapshotCorrupt, decode
from engine.storage.segment import INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX
from engine.world import Disk

QUORUM_STATE = "quorum-state"
CHECKPOINT_SUFFIX = "-checkpoint"
METADATA_SNAPSHOT_SUFFIX = ".checkpoint"
# Small files are read whole, and never more of them than this.
_MOST_BYTES = 64 << 20

Entry: TypeAlias = dict[str, Any]


class NotInspectable(Exception):
    """The path is none of what can be looked into; the message says what can."""


class Wanted(NamedTuple):
    """How much of a log is shown.

    ``deep``: each record, unpacked, so that they are counted exactly. ``payloads``: with their keys and values.
    ``decoder``: ``None`` for the one that goes with the topic's name. ``max_records``: in each file; batches where no
    records are shown. ``headers``: the batches' own.
    """

    deep: bool = False
    payloads: bool = False
    decoder: Decoder | None = None
    from_offset: int | None = None
    to_offset: int | None = None
    max_records: int | None = None
    headers: bool = True


def files_in(disk: Disk, path: str) -> list[str]:
    """The files that ``path`` names: itself, or what is in that directory of a partition or broker and can be dumped.

    Raises:
        NotInspectable: there is nothing of a log directory.
    """
    if not disk.is_dir(path):
        if not disk.exists(path):
            raise NotInspectable(f"{path} does not exist")
        if not _is_known(os.path.basename(path)):
            raise NotInspectable(f"{path} is none of {', '.join(_KNOWN)}, or a directory of them")
        return [path]
    found: list[str] = []
    for name in disk.list_dir(path):
        each = f"{path.rstrip('/')}/{name}"
        if disk.is_dir(each):
            found += [f"{each}/{inner}" for inner in disk.list_dir(each) if _is_known(inner)]
        elif _is_known(name):
            found.append(each)
    if not found:
        raise NotInspectable(f"{path} has no file of a log: name a partition's directory, or a log directory")
    return found


_KNOWN = ("*.log", "*.index", "*.timeindex", "*.txnindex", "*.snapshot", "*.checkpoint", "*-checkpoint", "quorum-state")
_NAMES = (META_PROPERTIES, PARTITION_METADATA, QUORUM_STATE, CLEAN_SHUTDOWN)
_SUFFIXES = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, SNAPSHOT_SUFFIX, METADATA_SNAPSHOT_SUFFIX)


def _is_known(name: str) -> bool:
    return name in _NAMES or name.endswith((*_SUFFIXES, CHECKPOINT_SUFFIX))


def dump_file(disk: Disk, path: str, wanted: Wanted) -> Iterator[Entry]:
    """All of one file. Raises ``OSError``, ``NotInspectable``."""
    name = os.path.basename(path)
    if name.endswith((LOG_SUFFIX, METADATA_SNAPSHOT_SUFFIX)):
        yield from dump_log(disk, path, wanted)
        return
    size = disk.file_size(path)
    for suffix, entries in (
        (INDEX_SUFFIX, _dump_offset_index),
        (TIME_INDEX_SUFFIX, _dump_time_index),
        (TXN_INDEX_SUFFIX, _dump_txn_index),
    ):
        if name.endswith(suffix):
            yield {"kind": "file", "file": path, "type": suffix[1:], "size": size}
            yield from entries(disk, path)
            return
    kind = "snapshot" if name.endswith(SNAPSHOT_SUFFIX) else name
    yield {"kind": "file", "file": path, "type": kind, "size": size}
    if size > _MOST_BYTES:
        yield _corrupt(path, 0, f"{size} bytes are too many for such a file")
        return
    try:
        if name.endswith(SNAPSHOT_SUFFIX):
            yield from _dump_producers(disk, path)
        elif name == LEADER_EPOCHS:
            for line in decode_lines(path, disk.read(path)):
                epoch, offset = map(int, line.split())
                yield {"kind": "leaderEpoch", "file": path, "epoch": epoch, "startOffset": offset}
        elif name.endswith(CHECKPOINT_SUFFIX):
            for line in decode_lines(path, disk.read(path)):
                topic, partition, at = line.rsplit(" ", 2)
                found = {"topic": topic, "partition": int(partition), "offset": int(at)}
                yield {"kind": "checkpoint", "file": path, **found}
        elif name == PARTITION_METADATA:
            topic_id = read_partition_metadata(disk, os.path.dirname(path))
            yield {"kind": "partitionMetadata", "file": path, "topicId": uuid_to_str(topic_id or bytes(16))}
        elif name == META_PROPERTIES:
            properties = read_properties(disk.read(path).decode())
            yield {"kind": "metaProperties", "file": path, "properties": properties}
        elif name == QUORUM_STATE:
            yield {"kind": "quorumState", "file": path, "state": json.loads(disk.read(path))}
        elif name == CLEAN_SHUTDOWN:
            content = disk.read(path)
            yield {"kind": "cleanShutdown", "file": path, "state": json.loads(content) if content else {}}
        else:
            raise NotInspectable(f"{path} is none of {', '.join(_KNOWN)}")
    except (SnapshotCorrupt, CheckpointCorrupt) as error:
        yield _corrupt(path, 0, str(error).removeprefix(f"{path} "))
    except ValueError:
        yield _corrupt(path, 0, "its lines are not what they should be")


# -- logs -------------------------------------------------------------------------------------------------------


def dump_log(disk: Disk, path: str, wanted: Wanted) -> Iterator[Entry]:
    """The batches of a segment, or of a snapshot of the metadata; their records as ``wanted`` says; a summary."""
    name = os.path.basename(path)
    is_segment = name.endswith(LOG_SUFFIX)
    decoder = wanted.decoder
    if decoder is None:
        topic = os.path.basename(os.path.dirname(os.path.abspath(path))).rpartition("-")[0]
        decoder = decoder_for(topic) if is_segment else Decoder.METADATA
    stem = name.partition(".")[0].partition("-")[0]
    base_offset = int(stem) if stem.isdigit() else 0
    file = disk.open(path, read_only=True)
    try:
        end = file.size()
        yield {
            "kind": "file",
            "file": path,
            "type": "log" if is_segment else "metadata snapshot",
            "size": end,
            "logStartingOffset": base_offset,
        }
        start = 0
        if is_segment and wanted.from_offset is not None and wanted.from_offset > base_offset:
            start = position_of(disk, path, base_offset, wanted.from_offset)
        counts = _Counts()
        for found in walk(file, start, end):
            if isinstance(found, Stop):
                yield _stop_entry(path, found)
                counts.problems += not found.is_tail
                break
            if wanted.from_offset is not None and found.header.last_offset < wanted.from_offset:
                continue
            if wanted.to_offset is not None and found.header.base_offset > wanted.to_offset:
                break
            if wanted.max_records is not None and counts.shown >= wanted.max_records:
                break
            yield from _dump_batch(path, found, decoder, wanted, counts)
        yield counts.summary(path)
    finally:
        file.close()


class _Counts:
    def __init__(self) -> None:
        self.batches = self.records = self.control = self.bytes = self.problems = self.shown = 0

    def summary(self, path: str) -> Entry:
        return {
            "kind": "summary",
            "file": path,
            "batches": self.batches,
            "records": self.records,
            "controlRecords": self.control,
            "bytes": self.bytes,
            "problems": self.problems,
        }


def _dump_batch(path: str, found: FoundBatch, decoder: Decoder, wanted: Wanted, counts: _Counts) -> Iterator[Entry]:
    header = found.header
    counts.batches += 1
    counts.bytes += header.size_in_bytes
    if wanted.headers:
        yield batch_entry(path, found)
    if not found.crc_matches:
        counts.problems += 1
        yield _corrupt(path, found.position, f"the batch at offset {header.base_offset} does not match its CRC")
    count = header.record_count
    if not (wanted.deep or wanted.payloads):
        counts.shown += 1
    elif found.data is None:
        yield _corrupt(path, found.position, f"a batch of {header.size_in_bytes} bytes is too large to be unpacked")
    else:
        count = 0
        try:
            for record in read_records(found.data, header):
                count += 1
                if _is_within(record.offset, wanted) and (
                    wanted.max_records is None or counts.shown < wanted.max_records
                ):
                    counts.shown += 1
                    yield record_entry(path, found, record, decoder, wanted)
        except KafkaError as error:
            counts.problems += 1
            yield _corrupt(path, found.position, f"the batch at offset {header.base_offset}: {error.message}")
    if header.is_control:
        counts.control += count
    else:
        counts.records += count


def _is_within(offset: int, wanted: Wanted) -> bool:
    return (wanted.from_offset is None or offset >= wanted.from_offset) and (
        wanted.to_offset is None or offset <= wanted.to_offset
    )


def codec_name(header: BatchHeader) -> str:
    """``none``, ``gzip``, ``snappy``, ``lz4``, ``zstd``, or the number of one that does not exist."""
    try:
        return Compression(header.compression).name.lower()
    except ValueError:
        return str(header.compression)


def batch_entry(path: str, found: FoundBatch) -> Entry:
    """The header. ``deleteHorizonMs`` takes the base timestamp's place in a batch that has one (KIP-534)."""
    header = found.header
    has_horizon = bool(header.attributes & DELETE_HORIZON_MASK)
    return {
        "kind": "batch",
        "file": path,
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset,
        "count": header.record_count,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.partition_leader_epoch,
        "isTransactional": header.is_transactional,
        "isControl": header.is_control,
        "deleteHorizonMs": header.base_timestamp if has_horizon else None,
        "position": found.position,
        "timestampType": header.timestamp_type,
        "maxTimestamp": header.max_timestamp,
        "size": header.size_in_bytes,
        "magic": header.magic,
        "compresscodec": codec_name(header),
        "crc": header.crc,
        "isvalid": found.crc_matches,
    }


def record_entry(path: str, found: FoundBatch, record: Record, decoder: Decoder, wanted: Wanted) -> Entry:
    """One record."""
    header = found.header
    sequence = -1
    if header.base_sequence >= 0:
        sequence = increment_sequence(header.base_sequence, record.offset - header.base_offset)
    entry: Entry = {
        "kind": "record",
        "file": path,
        "offset": record.offset,
        "timestampType": header.timestamp_type,
        "timestamp": record.timestamp,
        "keySize": -1 if record.key is None else len(record.key),
        "valueSize": -1 if record.value is None else len(record.value),
        "sequence": sequence,
        "isControl": header.is_control,
    }
    if not header.is_control:
        entry["headers"] = [
            {"key": name, "value": None if value is None else value.decode(errors="backslashreplace")}
            for name, value in record.headers
        ]
    if wanted.payloads or header.is_control:
        entry |= decoded(record, decoder, is_control=header.is_control)
    return entry


def _stop_entry(path: str, stop: Stop) -> Entry:
    if not stop.is_tail:
        return _corrupt(path, stop.position, f"{stop.reason}: the {stop.bytes_left} bytes from here on are not read")
    return {
        "kind": "tail",
        "file": path,
        "position": stop.position,
        "bytes": stop.bytes_left,
        "problem": f"the tail is not complete: {stop.reason}",
    }


def _corrupt(path: str, position: int, problem: str) -> Entry:
    return {"kind": "corrupt", "file": path, "position": position, "problem": problem}


# -- indexes and snapshots --------------------------------------------------------------------------------------


def _base_offset(path: str) -> int:
    stem = os.path.basename(path).partition(".")[0]
    return int(stem) if stem.isdigit() else 0


def _dump_offset_index(disk: Disk, path: str) -> Iterator[Entry]:
    base = _base_offset(path)
    for entry in offset_entries(disk, path):
        if isinstance(entry, str):
            yield _corrupt(path, disk.file_size(path), entry)
        else:
            yield {"kind": "offsetIndexEntry", "file": path, "offset": base + entry.first, "position": entry.second}


def _dump_time_index(disk: Disk, path: str) -> Iterator[Entry]:
    base = _base_offset(path)
    for entry in time_entries(disk, path):
        if isinstance(entry, str):
            yield _corrupt(path, disk.file_size(path), entry)
        else:
            yield {"kind": "timeIndexEntry", "file": path, "timestamp": entry.first, "offset": base + entry.second}


def _dump_txn_index(disk: Disk, path: str) -> Iterator[Entry]:
    for entry in aborted_entries(disk, path):
        if isinstance(entry, str):
            yield _corrupt(path, disk.file_size(path), entry)
        else:
            yield {
                "kind": "abortedTxn",
                "file": path,
                "version": entry.version,
                "producerId": entry.producer_id,
                "firstOffset": entry.first_offset,
                "lastOffset": entry.last_offset,
                "lastStableOffset": entry.last_stable_offset,
            }


def _dump_producers(disk: Disk, path: str) -> Iterator[Entry]:
    for each in decode(path, disk.read(path)):
        yield {
            "kind": "producer",
            "file": path,
            "producerId": each.producer_id,
            "producerEpoch": each.epoch,
            "coordinatorEpoch": each.coordinator_epoch,
            "currentTxnFirstOffset": None if each.current_txn_first_offset < 0 else each.current_txn_first_offset,
            "firstSequence": -1
            if each.last_sequence < 0
            else increment_sequence(each.last_sequence, -each.offset_delta),
            "lastSequence": each.last_sequence,
            "lastOffset": each.last_offset,
            "offsetDelta": each.offset_delta,
            "timestamp": each.timestamp,
        }
