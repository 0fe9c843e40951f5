"""The log of one partition replica: appending, reading, cutting, syncing. Kafka: UnifiedLog, LocalLog.

One thread (the event loop) owns a log. :meth:`Log.flush` alone may run in another one meanwhile: it reads the end of
the log first, and everything below that was written before.

On a failed write or fsync nothing is known of the file any more, so the log refuses everything from then on (L4).
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import (
    CONTROL_MASK,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    STAMP_BYTES,
    BatchHeader,
    Buffer,
    check_crc,
    read_header,
    stamp_prefix,
)
from engine.record.control import read_end_transaction_marker
from engine.record.validation import AppendRules, check_client_batch, look_inside, with_append_time
from engine.storage import log_lookup, retention
from engine.storage.checkpoints import read_partition_metadata, write_partition_metadata
from engine.storage.failure import LogDirFailure
from engine.storage.file_pool import FilePool
from engine.storage.leader_epochs import LeaderEpochs
from engine.storage.producer_snapshot import SUFFIX as SNAPSHOT_SUFFIX
from engine.storage.producer_snapshot import ProducerSnapshots
from engine.storage.producer_state import CompletedTransaction, ProducerAppendInfo, ProducerStateManager
from engine.storage.recovery import LogLoader, note_replicated_batch, rebuild_producers
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn
from engine.world import Disk

NO_APPEND_TIME = -1
# Ends of batches whose positions are remembered, twice as many at most: reads of the tail need no index.
_REMEMBERED_POSITIONS = 1024
_METADATA_TOPIC = "__cluster_metadata"


class AppendInfo(NamedTuple):
    """What became of an append (LogAppendInfo). ``log_append_time_ms`` is -1 where the producer's timestamps stay."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    is_duplicate: bool
    size_bytes: int


class _Deleted(NamedTuple):
    """A segment whose files have their ``.deleted`` names."""

    due_ms: int
    segment: Segment
    paths: list[str]


class Log:
    """Open with :meth:`open`."""

    __slots__ = (
        "_active",
        "_bases",
        "_config",
        "_deleted",
        "_directory_changed",
        "_disk",
        "_failure",
        "_flush_lock",
        "_now_ms",
        "_older_positions",
        "_owns_pool",
        "_pool",
        "_positions",
        "_rules",
        "_segments",
        "_state_lock",
        "_truncations",
        "before_truncation",
        "directory",
        "high_watermark",
        "leader_epochs",
        "log_end_offset",
        "log_start_offset",
        "producers",
        "recovery_point",
        "topic_id",
        "topic_partition",
    )

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
        self._disk = disk
        self._owns_pool = pool is None
        self._pool = FilePool(disk, 16) if pool is None else pool
        self.directory = directory
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self._config = config
        self._rules = AppendRules(config)
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.high_watermark = 0
        # Everything below is on the device.
        self.recovery_point = 0
        self.leader_epochs = LeaderEpochs(disk, directory, lambda: self.log_end_offset)
        self.producers = ProducerStateManager(ProducerSnapshots(disk, directory), producer_id_expiration_ms)
        # Called before records below the recovery point are cut: the recovery point's checkpoint must not lie.
        self.before_truncation: Callable[[], None] | None = None
        self._segments: list[Segment] = []
        # Their base offsets; never shared, replaced when the segments change.
        self._bases: list[int] = []
        self._deleted: list[_Deleted] = []
        # Offset → position in the active segment's file of batches that were appended last.
        self._positions: dict[int, int] = {}
        self._older_positions: dict[int, int] = {}
        self._failure: LogDirFailure | None = None
        self._directory_changed = False
        self._flush_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._truncations = 0
        # The latest time that somebody told.
        self._now_ms = now_ms

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
        log_start_offset: int = 0,
        pool: FilePool | None = None,
        producer_id_expiration_ms: int = 86_400_000,
    ) -> Log:
        """Open a partition's directory, made if it is not there; recovers what may not have been synced.

        ``topic_id`` ``None``: the one in ``partition.metadata``.

        Raises:
            LogCorrupt: bytes that were synced are not what they were.
            CheckpointCorrupt: ``partition.metadata`` cannot be read.
            KafkaError: INCONSISTENT_TOPIC_ID if it is the directory of another topic of that name.
            OSError: the disk fails.
        """
        if not disk.is_dir(directory):
            disk.make_dirs(directory)
            disk.sync_dir(directory.rpartition("/")[0] or "/")
        topic_id = _settle_topic_id(disk, directory, topic_id)
        log = cls(disk, directory, topic_partition, topic_id, config, pool, producer_id_expiration_ms, now_ms)
        offsets = [
            int(name[: -len(SNAPSHOT_SUFFIX)])
            for name in disk.list_dir(directory)
            if name.endswith(SNAPSHOT_SUFFIX) and name[: -len(SNAPSHOT_SUFFIX)].isdigit()
        ]
        log.producers.snapshots.offsets = sorted(offsets)
        loaded = LogLoader(
            log._pool,
            directory,
            config,
            log.leader_epochs,
            log.producers,
            clean_shutdown=clean_shutdown,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
            is_dense=not config.compact and (recovery_point > 0 or topic_partition.topic == _METADATA_TOPIC),
            now_ms=now_ms,
        ).load()
        log._use_segments(loaded.segments)
        log.log_start_offset = log.high_watermark = loaded.log_start_offset
        log.log_end_offset = loaded.log_end_offset
        log.recovery_point = loaded.recovery_point
        return log

    def _use_segments(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._bases = [each.base_offset for each in segments]
        self._active = segments[-1]

    # -- answers ------------------------------------------------------------------------------------------------

    @property
    def config(self) -> LogConfig:
        """The topic's configuration."""
        return self._config

    def update_config(self, config: LogConfig) -> None:
        """The configuration changed; it counts from the next append on."""
        self._config = config
        self._rules = AppendRules(config)

    @property
    def last_stable_offset(self) -> int:
        """Where read_committed must stop: the first open transaction, or the high watermark."""
        unstable = self.producers.first_unstable_offset
        if unstable is None or unstable > self.high_watermark:
            return self.high_watermark
        return max(unstable, self.log_start_offset)

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
    def failure(self) -> LogDirFailure | None:
        """Why the log refuses everything, if it does."""
        return self._failure

    # -- appending as the leader --------------------------------------------------------------------------------

    def append_as_leader(
        self,
        records: Buffer,
        leader_epoch: int,
        *,
        now_ms: int,
        origin: str = "client",
        transaction_version: int = 0,
    ) -> AppendInfo:
        """Give batches their offsets and write them: all or none, in one system call.

        ``origin`` is ``"client"`` or ``"coordinator"``, which may write control batches and needs no sequences.
        ``transaction_version`` is that of the marker's request (WriteTxnMarkers, KIP-890). A batch that repeats one of
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
            raise KafkaError(
                ErrorCode.RECORD_LIST_TOO_LARGE,
                f"{total} bytes of records at once; segment.bytes of {self.topic_partition} is "
                f"{self._config.segment_bytes}",
            )
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
            if origin == "client":
                check_client_batch(header, batch, rules, now_ms)
            else:
                _check_coordinators_batch(header, batch)
            if rules.looks_inside and not header.attributes & CONTROL_MASK:
                header, packed = look_inside(header, batch, rules)
                batch = memoryview(packed)
            if rules.log_append_time:
                header, head = with_append_time(header, batch, now_ms)
                prefix: Buffer = stamp_prefix(header, offset, leader_epoch) + head[STAMP_BYTES:]
                rest = batch[HEADER_BYTES:]
            else:
                prefix = stamp_prefix(header, offset, leader_epoch)
                rest = batch[STAMP_BYTES:]
            last_offset = offset + header.last_offset_delta
            if header.producer_id >= 0:
                if origin == "client":
                    duplicate = self.producers.duplicate_of(header)
                    if duplicate is not None:
                        return AppendInfo(
                            duplicate.first_offset,
                            duplicate.last_offset,
                            duplicate.timestamp if rules.log_append_time else NO_APPEND_TIME,
                            self.log_start_offset,
                            True,
                            0,
                        )
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
                    info.append_data(header, offset, last_offset)
            if header.max_timestamp > max_timestamp:
                max_timestamp = header.max_timestamp
            headers.append(header)
            parts.append(prefix)
            parts.append(rest)
            size += header.batch_length + LOG_OVERHEAD_BYTES
            offset = last_offset + 1
        if not headers:
            raise KafkaError(ErrorCode.INVALID_RECORD, "a produce request without a record batch")
        self._write(parts, size, headers, base_offset, offset, leader_epoch, max_timestamp, now_ms)
        if producers is not None:
            self._update_producers(producers, completed)
        self.producers.map_end_offset = offset
        return AppendInfo(
            base_offset,
            offset - 1,
            now_ms if rules.log_append_time else NO_APPEND_TIME,
            self.log_start_offset,
            False,
            size,
        )

    def _write(
        self,
        parts: list[Buffer],
        size: int,
        headers: list[BatchHeader],
        base_offset: int,
        end_offset: int,
        leader_epoch: int,
        max_timestamp: int,
        now_ms: int,
    ) -> None:
        segment = self._active
        try:
            if self._must_roll(segment, size, end_offset - 1, max_timestamp, now_ms):
                segment = self._roll(now_ms)
            if leader_epoch > self.leader_epochs.latest_epoch:
                self.leader_epochs.assign(leader_epoch, base_offset)
            position = segment.size
            segment.append(parts, size, headers, base_offset)
        except OSError as error:
            self._fail(error)
        # After the write and before the offset: see flush.
        segment.unsynced = True
        self._remember(base_offset, position)
        if len(headers) > 1:
            for header in headers[:-1]:
                base_offset += header.last_offset_delta + 1
                position += header.batch_length + LOG_OVERHEAD_BYTES
                self._positions[base_offset] = position
        self._positions[end_offset] = segment.size
        self.log_end_offset = end_offset

    def _update_producers(self, infos: dict[int, ProducerAppendInfo], completed: list[CompletedTransaction]) -> None:
        producers = self.producers
        for info in infos.values():
            producers.update(info)
        for each in completed:
            if each.is_aborted:
                aborted = AbortedTxn(
                    each.producer_id, each.first_offset, each.last_offset, producers.last_stable_offset_after(each)
                )
                try:
                    self._active.txn_index.append(aborted)
                except OSError as error:
                    self._fail(error)
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
        view = memoryview(records)
        total = len(view)
        headers: list[BatchHeader] = []
        position, offset, epoch = 0, self.log_end_offset, self.leader_epochs.latest_epoch
        while total - position >= HEADER_BYTES:
            header = read_header(view, position)
            end = position + header.batch_length + LOG_OVERHEAD_BYTES
            if end > total:
                break
            check_crc(view[position:end] if end > position else view[position:position], header)
            if header.base_offset < offset or header.last_offset_delta < 0:
                raise KafkaError(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"a batch of offsets {header.base_offset} to {header.last_offset} does not follow on "
                    f"{self.topic_partition}'s end, {offset}",
                )
            if header.partition_leader_epoch < epoch:
                raise KafkaError(
                    ErrorCode.CORRUPT_MESSAGE,
                    f"leader epoch {header.partition_leader_epoch} at offset {header.base_offset} of "
                    f"{self.topic_partition} follows on {epoch}",
                )
            epoch = header.partition_leader_epoch
            offset = header.next_offset
            headers.append(header)
            position = end
        if not headers:
            return
        if now_ms is not None:
            self._now_ms = now_ms
        first = start = 0
        limit = self._config.segment_bytes
        while first < len(headers):
            # As many as the segment takes; of one that is new, one at least.
            segment = self._active
            header = headers[first]
            if self._must_roll(segment, header.size_in_bytes, header.last_offset, header.max_timestamp, self._now_ms):
                try:
                    segment = self._roll(self._now_ms, header.base_offset)
                except OSError as error:
                    self._fail(error)
            room = limit - segment.size
            last, end = first, start
            while last < len(headers):
                size = headers[last].size_in_bytes
                if last > first and (end + size - start > room or not segment.fits(headers[last].last_offset)):
                    break
                end += size
                last += 1
            self._write_final(view[start:end], headers[first:last])
            first, start = last, end

    def _write_final(self, data: Buffer, headers: Sequence[BatchHeader]) -> None:
        segment = self._active
        position = segment.size
        end_offset = headers[-1].next_offset
        epochs = self.leader_epochs
        try:
            for header in headers:
                if header.partition_leader_epoch > epochs.latest_epoch:
                    epochs.assign(header.partition_leader_epoch, header.base_offset)
            segment.append_final(data, headers)
        except OSError as error:
            self._fail(error)
        segment.unsynced = True
        self._remember(headers[0].base_offset, position)
        for header in headers:
            if header.producer_id >= 0:
                try:
                    note_replicated_batch(self.producers, segment, position, header, adds_to_index=True)
                except OSError as error:
                    self._fail(error)
            position += header.size_in_bytes
            self._positions[header.next_offset] = position
        self.producers.map_end_offset = end_offset
        self.log_end_offset = end_offset

    def _remember(self, offset: int, position: int) -> None:
        positions = self._positions
        if len(positions) >= _REMEMBERED_POSITIONS:
            self._older_positions = positions
            self._positions = positions = {}
        positions[offset] = position

    def _forget_positions(self) -> None:
        self._positions = {}
        self._older_positions = {}

    def _fail(self, error: OSError) -> NoReturn:
        failure = LogDirFailure(self.directory, error)
        if self._failure is None:
            self._failure = failure
        raise failure from error

    # -- segments -----------------------------------------------------------------------------------------------

    def _must_roll(self, segment: Segment, size: int, last_offset: int, timestamp: int, now_ms: int) -> bool:
        """LogSegment.shouldRoll."""
        if not segment.size:
            return not segment.fits(last_offset)
        config = self._config
        return (
            segment.size + size > config.segment_bytes
            or segment.waited_for_roll_ms(now_ms, timestamp)
            > config.segment_ms - segment.roll_jitter_ms(config.segment_jitter_ms)
            or segment.is_index_full(config.segment_index_bytes)
            or not segment.fits(last_offset)
        )

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

    def _roll(self, now_ms: int, base_offset: int | None = None) -> Segment:
        old = self._active
        base_offset = self.log_end_offset if base_offset is None else base_offset
        if not old.size:
            # It holds no record, and its name is too low for the next one.
            self._drop_segments([old], now_ms)
            self._segments = self._segments[:-1]
        else:
            self.producers.take_snapshot()
            old.become_inactive()
        segment = Segment.create(self._pool, self.directory, base_offset, self._config.index_interval_bytes, now_ms)
        segment.is_active = True
        self._directory_changed = True
        self._use_segments([*self._segments, segment])
        self._forget_positions()
        if self._flush_lock.acquire(blocking=False):
            for each in self._segments[-4:-1]:
                each.release()
            self._flush_lock.release()
        return segment

    def _drop_segments(self, segments: Sequence[Segment], now_ms: int) -> None:
        """Rename the files; they are removed later (LocalLog.deleteSegmentFiles)."""
        due_ms = now_ms + self._config.file_delete_delay_ms
        for segment in segments:
            segment.is_active = False
            self._deleted.append(_Deleted(due_ms, segment, segment.rename_deleted()))
        self._directory_changed = True

    def remove_deleted(self, now_ms: int) -> int:
        """Remove files whose file.delete.delay.ms is over; how many segments. Raises ``OSError``."""
        due = [each for each in self._deleted if each.due_ms <= now_ms]
        if not due or not self._flush_lock.acquire(blocking=False):
            return 0
        try:
            for each in due:
                each.segment.close()
                for path in each.paths:
                    self._disk.remove(path)
        finally:
            self._flush_lock.release()
        self._deleted = [each for each in self._deleted if each.due_ms > now_ms]
        return len(due)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(
        self, offset: int, max_bytes: int, *, max_offset: int | None = None, min_one_message: bool = True
    ) -> bytes | memoryview:
        """Whole batches, the first being the one that holds ``offset``; none that starts at ``max_offset`` or later.

        They come from one segment: what follows is read by the next call. Nothing at the end of the log, nor if the
        first batch is larger than ``max_bytes``, unless ``min_one_message``.

        Raises:
            KafkaError: OFFSET_OUT_OF_RANGE.
            OSError: the disk fails.
        """
        end_offset = self.log_end_offset
        if offset < self.log_start_offset or offset > end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} of {self.topic_partition} is not within {self.log_start_offset} and {end_offset}",
            )
        if max_offset is not None and max_offset < end_offset:
            end_offset = max_offset
        if offset >= end_offset:
            return b""
        segment = self._active
        if offset >= segment.base_offset:
            position = self._positions.get(offset, -1)
            if position < 0:
                position = self._older_positions.get(offset, -1)
                if position < 0:
                    position = segment.position_of(offset)
            limit = segment.size if end_offset == self.log_end_offset else self._end_position(end_offset)
        else:
            number = bisect_right(self._bases, offset) - 1
            segment = self._segments[number]
            position = segment.position_of(offset)
            while position >= segment.size:
                # Compaction removed what was between.
                number += 1
                segment, position = self._segments[number], 0
                if segment.base_offset >= end_offset:
                    return b""
            if segment is self._active:
                limit = self._end_position(end_offset)
            elif end_offset >= self._bases[number + 1]:
                limit = segment.size
            else:
                limit = segment.end_position_of(end_offset)
        if limit - position > max_bytes:
            return self._read_bounded(segment, position, max_bytes, min_one_message)
        return segment.read(position, limit - position)

    def _end_position(self, end_offset: int) -> int:
        """Position in the active segment behind the last batch that starts before ``end_offset``."""
        if end_offset >= self.log_end_offset:
            return self._active.size
        position = self._positions.get(end_offset, -1)
        if position < 0:
            position = self._older_positions.get(end_offset, -1)
            if position < 0:
                position = self._active.end_position_of(end_offset)
        return position

    @staticmethod
    def _read_bounded(segment: Segment, position: int, max_bytes: int, min_one_message: bool) -> bytes:
        found = segment.last_end_within(position, position + max_bytes)
        if found is not None:
            end = found[0]
        elif min_one_message:
            end = segment.end_of_batch_at(position)[0]
        else:
            return b""
        return segment.read(position, end - position)

    def aborted_transactions(self, start_offset: int, upper_offset: int) -> list[AbortedTxn]:
        """Aborted transactions with records from ``start_offset`` on and below ``upper_offset``."""
        number = max(bisect_right(self._bases, start_offset) - 1, 0)
        return log_lookup.aborted_transactions(self._segments[number:], start_offset, upper_offset)

    def offset_for_timestamp(self, timestamp: int, max_offset: int) -> tuple[int, int, int] | None:
        """Timestamp, offset and leader epoch of the first record below ``max_offset`` that is of ``timestamp`` or
        later; ``None`` if there is none. Raises ``OSError``, ``KafkaError`` for bytes that do not unpack."""
        return log_lookup.offset_for_timestamp(self._segments, timestamp, self.log_start_offset, max_offset)

    def max_timestamp_offset(self) -> tuple[int, int, int] | None:
        """The same of the record with the largest timestamp, the first if there are several."""
        return log_lookup.max_timestamp_offset(self._segments)

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
        self.log_start_offset = offset
        try:
            self.leader_epochs.truncate_from_start(offset)
        except OSError as error:
            self._fail(error)
        self.producers.on_log_start_offset(offset)
        return True

    # -- cutting ------------------------------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Remove records from ``offset`` on; the batch that holds it goes as a whole (UnifiedLog.truncateTo).

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        assert offset >= 0, offset
        if self._failure is not None:
            raise self._failure
        if offset >= self.log_end_offset:
            # An epoch that began here without a record is one that the leader does not know.
            try:
                self.leader_epochs.truncate_from_end(offset)
            except OSError as error:
                self._fail(error)
            return
        if offset < self._bases[0]:
            self.truncate_fully_and_start_at(offset)
            return
        try:
            self._truncate(offset)
        except OSError as error:
            self._fail(error)

    def _truncate(self, offset: int) -> None:
        number = bisect_right(self._bases, offset) - 1
        segment = self._segments[number]
        position = segment.position_of(offset)
        if position < segment.size:
            offset = min(offset, read_header(segment.read(position, HEADER_BYTES)).base_offset)
        self._before_truncation(offset)
        self.producers.snapshots.remove_outside(self.log_start_offset, offset)
        dropped = self._segments[number + 1 :]
        if dropped:
            self._use_segments(self._segments[: number + 1])
            self._drop_segments(dropped, self._now_ms)
        segment.truncate(position, offset)
        segment.is_active = True
        self._forget_positions()
        self.log_end_offset = offset
        self.leader_epochs.truncate_from_end(offset)
        self.log_start_offset = min(self.log_start_offset, offset)
        self.high_watermark = min(self.high_watermark, offset)
        rebuild_producers(self.producers, self._segments, self.log_start_offset, offset, offset, self._now_ms)

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove everything; the log is empty and begins at ``offset`` (UnifiedLog.truncateFullyAndStartAt).

        Raises:
            LogDirFailure: the disk failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._before_truncation(offset)
            self.producers.start_at(offset)
            self._drop_segments(self._segments, self._now_ms)
            self.leader_epochs.clear()
            segment = Segment.create(
                self._pool, self.directory, offset, self._config.index_interval_bytes, self._now_ms
            )
        except OSError as error:
            self._fail(error)
        segment.is_active = True
        self._use_segments([segment])
        self._forget_positions()
        self.log_start_offset = self.log_end_offset = self.high_watermark = offset

    def _before_truncation(self, offset: int) -> None:
        with self._state_lock:
            self._truncations += 1
            lowers = offset < self.recovery_point
            self.recovery_point = min(self.recovery_point, offset)
        if lowers and self.before_truncation is not None:
            self.before_truncation()

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
                count = reason(
                    self._segments,
                    self._config,
                    self.log_start_offset,
                    self.high_watermark,
                    self.log_end_offset,
                    now_ms,
                )
                if not count:
                    continue
                if count == len(self._segments):
                    self._roll(now_ms)
                dropped = self._segments[:count]
                self._use_segments(self._segments[count:])
                self.log_start_offset = max(self.log_start_offset, self._bases[0])
                self.leader_epochs.truncate_from_start(self.log_start_offset)
                self.producers.on_log_start_offset(self.log_start_offset)
                self.producers.snapshots.remove_before(self._bases[0])
                self._drop_segments(dropped, now_ms)
                deleted += count
        except OSError as error:
            self._fail(error)
        return deleted

    # -- syncing ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """fsync everything that was appended before the call; blocks. May run in a thread of its own.

        Raises:
            LogDirFailure: the disk failed, now or before; it is not tried again.
        """
        with self._flush_lock:
            if self._failure is not None:
                raise self._failure
            try:
                truncations = self._truncations
                end_offset = self.log_end_offset
                if self._directory_changed:
                    self._directory_changed = False
                    self._disk.sync_dir(self.directory)
                for segment in self._segments:
                    if segment.unsynced:
                        segment.sync()
            except OSError as error:
                self._fail(error)
            with self._state_lock:
                if truncations == self._truncations and end_offset > self.recovery_point:
                    self.recovery_point = end_offset

    def take_producer_snapshot(self) -> None:
        """Write the producers' state at the log's end. Raises ``OSError``."""
        self.producers.take_snapshot()

    def close(self) -> None:
        """Save the indexes and the producers' state, and close the files. What was not flushed is not flushed now.

        Raises:
            OSError: the disk fails; the files are closed nevertheless.
        """
        with self._flush_lock:
            try:
                if self._failure is None:
                    self.producers.take_snapshot()
                    self._active.save_indexes()
            finally:
                self._close_files()

    def _close_files(self) -> None:
        for segment in self._segments:
            segment.close()
        for each in self._deleted:
            each.segment.close()
        if self._owns_pool:
            self._pool.close()
        if self._failure is None:
            self._failure = LogDirFailure(self.directory, "the log is closed")

    def rename_for_delete(self, directory: str) -> None:
        """Close the files and give the partition's directory the name under which it waits to be removed."""
        with self._flush_lock:
            self._close_files()
        self._disk.rename(self.directory, directory)
        self._disk.sync_dir(directory.rpartition("/")[0])
        self.directory = directory

    def __repr__(self) -> str:
        return f"Log({self.topic_partition}, {self.log_start_offset}..{self.log_end_offset} in {self.directory})"


def _settle_topic_id(disk: Disk, directory: str, topic_id: Uuid | None) -> Uuid:
    known = read_partition_metadata(disk, directory)
    if topic_id is None or topic_id == ZERO_UUID:
        return ZERO_UUID if known is None else known
    if known is None:
        write_partition_metadata(disk, directory, topic_id)
    elif known != topic_id:
        raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID, f"{directory} belongs to another topic of the same name")
    return topic_id


def _check_coordinators_batch(header: BatchHeader, batch: Buffer) -> None:
    """A batch that this broker built itself."""
    check_crc(batch, header)
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{header.record_count} records do not match a last offset delta of {header.last_offset_delta}",
        )
