"""The entries of index files, read in pieces; files that Apache Kafka has open are longer than their entries."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from engine.storage.index_file import OFFSET_ENTRY, TIME_ENTRY
from engine.world import Disk

_ABORTED = Struct(">hqqqq")
_ENTRIES_AT_ONCE = 4096


class IndexEntry(NamedTuple):
    """Two numbers as they stand in the file, and where: offsets count from the segment's base."""

    position: int
    first: int
    second: int


class AbortedEntry(NamedTuple):
    """An aborted transaction, and where it stands in its file."""

    position: int
    version: int
    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def _raw(disk: Disk, path: str, entry: Struct, *, is_mapped: bool) -> Iterator[tuple[int, tuple[int, ...]] | str]:
    """Position and fields; a sentence where bytes are left over. ``is_mapped``: behind the first entry one that is zero
    ends the file, as Kafka maps more than it uses."""
    file = disk.open(path, read_only=True)
    try:
        size, position = file.size(), 0
        while position + entry.size <= size:
            data = file.pread(min(_ENTRIES_AT_ONCE * entry.size, size - position), position)
            whole = len(data) - len(data) % entry.size
            if not whole:
                return
            for at in range(0, whole, entry.size):
                fields = entry.unpack_from(data, at)
                # A log's very first batch can have an entry of zeros only where it is the first one.
                if is_mapped and not any(fields) and position + at:
                    return
                yield position + at, fields
            position += whole
        if position < size:
            yield f"{size} bytes are no whole number of entries of {entry.size}"
    finally:
        file.close()


def offset_entries(disk: Disk, path: str) -> Iterator[IndexEntry | str]:
    """Relative offset and position of each entry of an ``.index``. A sentence comes last where the file is no index.
    Raises ``OSError``."""
    yield from _pairs(disk, path, OFFSET_ENTRY)


def time_entries(disk: Disk, path: str) -> Iterator[IndexEntry | str]:
    """Timestamp and relative offset of each entry of a ``.timeindex``, likewise."""
    yield from _pairs(disk, path, TIME_ENTRY)


def _pairs(disk: Disk, path: str, entry: Struct) -> Iterator[IndexEntry | str]:
    size = disk.file_size(path)
    for each in _raw(disk, path, entry, is_mapped=True):
        if isinstance(each, str):
            yield each
            continue
        position, (first, second) = each
        # A mapped file without any entry.
        if position == 0 and not first and not second and size > entry.size:
            return
        yield IndexEntry(position, first, second)


def aborted_entries(disk: Disk, path: str) -> Iterator[AbortedEntry | str]:
    """The entries of a ``.txnindex``, likewise."""
    for each in _raw(disk, path, _ABORTED, is_mapped=False):
        if isinstance(each, str):
            yield each
            continue
        position, fields = each
        yield AbortedEntry(position, *fields)
