"""Appending to a log: as its leader, who gives offsets, and as a follower, who takes what the leader has.

Kafka: UnifiedLog.appendAsLeader, UnifiedLog.appendAsFollower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
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
from engine.storage.leader_epochs import LeaderEpochs
from engine.storage.local_log import LocalLog
from engine.storage.producer_state import (
    CompletedTransaction,
    ProducerAppendInfo,
    ProducerStateManager,
    VerificationStateEntry,
)
from engine.storage.rebuild import note_replicated_batch
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn

NO_APPEND_TIME = -1


class AppendInfo(NamedTuple):
    """What became of an append (LogAppendInfo). ``log_append_time_ms`` is -1 where the producer's timestamps stay."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    is_duplicate: bool
    size_bytes: int


class LogAppends(LocalLog):
    """The appending half of :class:`engine.storage.log.Log`, which makes all that is named here."""

    __slots__ = ("_rules", "high_watermark", "leader_epochs", "producers")

    _rules: AppendRules
    high_watermark: int
    leader_epochs: LeaderEpochs
    producers: ProducerStateManager

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove everything; the log is empty and begins at ``offset``."""
        raise NotImplementedError

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


def _check_coordinators_batch(header: BatchHeader, batch: Buffer) -> None:
    """A batch that this broker built itself."""
    check_crc(batch, header)
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{header.record_count} records do not match a last offset delta of {header.last_offset_delta}",
        )
