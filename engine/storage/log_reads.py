"""Reading a log's segments: finding offsets, taking whole batches, and never one that is not what was written (L2).

What the present process has written to the segment that takes appends is served as it is: that comes from memory.
Everything else is looked at each time that it is read (:mod:`engine.storage.batch_check`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NoReturn

from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.storage.batch_check import BatchCheck
from engine.storage.batch_scan import HOP, HOP_BYTES, scan_intact_batches
from engine.storage.failure import LogCorrupt
from engine.storage.file_slice import FileSlice
from engine.storage.leader_epochs import EpochEntry
from engine.storage.segment import Segment

# Ends of reads from which the same reader may go on.
_REMEMBERED_READS = 256


class LogReads:
    """The reading half of :class:`engine.storage.local_log.LocalLog`, which owns all that is named here."""

    __slots__ = ()

    _active: Segment
    _bases: list[int]
    _config: LogConfig
    _failure: KafkaError | None
    _older_positions: dict[int, int]
    _positions: dict[int, int]
    _read_ends: dict[int, tuple[Segment, int]]
    _segments: list[Segment]
    directory: str
    first_dirty_offset: int | None
    log_end_offset: int
    log_start_offset: int
    topic_partition: TopicPartition

    def _epochs(self) -> Sequence[EpochEntry]:
        """The leader epochs of the batches, as far as they are known."""
        return ()

    def read(
        self, offset: int, max_bytes: int, *, max_offset: int | None = None, min_one_message: bool = True
    ) -> bytes:
        """Whole batches, the first being the one that holds ``offset``; none that starts at ``max_offset`` or later.

        They come from one segment: what follows is read by the next call. Nothing at the end of the log, nor if the
        first batch is larger than ``max_bytes``, unless ``min_one_message``.

        Raises:
            KafkaError: OFFSET_OUT_OF_RANGE.
            LogCorrupt: they are not what was written; nothing can be done with the log from then on.
            OSError: the disk fails.
        """
        data = self.read_or_slice(offset, max_bytes, max_offset=max_offset, min_one_message=min_one_message)
        assert not isinstance(data, FileSlice)
        return data

    def read_or_slice(
        self,
        offset: int,
        max_bytes: int,
        *,
        max_offset: int | None = None,
        min_one_message: bool = True,
        max_read_bytes: int | None = None,
    ) -> bytes | FileSlice:
        """The same for somebody who may be slow to take it: more than ``max_read_bytes`` are left in the file."""
        try:
            found = self._range(offset, max_bytes, max_offset, min_one_message)
            if found is None:
                return b""
            segment, position, length = found
            is_read = max_read_bytes is None or length <= max_read_bytes
            if segment is self._active and position >= segment.appended_from:
                return segment.read(position, length) if is_read else segment.slice(position, length)
            check = self._check_of(segment, offset, position + length)
            if not is_read:
                return segment.slice(position, length, check, self.found_corrupt)
            data = segment.read(position, length)
            checked = check.check(data, position)
            if checked < length:
                check.missing(position + checked)
            check.finish(position + length)
        except LogCorrupt as corrupt:
            self.found_corrupt(corrupt)
            raise
        except KafkaError as error:
            if error.code is ErrorCode.CORRUPT_MESSAGE:
                self._corrupt(error)
            raise
        return data

    def _check_of(self, segment: Segment, offset: int, end: int) -> BatchCheck:
        if end < segment.size:
            following: int = HOP.unpack(segment.read(end, HOP_BYTES))[0]
        elif segment is self._active:
            following = self.log_end_offset
        else:
            following = self._bases[bisect_right(self._bases, segment.base_offset)]
        return BatchCheck(
            self.directory,
            segment.log_path,
            offset,
            following,
            is_dense=self.first_dirty_offset is None and not self._config.compact,
            epochs=self._epochs(),
            has_gaps=lambda: self._has_gaps(segment),
        )

    def _has_gaps(self, segment: Segment) -> bool:
        """Whether a gap that a read found is there because the log was compacted, which nothing had told: Apache Kafka
        notes it nowhere where it copies such a log after its cleanup.policy became delete.

        A batch whose offset has changed overlaps one of its neighbours, or stands before its segment, where there were
        no gaps. Between two segments one may also be lost, so there must be a gap within this one.
        """
        if self.first_dirty_offset is None:
            offset, end, has_gap = segment.base_offset, 0, False
            for position, header in scan_intact_batches(segment.reader(), 0, segment.size):
                if header.base_offset < offset:
                    return False
                has_gap = has_gap or header.base_offset > offset
                offset, end = header.next_offset, position + header.size_in_bytes
            is_active = segment is self._active
            following = (
                self.log_end_offset if is_active else self._bases[bisect_right(self._bases, segment.base_offset)]
            )
            if not has_gap or end != segment.size or offset > following:
                return False
            self.found_gaps()
        return True

    def found_gaps(self) -> None:
        """The log was compacted once, or is a copy of one that was."""
        raise NotImplementedError

    def _corrupt(self, reason: object) -> NoReturn:
        corrupt = LogCorrupt(self.directory, reason)
        self.found_corrupt(corrupt)
        raise corrupt

    def found_corrupt(self, corrupt: LogCorrupt) -> None:
        """Nothing is read from the log or written to it any more; its owner hears of it."""
        raise NotImplementedError

    def _range(
        self, offset: int, max_bytes: int, max_offset: int | None, min_one_message: bool
    ) -> tuple[Segment, int, int] | None:
        """Segment, position and length of what :meth:`read` returns."""
        if self._failure is not None and isinstance(self._failure, LogCorrupt):
            raise self._failure
        end_offset = self.log_end_offset
        if offset < self.log_start_offset or offset > end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} of {self.topic_partition} is not within {self.log_start_offset} and {end_offset}",
            )
        if max_offset is not None and max_offset < end_offset:
            end_offset = max_offset
        if offset >= end_offset:
            return None
        segment = self._active
        if offset >= segment.base_offset:
            position = self._positions.get(offset, -1)
            if position < 0:
                position = self._older_positions.get(offset, -1)
                if position < 0:
                    segment, position = self._find(offset)
            limit = segment.size if end_offset == self.log_end_offset else self._end_position(segment, end_offset)
        else:
            segment, position = self._find(offset)
            if segment.base_offset >= end_offset:
                return None
            limit = self._end_position(segment, end_offset)
        if limit - position <= max_bytes:
            return segment, position, limit - position
        found = segment.last_end_within(position, position + max_bytes)
        if found is None:
            if not min_one_message:
                return None
            found = segment.end_of_batch_at(position)
        end, next_offset = found
        if len(self._read_ends) >= _REMEMBERED_READS:
            self._read_ends.clear()
        self._read_ends[next_offset] = segment, end
        return segment, position, end - position

    def _find(self, offset: int) -> tuple[Segment, int]:
        """Where the batch that holds an offset begins, or the next one if compaction removed that."""
        found = self._read_ends.pop(offset, None)
        if found is not None and found[1] < found[0].size:
            return found
        # A log that was cut within a gap at its start begins behind its log start offset.
        number = max(bisect_right(self._bases, offset) - 1, 0)
        segment = self._segments[number]
        position = segment.position_of(offset)
        while position >= segment.size and segment is not self._active:
            number += 1
            segment, position = self._segments[number], 0
        return segment, position

    def _end_position(self, segment: Segment, end_offset: int) -> int:
        """Position behind the last batch of a segment that starts before ``end_offset``."""
        if segment is not self._active:
            number = bisect_right(self._bases, segment.base_offset)
            return segment.size if end_offset >= self._bases[number] else segment.end_position_of(end_offset)
        if end_offset >= self.log_end_offset:
            return segment.size
        position = self._positions.get(end_offset, -1)
        if position < 0:
            position = self._older_positions.get(end_offset, -1)
            if position < 0:
                position = segment.end_position_of(end_offset)
        return position
