"""The header of a record batch, read from and stamped into bytes. Kafka: DefaultRecordBatch."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, TypeAlias

from engine.model.errors import ErrorCode, KafkaError
from engine.record.checksum import crc32c

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER: Struct = Struct(">qiibIhiqqqhii")
_PREFIX = Struct(">qii")
_OFFSET_AND_LENGTH = Struct(">qi")

HEADER_BYTES = 61
# Offset and length come before what the length counts.
LOG_OVERHEAD_BYTES = 12
# What the stamp replaces: base offset, length, partition leader epoch. The CRC covers what follows the CRC only.
STAMP_BYTES = 16
CRC_START = 21
MAGIC = 2

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_TIMESTAMP = -1
NO_LEADER_EPOCH = -1

COMPRESSION_MASK = 0x07
TIMESTAMP_TYPE_MASK = 0x08
TRANSACTIONAL_MASK = 0x10
CONTROL_MASK = 0x20
DELETE_HORIZON_MASK = 0x40

MAX_SEQUENCE = 0x7FFFFFFF


class BatchHeader(NamedTuple):
    """The fields of a batch's header. Timestamps are milliseconds since the epoch."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_in_bytes(self) -> int:
        """The whole batch, offset and length included."""
        return self.batch_length + LOG_OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        """Offset of the last record (or where it was, in a compacted batch)."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The offset that follows the batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & COMPRESSION_MASK

    @property
    def is_log_append_time(self) -> bool:
        """Whether the broker's clock gave the timestamps."""
        return bool(self.attributes & TIMESTAMP_TYPE_MASK)

    @property
    def timestamp_type(self) -> str:
        """``CreateTime`` or ``LogAppendTime``, as in message.timestamp.type."""
        return "LogAppendTime" if self.attributes & TIMESTAMP_TYPE_MASK else "CreateTime"

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL_MASK)

    @property
    def is_control(self) -> bool:
        """Whether the records are markers for brokers, not for applications."""
        return bool(self.attributes & CONTROL_MASK)

    @property
    def has_producer_id(self) -> bool:
        """Whether an idempotent producer wrote it."""
        return self.producer_id > NO_PRODUCER_ID

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2^31-1 to 0."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return increment_sequence(self.base_sequence, self.last_offset_delta)


def increment_sequence(sequence: int, by: int) -> int:
    """Sequences are 31-bit and wrap to 0 (DefaultRecordBatch.incrementSequence)."""
    return (sequence + by) & MAX_SEQUENCE


def read_header(buffer: Buffer, offset: int = 0) -> BatchHeader:
    """The header at ``offset``, unchecked.

    Raises:
        KafkaError: CORRUPT_MESSAGE if the buffer ends inside the header.
    """
    if len(buffer) - offset < HEADER_BYTES:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the bytes end inside a record batch's header")
    # Skips the keyword handling of the class's own constructor: this runs once a batch.
    return tuple.__new__(BatchHeader, HEADER.unpack_from(buffer, offset))


def pack_header(header: BatchHeader) -> bytes:
    """The header's 61 bytes."""
    return HEADER.pack(*header)


def iter_batches(buffer: Buffer) -> Iterator[tuple[BatchHeader, memoryview]]:
    """The complete batches in a buffer, each with its header; an incomplete one at the end is left out.

    Raises:
        KafkaError: CORRUPT_MESSAGE for a length that no batch has.
    """
    view = memoryview(buffer)
    position, limit = 0, len(view)
    while limit - position >= HEADER_BYTES:
        header = read_header(view, position)
        size = header.batch_length + LOG_OVERHEAD_BYTES
        if size < HEADER_BYTES:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a record batch claims {header.batch_length} bytes")
        if size > limit - position:
            return
        yield header, view[position : position + size]
        position += size


def crc_of(batch: Buffer) -> int:
    """CRC-32C of what the batch's CRC covers: attributes to the end."""
    return int(crc32c(memoryview(batch)[CRC_START:]))


def is_intact(header: BatchHeader, batch: Buffer) -> bool:
    """Whether ``batch``, as long as its header says, is of format 2 and matches its CRC: recovery's question."""
    return header.magic == MAGIC and int(crc32c(memoryview(batch)[CRC_START:])) == header.crc


def check_crc(batch: Buffer, header: BatchHeader | None = None) -> BatchHeader:
    """Length, magic and CRC of exactly one batch; returns its header (DefaultRecordBatch.ensureValid).

    Raises:
        KafkaError: CORRUPT_MESSAGE.
    """
    if header is None:
        header = read_header(batch)
    if header.batch_length + LOG_OVERHEAD_BYTES != len(batch) or len(batch) < HEADER_BYTES:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE, f"a record batch claims {header.batch_length} bytes and has {len(batch) - 12}"
        )
    if header.magic != MAGIC:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{header.magic} is not the magic of a record batch that is served")
    if int(crc32c(memoryview(batch)[CRC_START:])) != header.crc:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the record batch's CRC does not match its bytes")
    return header


def stamp_prefix(header: BatchHeader, base_offset: int, leader_epoch: int) -> bytes:
    """The first :data:`STAMP_BYTES` of the batch with its offset and epoch in the log; the rest stays as it came."""
    return _PREFIX.pack(base_offset, header.batch_length, leader_epoch)


def stamp(buffer: bytearray | memoryview, offset: int, base_offset: int, leader_epoch: int) -> None:
    """Write base offset and leader epoch into a batch in place; neither is covered by the CRC."""
    (_, length) = _OFFSET_AND_LENGTH.unpack_from(buffer, offset)
    _PREFIX.pack_into(buffer, offset, base_offset, length, leader_epoch)
