"""``.txnindex``: the aborted transactions that ended in a segment. Kafka: TransactionIndex, AbortedTxn."""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import NamedTuple

from engine.storage.file_sync import sync_file
from engine.world import Disk

_ENTRY = Struct(">hqqqq")
_VERSION = 0


class AbortedTxn(NamedTuple):
    """A transaction whose records must be skipped. ``last_offset`` is its marker's; ``last_stable_offset`` what it was
    once the transaction had ended."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TransactionIndex:
    """The file exists where a transaction was aborted; it is small, so its entries are kept once they were read.

    Unlike Kafka's it exists, empty, also where transactions ended and none was aborted: where there is none, it is
    lost, or there is nothing to lose (L3).
    """

    __slots__ = ("_base_offset", "_disk", "_entries", "_is_in_memory", "_kept", "is_missing", "path", "unsynced")

    def __init__(self, disk: Disk, path: str, base_offset: int) -> None:
        """``base_offset`` is the segment's."""
        self._disk = disk
        self._base_offset = base_offset
        self.path = path
        # Whether something was written since the last fsync began.
        self.unsynced = False
        # Whether there is no file, once entries() looked.
        self.is_missing = False
        self._entries: list[AbortedTxn] | None = None
        # Whether what is appended is written by end_rebuild() only.
        self._is_in_memory = False
        self._kept = 0

    def append(self, aborted: AbortedTxn) -> None:
        """Add the transaction that ended last. Raises ``OSError``."""
        if self._is_in_memory:
            assert self._entries is not None
            self._entries.append(aborted)
            return
        file = self._disk.open(self.path, append=True, create=True)
        try:
            file.append([_ENTRY.pack(_VERSION, *aborted)])
        finally:
            file.close()
        self.is_missing = False
        self.unsynced = True
        if self._entries is not None:
            self._entries.append(aborted)

    def make(self) -> None:
        """Make the file if there is none. Raises ``OSError``."""
        if not self.entries() and self.is_missing:
            self._disk.open(self.path, append=True, create=True).close()
            self.is_missing = False

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._disk.exists(self.path)

    def entries(self) -> list[AbortedTxn]:
        """All, in the order of their ends; not to be changed.

        Raises:
            ValueError: the file is corrupt.
        """
        if self._entries is not None:
            return self._entries
        try:
            data = self._disk.read(self.path)
        except FileNotFoundError:
            data = b""
            self.is_missing = True
        if len(data) % _ENTRY.size:
            raise ValueError(f"{self.path}: {len(data)} bytes are no whole number of entries")
        found: list[AbortedTxn] = []
        for version, *fields in _ENTRY.iter_unpack(data):
            if version > _VERSION:
                raise ValueError(f"{self.path}: version {version} of an entry is not known")
            entry = AbortedTxn(*fields)
            # No checksum covers it: what was never written reads as zeroes.
            if (
                version < _VERSION
                or entry.producer_id < 0
                or not 0 <= entry.first_offset < entry.last_offset
                or entry.last_offset < (found[-1].last_offset + 1 if found else self._base_offset)
                or not 0 <= entry.last_stable_offset <= entry.last_offset + 1
            ):
                raise ValueError(f"{self.path}: {entry} cannot stand there")
            found.append(entry)
        self._entries = found
        return found

    def truncate_to(self, offset: int) -> None:
        """Forget the transactions whose marker is at ``offset`` or later."""
        entries = self.entries()
        kept = [entry for entry in entries if entry.last_offset < offset]
        if len(kept) == len(entries):
            return
        file = self._disk.open(self.path)
        try:
            file.truncate(len(kept) * _ENTRY.size)
        finally:
            file.close()
        self.unsynced = True
        self._entries = kept

    def begin_rebuild(self, offset: int) -> None:
        """Transactions that ended at ``offset`` or later are told anew; the file stays as it is so far.

        Raises:
            ValueError: the file is corrupt.
        """
        self._entries = [entry for entry in self.entries() if entry.last_offset < offset]
        self._kept = len(self._entries)
        self._is_in_memory = True

    def end_rebuild(self) -> None:
        """All were told: replace the file if it says something else. A crash before leaves it as it was, to be seen for
        what it is by the next start. Raises ``OSError``."""
        self._is_in_memory = False
        entries = self.entries()
        # Whoever wrote them may have died before they were synced.
        self.unsynced = self.unsynced or len(entries) > self._kept
        content = b"".join([_ENTRY.pack(_VERSION, *each) for each in entries])
        if (entries or not self.is_missing) and (self.is_missing or content != self._disk.read(self.path)):
            self._disk.write_atomic(self.path, content)
            self.is_missing = False

    def sync(self) -> None:
        """fsync. Safe in another thread."""
        self.unsynced = False
        with suppress(FileNotFoundError):
            sync_file(self._disk, self.path)

    def reset(self) -> None:
        """Forget all."""
        self._disk.remove(self.path)
        self._entries = None
        self.is_missing = False
