"""Record batches as no honest client sends them: corrupt, lying of their records, bombs."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
from crc32c import crc32c

from engine.model.errors import ErrorCode
from engine.record.batch import HEADER_BYTES, pack_header, read_header
from engine.record.builder import NewRecord, build_batch, finish
from engine.record.compression import Compression
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.integration.observing import MIB

INT_MAX, INT_MIN = 2**31 - 1, -(2**31)
LONG_MAX = 2**63 - 1
REPACKED = {codec_: f"repacked-{codec_.name.lower()}" for codec_ in Compression}


def produce_request(topic: str, records: bytes | None, acks: int = -1) -> ProduceRequest:
    return ProduceRequest(
        acks=acks,
        timeout_ms=10_000,
        topic_data=[TopicProduceData(name=topic, partition_data=[PartitionProduceData(0, records)])],
    )


def good_batch(count: int = 3, compression: Compression = Compression.NONE, **more: Any) -> bytes:
    records = [NewRecord(b"k%d" % number, b"v" * 20) for number in range(count)]
    return build_batch(records, timestamp=int(time.time() * 1000), compression=compression, **more)


def with_header(batch: bytes, *, crc: int | None = None, **fields: int) -> bytes:
    """The batch with other values in its header, and the CRC that belongs to them unless given."""
    packed = pack_header(read_header(batch)._replace(**fields)) + batch[HEADER_BYTES:]
    right = crc32c(packed[21:]) if crc is None else crc
    return packed[:17] + struct.pack(">I", right) + packed[21:]


def with_body(body: bytes, count: int, compression: Compression = Compression.NONE, **fields: int) -> bytes:
    """A batch whose records are any bytes."""
    batch = with_header(good_batch(1), attributes=int(compression), last_offset_delta=count - 1, record_count=count)
    return with_header(finish(read_header(batch), body), **fields) if fields else finish(read_header(batch), body)


def corrupt_batches() -> dict[str, tuple[bytes | None, set[ErrorCode]]]:
    good = good_batch()
    corrupt, invalid = {ErrorCode.CORRUPT_MESSAGE}, {ErrorCode.INVALID_RECORD}
    either = corrupt | invalid
    too_large = {ErrorCode.MESSAGE_TOO_LARGE}
    return {
        "no records": (None, invalid),
        "zero bytes": (b"", invalid),
        "less than a header": (good[:40], either),
        "a bad CRC": (with_header(good, crc=12345), corrupt),
        "a flipped bit in a value": (good[:-5] + bytes((good[-5] ^ 1,)) + good[-4:], corrupt),
        "a length of minus one": (with_header(good, batch_length=-1), either),
        "the smallest length": (with_header(good, batch_length=INT_MIN), either),
        "the largest length": (with_header(good, batch_length=INT_MAX), either),
        "a length of zero": (with_header(good, batch_length=0), either),
        "a length that ends inside": (with_header(good, batch_length=55), either),
        "a length one beyond": (with_header(good, batch_length=len(good) - 11), either),
        "two batches": (good + good, invalid),
        "a batch and garbage": (good + b"garbage", either),
        "magic 0": (with_header(good, magic=0), either),
        "magic 1": (with_header(good, magic=1), either),
        "magic 3": (with_header(good, magic=3), corrupt),
        "more records than there are": (with_header(good, record_count=4), invalid),
        "fewer records than there are": (with_header(good, record_count=2), invalid),
        "two billion records": (with_header(good, record_count=INT_MAX, last_offset_delta=INT_MAX - 1), invalid),
        "a negative count": (with_header(good, record_count=-1), invalid),
        "no records in a batch": (with_header(good, record_count=0, last_offset_delta=-1), invalid),
        "a base offset": (with_header(good, base_offset=100), invalid),
        "a negative base offset": (with_header(good, base_offset=-1), invalid),
        "a control batch": (with_header(good, attributes=0x20), invalid),
        "a transaction": (with_header(good, attributes=0x10), {ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}),
        "codec 5": (with_header(good, attributes=5), invalid),
        "codec 7": (with_header(good, attributes=7), invalid),
        "a producer id without a sequence": (with_header(good, producer_id=1, producer_epoch=0), invalid),
        "a timestamp in a thousand years": (
            with_header(good, max_timestamp=LONG_MAX),
            {ErrorCode.INVALID_TIMESTAMP},
        ),
        "more than max.message.bytes": (with_body(b"\0" * 2_000_000, 1), too_large | corrupt),
    }


def lying_records() -> dict[str, tuple[bytes, int]]:
    """Bytes of records (uncompressed) that lie about themselves, and how many they claim to be."""
    varint = b"\xff\xff\xff\xff\x0f"
    return {
        "a record of a negative length": (b"\x01" + b"\0" * 20, 1),
        "a record that is longer than the batch": (b"\x7e" + b"\0" * 20, 1),
        "a record of two billion bytes": (varint + b"\0" * 20, 1),
        "an endless varint": (b"\xff" * 30, 1),
        "a key that is longer than its record": (b"\x1c\0\0\0\x7e" + b"\0" * 10, 1),
        "a key of two billion bytes": (b"\x24\0\0\0" + b"\xfe\xff\xff\xff\x0f" + b"\0" * 10, 1),
        "a header count of two billion": (b"\x20\0\0\0\x01\x01\xfe\xff\xff\xff\x0f" + b"\0" * 6, 1),
        "a negative header count": (b"\x0e\0\0\0\x01\x01\x01\0", 1),
        "bytes behind the last record": (b"\x0c\0\0\0\x01\x01\0" + b"garbage", 1),
        "offsets that do not count up": ((b"\x0c\0\0\0\x01\x01\0") * 2, 2),
        "fewer records than claimed": (b"\x0c\0\0\0\x01\x01\0", 3),
        "nothing": (b"", 1),
    }


PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: lambda data: bytes(cramjam.gzip.compress(data)),
    Compression.SNAPPY: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    Compression.LZ4: lambda data: bytes(cramjam.lz4.compress(data)),
    Compression.ZSTD: lambda data: bytes(cramjam.zstd.compress(data)),
}


def repacking_topic(packed: Compression) -> str:
    """A topic that has batches of this codec unpacked."""
    return REPACKED[Compression.ZSTD if packed is not Compression.ZSTD else Compression.LZ4]


def bomb(packed: Compression) -> bytes:
    """Less than a megabyte that unpacks to hundreds. Snappy packs nothing below a twentieth: it lies about its size."""
    size = 600 * MIB
    if packed is Compression.SNAPPY:
        length = size
        varint = bytearray()
        while length >= 128:
            varint.append(length & 0x7F | 0x80)
            length >>= 7
        varint.append(length)
        return bytes(varint) + b"\xfe" * 500_000
    if packed is Compression.GZIP:
        packer = zlib.compressobj(9, wbits=31)
        zeros = bytes(MIB)
        return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()
    if packed is Compression.LZ4:
        lz4: Any = cramjam.lz4.Compressor(level=9)
    else:
        lz4 = cramjam.zstd.Compressor(19)
    zeros = bytes(8 * MIB)
    for _ in range(size // (8 * MIB) if packed is Compression.ZSTD else 28):
        lz4.compress(zeros)
    return bytes(lz4.finish())
