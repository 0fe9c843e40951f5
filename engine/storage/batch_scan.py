"""Walking the batches of a segment's file: headers only, or with every byte checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct

from engine.record.batch import HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, BatchHeader, is_intact, read_header
from engine.world import File

# Base offset, length, leader epoch, magic, last offset delta: enough to hop from batch to batch.
HOP: Struct = Struct(">qiib6xi")
HOP_BYTES = HOP.size
_HEADER_CHUNK_BYTES = 16 * 1024
_BATCH_CHUNK_BYTES = 1 << 20
# The first byte of an offset, that of a length below 16 MiB, and the magic; found also where two of them overlap.
_LIKE_A_BATCH = re.compile(rb"(?=\0.{7}\0.{7}\x02)", re.DOTALL)
_LIKE_A_BATCH_BYTES = 17


def scan_headers(
    file: File, start: int, end: int, chunk_bytes: int = _HEADER_CHUNK_BYTES
) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each batch from ``start`` on; ends silently where the bytes are no whole batch."""
    chunk, base = b"", start
    position = start
    while position + HEADER_BYTES <= end:
        if position + HEADER_BYTES > base + len(chunk):
            base = position
            chunk = file.pread(min(chunk_bytes, end - position), position)
            if len(chunk) < HEADER_BYTES:
                return
        header = read_header(chunk, position - base)
        size = header.batch_length + LOG_OVERHEAD_BYTES
        if size < HEADER_BYTES or header.magic != MAGIC or position + size > end:
            return
        yield position, header
        position += size


def scan_intact_batches(file: File, start: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    """The same for the longest run of batches whose CRC matches: what recovery keeps."""
    chunk, base = memoryview(b""), start
    position = start
    while position + HEADER_BYTES <= end:
        if position + HEADER_BYTES > base + len(chunk):
            base, chunk = position, memoryview(file.pread(min(_BATCH_CHUNK_BYTES, end - position), position))
            if len(chunk) < HEADER_BYTES:
                return
        header = read_header(chunk, position - base)
        size = header.batch_length + LOG_OVERHEAD_BYTES
        # Before any memory is taken for it: a length beyond the file is a lie or a torn write.
        if size < HEADER_BYTES or position + size > end:
            return
        if position + size > base + len(chunk):
            base = position
            chunk = memoryview(file.pread(min(max(size, _BATCH_CHUNK_BYTES), end - position), position))
            if len(chunk) < size:
                return
        if not is_intact(header, chunk[position - base : position - base + size]):
            return
        if header.last_offset_delta < 0:
            return
        yield position, header
        position += size


def next_like_a_batch(file: File, start: int, end: int) -> int:
    """Where, from ``start`` on, the next bytes are that may be a batch; ``end`` if there are none. A CRC tells more."""
    while start + _LIKE_A_BATCH_BYTES <= end:
        chunk = file.pread(min(_BATCH_CHUNK_BYTES, end - start), start)
        found = _LIKE_A_BATCH.search(chunk)
        if found is not None:
            return start + found.start()
        if len(chunk) < _LIKE_A_BATCH_BYTES:
            return end
        start += len(chunk) - _LIKE_A_BATCH_BYTES + 1
    return end
