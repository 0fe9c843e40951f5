"""``.snapshot`` files: the producers' state at an offset (ProducerStateManager.writeSnapshot, ProducerSnapshot.json).

Version (int16), CRC-32C of everything that follows it (uint32), number of entries (int32), entries of 42 bytes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from engine.record.checksum import crc32c
from engine.world import Disk

SUFFIX = ".snapshot"
_VERSION = 1
_HEAD = Struct(">hI")
_COUNT = Struct(">i")
_ENTRY = Struct(">qhiqiqiq")


class SnapshotCorrupt(ValueError):
    """The file is no snapshot, or its bytes have changed."""


class SnapshotEntry(NamedTuple):
    """One producer. -1 stands for no sequence, no offset, no transaction, no coordinator."""

    producer_id: int
    epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int
    coordinator_epoch: int
    current_txn_first_offset: int


def encode(entries: Sequence[SnapshotEntry]) -> bytes:
    """The file's bytes."""
    body = b"".join([_COUNT.pack(len(entries)), *[_ENTRY.pack(*each) for each in entries]])
    return _HEAD.pack(_VERSION, int(crc32c(body))) + body


def decode(path: str, content: bytes) -> list[SnapshotEntry]:
    """The entries in a file's bytes.

    Raises:
        SnapshotCorrupt: they are none.
    """
    if len(content) < _HEAD.size + _COUNT.size:
        raise SnapshotCorrupt(f"{path} is too short")
    version, crc = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise SnapshotCorrupt(f"{path} has version {version}, {_VERSION} is known")
    body = memoryview(content)[_HEAD.size :]
    if int(crc32c(body)) != crc:
        raise SnapshotCorrupt(f"the CRC of {path} does not match its bytes")
    (count,) = _COUNT.unpack_from(body)
    body = body[_COUNT.size :]
    if count < 0 or len(body) != count * _ENTRY.size:
        raise SnapshotCorrupt(f"{path} announces {count} entries in {len(body)} bytes")
    return [SnapshotEntry(*fields) for fields in _ENTRY.iter_unpack(body)]


def snapshot_offsets(names: Sequence[str]) -> list[int]:
    """The offsets of the snapshots among a directory's files."""
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdigit())


class ProducerSnapshots:
    """The snapshots in one partition's directory."""

    __slots__ = ("_directory", "_disk", "offsets")

    def __init__(self, disk: Disk, directory: str, offsets: Sequence[int] = ()) -> None:
        """``offsets``: those whose files are there."""
        self._disk = disk
        self._directory = directory
        self.offsets: list[int] = sorted(offsets)

    def path(self, offset: int) -> str:
        """Where the snapshot of an offset is."""
        return f"{self._directory}/{offset:020d}{SUFFIX}"

    def move(self, directory: str) -> None:
        """The partition's directory has another name."""
        self._directory = directory

    def latest(self) -> int | None:
        """The offset of the last one."""
        return self.offsets[-1] if self.offsets else None

    def read(self, offset: int) -> list[SnapshotEntry]:
        """Raises SnapshotCorrupt, ``FileNotFoundError``."""
        path = self.path(offset)
        return decode(path, self._disk.read(path))

    def knows_transactions(self, offset: int) -> bool:
        """Whether a producer had ended a transaction before ``offset``; True also if there is no snapshot to tell."""
        try:
            return any(each.coordinator_epoch >= 0 for each in self.read(offset))
        except (SnapshotCorrupt, FileNotFoundError):
            return True

    def write(self, offset: int, entries: Sequence[SnapshotEntry]) -> None:
        """Write one, without waiting for the device: one that a crash tears is seen by its CRC. Raises ``OSError``."""
        path = self.path(offset)
        self._disk.remove(path)
        file = self._disk.open(path, append=True, create=True)
        try:
            file.append([encode(entries)])
        finally:
            file.close()
        if offset not in self.offsets:
            insort(self.offsets, offset)

    def remove(self, offset: int) -> None:
        """Remove one. Raises ``OSError``."""
        self._disk.remove(self.path(offset))
        self.offsets.remove(offset)

    def remove_outside(self, log_start_offset: int, end_offset: int) -> None:
        """Remove those that the log between the offsets does not lead to."""
        for offset in [each for each in self.offsets if each > end_offset or each <= log_start_offset]:
            self.remove(offset)

    def remove_stray(self, base_offsets: Sequence[int]) -> None:
        """Keep those at the segments' starts, and the last one if it is behind all of them."""
        known = set(base_offsets)
        last = max(base_offsets, default=-1)
        for offset in list(self.offsets):
            if offset not in known and (offset < last or offset != self.offsets[-1]):
                self.remove(offset)

    def remove_before(self, offset: int) -> None:
        """Remove those of segments that are gone."""
        for each in self.offsets[: bisect_left(self.offsets, offset)]:
            self.remove(each)

    def remove_all(self) -> None:
        """Remove all."""
        for offset in list(self.offsets):
            self.remove(offset)
