"""The segments of a log, and what is done to them as files: rolling, reading, removing, syncing. Kafka: LocalLog.

One thread (the event loop) owns a log. :meth:`LocalLog.flush` and :meth:`LocalLog.remove_deleted` alone may run in
another one meanwhile. flush reads the end of the log first, and everything below that was written before.

On a failed write or fsync nothing is known of the file any more, so the log refuses everything from then on (L4).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, NoReturn

from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import LOG_OVERHEAD_BYTES, BatchHeader, Buffer
from engine.storage.checkpoints import PARTITION_METADATA
from engine.storage.failure import LogCorrupt, LogDirFailure
from engine.storage.file_pool import FilePool
from engine.storage.file_sync import sync_file
from engine.storage.index_file import TIME_ENTRY
from engine.storage.log_reads import LogReads
from engine.storage.segment import MAX_RELATIVE_OFFSET, SWAP_SUFFIX, Segment
from engine.world import Disk

# Batches whose positions are remembered, twice as many at most: reads of the tail need no index.
_REMEMBERED_POSITIONS = 1024
# Complete segments whose descriptors are given back late: their sync may still be under way.
_RELEASED_LATE = 4


class _Deleted(NamedTuple):
    """A segment whose files have their ``.deleted`` names."""

    due_ms: int
    segment: Segment
    paths: list[str]


class CleaningGuard:
    """The segments that a cleaning reads. It is void as soon as one of them is cut or dropped by somebody else."""

    __slots__ = ("is_void", "segments", "waiting")

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = set(segments)
        self.is_void = False
        # Has .swap names and does not belong to the log yet.
        self.waiting: Segment | None = None


class LocalLog(LogReads):
    """The files; :class:`engine.storage.log.Log` knows what they mean."""

    __slots__ = (
        "_active",
        "_bases",
        "_cleaning",
        "_config",
        "_deleted",
        "_directory_changes",
        "_directory_synced",
        "_disk",
        "_failure",
        "_flush_lock",
        "_index_full_from_bytes",
        "_is_directory_synced",
        "_now_ms",
        "_older_positions",
        "_owns_pool",
        "_pool",
        "_positions",
        "_read_ends",
        "_segment_ms",
        "_segments",
        "_state_lock",
        "_truncations",
        "after_roll",
        "before_gap",
        "directory",
        "first_dirty_offset",
        "log_end_offset",
        "log_start_offset",
        "on_corrupt",
        "recovery_point",
        "topic_partition",
    )

    _active: Segment

    def __init__(
        self,
        disk: Disk,
        directory: str,
        topic_partition: TopicPartition,
        config: LogConfig,
        pool: FilePool | None,
        now_ms: int,
    ) -> None:
        self._disk = disk
        self._owns_pool = pool is None
        self._pool = FilePool(disk, 16) if pool is None else pool
        self._use_config(config)
        self.directory = directory
        self.topic_partition = topic_partition
        self.log_start_offset = 0
        self.log_end_offset = 0
        # Everything below is on the device.
        self.recovery_point = 0
        # Everything below was compacted; None if nothing says that the log ever was. Kept in cleaner-offset-checkpoint.
        self.first_dirty_offset: int | None = None
        self._cleaning: CleaningGuard | None = None
        # Replaced when the segments change, never changed: a flush may be going through them.
        self._segments: list[Segment] = []
        self._bases: list[int] = []
        self._deleted: list[_Deleted] = []
        # Offset → position in the active segment's file of batches that were appended last.
        self._positions: dict[int, int] = {}
        self._older_positions: dict[int, int] = {}
        # Offset → segment and position where a read ended.
        self._read_ends: dict[int, tuple[Segment, int]] = {}
        # Why the log refuses everything: its disk failed, or it is closed.
        self._failure: KafkaError | None = None
        # Changes of names since the log was opened, and how many of them were on the device when it was last asked.
        self._directory_changes = self._directory_synced = 0
        # Whether the directory itself, and what its partition.metadata says, is on the device.
        self._is_directory_synced = False
        self._flush_lock = threading.Lock()
        self._state_lock = threading.Lock()
        # Odd while one is under way.
        self._truncations = 0
        # The latest time that somebody told.
        self._now_ms = now_ms
        # Called when a segment is complete: it can be synced now (UnifiedLog.roll flushes it in the background).
        self.after_roll: Callable[[], object] | None = None
        # Called before there is a gap in the offsets: cleaner-offset-checkpoint must name the log, and
        # recovery-point-offset-checkpoint what was synced, lest recovery take the gap for bytes that are lost. May run
        # in a thread of its own.
        self.before_gap: Callable[[], object] | None = None
        # Called when a read finds bytes that are not what was written, by whatever reads, once.
        self.on_corrupt: Callable[[LogCorrupt], None] | None = None

    def _use_config(self, config: LogConfig) -> None:
        self._config = config
        # Between two entries of an index lies an interval: a shorter segment has none that is full.
        entries = config.segment_index_bytes // TIME_ENTRY.size - 2
        self._index_full_from_bytes = entries * config.index_interval_bytes
        # What takes appends is not compacted: it ends in time for max.compaction.lag.ms (LogConfig.maxSegmentMs).
        is_hurried = config.compact and config.max_compaction_lag_ms > 0
        self._segment_ms = min(config.max_compaction_lag_ms, config.segment_ms) if is_hurried else config.segment_ms

    # -- answers ------------------------------------------------------------------------------------------------

    @property
    def config(self) -> LogConfig:
        """The topic's configuration."""
        return self._config

    @property
    def durable_end_offset(self) -> int:
        """Everything below was covered by a :meth:`flush` that returned (or was so before the log was opened)."""
        return self.recovery_point

    @property
    def size_bytes(self) -> int:
        """Bytes of the ``.log`` files."""
        return sum(each.size for each in self._segments)

    @property
    def segment_count(self) -> int:
        """Segments that can be read."""
        return len(self._segments)

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments, oldest first; the last one takes appends. For reading."""
        return self._segments

    @property
    def has_unsynced_names(self) -> bool:
        """Whether a loss of power may take segments that were made, or bring back those that were removed."""
        return self._directory_changes != self._directory_synced

    @property
    def failure(self) -> LogDirFailure | None:
        """How the log's disk failed, if it did."""
        return self._failure if isinstance(self._failure, LogDirFailure) else None

    def _fail(self, error: OSError) -> NoReturn:
        failure = LogDirFailure(self.directory, error)
        if self._failure is None:
            self._failure = failure
        raise failure from error

    def found_corrupt(self, corrupt: LogCorrupt) -> None:
        """Nothing is read from the log or written to it any more; its owner hears of it."""
        if self._failure is None:
            self._failure = corrupt
            if self.on_corrupt is not None:
                self.on_corrupt(corrupt)

    # -- segments -----------------------------------------------------------------------------------------------

    def _use_segments(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._bases = [each.base_offset for each in segments]
        self._active = segments[-1]
        self._read_ends = {}

    def _must_roll(self, segment: Segment, size: int, last_offset: int, timestamp: int, now_ms: int) -> bool:
        """LogSegment.shouldRoll."""
        if not segment.size:
            return not segment.fits(last_offset)
        config = self._config
        if segment.size + size > config.segment_bytes:
            return True
        wait_ms = self._segment_ms
        if config.segment_jitter_ms:
            wait_ms -= segment.roll_jitter_ms(min(config.segment_jitter_ms, wait_ms))
        return (
            segment.waited_for_roll_ms(now_ms, timestamp) > wait_ms
            or (segment.size >= self._index_full_from_bytes and segment.is_index_full(config.segment_index_bytes))
            or not segment.fits(last_offset)
        )

    def _roll(self, now_ms: int, base_offset: int | None = None) -> Segment:
        """Begin the next segment, at the log's end unless a later offset is given. Raises ``OSError``."""
        old = self._active
        base_offset = self.log_end_offset if base_offset is None else base_offset
        assert base_offset >= self.log_end_offset, (base_offset, self.log_end_offset)
        remaining = self._segments
        if not old.size:
            # It holds no record, and its name is too low for the next one.
            self._drop_segments([old], now_ms)
            remaining = remaining[:-1]
        else:
            self._complete_segment()
            old.become_inactive()
        segment = Segment.create(self._pool, self.directory, base_offset, self._config.index_interval_bytes, now_ms)
        segment.is_active = True
        self._directory_changes += 1
        self._use_segments([*remaining, segment])
        self._forget_positions()
        if self._flush_lock.acquire(blocking=False):
            for each in self._segments[-_RELEASED_LATE:-1]:
                each.release()
            self._flush_lock.release()
        if self.after_roll is not None:
            self.after_roll()
        return segment

    def _roll_for(self, header: BatchHeader) -> Segment:
        """Begin a segment for a replicated batch: at the log's end, so that between two segments there is no gap that
        could be taken for lost bytes, unless the batch is too far behind. Raises ``OSError``."""
        is_near = header.last_offset - self.log_end_offset <= MAX_RELATIVE_OFFSET
        return self._roll(self._now_ms, self.log_end_offset if is_near else header.base_offset)

    def _complete_segment(self) -> None:
        """The active segment takes no more."""

    def _drop_segments(self, segments: Sequence[Segment], now_ms: int) -> None:
        """Rename the files; they are removed later (LocalLog.deleteSegmentFiles). Raises ``OSError``."""
        due_ms = now_ms + self._config.file_delete_delay_ms
        self._break_cleaning(segments)
        for segment in segments:
            segment.is_active = False
            self._deleted.append(_Deleted(due_ms, segment, segment.rename_deleted()))
        self._directory_changes += 1

    def remove_deleted(self, now_ms: int) -> int:
        """Remove files whose file.delete.delay.ms is over; how many segments. May run in a thread of its own.

        Raises:
            OSError: the disk fails.
        """
        due = [each for each in self._deleted if each.due_ms <= now_ms]
        # A flush may be syncing one of them; the next call comes.
        if not due or not self._flush_lock.acquire(blocking=False):
            return 0
        try:
            for each in due:
                self._deleted.remove(each)
                each.segment.close()
                for path in each.paths:
                    self._disk.remove(path)
        finally:
            self._flush_lock.release()
        return len(due)

    # -- replacing ----------------------------------------------------------------------------------------------

    @property
    def disk(self) -> Disk:
        """Where the log is."""
        return self._disk

    @property
    def is_cleaned(self) -> bool:
        """Whether that is going on."""
        return self._cleaning is not None

    def begin_cleaning(self, segments: Sequence[Segment]) -> CleaningGuard:
        """Somebody reads these segments to write them anew; one at a time."""
        assert self._cleaning is None, f"{self.topic_partition} is being cleaned"
        self._cleaning = guard = CleaningGuard(segments)
        return guard

    def end_cleaning(self, guard: CleaningGuard) -> None:
        """It is over; a replacement that waits does not take its place. Raises ``OSError``."""
        if self._cleaning is guard:
            self._void(guard)

    def _break_cleaning(self, segments: Iterable[Segment]) -> None:
        """The segments change: what was made from them must not take their place, not even after a crash.

        Raises:
            OSError: the disk fails.
        """
        guard = self._cleaning
        if guard is not None and not guard.segments.isdisjoint(segments):
            self._void(guard)

    def _void(self, guard: CleaningGuard) -> None:
        self._cleaning = None
        guard.is_void = True
        if guard.waiting is not None:
            guard.waiting.remove_files()
            guard.waiting = None
            self._disk.sync_dir(self.directory)

    def name_replacement(self, guard: CleaningGuard, new: Segment) -> None:
        """Give a written and synced segment its ``.swap`` names: a start will complete what follows.

        Raises:
            LogDirFailure: the disk failed, now or before.
            KafkaError: the log is closed.
        """
        if self._failure is not None:
            guard.is_void = True
            raise self._failure
        try:
            new.move_to(SWAP_SUFFIX, self._pool)
        except OSError as error:
            self._fail(error)
        new.release()
        guard.waiting = new

    def use_replacement(self, guard: CleaningGuard, old: Sequence[Segment], new: Segment, now_ms: int) -> None:
        """Read from the new segment; the old ones get their ``.deleted`` names (LocalLog.replaceSegments).

        Raises:
            LogDirFailure: the disk failed, now or before.
            KafkaError: the log is closed.
        """
        if self._failure is not None:
            guard.is_void = True
            raise self._failure
        number = self._segments.index(old[0])
        assert self._segments[number : number + len(old)] == list(old), old
        guard.waiting = None
        guard.segments.difference_update(old)
        self._use_segments([*self._segments[:number], new, *self._segments[number + len(old) :]])
        try:
            self._drop_segments(old, now_ms)
        except OSError as error:
            self._fail(error)

    def settle_replacement(self, new: Segment) -> None:
        """Give it its final names. Nothing if the log is closed: the next start does it.

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        if new.is_deleted:
            return
        if self._failure is not None:
            if isinstance(self._failure, LogDirFailure):
                raise self._failure
            return
        try:
            new.move_to("", self._pool)
        except OSError as error:
            self._fail(error)
        self._directory_changes += 1

    # -- writing ------------------------------------------------------------------------------------------------

    def _append(self, segment: Segment, parts: list[Buffer], size: int, headers: list[BatchHeader]) -> None:
        """Write batches, whose offsets begin at the log's end, to the active segment. The caller moves the end.

        Raises:
            OSError: the disk fails.
        """
        offset, position = self.log_end_offset, segment.size
        segment.append(parts, size, headers, offset)
        # After the write and before the offset: see flush.
        segment.unsynced = True
        positions = self._positions_for_more()
        positions[offset] = position
        for header in headers:
            offset += header.last_offset_delta + 1
            position += header.batch_length + LOG_OVERHEAD_BYTES
            positions[offset] = position

    def _append_final(self, segment: Segment, data: Buffer, headers: Sequence[BatchHeader]) -> None:
        """The same for batches whose headers hold their offsets: there are gaps if the leader's log is compacted."""
        position = segment.size
        if self.first_dirty_offset is None and self._leaves_gap(headers):
            self.found_gaps()
        segment.append_final(data, headers)
        segment.unsynced = True
        positions = self._positions_for_more()
        for header in headers:
            positions[header.base_offset] = position
            position += header.batch_length + LOG_OVERHEAD_BYTES
        positions[headers[-1].next_offset] = position

    def found_gaps(self) -> None:
        """The log was compacted once, or is a copy of one that was. Raises ``OSError``."""
        self.first_dirty_offset = self.log_start_offset
        if self.before_gap is not None:
            self.before_gap()

    def _leaves_gap(self, headers: Sequence[BatchHeader]) -> bool:
        offset = self.log_end_offset
        for header in headers:
            if header.base_offset != offset:
                return True
            offset = header.next_offset
        return False

    def _positions_for_more(self) -> dict[int, int]:
        if len(self._positions) >= _REMEMBERED_POSITIONS:
            self._older_positions = self._positions
            self._positions = {}
        return self._positions

    def _forget_positions(self) -> None:
        self._positions = {}
        self._older_positions = {}
        self._read_ends = {}

    # -- syncing ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """fsync everything that was appended before the call; blocks. May run in a thread of its own.

        Does nothing for a log that was closed (its partition may have been deleted meanwhile).

        Raises:
            LogDirFailure: the disk failed, now or before; it is not tried again.
        """
        with self._flush_lock:
            if self._failure is not None:
                if isinstance(self._failure, LogDirFailure):
                    raise self._failure
                return
            truncations = self._truncations
            end_offset = self.log_end_offset
            try:
                self._before_flush()
                for segment in self._segments:
                    if segment.needs_sync:
                        segment.sync()
                if self.has_unsynced_names:
                    self._sync_names()
            except OSError as error:
                self._fail(error)
            with self._state_lock:
                # What a truncation removes, then or meanwhile, may come anew, unsynced.
                is_cut = truncations % 2 or truncations != self._truncations
                if not is_cut and end_offset > self.recovery_point:
                    self.recovery_point = end_offset

    def _before_flush(self) -> None:
        """Make durable what a recovery from the log's present end needs. Raises ``OSError``."""

    def _begin_cut(self, offset: int) -> bool:
        """Records from ``offset`` on will be removed; whether they were synced. Until :meth:`_end_cut` no flush raises
        the recovery point: it may have read the log's end before that is another one."""
        if self.first_dirty_offset is not None:
            self.first_dirty_offset = min(self.first_dirty_offset, offset)
        with self._state_lock:
            self._truncations += 1
            if offset >= self.recovery_point:
                return False
            self.recovery_point = offset
            return True

    def _end_cut(self) -> None:
        """The log's end is where it was cut."""
        with self._state_lock:
            self._truncations += 1
        assert self._truncations % 2 == 0, self._truncations

    def _all_is_durable(self) -> None:
        """The log is on the device as it is now."""
        with self._state_lock:
            self.recovery_point = self.log_end_offset

    def _sync_cut(self, segment: Segment) -> None:
        """The log now ends in ``segment``: make that last. Raises ``OSError``."""
        segment.sync()
        self._sync_names()

    def _sync_names(self) -> None:
        """Make the names of the files last, and at first that of the directory, with the note of whose it is. Raises
        ``OSError``."""
        changes = self._directory_changes
        if not self._is_directory_synced:
            note = f"{self.directory}/{PARTITION_METADATA}"
            if self._disk.exists(note):
                sync_file(self._disk, note)
            self._disk.sync_dir(self.directory.rpartition("/")[0])
            self._is_directory_synced = True
        self._disk.sync_dir(self.directory)
        self._directory_synced = changes

    def _settle_end(self) -> None:
        """A compacted log may have been cut within a gap: a segment that begins at the end tells the next start where
        that is, and the recovery point that nothing is lost in between. Raises ``OSError``."""
        if self.first_dirty_offset is not None and self._active.next_offset() < self.log_end_offset:
            self._sync_cut(self._roll(self._now_ms))
            for segment in self._segments:
                if segment.needs_sync:
                    segment.sync()
            self._before_flush()
            self._all_is_durable()
            if self.before_gap is not None:
                self.before_gap()

    def _close_files(self) -> None:
        if self._cleaning is not None:
            self._cleaning.is_void = True
            self._cleaning = None
        for segment in self._segments:
            segment.close()
        for each in self._deleted:
            each.segment.close()
        if self._owns_pool:
            self._pool.close()
        if self._failure is None:
            self._failure = KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"the log of {self.topic_partition} is closed")
