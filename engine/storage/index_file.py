"""The two sorted indexes of a segment: ``.index`` (offset → position) and ``.timeindex`` (timestamp → offset).

Entries are those of org.apache.kafka.storage.internals.log.OffsetIndex (two int32: offset relative to the segment's
base, position) and TimeIndex (int64 timestamp, int32 relative offset), all big-endian. Kafka maps the files into
memory; here new entries wait in memory and are written in blocks, old ones are read from the file, where they should be
or by bisection, so that an index costs no memory that grows with its log. An index can be lost at any time: it is made
again from the log.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from struct import Struct

from engine.storage.file_pool import FilePool
from engine.storage.file_sync import sync_file

# Entries that may wait in memory for one write.
_MAX_PENDING = 512
# Bisection over the file ends with one read of at most this many entries.
_BLOCK_ENTRIES = 512
_MAX_INT32 = (1 << 31) - 1


class IndexFile:
    """A file of fixed-size entries, ascending in their first field; entries are pairs as they stand in the file."""

    __slots__ = ("_count", "_entry", "_pending", "_pool", "last", "path", "unsynced", "was_cut")

    def __init__(self, pool: FilePool, path: str, entry: Struct) -> None:
        self._pool = pool
        self._entry = entry
        self.path = path
        # Entries in the file, and those that follow them in memory.
        self._count = 0
        self._pending: list[tuple[int, int]] = []
        self.last: tuple[int, int] | None = None
        # Whether the file was written since the last fsync began.
        self.unsynced = False
        # The same for a cut: what was cut would be back after a loss of power, and speak of other batches.
        self.was_cut = False

    def __len__(self) -> int:
        return self._count + len(self._pending)

    def load(self) -> None:
        """Learn how many entries the file has.

        Raises:
            FileNotFoundError: there is none.
            ValueError: its size is no whole number of entries, or its last entry stands at zero as in a file that was
                never trimmed.
        """
        size = self._pool.disk.file_size(self.path)
        self._count, rest = divmod(size, self._entry.size)
        if rest:
            raise ValueError(f"{self.path}: {size} bytes are no whole number of entries")
        self._pending = []
        self.last = self._read(self._count - 1) if self._count else None

    def reset(self) -> None:
        """Start anew, empty; the file is replaced when entries are saved."""
        self._pool.forget(self.path)
        self._pool.disk.remove(self.path)
        self._count = 0
        self._pending = []
        self.last = None

    def move_to(self, path: str, pool: FilePool) -> None:
        """The file has another name, and is read through ``pool``."""
        self.path = path
        self._pool = pool

    def add(self, first: int, second: int) -> None:
        """Append an entry."""
        self.last = (first, second)
        self._pending.append(self.last)
        if len(self._pending) >= _MAX_PENDING:
            self.save()

    def save(self) -> None:
        """Write the entries that wait in memory; makes the file if there is none. Raises ``OSError``."""
        pack = self._entry.pack
        file = self._pool.disk.open(self.path, append=True, create=True)
        try:
            if self._pending:
                file.append([b"".join([pack(*entry) for entry in self._pending])])
        finally:
            file.close()
        self._count += len(self._pending)
        self._pending = []
        self.unsynced = True

    def sync(self) -> None:
        """fsync of the file, if there is one. Safe in another thread. Raises ``OSError``."""
        self.unsynced = self.was_cut = False
        with suppress(FileNotFoundError):
            sync_file(self._pool.disk, self.path)

    def truncate(self, count: int) -> None:
        """Keep the first ``count`` entries."""
        if count >= len(self):
            return
        if count >= self._count:
            del self._pending[count - self._count :]
        else:
            self._pending = []
            self._pool.forget(self.path)
            file = self._pool.disk.open(self.path)
            try:
                self.unsynced = self.was_cut = True
                file.truncate(count * self._entry.size)
            finally:
                file.close()
            self._count = count
        self.last = self.entry(count - 1) if count else None

    def cut_where_it_falls(self) -> None:
        """Keep the first entries that ascend in both fields: what was not synced may read as anything.

        Raises:
            OSError: the disk fails.
        """
        data = self._pool.file(self.path).pread(self._count * self._entry.size, 0)
        first = second = -1
        for number, (next_first, next_second) in enumerate(self._entry.iter_unpack(data)):
            if next_first <= first or next_second < second:
                self.truncate(number)
                return
            first, second = next_first, next_second

    def entry(self, number: int) -> tuple[int, int]:
        """An entry by its number."""
        if number >= self._count:
            return self._pending[number - self._count]
        return self._read(number)

    def floor(self, key: int, field: int = 0) -> int:
        """Number of the last entry whose ``field`` is at most ``key``; -1 if there is none. Both fields ascend."""
        return self._find(key, field)[0]

    def floor_entry(self, key: int, field: int = 0) -> tuple[int, int] | None:
        """The last entry whose ``field`` is at most ``key``."""
        return self._find(key, field)[1]

    def _find(self, key: int, field: int) -> tuple[int, tuple[int, int] | None]:
        pending = self._pending
        if pending and pending[0][field] <= key:
            number = bisect_right(pending, key, key=lambda entry: entry[field]) - 1
            return self._count + number, pending[number]
        low, high = 0, self._count  # the answer plus one lies within
        if high > _BLOCK_ENTRIES and self.last is not None and 0 < key < self.last[field] <= _MAX_INT32:
            # Offsets and positions grow evenly in most logs, from zero on: one read finds them where bisection takes
            # several, each of another page of the disk. (Timestamps do not begin at zero.)
            guess = key * len(self) // self.last[field] - _BLOCK_ENTRIES // 2
            guess = max(0, min(guess, high - _BLOCK_ENTRIES))
            number, entry = self._find_within(guess, guess + _BLOCK_ENTRIES, key, field)
            if number < guess:
                high = guess
            elif number < guess + _BLOCK_ENTRIES - 1:
                return number, entry
            else:
                low = number + 1
                if low == high:
                    return number, entry
        while high - low > _BLOCK_ENTRIES:
            middle = (low + high) // 2
            if self._read(middle)[field] <= key:
                low = middle + 1
            else:
                high = middle
        # With the entry before, which is the answer if all of these are behind the key.
        return self._find_within(max(low - 1, 0), high, key, field)

    def _find_within(self, low: int, high: int, key: int, field: int) -> tuple[int, tuple[int, int] | None]:
        """Among the file's entries from ``low`` to ``high``; ``low - 1`` and nothing if all of them are behind."""
        if low >= high:
            return low - 1, None
        size = self._entry.size
        block = self._pool.file(self.path).pread((high - low) * size, low * size)
        unpack, first, end = self._entry.unpack_from, 0, len(block) // size
        while first < end:
            middle = (first + end) // 2
            if unpack(block, middle * size)[field] <= key:
                first = middle + 1
            else:
                end = middle
        if not first:
            return low - 1, None
        found = unpack(block, (first - 1) * size)
        return low + first - 1, (found[0], found[1])

    def _read(self, number: int) -> tuple[int, int]:
        entry = self._entry
        data = self._pool.file(self.path).pread(entry.size, number * entry.size)
        if len(data) < entry.size:
            raise ValueError(f"{self.path} ends before entry {number}")
        first, second = entry.unpack(data)
        return first, second


OFFSET_ENTRY = Struct(">ii")
TIME_ENTRY = Struct(">qi")
