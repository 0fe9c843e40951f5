"""One segment of a log: ``.log`` with its ``.index``, ``.timeindex`` and ``.txnindex``. Kafka: LogSegment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import LOG_OVERHEAD_BYTES, NO_TIMESTAMP, BatchHeader, Buffer
from engine.record.checksum import crc32c
from engine.storage.batch_check import BatchCheck
from engine.storage.batch_scan import HOP, HOP_BYTES, scan_headers
from engine.storage.failure import LogCorrupt
from engine.storage.file_pool import FilePool
from engine.storage.file_slice import FileSlice
from engine.storage.file_sync import sync_file
from engine.storage.index_file import OFFSET_ENTRY, TIME_ENTRY, IndexFile
from engine.storage.txn_index import TransactionIndex
from engine.world import File

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TXN_INDEX_SUFFIX = ".txnindex"
DELETED_SUFFIX = ".deleted"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"

MAX_RELATIVE_OFFSET = 0x7FFFFFFF
_WALK_CHUNK_BYTES = 8 * 1024


def file_name(offset: int) -> str:
    """An offset as the names of a log's files begin (LogFileUtils.filenamePrefixFromOffset)."""
    return f"{offset:020d}"


class Segment:
    """The batches from ``base_offset`` on.

    Files and indexes are opened when they are asked for. ``position`` is always a position in bytes in the ``.log``
    file at which a batch starts. Everything here raises ``OSError`` where the disk fails.
    """

    __slots__ = (
        "_bytes_since_index_entry",
        "_file",
        "_first_timestamp",
        "_index_interval_bytes",
        "_indexes_loaded",
        "_max_timestamp",
        "_max_timestamp_offset",
        "_offset_index",
        "_pool",
        "_prefix",
        "_time_index",
        "appended_from",
        "base_offset",
        "created_ms",
        "is_active",
        "is_deleted",
        "log_path",
        "size",
        "txn_index",
        "unsynced",
    )

    def __init__(
        self,
        pool: FilePool,
        directory: str,
        base_offset: int,
        index_interval_bytes: int,
        created_ms: int,
        size: int,
        suffix: str = "",
    ) -> None:
        self.base_offset = base_offset
        self.created_ms = created_ms
        # Bytes of the .log file, and where those begin that this process wrote.
        self.size = self.appended_from = size
        self.is_active = False
        self.is_deleted = False
        # Whether something was written since the last fsync began.
        self.unsynced = False
        self._pool = pool
        self._prefix = f"{directory}/{file_name(base_offset)}"
        self.log_path = self._prefix + LOG_SUFFIX + suffix
        self._index_interval_bytes = index_interval_bytes
        self._offset_index = IndexFile(pool, self._prefix + INDEX_SUFFIX + suffix, OFFSET_ENTRY)
        self._time_index = IndexFile(pool, self._prefix + TIME_INDEX_SUFFIX + suffix, TIME_ENTRY)
        self.txn_index = TransactionIndex(pool.disk, self._prefix + TXN_INDEX_SUFFIX + suffix, base_offset)
        self._indexes_loaded = size == 0
        self._bytes_since_index_entry = 0
        self._max_timestamp = NO_TIMESTAMP
        self._max_timestamp_offset = base_offset
        self._first_timestamp: int | None = None
        # Open for appending, until it is rolled and synced; reads of other segments go through the pool.
        self._file: File | None = None

    @classmethod
    def create(
        cls,
        pool: FilePool,
        directory: str,
        base_offset: int,
        index_interval_bytes: int,
        created_ms: int,
        *,
        suffix: str = "",
    ) -> Segment:
        """A new segment; files of the same name that a crash left are emptied."""
        segment = cls(pool, directory, base_offset, index_interval_bytes, created_ms, 0, suffix)
        pool.forget(segment.log_path)
        segment._file = pool.disk.open(segment.log_path, append=True, create=True)
        if segment._file.size():
            segment._file.truncate(0)
        segment._offset_index.reset()
        segment._time_index.reset()
        segment.txn_index.reset()
        segment.unsynced = True
        return segment

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, parts: Sequence[Buffer], size: int, headers: Sequence[BatchHeader], base_offset: int) -> None:
        """Write batches in one system call. ``headers`` are theirs, their offsets counted from ``base_offset`` on."""
        file = self._file
        if file is None:
            file = self._open_for_appending()
        file.append(parts)
        position = self.size
        self.size = position + size
        if self._first_timestamp is None and position == 0:
            self._first_timestamp = headers[0].max_timestamp
        for header in headers:
            last_offset = base_offset + header.last_offset_delta
            self._note_batch(position, last_offset, header.max_timestamp, header.batch_length + LOG_OVERHEAD_BYTES)
            position += header.batch_length + LOG_OVERHEAD_BYTES
            base_offset = last_offset + 1

    def append_final(self, data: Buffer, headers: Sequence[BatchHeader]) -> None:
        """Write batches whose headers hold their final offsets, which may leave gaps (replicas of compacted logs)."""
        file = self._file
        if file is None:
            file = self._open_for_appending()
        file.append((data,))
        position = self.size
        self.size = position + len(data)
        if self._first_timestamp is None and position == 0:
            self._first_timestamp = headers[0].max_timestamp
        for header in headers:
            size = header.batch_length + LOG_OVERHEAD_BYTES
            self._note_batch(position, header.last_offset, header.max_timestamp, size)
            position += size

    def _open_for_appending(self) -> File:
        self._load_indexes()
        self._pool.forget(self.log_path)
        file = self._file = self._pool.disk.open(self.log_path, append=True)
        return file

    def _note_batch(self, position: int, last_offset: int, max_timestamp: int, size: int) -> None:
        """What a batch changes in the indexes; the same rule when they are made again."""
        if max_timestamp > self._max_timestamp:
            self._max_timestamp = max_timestamp
            self._max_timestamp_offset = last_offset
        if self._bytes_since_index_entry > self._index_interval_bytes:
            self._offset_index.add(last_offset - self.base_offset, position)
            self._add_time_entry()
            self._bytes_since_index_entry = 0
        self._bytes_since_index_entry += size

    def _add_time_entry(self) -> None:
        last = self._time_index.last
        if self._max_timestamp > (last[0] if last is not None else NO_TIMESTAMP):
            self._time_index.add(self._max_timestamp, self._max_timestamp_offset - self.base_offset)

    def fits(self, last_offset: int) -> bool:
        """Whether an index can hold the offset."""
        return last_offset - self.base_offset <= MAX_RELATIVE_OFFSET

    @property
    def index_bytes(self) -> int:
        """Bytes of the larger one of both indexes."""
        self._load_indexes()
        return max(len(self._offset_index) * OFFSET_ENTRY.size, len(self._time_index) * TIME_ENTRY.size)

    def is_index_full(self, max_bytes: int) -> bool:
        """Whether an index has reached ``segment.index.bytes``."""
        return (
            len(self._offset_index) >= max_bytes // OFFSET_ENTRY.size
            or len(self._time_index) >= max_bytes // TIME_ENTRY.size - 1
        )

    def waited_for_roll_ms(self, now_ms: int, timestamp: int) -> int:
        """Age for ``segment.ms``: by the batches' timestamps if they have any (LogSegment.timeWaitedForRoll)."""
        first = self._first_timestamp
        if first is None:
            first = self.first_timestamp()
        return timestamp - first if first >= 0 else now_ms - self.created_ms

    def roll_jitter_ms(self, bound_ms: int) -> int:
        """The share of ``segment.jitter.ms`` that spreads rolls; fixed for a segment, so that a seed replays."""
        return int(crc32c(self._prefix.encode())) % bound_ms if bound_ms > 0 else 0

    def become_inactive(self) -> None:
        """The next segment has begun: complete the indexes and write them."""
        self.is_active = False
        self.save_indexes()

    def save_indexes(self) -> None:
        """Add the last timestamp's entry and write both indexes (LogSegment.onBecomeInactiveSegment)."""
        self._load_indexes()
        self._add_time_entry()
        self._offset_index.save()
        self._time_index.save()

    def sync(self) -> None:
        """fsync of what was written. Safe in another thread: only :meth:`release` and :meth:`close` close the file."""
        file = self._file
        # What is written from here on sets it again.
        self.unsynced = False
        if file is not None:
            file.sync()
        else:
            try:
                sync_file(self._pool.disk, self.log_path)
            except FileNotFoundError:
                if self.is_deleted:
                    return
                raise
        # Aborted transactions cannot be told from the index's absence, as the other indexes can.
        if self.txn_index.unsynced:
            self.txn_index.sync()
        if self._indexes_need_sync and not self.is_deleted:
            self.sync_indexes()

    @property
    def needs_sync(self) -> bool:
        """Whether :meth:`sync` has something to do."""
        return self.unsynced or self.txn_index.unsynced or self._indexes_need_sync

    @property
    def _indexes_need_sync(self) -> bool:
        # What is added to the active segment's indexes is found again in its batches.
        offsets, times = self._offset_index, self._time_index
        return offsets.was_cut or times.was_cut or (not self.is_active and (offsets.unsynced or times.unsynced))

    def sync_indexes(self) -> None:
        """fsync of the indexes as far as they are written. Safe in another thread."""
        for index in (self._offset_index, self._time_index):
            if index.unsynced:
                index.sync()

    def release(self) -> None:
        """Give back the descriptor of a segment that is complete and synced."""
        if self._file is not None and not self.unsynced and not self.is_active:
            self._file.close()
            self._file = None

    def truncate(self, position: int, next_offset: int) -> None:
        """Cut at a batch's start; indexes and timestamps follow."""
        self._load_indexes()
        self._pool.forget(self.log_path)
        if self._file is None:
            self._file = self._pool.disk.open(self.log_path, append=True)
        self._file.truncate(position)
        self.size = position
        self.appended_from = min(self.appended_from, position)
        self.unsynced = True
        relative = next_offset - self.base_offset
        self._offset_index.truncate(self._offset_index.floor(relative - 1) + 1)
        self._time_index.truncate(self._time_index.floor(relative - 1, 1) + 1)
        self.txn_index.truncate_to(next_offset)
        if position == 0:
            self._first_timestamp = None
        self._read_tail()

    def close(self) -> None:
        """Close the file; nothing is written. Safe in another thread for a deleted segment."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self.is_deleted:
            # Another segment may have the names by now.
            return
        self._pool.forget(self.log_path)
        self._pool.forget(self._offset_index.path)
        self._pool.forget(self._time_index.path)

    def rename_deleted(self) -> list[str]:
        """Give the files their ``.deleted`` names; returns those. The descriptor stays open for a sync on its way."""
        disk = self._pool.disk
        self.is_deleted = True
        renamed = []
        for path in self._paths():
            self._pool.forget(path)
            if disk.exists(path):
                disk.rename(path, path + DELETED_SUFFIX)
                renamed.append(path + DELETED_SUFFIX)
        return renamed

    def _paths(self) -> tuple[str, str, str, str]:
        return self.log_path, self._offset_index.path, self._time_index.path, self.txn_index.path

    def move_to(self, suffix: str, pool: FilePool) -> None:
        """Give the files other names, those that end with ``suffix``; from now on they are read through ``pool``
        (LogSegment.changeFileSuffixes)."""
        before = self._paths()
        for path in before:
            self._pool.forget(path)
        self._pool = pool
        self._offset_index.move_to(self._prefix + INDEX_SUFFIX + suffix, pool)
        self._time_index.move_to(self._prefix + TIME_INDEX_SUFFIX + suffix, pool)
        self.txn_index.path = self._prefix + TXN_INDEX_SUFFIX + suffix
        self.log_path = self._prefix + LOG_SUFFIX + suffix
        for old, new in zip(before, self._paths(), strict=True):
            pool.forget(new)
            if pool.disk.exists(old):
                pool.disk.rename(old, new)

    def remove_files(self) -> None:
        """Close and remove a segment that was never part of a log."""
        self.is_deleted = True
        if self._file is not None:
            self._file.close()
            self._file = None
        for path in self._paths():
            self._pool.forget(path)
            self._pool.disk.remove(path)

    # -- indexes ------------------------------------------------------------------------------------------------

    def _load_indexes(self) -> None:
        """Use the index files, or make them again if they are missing or do not fit the log (L3)."""
        if self._indexes_loaded:
            return
        try:
            self._offset_index.load()
            self._time_index.load()
            last = self._offset_index.last
            if last is not None and (last[0] < 0 or not 0 < last[1] < self.size):
                raise ValueError(f"{self._offset_index.path} points behind the log's end")
            last_time = self._time_index.last
            if last_time is not None and (last_time[0] < 0 or last_time[1] < 0):
                raise ValueError(f"{self._time_index.path} ends with an entry that is none")
            for index in (self._offset_index, self._time_index):
                if len(index) > 1 and index.entry(0) >= index.entry(len(index) - 1):
                    raise ValueError(f"{index.path} does not ascend")
            self._indexes_loaded = True
            if not self._read_tail():
                raise ValueError(f"{self._offset_index.path} does not lead to a batch")
            if last is not None and last_time is None and self._max_timestamp >= 0:
                raise ValueError(f"{self._time_index.path} is empty, and {self._offset_index.path} is not")
        except (FileNotFoundError, ValueError):
            self.rebuild_indexes()

    def _read_tail(self) -> bool:
        """Restore what is known of the batches behind the last index entry.

        False if the entry leads nowhere, or entries are missing. (Kafka counts the bytes between entries anew at each
        start, so some more than the interval are no sign of that.)
        """
        last = self._offset_index.last
        last_time = self._time_index.last
        self._max_timestamp = NO_TIMESTAMP if last_time is None else last_time[0]
        self._max_timestamp_offset = self.base_offset + (0 if last_time is None else last_time[1])
        self._bytes_since_index_entry = 0
        if not self.size:
            return last is None
        start = end_of_first = 0
        if last is not None:
            start = last[1]
        for position, header in scan_headers(self._reader(), start, self.size):
            if not end_of_first:
                end_of_first = position + header.size_in_bytes
                if last is not None and header.last_offset != self.base_offset + last[0]:
                    return False
            elif position > end_of_first + 4 * self._index_interval_bytes:
                return False
            if header.max_timestamp > self._max_timestamp:
                self._max_timestamp = header.max_timestamp
                self._max_timestamp_offset = header.last_offset
        self._bytes_since_index_entry = self.size - start
        return end_of_first > 0

    def rebuild_indexes(self) -> None:
        """Make ``.index`` and ``.timeindex`` from the batches."""
        self._offset_index.reset()
        self._time_index.reset()
        self._indexes_loaded = True
        self._max_timestamp = NO_TIMESTAMP
        self._max_timestamp_offset = self.base_offset
        self._bytes_since_index_entry = 0
        for position, header in scan_headers(self._reader(), 0, self.size, 1 << 18):
            self._note_batch(position, header.last_offset, header.max_timestamp, header.size_in_bytes)
        if not self.is_active:
            # No recovery looks at them after a loss of power: that an offset index lost its end shows at the batches
            # behind it, of a time index nothing shows it.
            self._add_time_entry()
            self._time_index.save()
            self._time_index.sync()
            self._offset_index.save()

    def begin_recovery(self, from_offset: int) -> int:
        """Forget index entries from ``from_offset`` on; returns the position at which :meth:`recovered` continues.

        Everything before was synced. Entries that do not lead to a batch make recovery start at the beginning.
        """
        try:
            self._offset_index.load()
            self._time_index.load()
            self._offset_index.cut_where_it_falls()
            self._time_index.cut_where_it_falls()
            # Neither is synced before the segment is complete: one may have lost more than the other.
            known = -1 if self._time_index.last is None else self._time_index.last[1]
            number = self._offset_index.floor(min(from_offset - 1 - self.base_offset, known))
            start, end_offset = 0, self.base_offset
            if number >= 0:
                relative, start = self._offset_index.entry(number)
                header = next((each for _, each in scan_headers(self._reader(), start, self.size)), None)
                if header is None or header.last_offset != self.base_offset + relative:
                    raise ValueError(f"{self._offset_index.path} does not lead to a batch")
                end_offset = header.base_offset
            # The entry of the batch at which the scan starts is made again by it.
            self._offset_index.truncate(max(number, 0))
            self._time_index.truncate(self._time_index.floor(end_offset - 1 - self.base_offset, 1) + 1)
        except (FileNotFoundError, ValueError):
            start = 0
        if start == 0:
            self._offset_index.reset()
            self._time_index.reset()
        last_time = self._time_index.last
        self._max_timestamp = NO_TIMESTAMP if last_time is None else last_time[0]
        self._max_timestamp_offset = self.base_offset + (0 if last_time is None else last_time[1])
        # One byte more than the interval: the batch at the start had an entry.
        self._bytes_since_index_entry = self._index_interval_bytes + 1 if start else 0
        self._indexes_loaded = True
        return start

    def recovered(self, position: int, header: BatchHeader) -> None:
        """A batch that recovery keeps."""
        self._note_batch(position, header.last_offset, header.max_timestamp, header.size_in_bytes)

    def reader(self) -> File:
        """The ``.log`` file for reading: use it at once, do not keep it."""
        return self._reader()

    def _reader(self) -> File:
        return self._file if self._file is not None else self._pool.file(self.log_path)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, position: int, length: int) -> bytes:
        """Bytes of the file."""
        file = self._file
        return (file if file is not None else self._pool.file(self.log_path)).pread(length, position)

    def slice(
        self,
        position: int,
        length: int,
        check: BatchCheck | None = None,
        on_corrupt: Callable[[LogCorrupt], None] | None = None,
    ) -> FileSlice:
        """The same bytes, read when they are needed, and looked at by ``check`` then."""
        return FileSlice(self._pool.disk, self.log_path, position, length, check, on_corrupt)

    def headers(self, start: int = 0) -> Iterator[tuple[int, BatchHeader]]:
        """Position and header of each batch from a position on."""
        return scan_headers(self._reader(), start, self.size)

    def position_of(self, offset: int) -> int:
        """Position of the first batch whose last offset is ``offset`` or later; ``size`` if there is none."""
        self._load_indexes()
        entry = self._offset_index.floor_entry(offset - self.base_offset)
        start = entry[1] if entry is not None else 0
        for position, last_offset, _ in self._hops(start):
            if last_offset >= offset:
                return position
        return self.size

    def end_position_of(self, end_offset: int) -> int:
        """Position behind the last batch that starts before ``end_offset``."""
        self._load_indexes()
        entry = self._offset_index.floor_entry(end_offset - 1 - self.base_offset)
        start = entry[1] if entry is not None else 0
        for position, last_offset, end in self._hops(start):
            if last_offset >= end_offset:
                return end if self._base_offset_at(position) < end_offset else position
        return self.size

    def _base_offset_at(self, position: int) -> int:
        offset: int = HOP.unpack(self.read(position, HOP_BYTES))[0]
        return offset

    def end_of_batch_at(self, position: int) -> tuple[int, int]:
        """Where the batch at ``position`` ends, and the offset that follows it."""
        for start, last_offset, end in self._hops(position):
            assert start == position
            return end, last_offset + 1
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{self.log_path}: no batch at {position}")

    def next_offset(self) -> int:
        """The offset that follows the last batch (LogSegment.readNextOffset)."""
        found = self.last_end_within(0, self.size) if self.size else None
        return self.base_offset if found is None else found[1]

    def last_end_within(self, start: int, limit: int) -> tuple[int, int] | None:
        """The last batch's end at or before ``limit``, and the next offset; ``None`` if the batch at ``start`` is
        longer."""
        self._load_indexes()
        entry = self._offset_index.floor_entry(limit, 1)
        begin = max(entry[1] if entry is not None else 0, start)
        found: tuple[int, int] | None = None
        if begin > start:
            # A batch starts here, so one ends here too; the offset that follows is the base offset of the next.
            found = begin, self._base_offset_at(begin)
        for _, last_offset, end in self._hops(begin):
            if end > limit:
                break
            found = end, last_offset + 1
        return found

    def _hops(self, start: int) -> Iterator[tuple[int, int, int]]:
        """Position, last offset and end of each batch from ``start`` on."""
        file, size = self._reader(), self.size
        chunk, base, position = b"", start, start
        while position + HOP_BYTES <= size:
            if position + HOP_BYTES > base + len(chunk):
                base, chunk = position, file.pread(min(_WALK_CHUNK_BYTES, size - position), position)
            base_offset, length, _, _, delta = HOP.unpack_from(chunk, position - base)
            end = position + length + LOG_OVERHEAD_BYTES
            if length < 0 or end > size:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{self.log_path}: no batch at {position}")
            yield position, base_offset + delta, end
            position = end

    # -- timestamps ---------------------------------------------------------------------------------------------

    def max_timestamp(self) -> tuple[int, int]:
        """The largest timestamp, -1 if there is none, and the last offset of the first batch that has it."""
        self._load_indexes()
        return self._max_timestamp, self._max_timestamp_offset

    def first_timestamp(self) -> int:
        """The largest timestamp of the first batch, -1 if there is none (rollingBasedTimestamp)."""
        if self._first_timestamp is None:
            if not self.size:
                return NO_TIMESTAMP
            first = next(iter(scan_headers(self._reader(), 0, self.size)), None)
            self._first_timestamp = NO_TIMESTAMP if first is None else first[1].max_timestamp
        return self._first_timestamp

    def position_before_timestamp(self, timestamp: int) -> int:
        """A position before which no batch has a timestamp of ``timestamp`` or later."""
        self._load_indexes()
        entry = self._time_index.floor_entry(timestamp - 1)
        return 0 if entry is None else self.position_of(self.base_offset + entry[1])

    def __repr__(self) -> str:
        return f"Segment(base_offset={self.base_offset}, size={self.size})"
