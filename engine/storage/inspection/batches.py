"""Walking a segment's batches with everything that is wrong with them, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.record.batch import (
    CRC_START,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC,
    BatchHeader,
    Buffer,
    is_intact,
    read_header,
)
from engine.record.checksum import crc32c
from engine.storage.index_file import OFFSET_ENTRY
from engine.world import Disk, File

_CHUNK_BYTES = 1 << 20
_MAGIC_AT = 16
# Batches above it are checked in pieces, and their records not decoded. A broker takes none above message.max.bytes.
MAX_HELD_BYTES = 64 << 20


class FoundBatch(NamedTuple):
    """A batch as long as its header says. ``data`` is None for one too large to be held; it is valid for as long as
    the walk stands on it."""

    position: int
    header: BatchHeader
    crc_matches: bool
    data: memoryview | None

    @property
    def end_position(self) -> int:
        """Where the next one begins, in bytes."""
        return self.position + self.header.size_in_bytes


class Stop(NamedTuple):
    """Where the walk could not go on: ``bytes_left`` from ``position`` on are no batch.

    ``is_tail``: they may be the begin of one that is being written, or that a crash cut off: too few bytes, or none but
    zeros.
    """

    position: int
    bytes_left: int
    reason: str
    is_tail: bool


def walk(file: File, start: int, end: int) -> Iterator[FoundBatch | Stop]:
    """The batches from ``start`` on, up to ``end``; a :class:`Stop` comes last if something is left over.

    ``start`` must be where a batch begins. A batch whose CRC does not match is given like any other.
    Raises ``OSError``.
    """
    chunk, base = memoryview(b""), start
    position = start
    while position < end:
        if end - position < HEADER_BYTES:
            yield Stop(position, end - position, "too few bytes for a record batch's header", True)
            return
        if position + HEADER_BYTES > base + len(chunk):
            base, chunk = position, memoryview(file.pread(min(_CHUNK_BYTES, end - position), position))
            if len(chunk) < HEADER_BYTES:
                yield Stop(position, end - position, "the file was cut while it was read", True)
                return
        header = read_header(chunk, position - base)
        size = header.batch_length + LOG_OVERHEAD_BYTES
        if size < HEADER_BYTES:
            zeros = _only_zeros(file, position, end)
            reason = "zeros" if zeros else f"a record batch claims {header.batch_length} bytes, and its header has more"
            yield Stop(position, end - position, reason, zeros)
            return
        if header.magic != MAGIC:
            yield Stop(position, end - position, f"the magic of a record batch is {MAGIC}, not {header.magic}", False)
            return
        if size > end - position:
            # Whole batches behind it show that it was not the last thing written: its length has changed.
            yield Stop(
                position,
                end - position,
                f"a record batch claims {size} bytes, and {end - position} are left",
                not _is_followed(file, position, end, header.base_offset),
            )
            return
        if position + size > base + len(chunk) and size <= MAX_HELD_BYTES:
            base = position
            chunk = memoryview(file.pread(min(max(size, _CHUNK_BYTES), end - position), position))
            if len(chunk) < size:
                yield Stop(position, end - position, "the file was cut while it was read", True)
                return
        if size <= MAX_HELD_BYTES:
            data = chunk[position - base : position - base + size]
            yield FoundBatch(position, header, int(crc32c(data[CRC_START:])) == header.crc, data)
        else:
            yield FoundBatch(position, header, _crc_in_pieces(file, position, size) == header.crc, None)
        position += size


def _crc_in_pieces(file: File, position: int, size: int) -> int:
    crc, at = 0, position + CRC_START
    while at < position + size:
        piece = file.pread(min(_CHUNK_BYTES, position + size - at), at)
        if not piece:
            break
        crc = int(crc32c(piece, crc))
        at += len(piece)
    return crc


def _is_followed(file: File, position: int, end: int, base_offset: int) -> bool:
    """Whether an intact batch of a later offset stands anywhere in what follows."""
    end = min(end, position + MAX_HELD_BYTES)
    data = memoryview(file.pread(end - position, position))
    raw = data.obj
    assert isinstance(raw, bytes)
    at = HEADER_BYTES
    while (magic := raw.find(MAGIC, at + _MAGIC_AT)) >= 0:
        at = magic - _MAGIC_AT
        if len(raw) - at < HEADER_BYTES:
            return False
        header = read_header(data, at)
        size = header.batch_length + LOG_OVERHEAD_BYTES
        is_likely = base_offset < header.base_offset <= base_offset + 0x7FFFFFFF
        if is_likely and HEADER_BYTES <= size <= len(raw) - at and is_intact(header, data[at : at + size]):
            return True
        at += 1
    return False


def _only_zeros(file: File, position: int, end: int) -> bool:
    while position < end:
        piece = file.pread(min(_CHUNK_BYTES, end - position), position)
        if not piece:
            return True
        if piece.count(0) != len(piece):
            return False
        position += len(piece)
    return True


def position_of(disk: Disk, log_path: str, base_offset: int, offset: int) -> int:
    """Where to begin to look for ``offset`` in a segment: the position that its index has for it, 0 if it has none or
    leads nowhere. Raises ``OSError`` of the log file."""
    try:
        file = disk.open(log_path.removesuffix(".log") + ".index", read_only=True)
    except OSError:
        return 0
    try:
        low, high = 0, file.size() // OFFSET_ENTRY.size
        position = 0
        while low < high:
            middle = (low + high) // 2
            entry = file.pread(OFFSET_ENTRY.size, middle * OFFSET_ENTRY.size)
            if len(entry) < OFFSET_ENTRY.size:
                return 0
            relative, at = OFFSET_ENTRY.unpack(entry)
            # Behind its entries an index that was not trimmed has zeros.
            if base_offset + relative <= offset and (relative or middle == 0):
                low, position = middle + 1, at
            else:
                high = middle
    finally:
        file.close()
    return position if _is_batch_before(disk, log_path, position, base_offset, offset) else 0


def _is_batch_before(disk: Disk, log_path: str, position: int, base_offset: int, offset: int) -> bool:
    file = disk.open(log_path, read_only=True)
    try:
        data: Buffer = file.pread(HEADER_BYTES, position) if position >= 0 else b""
    finally:
        file.close()
    if len(data) < HEADER_BYTES:
        return False
    header = read_header(data)
    return (
        header.magic == MAGIC
        and header.batch_length >= HEADER_BYTES - LOG_OVERHEAD_BYTES
        and base_offset <= header.base_offset <= offset
    )
