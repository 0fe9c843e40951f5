"""Decoding the records of a batch: for compaction, look-up by time, coordinators, people; never on the way of data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import HEADER_BYTES, BatchHeader, Buffer, read_header
from engine.record.compression import MAX_DECOMPRESSED_BYTES, Compression, decompress_view


class Record(NamedTuple):
    """One record. ``timestamp`` is in milliseconds; ``headers`` values may be ``None``."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def long_varint(data: Buffer, position: int, first: int) -> tuple[int, int]:
    """The rest of a zigzag varint of up to 64 bits whose first byte had its high bit set."""
    value, shift = first & 0x7F, 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:
            raise KafkaError(ErrorCode.INVALID_RECORD, "a varint in a record is longer than 10 bytes")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, message)


def unpacked(batch: Buffer, header: BatchHeader, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """The bytes of the batch's records, decompressed to at most ``max_bytes``.

    Raises:
        KafkaError: CORRUPT_MESSAGE or MESSAGE_TOO_LARGE as ``decompress`` does; INVALID_RECORD for an unknown codec.
    """
    return bytes(unpacked_view(batch, header, max_bytes))


def unpacked_view(batch: Buffer, header: BatchHeader, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> Buffer:
    """The same without a copy more, for those who keep nothing of it."""
    body = memoryview(batch)[HEADER_BYTES : header.size_in_bytes]
    if header.compression > Compression.ZSTD:
        raise _invalid(f"{header.compression} is not a compression codec")
    return decompress_view(Compression(header.compression), body, max_bytes)


def read_records(batch: Buffer, header: BatchHeader | None = None) -> Iterator[Record]:
    """The records of one batch, oldest first.

    Raises:
        KafkaError: INVALID_RECORD where the bytes are not records, CORRUPT_MESSAGE where they do not unpack.
    """
    if header is None:
        header = read_header(batch)
    return records_in(unpacked(batch, header), header)


def records_in(data: bytes, header: BatchHeader) -> Iterator[Record]:
    """The records in the unpacked bytes of a batch. Of a view that is given as ``data``, keys and values are views too.

    The varints are read in line, their usual length of one byte first: a call for each would take twice the time.
    """
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    append_time = header.max_timestamp if header.is_log_append_time else None
    limit = len(data)
    position = 0
    new = tuple.__new__
    try:
        for _ in range(header.record_count):
            length = data[position]
            position += 1
            if length < 128:
                length = (length >> 1) ^ -(length & 1)
            else:
                length, position = long_varint(data, position, length)
            end = position + length
            if length < 0 or end > limit:
                raise _invalid(f"a record claims {length} bytes of {limit - position}")
            position += 1  # attributes: none are defined
            delta = data[position]
            position += 1
            if delta < 128:
                delta = (delta >> 1) ^ -(delta & 1)
            else:
                delta, position = long_varint(data, position, delta)
            offset = data[position]
            position += 1
            if offset < 128:
                offset = (offset >> 1) ^ -(offset & 1)
            else:
                offset, position = long_varint(data, position, offset)
            # key
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
            # value
            length = data[position]
            position += 1
            if length < 128:
                length = (length >> 1) ^ -(length & 1)
            else:
                length, position = long_varint(data, position, length)
            value: bytes | None = None
            if length >= 0:
                value = data[position : position + length]
                position += length
            headers: list[tuple[str, bytes | None]] = []
            count = data[position]
            position += 1
            if count:
                position = _read_headers(data, position, count, end, headers)
            if position != end:
                raise _invalid(f"a record of {length} bytes ends {end - position} bytes off its own length")
            yield new(
                Record,
                (
                    base_offset + offset,
                    base_timestamp + delta if append_time is None else append_time,
                    key,
                    value,
                    headers,
                ),
            )
    except IndexError:
        raise _invalid("a record ends early") from None
    if position != limit:
        raise _invalid(f"{limit - position} bytes follow the last record")


def _read_headers(data: Buffer, position: int, first: int, end: int, headers: list[tuple[str, bytes | None]]) -> int:
    if first < 128:
        count = (first >> 1) ^ -(first & 1)
    else:
        count, position = long_varint(data, position, first)
    # A header has two bytes at least, so a larger count is a lie, whatever memory it asks for.
    if not 0 <= count <= (end - position) // 2:
        raise _invalid(f"a record claims {count} headers in {end - position} bytes")
    for _ in range(count):
        name, position = _field(data, position, end)
        if name is None:
            raise _invalid("a record's header has no key")
        content, position = _field(data, position, end)
        headers.append((str(name, "utf-8", "replace"), content))
    return position


def _field(data: Buffer, position: int, end: int) -> tuple[bytes | None, int]:
    length = data[position]
    position += 1
    if length < 128:
        length = (length >> 1) ^ -(length & 1)
    else:
        length, position = long_varint(data, position, length)
    if length < 0:
        return None, position
    if length > end - position:
        raise _invalid(f"a record's field claims {length} bytes of {end - position}")
    return bytes(data[position : position + length]), position + length
