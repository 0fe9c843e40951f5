"""What of a log is to be compacted now. Kafka: LogCleanerManager.cleanableOffsets, LogToClean, Cleaner.

The cleaner takes whole segments: none that takes appends, none that reaches beyond the last stable offset or beyond
what was synced, none with a record younger than min.compaction.lag.ms. (Kafka does not ask whether it was synced; what
was not may be cut by a recovery, and what was made of it not.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from engine.storage.segment import MAX_RELATIVE_OFFSET, Segment

if TYPE_CHECKING:
    from engine.storage.log import Log

# max.compaction.lag.ms is Long.MAX_VALUE unless it is set.
_NEVER_MS = 1 << 62


class LogToClean(NamedTuple):
    """What could be compacted. ``segments`` begin with the log's first and end before ``end_offset``; those from
    ``first_dirty_offset`` on were not compacted yet."""

    log: Log
    segments: list[Segment]
    first_dirty_offset: int
    end_offset: int
    clean_bytes: int
    cleanable_bytes: int
    # By how much the oldest record waits longer than max.compaction.lag.ms, in ms; 0 if it does not.
    overdue_ms: int

    @property
    def ratio(self) -> float:
        """Share of what was not compacted yet, as min.cleanable.dirty.ratio means it."""
        total = self.clean_bytes + self.cleanable_bytes
        return self.cleanable_bytes / total if total else 0.0

    @property
    def is_due(self) -> bool:
        """Whether the log is dirty enough, or has waited long enough."""
        if not self.cleanable_bytes:
            return False
        return self.overdue_ms > 0 or self.ratio > self.log.config.min_cleanable_dirty_ratio


def first_dirty_offset(log: Log) -> int:
    """Where the part begins that was not compacted; the log's start if what was noted cannot be true."""
    noted = log.first_dirty_offset
    if noted is None or not log.log_start_offset <= noted <= log.log_end_offset:
        return log.log_start_offset
    return noted


def plan(log: Log, now_ms: int) -> LogToClean:
    """What the log's cleaner would do now. Raises ``OSError``: an index cannot be read."""
    config, segments = log.config, log.segments
    dirty = first_dirty_offset(log)
    limit = min(log.last_stable_offset, log.recovery_point)
    lag_ms = config.min_compaction_lag_ms
    cleanable: list[Segment] = []
    end_offset = segments[0].base_offset
    clean_bytes = cleanable_bytes = 0
    oldest_ms: int | None = None
    for segment, following in pairwise(segments):
        is_dirty = following.base_offset > dirty
        if following.base_offset > limit:
            break
        if is_dirty and lag_ms > 0 and segment.max_timestamp()[0] > now_ms - lag_ms:
            break
        cleanable.append(segment)
        end_offset = following.base_offset
        if is_dirty:
            cleanable_bytes += segment.size
            if config.max_compaction_lag_ms < _NEVER_MS:
                first_ms = segment.first_timestamp()
                if first_ms > 0 and (oldest_ms is None or first_ms < oldest_ms):
                    oldest_ms = first_ms
        else:
            clean_bytes += segment.size
    overdue_ms = 0 if oldest_ms is None else max(now_ms - config.max_compaction_lag_ms - oldest_ms, 0)
    return LogToClean(log, cleanable, dirty, end_offset, clean_bytes, cleanable_bytes, overdue_ms)


def group_segments(
    segments: Sequence[Segment], end_offset: int, max_bytes: int, max_index_bytes: int
) -> list[list[Segment]]:
    """Neighbours that fit into one segment together, by their sizes before (Cleaner.groupSegmentsBySize)."""
    groups: list[list[Segment]] = []
    size = index_bytes = 0
    for number, segment in enumerate(segments):
        upper = segments[number + 1].base_offset if number + 1 < len(segments) else end_offset
        if (
            groups
            and size + segment.size <= max_bytes
            and index_bytes + segment.index_bytes <= max_index_bytes
            and upper - 1 - groups[-1][0].base_offset <= MAX_RELATIVE_OFFSET
        ):
            groups[-1].append(segment)
            size += segment.size
            index_bytes += segment.index_bytes
        else:
            groups.append([segment])
            size, index_bytes = segment.size, segment.index_bytes
    return groups
