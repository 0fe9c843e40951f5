"""Which of a log's oldest segments may go. Kafka: UnifiedLog.deleteOldSegments, LocalLog.deletableSegments.

Each reason answers with the number of segments, from the oldest on. Nothing at or above the high watermark goes (L7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.storage.segment import Segment

if TYPE_CHECKING:
    from engine.storage.log import Log


def too_old(log: Log, now_ms: int) -> int:
    """Segments whose last record is older than retention.ms."""
    retention_ms = log.config.retention_ms
    if not log.config.delete or retention_ms < 0:
        return 0

    def may_go(segment: Segment, _: Segment | None) -> bool:
        timestamp = segment.max_timestamp()[0]
        return now_ms - (timestamp if timestamp >= 0 else segment.created_ms) > retention_ms

    return _count(log, log.segments, may_go)


def beyond_size(log: Log, now_ms: int) -> int:
    """Segments without which the log still has retention.bytes."""
    if not log.config.delete or log.config.retention_bytes < 0:
        return 0
    surplus = log.size_bytes - log.config.retention_bytes

    def may_go(segment: Segment, _: Segment | None) -> bool:
        nonlocal surplus
        surplus -= segment.size
        return surplus >= 0

    return _count(log, log.segments, may_go) if surplus >= 0 else 0


def before_log_start(log: Log, now_ms: int) -> int:
    """Segments that end before the log's start."""
    start_offset = log.log_start_offset
    return _count(
        log, log.segments, lambda _, following: following is not None and following.base_offset <= start_offset
    )


REASONS = (too_old, beyond_size, before_log_start)


def _count(log: Log, segments: Sequence[Segment], may_go: Callable[[Segment, Segment | None], bool]) -> int:
    for number, segment in enumerate(segments):
        following = segments[number + 1] if number + 1 < len(segments) else None
        upper = log.log_end_offset if following is None else following.base_offset
        if log.high_watermark < upper or (following is None and not segment.size) or not may_go(segment, following):
            return number
    return len(segments)
