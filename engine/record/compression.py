"""The four codecs as Kafka frames them, with bounded decompression.

LZ4 frames have independent blocks (Kafka's Java reader knows no others); snappy has the xerial framing that Java's
library writes, and raw snappy is read too, since some clients write it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, TypeAlias

import cramjam

from engine.model.errors import ErrorCode, KafkaError

Buffer: TypeAlias = bytes | bytearray | memoryview

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"
_XERIAL_BLOCK_BYTES = 32 * 1024
_LZ4_DEFAULT_LEVEL = 9
# What decompress_into says when there is more than its buffer takes.
_BUFFER_IS_FULL = "failed to write whole buffer"
_INT32 = Struct(">i")

# A batch that unpacks to more than this is a bomb, not data (message.max.bytes bounds the packed size).
MAX_DECOMPRESSED_BYTES = 128 * 1024 * 1024


class Compression(IntEnum):
    """Codes in a batch's attributes, names as in ``compression.type``."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @classmethod
    def from_name(cls, name: str) -> Compression:
        """``none`` (or ``uncompressed``), ``gzip``, ``snappy``, ``lz4``, ``zstd``. Raises ``KeyError``."""
        return cls["NONE" if name == "uncompressed" else name.upper()]


def compress(codec: Compression, data: Buffer, level: int | None = None) -> bytes:
    """Pack ``data``; ``level`` is the codec's own, its Kafka default if ``None``."""
    if codec is Compression.NONE:
        return bytes(data)
    if codec is Compression.GZIP:
        return bytes(cramjam.gzip.compress(data, 6 if level is None or level < 0 else level))
    if codec is Compression.LZ4:
        # Kafka's default of 9 means its fast compressor, not the high-compression one of that level.
        fast = level is None or level == _LZ4_DEFAULT_LEVEL
        packer: Any = cramjam.lz4.Compressor(level=1 if fast else level, block_linked=False, content_checksum=False)
        packer.compress(bytes(data))  # it takes nothing else; bytes of bytes are no copy
        return bytes(packer.finish())
    if codec is Compression.ZSTD:
        return bytes(cramjam.zstd.compress(data, 3 if level is None else level))
    parts = [_XERIAL_HEADER]
    view = memoryview(data)
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (_INT32.pack(len(block)), block)
    return b"".join(parts)


def decompress(codec: Compression, data: Buffer, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """Unpack ``data``, never to more than ``max_bytes``.

    Raises:
        KafkaError: CORRUPT_MESSAGE if it is not the codec's format, MESSAGE_TOO_LARGE if it unpacks to too much.
    """
    return bytes(decompress_view(codec, data, max_bytes))


def decompress_view(codec: Compression, data: Buffer, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> Buffer:
    """The same without a copy more, for those who keep nothing of it."""
    try:
        if codec is Compression.NONE:
            return data
        if codec is Compression.SNAPPY:
            return _unpack_snappy(data, max_bytes)
        opener: Any = {
            Compression.GZIP: cramjam.gzip,
            Compression.LZ4: cramjam.lz4,
            Compression.ZSTD: cramjam.zstd,
        }[codec]
        return _unpack_bounded(opener, data, max_bytes)
    except (cramjam.DecompressionError, ValueError, OSError, IndexError) as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{codec.name.lower()} data does not unpack: {error}") from error


def _too_large(max_bytes: int) -> KafkaError:
    return KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"a record batch unpacks to more than {max_bytes} bytes")


def _unpack_bounded(module: Any, data: Buffer, max_bytes: int) -> Buffer:
    # decompress_into stops at the end of the buffer it was given, so a bomb costs the buffer and no more.
    size = min(max(len(data) * 8, 4096), max_bytes)
    while True:
        out = bytearray(size)
        try:
            return memoryview(out)[: module.decompress_into(data, out)]
        except cramjam.DecompressionError as error:
            if str(error) != _BUFFER_IS_FULL:
                raise
        if size >= max_bytes:
            raise _too_large(max_bytes)
        del out
        size = min(size * 4, max_bytes)


def _unpack_snappy(data: Buffer, max_bytes: int) -> bytes:
    view = memoryview(data)
    if bytes(view[:8]) != _XERIAL_MAGIC:
        return _unpack_snappy_block(view, max_bytes)
    parts: list[bytes] = []
    total, position = 0, len(_XERIAL_HEADER)
    while position < len(view):
        if len(view) - position < 4:
            raise ValueError("a snappy block ends inside its size")
        (size,) = _INT32.unpack_from(view, position)
        position += 4
        if not 0 <= size <= len(view) - position:
            raise ValueError(f"a snappy block claims {size} bytes of {len(view) - position}")
        block = _unpack_snappy_block(view[position : position + size], max_bytes - total)
        total += len(block)
        parts.append(block)
        position += size
    return b"".join(parts)


def _unpack_snappy_block(block: memoryview, max_bytes: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(block)
    if size > max_bytes:
        raise _too_large(max_bytes)
    return bytes(cramjam.snappy.decompress_raw(block))
