"""The log of one partition replica: opening, cutting, its offsets, epochs and producers. Kafka: UnifiedLog.

Appending is in :mod:`engine.storage.log_appends`, reading in :mod:`engine.storage.log_reads`, files are in
:mod:`engine.storage.local_log`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import (
    HEADER_BYTES,
    read_header,
)
from engine.record.validation import AppendRules
from engine.storage import log_lookup, retention
from engine.storage.checkpoints import settle_topic_id, write_partition_metadata
from engine.storage.failure import LogDirFailure
from engine.storage.file_pool import FilePool
from engine.storage.leader_epochs import EpochEntry, LeaderEpochs
from engine.storage.log_appends import LogAppends
from engine.storage.producer_snapshot import ProducerSnapshots
from engine.storage.producer_state import (
    ProducerStateManager,
)
from engine.storage.rebuild import rebuild_producers
from engine.storage.recovery import LogLoader
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn
from engine.world import Disk


class Log(LogAppends):
    """Open with :meth:`open`."""

    __slots__ = ("before_truncation", "topic_id")

    def __init__(
        self,
        disk: Disk,
        directory: str,
        topic_partition: TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        pool: FilePool | None,
        producer_id_expiration_ms: int,
        now_ms: int,
    ) -> None:
        """Use :meth:`open`."""
        super().__init__(disk, directory, topic_partition, config, pool, now_ms)
        self.topic_id = topic_id
        self._rules = AppendRules(config)
        self.high_watermark = 0
        self.leader_epochs = LeaderEpochs(disk, directory, lambda: self.log_end_offset)
        self.producers = ProducerStateManager(ProducerSnapshots(disk, directory), producer_id_expiration_ms)
        # Called before records below the recovery point are cut: the recovery point's checkpoint must not lie.
        self.before_truncation: Callable[[], None] | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        topic_partition: TopicPartition,
        topic_id: Uuid | None,
        config: LogConfig,
        *,
        now_ms: int,
        clean_shutdown: bool,
        recovery_point: int,
        trusts_recovery_point: bool = True,
        checks_synced: bool = False,
        log_start_offset: int = 0,
        first_dirty_offset: int | None = None,
        pool: FilePool | None = None,
        producer_id_expiration_ms: int = 86_400_000,
    ) -> Log:
        """Open a partition's directory, made if it is not there; recovers what may not have been synced.

        ``topic_id`` ``None``: the one in ``partition.metadata``. ``recovery_point`` is not trusted if its checkpoint
        is lost: then gaps in the offsets are taken for the work of compaction, not for lost bytes. ``checks_synced``:
        look at the batches below the recovery point as well.

        Raises:
            LogCorrupt: bytes that were synced are not what they were.
            CheckpointCorrupt: ``partition.metadata`` cannot be read.
            KafkaError: INCONSISTENT_TOPIC_ID if it is the directory of another topic of that name.
            OSError: the disk fails.
        """
        # Not synced: nothing is acknowledged from a log before its first flush, which does that.
        is_new = not disk.is_dir(directory)
        if is_new:
            disk.make_dirs(directory)
        topic_id = settle_topic_id(disk, directory, topic_id, may_be_torn=recovery_point == 0 and not clean_shutdown)
        log = cls(disk, directory, topic_partition, topic_id, config, pool, producer_id_expiration_ms, now_ms)
        compacted_to = float("inf") if not trusts_recovery_point else (first_dirty_offset or 0)
        loaded = LogLoader(
            log._pool,
            directory,
            config,
            log.leader_epochs,
            log.producers,
            clean_shutdown=clean_shutdown,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
            is_dense=trusts_recovery_point and not config.compact and first_dirty_offset is None,
            compacted_to=compacted_to,
            checks_synced=checks_synced,
            now_ms=now_ms,
        ).load()
        log._use_segments(loaded.segments)
        log.first_dirty_offset = first_dirty_offset
        log.log_start_offset = log.high_watermark = loaded.log_start_offset
        log.log_end_offset = loaded.log_end_offset
        log.recovery_point = loaded.recovery_point
        # The process that made the last segment may have died before the name of its file was on the device.
        log._directory_changes = int(loaded.is_changed or not clean_shutdown)
        log._is_directory_synced = not is_new and (clean_shutdown or recovery_point > 0)
        return log

    def assign_topic_id(self, topic_id: Uuid) -> None:
        """The power went before the directory's note of it was synced. Raises ``OSError``."""
        assert self.topic_id == ZERO_UUID, self.topic_id
        write_partition_metadata(self._disk, self.directory, topic_id)
        self.topic_id = topic_id
        self._directory_changes += 1
        self._is_directory_synced = False

    def update_config(self, config: LogConfig) -> None:
        """The configuration changed; it counts from the next append on."""
        self._use_config(config)
        self._rules = AppendRules(config)

    @property
    def last_stable_offset(self) -> int:
        """Where read_committed must stop: the first open transaction, or the high watermark."""
        unstable = self.producers.first_unstable_offset
        if unstable is None or unstable > self.high_watermark:
            return self.high_watermark
        return max(unstable, self.log_start_offset)

    # -- looking up ---------------------------------------------------------------------------------------------

    def _epochs(self) -> Sequence[EpochEntry]:
        return self.leader_epochs.entries

    def aborted_transactions(self, start_offset: int, upper_offset: int) -> list[AbortedTxn]:
        """Aborted transactions with records from ``start_offset`` on and below ``upper_offset``."""
        number = max(bisect_right(self._bases, start_offset) - 1, 0)
        return log_lookup.aborted_transactions(self._segments[number:], start_offset, upper_offset)

    def offset_for_timestamp(self, timestamp: int, max_offset: int) -> tuple[int, int, int] | None:
        """Timestamp, offset and leader epoch of the first record below ``max_offset`` that is of ``timestamp`` or
        later; ``None`` if there is none. Raises ``OSError``, LogCorrupt."""
        try:
            return log_lookup.offset_for_timestamp(self._segments, timestamp, self.log_start_offset, max_offset)
        except KafkaError as error:
            self._corrupt(error)

    def max_timestamp_offset(self) -> tuple[int, int, int] | None:
        """The same of the record with the largest timestamp, the first if there are several."""
        try:
            return log_lookup.max_timestamp_offset(self._segments)
        except KafkaError as error:
            self._corrupt(error)

    # -- offsets ------------------------------------------------------------------------------------------------

    def set_high_watermark(self, offset: int) -> None:
        """What is committed; kept within the log (UnifiedLog.updateHighWatermark)."""
        if offset > self.log_end_offset:
            offset = self.log_end_offset
        elif offset < self.log_start_offset:
            offset = self.log_start_offset
        self.high_watermark = offset
        if self.producers.first_unstable_offset is not None:
            self.producers.on_high_watermark(offset)

    def increment_log_start_offset(self, offset: int) -> bool:
        """Records below ``offset`` are not served any more; whether that is news (maybeIncrementLogStartOffset).

        Raises:
            KafkaError: OFFSET_OUT_OF_RANGE if it is above the high watermark.
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        if offset > self.high_watermark:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{self.topic_partition} cannot start at {offset}: its high watermark is {self.high_watermark}",
            )
        if offset <= self.log_start_offset:
            return False
        try:
            self._start_at(offset)
        except OSError as error:
            self._fail(error)
        return True

    def _start_at(self, offset: int) -> None:
        self.log_start_offset = offset
        self.leader_epochs.truncate_from_start(offset)
        self.producers.on_log_start_offset(offset)

    # -- cutting ------------------------------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Remove records from ``offset`` on; the batch that holds it goes as a whole (UnifiedLog.truncateTo).

        On the device when it returns, which Kafka leaves to chance: what was cut, come back after a loss of power with
        records of another history behind it, would be a log that never was.

        Raises:
            LogDirFailure: the disk failed, now or before.
            LogCorrupt: what is before ``offset`` is not what was written.
        """
        assert offset >= 0, offset
        if self._failure is not None:
            raise self._failure
        if offset < self._bases[0]:
            self.truncate_fully_and_start_at(offset)
            return
        try:
            if offset < self.log_end_offset:
                self._truncate(offset)
            else:
                # This broker may have led, and noted its epoch, and written nothing in it.
                self.leader_epochs.truncate_from_end(self.log_end_offset)
        except OSError as error:
            self._fail(error)
        except LogDirFailure:
            raise
        except KafkaError as error:
            # Nobody knows what is cut by now, and what is not.
            self._corrupt(error)

    def _truncate(self, offset: int) -> None:
        number = bisect_right(self._bases, offset) - 1
        segment = self._segments[number]
        self._break_cleaning(self._segments[number:])
        position = segment.position_of(offset)
        if position < segment.size:
            offset = min(offset, read_header(segment.read(position, HEADER_BYTES)).base_offset)
        # Within a gap of a compacted log the batches end before: so would a start find it.
        left = segment.last_end_within(0, position) if position else None
        self._before_truncation(min(offset, segment.base_offset if left is None else left[1]))
        # First of all: a snapshot must never speak of records that are gone.
        self.producers.snapshots.remove_outside(self.log_start_offset, offset)
        dropped = self._segments[number + 1 :]
        self._use_segments(self._segments[: number + 1])
        self._drop_segments(dropped, self._now_ms)
        segment.truncate(position, offset)
        segment.is_active = True
        self._sync_cut(segment)
        self._forget_positions()
        self.log_end_offset = offset
        self._end_cut()
        self.log_start_offset = min(self.log_start_offset, offset)
        self.high_watermark = min(self.high_watermark, offset)
        self.leader_epochs.truncate_from_end(offset)
        rebuild_producers(self.producers, self._segments, self.log_start_offset, offset, offset, self._now_ms)
        self.producers.take_snapshot()
        self.producers.on_high_watermark(self.high_watermark)
        self._settle_end()

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove everything; the log is empty and begins at ``offset`` (UnifiedLog.truncateFullyAndStartAt).

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        try:
            # A crash on the way may leave any part of the log, or nothing.
            self._before_truncation(0)
            self.producers.start_at(offset)
            self._drop_segments(self._segments, self._now_ms)
            self.leader_epochs.clear()
            interval = self._config.index_interval_bytes
            segment = Segment.create(self._pool, self.directory, offset, interval, self._now_ms)
            self._sync_cut(segment)
        except OSError as error:
            self._fail(error)
        segment.is_active = True
        self._use_segments([segment])
        self._forget_positions()
        self.log_start_offset = self.log_end_offset = self.high_watermark = offset
        self._end_cut()
        self._all_is_durable()

    def _before_truncation(self, offset: int) -> None:
        if self._begin_cut(offset) and self.before_truncation is not None:
            self.before_truncation()

    # -- keeping ------------------------------------------------------------------------------------------------

    def roll(self, now_ms: int) -> None:
        """Begin a new segment, unless the active one is empty.

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        if self._active.size:
            try:
                self._roll(now_ms)
            except OSError as error:
                self._fail(error)

    def _complete_segment(self) -> None:
        self.producers.take_snapshot()
        if self.producers.knows_transactions:
            self._active.txn_index.make()

    def delete_old_segments(self, now_ms: int) -> int:
        """Remove segments by retention.ms, retention.bytes and the log start offset; how many.

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        self._now_ms = now_ms
        deleted = 0
        try:
            self.remove_deleted(now_ms)
            for reason in retention.REASONS:
                count = reason(self, now_ms)
                if not count:
                    continue
                if count == len(self._segments):
                    self._roll(now_ms)
                dropped = self._segments[:count]
                self._use_segments(self._segments[count:])
                if self._bases[0] > self.log_start_offset:
                    self._start_at(self._bases[0])
                self.producers.snapshots.remove_before(self._bases[0])
                self._drop_segments(dropped, now_ms)
                deleted += count
        except OSError as error:
            self._fail(error)
        return deleted

    def _before_flush(self) -> None:
        # An epoch that has no record yet can wait: every broker that starts begins one in each of its logs.
        if self.leader_epochs.unsaved_from < self.log_end_offset:
            self.leader_epochs.save_new()

    def save_epochs(self) -> None:
        """Make epochs that began since last, without waiting for the records. May run in a thread of its own.

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        with self._flush_lock:
            if self._failure is not None:
                if isinstance(self._failure, LogDirFailure):
                    raise self._failure
                return
            try:
                self.leader_epochs.save_new()
            except OSError as error:
                self._fail(error)

    def take_producer_snapshot(self) -> None:
        """Write the producers' state at the log's end. Raises ``OSError``."""
        self.producers.take_snapshot()

    def close(self, *, clean: bool = False) -> None:
        """Save the indexes and the producers' state, and close the files. What was not flushed is not flushed now.

        ``clean``: the log was flushed, and the next start will not look at its batches: its indexes must be whole then.

        Raises:
            OSError: the disk fails; the files are closed nevertheless.
        """
        with self._flush_lock:
            try:
                if self._failure is None:
                    self.leader_epochs.save_new()
                    self._complete_segment()
                    self._active.save_indexes()
                    if clean:
                        self._active.sync_indexes()
            finally:
                self._close_files()

    def rename_for_delete(self, directory: str) -> None:
        """Close the files and give the partition's directory the name under which it waits to be removed."""
        with self._flush_lock:
            self._close_files()
        self._disk.rename(self.directory, directory)
        self._disk.sync_dir(directory.rpartition("/")[0])
        self.directory = directory

    def __repr__(self) -> str:
        return f"Log({self.topic_partition}, {self.log_start_offset}..{self.log_end_offset} in {self.directory})"
