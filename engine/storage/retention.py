"""Which of a log's oldest segments may go. Kafka: UnifiedLog.deleteOldSegments, LocalLog.deletableSegments.

Each reason answers with the number of segments, from the oldest on. Nothing at or above the high watermark goes (L7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.model.topic_config import LogConfig
from engine.storage.segment import Segment


def _count(
    segments: Sequence[Segment],
    high_watermark: int,
    log_end_offset: int,
    may_go: Callable[[Segment, Segment | None], bool],
) -> int:
    for number, segment in enumerate(segments):
        following = segments[number + 1] if number + 1 < len(segments) else None
        upper = log_end_offset if following is None else following.base_offset
        if high_watermark < upper or (following is None and not segment.size) or not may_go(segment, following):
            return number
    return len(segments)


def before_log_start(
    segments: Sequence[Segment],
    config: LogConfig,
    log_start_offset: int,
    high_watermark: int,
    log_end_offset: int,
    now_ms: int,
) -> int:
    """Segments that end before the log's start."""
    return _count(
        segments,
        high_watermark,
        log_end_offset,
        lambda _, following: following is not None and following.base_offset <= log_start_offset,
    )


def beyond_size(
    segments: Sequence[Segment],
    config: LogConfig,
    log_start_offset: int,
    high_watermark: int,
    log_end_offset: int,
    now_ms: int,
) -> int:
    """Segments without which the log still has retention.bytes."""
    if not config.delete or config.retention_bytes < 0:
        return 0
    surplus = sum(each.size for each in segments) - config.retention_bytes

    def may_go(segment: Segment, _: Segment | None) -> bool:
        nonlocal surplus
        if surplus - segment.size < 0:
            return False
        surplus -= segment.size
        return True

    return 0 if surplus < 0 else _count(segments, high_watermark, log_end_offset, may_go)


def too_old(
    segments: Sequence[Segment],
    config: LogConfig,
    log_start_offset: int,
    high_watermark: int,
    log_end_offset: int,
    now_ms: int,
) -> int:
    """Segments whose last record is older than retention.ms."""
    if not config.delete or config.retention_ms < 0:
        return 0

    def may_go(segment: Segment, _: Segment | None) -> bool:
        timestamp = segment.max_timestamp()[0]
        return now_ms - (timestamp if timestamp >= 0 else segment.created_ms) > config.retention_ms

    return _count(segments, high_watermark, log_end_offset, may_go)


REASONS = (too_old, beyond_size, before_log_start)
