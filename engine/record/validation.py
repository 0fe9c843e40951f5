"""What a leader asks of a batch before it takes it, and what it changes in it. Kafka: LogValidator, UnifiedLog.

Kafka looks at every record of every batch. Here the header, the length and the CRC decide, and records are unpacked
only where the topic asks for what a header cannot tell: keys (``cleanup.policy=compact``) or another codec
(``compression.type``). A producer that lies inside an intact batch harms those who read its own records.
"""

from __future__ import annotations

from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_config import LogConfig
from engine.record.batch import (
    COMPRESSION_MASK,
    CONTROL_MASK,
    CRC_START,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    NO_TIMESTAMP,
    TIMESTAMP_TYPE_MASK,
    BatchHeader,
    Buffer,
    pack_header,
)
from engine.record.builder import finish
from engine.record.checksum import crc32c
from engine.record.compression import Compression, compress
from engine.record.reader import records_in, unpacked_view

# Length, attributes, both deltas, key's and value's lengths, header count: a byte each at least.
_MIN_RECORD_BYTES = 7
_LONG_MAX = 0x7FFFFFFFFFFFFFFF
# Looking inside holds everyone up: no batch may cost more memory or time than this. A producer that really has one so
# large is told MESSAGE_TOO_LARGE, at which Java's splits it.
MAX_INSPECTED_BYTES = 32 * 1024 * 1024
MAX_INSPECTED_RECORDS = 500_000


class AppendRules:
    """A topic's configs as the append path wants them."""

    __slots__ = (
        "compacted",
        "compression",
        "compression_level",
        "log_append_time",
        "looks_inside",
        "max_message_bytes",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
    )

    def __init__(self, config: LogConfig) -> None:
        self.max_message_bytes: int = config.max_message_bytes
        self.compacted: bool = config.compact
        self.log_append_time: bool = config.message_timestamp_type == "LogAppendTime"
        self.timestamp_before_max_ms: int = config.message_timestamp_before_max_ms
        self.timestamp_after_max_ms: int = config.message_timestamp_after_max_ms
        # None: what the producer chose.
        self.compression: Compression | None = None
        self.compression_level: int | None = None
        if config.compression_type != "producer":
            self.compression = Compression.from_name(config.compression_type)
            self.compression_level = {
                Compression.GZIP: config.compression_gzip_level,
                Compression.LZ4: config.compression_lz4_level,
                Compression.ZSTD: config.compression_zstd_level,
            }.get(self.compression)
        self.looks_inside: bool = self.compacted or self.compression is not None


def check_client_batch(header: BatchHeader, batch: Buffer, rules: AppendRules, now_ms: int) -> None:
    """Everything that a header, the length and the CRC tell about one batch of a client.

    ``batch`` is exactly one batch; ``now_ms`` is the wall clock.

    Raises:
        KafkaError: CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, INVALID_TIMESTAMP.
    """
    (
        base_offset,
        batch_length,
        _,
        magic,
        crc,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count,
    ) = header
    size = batch_length + LOG_OVERHEAD_BYTES
    if size != len(batch) or size < HEADER_BYTES:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a record batch claims {size} bytes and has {len(batch)}")
    if magic != MAGIC:
        if magic in (0, 1):
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                f"message format {magic} was retired with Kafka 4.0: use a client that writes format 2",
            )
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{magic} is not the magic of a record batch")
    if base_offset != 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"a client's batch starts at offset 0, not {base_offset}")
    if size > rules.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"the record batch has {size} bytes; max.message.bytes is {rules.max_message_bytes}",
        )
    if crc32c(memoryview(batch)[CRC_START:]) != crc:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the record batch's CRC does not match its bytes")
    if attributes & CONTROL_MASK:
        raise KafkaError(ErrorCode.INVALID_RECORD, "clients may not write control batches")
    if record_count <= 0 or record_count != last_offset_delta + 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{record_count} records do not match a last offset delta of {last_offset_delta}",
        )
    codec = attributes & COMPRESSION_MASK
    if codec > 4:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{codec} is not a compression codec")
    if not codec and record_count * _MIN_RECORD_BYTES > size - HEADER_BYTES:
        raise KafkaError(
            ErrorCode.INVALID_RECORD, f"{record_count} records do not fit into {size - HEADER_BYTES} bytes"
        )
    if producer_id >= 0 and (base_sequence < 0 or producer_epoch < 0):
        raise KafkaError(ErrorCode.INVALID_RECORD, "an idempotent batch needs a sequence and an epoch")
    if not rules.log_append_time:
        if attributes & TIMESTAMP_TYPE_MASK:
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP, "the topic takes the producer's timestamps, the batch says LogAppendTime"
            )
        if max_timestamp > now_ms + rules.timestamp_after_max_ms:
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP,
                f"timestamp {max_timestamp} lies more than message.timestamp.after.max.ms "
                f"({rules.timestamp_after_max_ms}) after the broker's {now_ms}",
            )
        if rules.timestamp_before_max_ms != _LONG_MAX and NO_TIMESTAMP < base_timestamp < (
            now_ms - rules.timestamp_before_max_ms
        ):
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP,
                f"timestamp {base_timestamp} lies more than message.timestamp.before.max.ms "
                f"({rules.timestamp_before_max_ms}) before the broker's {now_ms}",
            )


def with_append_time(header: BatchHeader, batch: Buffer, now_ms: int) -> tuple[BatchHeader, bytes]:
    """A header whose batch bears the broker's time, and its 61 bytes; what follows them stays (it is not copied)."""
    header = header._replace(attributes=header.attributes | TIMESTAMP_TYPE_MASK, max_timestamp=now_ms, crc=0)
    head = pack_header(header)
    crc = int(crc32c(memoryview(batch)[HEADER_BYTES:], crc32c(head[CRC_START:])))
    header = header._replace(crc=crc)
    return header, pack_header(header)


def look_inside(header: BatchHeader, batch: Buffer, rules: AppendRules) -> tuple[BatchHeader, Buffer]:
    """Unpack the records, check each, and pack them as the topic wants; the same batch if it already is.

    Raises:
        KafkaError: INVALID_RECORD for records that are none, and for one without key in a compacted topic;
            CORRUPT_MESSAGE, MESSAGE_TOO_LARGE.
    """
    if header.record_count > MAX_INSPECTED_RECORDS:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"the record batch has {header.record_count} records; {MAX_INSPECTED_RECORDS} are looked at",
        )
    data = unpacked_view(batch, header, max(MAX_INSPECTED_BYTES, rules.max_message_bytes))
    expected = header.base_offset
    for record in records_in(data, header):  # type: ignore[arg-type]
        if rules.compacted and record.key is None:
            raise KafkaError(ErrorCode.INVALID_RECORD, "a compacted topic does not take records without key")
        if record.offset != expected:
            raise KafkaError(ErrorCode.INVALID_RECORD, "the records of a batch do not count up from its first offset")
        expected += 1
    codec = rules.compression
    if codec is None or codec == header.compression:
        return header, batch
    body = compress(codec, data, rules.compression_level)
    packed = finish(header._replace(attributes=header.attributes & ~COMPRESSION_MASK | codec), body)
    if len(packed) > rules.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"packed with compression.type={codec.name.lower()} the record batch has {len(packed)} bytes; "
            f"max.message.bytes is {rules.max_message_bytes}",
        )
    return header._replace(
        attributes=header.attributes & ~COMPRESSION_MASK | codec, batch_length=len(packed) - LOG_OVERHEAD_BYTES
    ), packed
