"""The log of one partition replica: appending, cutting, its offsets, epochs and producers. Kafka: UnifiedLog."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import (
    CONTROL_MASK,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    STAMP_BYTES,
    TRANSACTIONAL_MASK,
    BatchHeader,
    Buffer,
    check_crc,
    read_header,
    stamp_prefix,
)
from engine.record.control import read_end_transaction_marker
from engine.record.validation import AppendRules, check_client_batch, look_inside, with_append_time
from engine.storage import log_lookup, retention
from engine.storage.checkpoints import settle_topic_id, write_partition_metadata
from engine.storage.failure import LogDirFailure
from engine.storage.file_pool import FilePool
from engine.storage.leader_epochs import EpochEntry, LeaderEpochs
from engine.storage.local_log import LocalLog
from engine.storage.producer_snapshot import ProducerSnapshots
from engine.storage.producer_state import (
    CompletedTransaction,
    ProducerAppendInfo,
    ProducerStateManager,
    VerificationStateEntry,
)
from engine.storage.rebuild import note_replicated_batch, rebuild_producers
from engine.storage.recovery import LogLoader
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn
from engine.world import Disk

NO_APPEND_TIME = -1


class AppendInfo(NamedTuple):
    """What became of an append (LogAppendInfo). ``log_append_time_ms`` is -1 where the producer's timestamps stay."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    is_duplicate: bool
    size_bytes: int


class Log(LocalLog):
    """Open with :meth:`open`."""

    __slots__ = ("_rules", "before_truncation", "high_watermark", "leader_epochs", "producers", "topic_id")

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

    # -- appending as the leader --------------------------------------------------------------------------------

    def append_as_leader(
        self,
        records: Buffer,
        leader_epoch: int,
        *,
        now_ms: int,
        origin: str = "client",
        transaction_version: int = 0,
        verification: VerificationStateEntry | None = None,
        verifies: bool = False,
    ) -> AppendInfo:
        """Give batches their offsets and write them: all or none, in one system call.

        ``origin`` is ``"client"`` or ``"coordinator"``, which may write control batches and needs no sequences.
        ``transaction_version`` is that of the marker's request (WriteTxnMarkers, KIP-890). With ``verifies`` the
        first batch of a transaction needs the guard ``verification`` (``ProducerStateManager.start_verification``). A
        batch that repeats one of
        the producer's last five returns that one's offsets and writes nothing.

        Raises:
            KafkaError: CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE,
                OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED.
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        self._now_ms = now_ms
        rules = self._rules
        view = memoryview(records)
        total = len(view)
        if total > self._config.segment_bytes:
            self._too_large(total)
        is_client = origin == "client"
        looks_inside = rules.looks_inside and (is_client or rules.compression is not None)
        base_offset = offset = self.log_end_offset
        headers: list[BatchHeader] = []
        parts: list[Buffer] = []
        size = position = 0
        max_timestamp = -1
        producers: dict[int, ProducerAppendInfo] | None = None
        completed: list[CompletedTransaction] = []
        while position < total:
            header = read_header(view, position)
            end = position + header.batch_length + LOG_OVERHEAD_BYTES
            batch = view if position == 0 and end == total else view[position:end]
            position = end
            if is_client:
                check_client_batch(header, batch, rules, now_ms)
            else:
                _check_coordinators_batch(header, batch)
            if looks_inside and not header.attributes & CONTROL_MASK:
                header, packed = look_inside(header, batch, rules)
                batch = memoryview(packed)
            if rules.log_append_time:
                header, head = with_append_time(header, batch, now_ms)
                parts.append(stamp_prefix(header, offset, leader_epoch) + head[STAMP_BYTES:])
                parts.append(batch[HEADER_BYTES:])
            else:
                parts.append(stamp_prefix(header, offset, leader_epoch))
                parts.append(batch[STAMP_BYTES:])
            if header.producer_id >= 0:
                if is_client:
                    duplicate = self.producers.duplicate_of(header)
                    if duplicate is not None:
                        append_time = duplicate.timestamp if rules.log_append_time else NO_APPEND_TIME
                        first, last = duplicate.first_offset, duplicate.last_offset
                        return AppendInfo(first, last, append_time, self.log_start_offset, True, 0)
                if header.attributes & (TRANSACTIONAL_MASK | CONTROL_MASK) == TRANSACTIONAL_MASK:
                    self.producers.check_verified(header, verification, verifies)
                if producers is None:
                    producers = {}
                info = producers.get(header.producer_id)
                if info is None:
                    info = producers[header.producer_id] = self.producers.prepare(header.producer_id, origin)
                if header.attributes & CONTROL_MASK:
                    marker = read_end_transaction_marker(batch, header)
                    ended = marker and info.append_marker(header, marker, offset, transaction_version)
                    if ended:
                        completed.append(ended)
                else:
                    info.append_data(header, offset)
            if header.max_timestamp > max_timestamp:
                max_timestamp = header.max_timestamp
            headers.append(header)
            size += header.batch_length + LOG_OVERHEAD_BYTES
            offset += header.last_offset_delta + 1
        if not headers:
            raise KafkaError(ErrorCode.INVALID_RECORD, "there is no record batch")
        segment, latest_epoch = self._active, self.leader_epochs.latest_epoch
        assert leader_epoch >= latest_epoch, f"leader epoch {leader_epoch} after {latest_epoch}"
        try:
            if self._must_roll(segment, size, offset - 1, max_timestamp, now_ms):
                segment = self._roll(now_ms)
            if leader_epoch != latest_epoch:
                self.leader_epochs.assign(leader_epoch, base_offset)
            self._append(segment, parts, size, headers)
            if producers is not None:
                self._update_producers(producers, completed, headers)
        except OSError as error:
            self._fail(error)
        # After everything that a flush up to here must find.
        self.log_end_offset = self.producers.map_end_offset = offset
        append_time = now_ms if rules.log_append_time else NO_APPEND_TIME
        return AppendInfo(base_offset, offset - 1, append_time, self.log_start_offset, False, size)

    def _too_large(self, size: int) -> None:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"{size} bytes of records at once; segment.bytes of {self.topic_partition} is {self._config.segment_bytes}",
        )

    def _update_producers(
        self,
        infos: dict[int, ProducerAppendInfo],
        completed: list[CompletedTransaction],
        headers: Sequence[BatchHeader],
    ) -> None:
        producers = self.producers
        for info in infos.values():
            producers.update(info)
        if producers.verifications:
            for header in headers:
                if header.is_transactional:
                    producers.end_verification(header)
        for each in completed:
            if each.is_aborted:
                stable = producers.last_stable_offset_after(each)
                self._active.txn_index.append(AbortedTxn(each.producer_id, each.first_offset, each.last_offset, stable))
            producers.complete(each)

    # -- appending as a follower --------------------------------------------------------------------------------

    def append_as_follower(self, records: Buffer, *, now_ms: int | None = None) -> None:
        """Write batches as the leader has them, offsets and epochs included; an incomplete one at the end is left out.

        ``now_ms`` only dates new segments.

        Raises:
            KafkaError: CORRUPT_MESSAGE for a CRC that does not match, or an epoch below the one before;
                OFFSET_OUT_OF_RANGE for offsets that do not go on from the log's end.
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        if now_ms is not None:
            self._now_ms = now_ms
        view = memoryview(records)
        end_offset = self._end_for(view)
        headers = self._check_replicated(view, end_offset)
        if end_offset < self.log_end_offset:
            start_offset = self.log_start_offset
            self.truncate_fully_and_start_at(end_offset)
            self.log_start_offset = self.high_watermark = start_offset
        limit = self._config.segment_bytes
        first = start = 0
        try:
            while first < len(headers):
                segment, header = self._active, headers[first]
                if self._must_roll(
                    segment, header.size_in_bytes, header.last_offset, header.max_timestamp, self._now_ms
                ):
                    segment = self._roll_for(header)
                # As many as the segment takes, one at least.
                last, end = first + 1, start + header.size_in_bytes
                room = start + limit - segment.size
                while last < len(headers):
                    size = headers[last].size_in_bytes
                    if end + size > room or not segment.fits(headers[last].last_offset):
                        break
                    end += size
                    last += 1
                self._append_replicated(segment, view[start:end], headers[first:last])
                first, start = last, end
        except OSError as error:
            self._fail(error)

    def _end_for(self, view: memoryview) -> int:
        """Where batches must begin: the log's end; but a log that is empty takes a batch that holds its start
        (UnexpectedAppendOffsetException): DeleteRecords made the leader's log start within that batch."""
        end_offset = self.log_end_offset
        if end_offset == self.log_start_offset and not self._active.size and len(view) >= HEADER_BYTES:
            header = read_header(view)
            if header.base_offset < end_offset <= header.last_offset:
                return header.base_offset
        return end_offset

    def _check_replicated(self, view: memoryview, offset: int) -> list[BatchHeader]:
        headers: list[BatchHeader] = []
        total = len(view)
        position = 0
        epoch = self.leader_epochs.epoch_for_offset(offset - 1)
        while total - position >= HEADER_BYTES:
            header = read_header(view, position)
            size = header.batch_length + LOG_OVERHEAD_BYTES
            if position + size > total:
                break
            check_crc(view[position : position + max(size, 0)], header)
            if header.base_offset < offset or header.last_offset_delta < 0:
                raise KafkaError(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"a batch of offsets {header.base_offset} to {header.last_offset} does not follow on the end of "
                    f"{self.topic_partition}, {offset}",
                )
            if header.partition_leader_epoch < epoch:
                raise KafkaError(
                    ErrorCode.CORRUPT_MESSAGE,
                    f"leader epoch {header.partition_leader_epoch} at offset {header.base_offset} of "
                    f"{self.topic_partition} follows on {epoch}",
                )
            epoch, offset = header.partition_leader_epoch, header.next_offset
            headers.append(header)
            position += size
        return headers

    def _append_replicated(self, segment: Segment, data: memoryview, headers: list[BatchHeader]) -> None:
        epochs, position = self.leader_epochs, segment.size
        for header in headers:
            if header.partition_leader_epoch != epochs.latest_epoch and header.partition_leader_epoch >= 0:
                epochs.assign(header.partition_leader_epoch, header.base_offset)
        self._append_final(segment, data, headers)
        for header in headers:
            if header.producer_id >= 0:
                note_replicated_batch(self.producers, segment, position, header, adds_to_index=True)
            position += header.batch_length + LOG_OVERHEAD_BYTES
        self.log_end_offset = self.producers.map_end_offset = headers[-1].next_offset

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


def _check_coordinators_batch(header: BatchHeader, batch: Buffer) -> None:
    """A batch that this broker built itself."""
    check_crc(batch, header)
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{header.record_count} records do not match a last offset delta of {header.last_offset_delta}",
        )
