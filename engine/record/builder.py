"""Building a record batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.record.batch import (
    CONTROL_MASK,
    CRC_START,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    TIMESTAMP_TYPE_MASK,
    TRANSACTIONAL_MASK,
    BatchHeader,
    pack_header,
)
from engine.record.checksum import crc32c
from engine.record.compression import Compression, compress


class NewRecord(NamedTuple):
    """A record to write. ``timestamp`` is in milliseconds; ``offset_delta`` only matters for compacted batches."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int | None = None
    offset_delta: int | None = None


def encode_varint(value: int) -> bytes:
    """A zigzag varint of up to 64 bits."""
    number = (value << 1) ^ (value >> 63)
    if 0 <= number < 128:
        return bytes((number,))
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number >= 128:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(data: bytes | None) -> bytes:
    return b"\x01" if data is None else encode_varint(len(data)) + data


def encode_record(record: NewRecord, offset_delta: int, timestamp_delta: int) -> bytes:
    """One record's bytes, its length in front."""
    parts = [
        b"\x00",
        encode_varint(timestamp_delta),
        encode_varint(offset_delta),
        _field(record.key),
        _field(record.value),
        encode_varint(len(record.headers)),
    ]
    for name, content in record.headers:
        parts += (_field(name.encode()), _field(content))
    body = b"".join(parts)
    return encode_varint(len(body)) + body


def build_batch(
    records: Sequence[NewRecord],
    *,
    timestamp: int = NO_TIMESTAMP,
    base_offset: int = 0,
    compression: Compression = Compression.NONE,
    compression_level: int | None = None,
    leader_epoch: int = NO_LEADER_EPOCH,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    is_transactional: bool = False,
    is_control: bool = False,
    is_log_append_time: bool = False,
    last_offset_delta: int | None = None,
) -> bytes:
    """A complete batch. ``timestamp`` (ms) stands for records that have none of their own.

    ``last_offset_delta`` only matters for batches that compaction thinned out.
    """
    assert records, "a batch has at least one record"
    stamps = [timestamp if each.timestamp is None else each.timestamp for each in records]
    base_timestamp, max_timestamp = stamps[0], max(stamps)
    deltas = [index if each.offset_delta is None else each.offset_delta for index, each in enumerate(records)]
    body = b"".join(
        encode_record(record, delta, stamp - base_timestamp)
        for record, delta, stamp in zip(records, deltas, stamps, strict=True)
    )
    if compression is not Compression.NONE:
        body = compress(compression, body, compression_level)
    attributes = int(compression)
    attributes |= TIMESTAMP_TYPE_MASK if is_log_append_time else 0
    attributes |= TRANSACTIONAL_MASK if is_transactional else 0
    attributes |= CONTROL_MASK if is_control else 0
    header = BatchHeader(
        base_offset=base_offset,
        batch_length=HEADER_BYTES - LOG_OVERHEAD_BYTES + len(body),
        partition_leader_epoch=leader_epoch,
        magic=MAGIC,
        crc=0,
        attributes=attributes,
        last_offset_delta=deltas[-1] if last_offset_delta is None else last_offset_delta,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        record_count=len(records),
    )
    return finish(header, body)


def finish(header: BatchHeader, body: bytes | memoryview) -> bytes:
    """Header and body as one batch, length and CRC made right."""
    header = header._replace(batch_length=HEADER_BYTES - LOG_OVERHEAD_BYTES + len(body), crc=0)
    head = pack_header(header)
    crc = int(crc32c(body, crc32c(head[CRC_START:])))
    return b"".join((pack_header(header._replace(crc=crc)), body))
