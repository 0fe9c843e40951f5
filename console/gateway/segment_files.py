"""Reading a partition's files for the screens, in another thread: what is cheap of each segment, pages of batches, and
one batch byte by byte. Everything is read as :mod:`engine.storage.inspection` does, beside a broker that goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from struct import calcsize
from typing import Any, NamedTuple

from console.gateway.protocol import GatewayError
from console.viewmodel.segments import (
    SHOWN_BODY_BYTES,
    SHOWN_RECORDS,
    BatchPage,
    BatchRecord,
    BatchRow,
    BatchView,
    HeaderField,
    SegmentRow,
    Segments,
)
from engine.model.errors import KafkaError
from engine.record.batch import DELETE_HORIZON_MASK, HEADER_BYTES, BatchHeader, crc_of, read_header
from engine.record.reader import Record, read_records
from engine.storage.batch_scan import scan_headers
from engine.storage.inspection.batches import MAX_HELD_BYTES, FoundBatch, Stop, position_of, walk
from engine.storage.inspection.dump import codec_name
from engine.storage.inspection.payloads import Decoder, decoded, decoder_for
from engine.storage.segment import INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX
from engine.world import Disk

# Batches of smaller segments are counted by their headers, as long as there are not too many of them: this thread
# shares the interpreter with the screen. What was counted of a file that does not change is remembered.
_COUNTED_BYTES = 8 << 20
_COUNTED_BATCHES = 20_000
_END = 1 << 62
_SHOWN_VALUE = 2_000


def list_segments(disk: Disk, log_dirs: Mapping[int, list[str]], topic: str, partition: int) -> Segments:
    """The segments of a partition in the log directories of brokers; nothing of brokers that do not have it."""
    rows: list[SegmentRow] = []
    problems: list[str] = []
    for broker_id, directories in sorted(log_dirs.items()):
        for each in directories:
            directory = f"{each}/{topic}-{partition}"
            if not disk.is_dir(directory):
                continue
            try:
                rows += _segments_in(disk, broker_id, directory)
            except OSError as error:
                problems.append(f"{error.filename or directory}: {error.strerror}")
    return Segments(tuple(rows), tuple(problems))


def _segments_in(disk: Disk, broker_id: int, directory: str) -> list[SegmentRow]:
    names = disk.list_dir(directory)
    bases = sorted(int(name[:-4]) for name in names if name.endswith(LOG_SUFFIX) and name[:-4].isdigit())
    rows: list[SegmentRow] = []
    for number, base in enumerate(bases):
        following = bases[number + 1] if number + 1 < len(bases) else None
        try:
            rows.append(_segment(disk, broker_id, f"{directory}/{base:020d}", base, following))
        except FileNotFoundError:
            continue  # retention was faster
    return rows


class _Counted(NamedTuple):
    """What the headers of a segment's batches say; ``None`` where that would take too long."""

    batches: int | None
    records: int | None
    end_offset: int | None
    first_ms: int | None
    last_ms: int | None


@lru_cache(maxsize=4096)
def _count(disk: Disk, path: str, base: int, size: int, _modified_ns: int) -> _Counted:
    file = disk.open(path, read_only=True)
    try:
        first = next((header for _, header in scan_headers(file, 0, size)), None)
        if first is None:
            return _Counted(0, 0, base, None, None)
        is_whole = size <= _COUNTED_BYTES
        # Of a large one only what follows the last entry of its index.
        start = 0 if is_whole else position_of(disk, path, base, _END)
        batches = records = 0
        end_offset, last_ms = base, first.max_timestamp
        for _, header in scan_headers(file, start, size):
            if batches == _COUNTED_BATCHES:
                return _Counted(None, None, None, first.base_timestamp, None)
            batches += 1
            records += header.record_count
            end_offset = header.next_offset
            last_ms = max(last_ms, header.max_timestamp)
    finally:
        file.close()
    if not is_whole:
        return _Counted(None, None, end_offset, first.base_timestamp, last_ms)
    return _Counted(batches, records, end_offset, first.base_timestamp, last_ms)


def _segment(disk: Disk, broker_id: int, prefix: str, base: int, following: int | None) -> SegmentRow:
    path = prefix + LOG_SUFFIX
    about = os.stat(path)
    size = about.st_size
    counted = _count(disk, path, base, size, about.st_mtime_ns)
    end_offset = counted.end_offset
    if following is not None and (end_offset is None or following > end_offset):
        end_offset = following
    return SegmentRow(
        broker_id,
        path,
        base,
        end_offset,
        size,
        (
            _size(disk, prefix + INDEX_SUFFIX),
            _size(disk, prefix + TIME_INDEX_SUFFIX),
            _size(disk, prefix + TXN_INDEX_SUFFIX),
        ),
        counted.batches,
        counted.records,
        counted.first_ms,
        counted.last_ms,
        int(about.st_mtime * 1000),
        following is None,
    )


def _size(disk: Disk, path: str) -> int:
    try:
        return disk.file_size(path)
    except OSError:
        return -1


def read_batches(disk: Disk, path: str, position: int, limit: int) -> BatchPage:
    """Up to ``limit`` batches from a position at which one begins. Raises: GatewayError."""
    rows: list[BatchRow] = []
    try:
        file = disk.open(path, read_only=True)
        try:
            for found in walk(file, position, file.size()):
                if isinstance(found, Stop):
                    where = f"at byte {found.position:,}"
                    word = f"tail not complete {where}" if found.is_tail else f"✗ corrupt {where}: {found.reason}"
                    return BatchPage(tuple(rows), position, word)
                rows.append(_batch_row(found))
                position = found.end_position
                if len(rows) == limit:
                    return BatchPage(tuple(rows), position)
        finally:
            file.close()
    except FileNotFoundError as error:
        raise GatewayError(f"{path} is not there any more: retention or a deletion removed it") from error
    except OSError as error:
        raise GatewayError(f"{path} cannot be read: {error.strerror}") from error
    return BatchPage(tuple(rows), position, "")


def find_position(disk: Disk, path: str, offset: int) -> int:
    """Where to begin to read for an offset, by the segment's index."""
    stem = os.path.basename(path).removesuffix(LOG_SUFFIX)
    try:
        return position_of(disk, path, int(stem) if stem.isdigit() else 0, offset)
    except OSError as error:
        raise GatewayError(f"{path} cannot be read: {error.strerror}") from error


def _batch_row(found: FoundBatch) -> BatchRow:
    header = found.header
    return BatchRow(
        found.position,
        header.base_offset,
        header.last_offset,
        header.record_count,
        header.size_in_bytes,
        codec_name(header),
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.partition_leader_epoch,
        header.max_timestamp,
        header.timestamp_type,
        header.is_transactional,
        header.is_control,
        found.crc_matches,
    )


def read_batch(disk: Disk, path: str, position: int) -> BatchView:
    """The batch at a position. Raises: GatewayError."""
    try:
        file = disk.open(path, read_only=True)
        try:
            head = file.pread(HEADER_BYTES, position)
            if len(head) < HEADER_BYTES:
                raise GatewayError(f"{path} ends before byte {position + HEADER_BYTES:,}")
            size = read_header(head).size_in_bytes
            data = file.pread(min(max(size, HEADER_BYTES), MAX_HELD_BYTES), position)
        finally:
            file.close()
    except OSError as error:
        raise GatewayError(f"{path} cannot be read: {error.strerror}") from error
    topic = os.path.basename(os.path.dirname(path)).rpartition("-")[0]
    return view_of_batch(path, position, data, decoder_for(topic))


def view_of_batch(path: str, position: int, data: bytes, decoder: Decoder) -> BatchView:
    """A batch's bytes as people read them."""
    header = read_header(data)
    problem = ""
    records: list[BatchRecord] = []
    more = 0
    is_whole = len(data) == header.size_in_bytes
    if not is_whole:
        problem = f"only {len(data):,} of its {header.size_in_bytes:,} bytes are here: the records are not unpacked"
    else:
        try:
            for record in read_records(data, header):
                if len(records) < SHOWN_RECORDS:
                    records.append(_record(record, decoder, header))
                else:
                    more += 1
        except KafkaError as error:
            problem = error.message
    fields = _header_fields(data, header, is_whole=is_whole)
    body = data[HEADER_BYTES : HEADER_BYTES + SHOWN_BODY_BYTES]
    return BatchView(path, position, header.size_in_bytes, fields, body, tuple(records), more, problem)


def _record(record: Record, decoder: Decoder, header: BatchHeader) -> BatchRecord:
    said = decoded(record, decoder, is_control=header.is_control)
    if "control" in said:
        return BatchRecord(record.offset, record.timestamp, "", _text(said["control"]))
    key, value = _word(said, "key"), _word(said, "value")
    value += "".join(f"  {name}={'null' if each is None else each!r}" for name, each in record.headers)
    if "problem" in said:
        value = f"! {said['problem']}  {value}"
    return BatchRecord(record.offset, record.timestamp, key, value)


def _word(said: Mapping[str, Any], name: str) -> str:
    if f"{name}Base64" in said:
        return f"base64 {said[f'{name}Base64'][:_SHOWN_VALUE]}"
    value = said.get(name)
    if value is None:
        return "" if name == "key" else "null"
    return _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = text[:_SHOWN_VALUE]
    return "".join(each if each.isprintable() else "·" for each in text)


# Name and layout of each field; Kafka: DefaultRecordBatch.
_FIELDS = (
    ("baseOffset", "q"),
    ("batchLength", "i"),
    ("partitionLeaderEpoch", "i"),
    ("magic", "b"),
    ("crc", "I"),
    ("attributes", "h"),
    ("lastOffsetDelta", "i"),
    ("baseTimestamp", "q"),
    ("maxTimestamp", "q"),
    ("producerId", "q"),
    ("producerEpoch", "h"),
    ("baseSequence", "i"),
    ("recordCount", "i"),
)


def _header_fields(data: bytes, header: BatchHeader, *, is_whole: bool) -> tuple[HeaderField, ...]:
    fields: list[HeaderField] = []
    position = 0
    for (name, layout), value in zip(_FIELDS, header, strict=True):
        size = calcsize(">" + layout)
        said, tone = f"{value:,}", "text"
        if name == "crc":
            crc = crc_of(data) if is_whole else -1
            said, tone = (f"{value} ✓ matches", "in_sync") if crc == value else (f"{value}  ✗ it is {crc}", "offline")
            if not is_whole:
                said, tone = f"{value}  not checked", "muted"
        elif name == "attributes":
            said = " ".join(_attributes(header))
        elif name == "batchLength":
            said = f"{value:,}, with itself {header.size_in_bytes:,}"
        elif name == "lastOffsetDelta":
            said = f"{value:,}: up to offset {header.last_offset:,}"
        elif name in ("baseTimestamp", "maxTimestamp"):
            said = str(value)
        elif name == "baseSequence" and value >= 0:
            said = f"{value:,} to {header.last_sequence:,}"
        fields.append(HeaderField(position, data[position : position + size], name, said, tone))
        position += size
    return tuple(fields)


def _attributes(header: BatchHeader) -> list[str]:
    words = [codec_name(header), header.timestamp_type]
    if header.is_transactional:
        words.append("transactional")
    if header.is_control:
        words.append("control")
    if header.attributes & DELETE_HORIZON_MASK:
        words.append("deleteHorizon")
    return words
