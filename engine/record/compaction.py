"""Thinning out a batch: what a log's cleaner does to the bytes of one. Kafka: MemoryRecords.filterTo.

Records are not decoded: of each the key and the places of its parts are found, and what stays is copied. Base and last
offset of a batch never change, so that nobody's offsets do; nor do codec, producer and sequence.

The delete horizon (KIP-534) is the time from which tombstones and transaction markers of a batch may go. It stands
where the base timestamp was, attribute bit 6 says so, and the records' timestamps are told relative to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import (
    COMPRESSION_MASK,
    DELETE_HORIZON_MASK,
    NO_TIMESTAMP,
    BatchHeader,
    read_header,
)
from engine.record.builder import encode_varint, finish
from engine.record.compression import Compression, compress
from engine.record.reader import long_varint

# Start, attributes' end, timestamp's end, end; timestamp delta, offset delta, key, whether there is a value.
Span: TypeAlias = tuple[int, int, int, int, int, int, bytes | None, bool]


def scan_records(data: bytes, count: int) -> Iterator[Span]:
    """The records in the unpacked bytes of a batch, by their places. Varints of one byte are read in line.

    Raises:
        KafkaError: INVALID_RECORD where the bytes are not so many records.
    """
    limit = len(data)
    position = 0
    try:
        for _ in range(count):
            start = position
            length = data[position]
            position += 1
            if length < 128:
                length = (length >> 1) ^ -(length & 1)
            else:
                length, position = long_varint(data, position, length)
            end = position + length
            if length < 0 or end > limit:
                raise KafkaError(ErrorCode.INVALID_RECORD, f"a record claims {length} bytes of {limit - position}")
            attributes_end = position + 1
            timestamp = data[attributes_end]
            position = attributes_end + 1
            if timestamp < 128:
                timestamp = (timestamp >> 1) ^ -(timestamp & 1)
            else:
                timestamp, position = long_varint(data, position, timestamp)
            timestamp_end = position
            offset = data[position]
            position += 1
            if offset < 128:
                offset = (offset >> 1) ^ -(offset & 1)
            else:
                offset, position = long_varint(data, position, offset)
            length = data[position]
            position += 1
            if length < 128:
                length = (length >> 1) ^ -(length & 1)
            else:
                length, position = long_varint(data, position, length)
            key: bytes | None = None
            if length >= 0:
                key = data[position : position + length]
                position += length
            # The value's length is zigzag: -1 is the one byte 1, any other odd first byte begins a longer one.
            has_value = data[position] != 1
            if position >= end:
                raise KafkaError(ErrorCode.INVALID_RECORD, "a record's key is longer than the record")
            yield start, attributes_end, timestamp_end, end, timestamp, offset, key, has_value
            position = end
    except IndexError:
        raise KafkaError(ErrorCode.INVALID_RECORD, "a record ends early") from None
    if position != limit:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{limit - position} bytes follow the last record")


def delete_horizon_of(header: BatchHeader) -> int | None:
    """When tombstones and markers in the batch may go, ms since the epoch; ``None`` until the cleaner has said so."""
    return header.base_timestamp if header.attributes & DELETE_HORIZON_MASK else None


def thinned_batch(
    header: BatchHeader, data: bytes, kept: Sequence[Span], delete_horizon_ms: int | None
) -> tuple[BatchHeader, bytes]:
    """The batch with the records that stay, one at least, and its new header. ``data`` are its unpacked bytes."""
    old_base = header.base_timestamp
    new_base = old_base + kept[0][4] if delete_horizon_ms is None else delete_horizon_ms
    if header.is_log_append_time:
        stamps = header.max_timestamp
        if delete_horizon_ms is None:
            new_base = stamps
        max_timestamp = stamps
    else:
        max_timestamp = max(old_base + each[4] for each in kept)
    if new_base == old_base and not header.is_log_append_time:
        body = b"".join([data[each[0] : each[3]] for each in kept])
    else:
        parts: list[bytes] = []
        for start, attributes_end, timestamp_end, end, delta, _, _, _ in kept:
            stamp = header.max_timestamp if header.is_log_append_time else old_base + delta
            head = data[attributes_end - 1 : attributes_end] + encode_varint(stamp - new_base)
            parts += (encode_varint(len(head) + end - timestamp_end), head, data[timestamp_end:end])
            assert start < attributes_end
        body = b"".join(parts)
    codec = header.attributes & COMPRESSION_MASK
    if codec:
        body = compress(Compression(codec), body)
    attributes = header.attributes & ~DELETE_HORIZON_MASK
    if delete_horizon_ms is not None:
        attributes |= DELETE_HORIZON_MASK
    batch = finish(
        header._replace(
            attributes=attributes, base_timestamp=new_base, max_timestamp=max_timestamp, record_count=len(kept)
        ),
        body,
    )
    return read_header(batch), batch


def emptied_batch(header: BatchHeader) -> tuple[BatchHeader, bytes]:
    """The batch without its records, kept for its offsets and its producer (DefaultRecordBatch.writeEmptyHeader)."""
    batch = finish(
        header._replace(
            attributes=header.attributes & ~(DELETE_HORIZON_MASK | COMPRESSION_MASK),
            base_timestamp=NO_TIMESTAMP,
            record_count=0,
        ),
        b"",
    )
    return read_header(batch), batch
