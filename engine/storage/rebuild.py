"""What follows from a log's batches: its producers' state and its aborted transactions.

Kafka: UnifiedLog.rebuildProducerState, UnifiedLog.updateProducers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from engine.record.batch import BatchHeader
from engine.record.control import read_end_transaction_marker
from engine.storage.producer_state import ProducerStateManager
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn

# How far back the last batches of producers are looked for that a snapshot knows only one batch of.
_LOOK_BACK_BYTES = 1 << 20


def rebuild_producers(
    producers: ProducerStateManager,
    segments: Sequence[Segment],
    start_offset: int,
    end_offset: int,
    rebuild_from: int,
    now_ms: int,
) -> None:
    """Make the state of the log's producers at its end; adds to the transaction indexes from ``rebuild_from`` on.

    Snapshots at the starts of the segments that it reads are made again.

    Begins with the last snapshot that is not behind ``rebuild_from``. Raises ``OSError``.
    """
    offset = producers.load(start_offset, min(rebuild_from, end_offset), now_ms)
    bases = [each.base_offset for each in segments]
    if producers.entries:
        _recall_batches(producers, segments[: bisect_left(bases, offset)], offset)
    if offset < end_offset:
        for segment in segments[max(bisect_right(bases, offset) - 1, 0) :]:
            if segment.base_offset > offset:
                producers.map_end_offset = segment.base_offset
                producers.take_snapshot()
            start = segment.position_of(offset) if offset > segment.base_offset else 0
            for position, header in segment.headers(start):
                if header.producer_id >= 0 and header.base_offset >= offset:
                    adds = header.last_offset >= rebuild_from
                    note_replicated_batch(producers, segment, position, header, adds_to_index=adds)
    producers.map_end_offset = end_offset
    producers.remove_expired(now_ms)


def _recall_batches(producers: ProducerStateManager, segments: Sequence[Segment], offset: int) -> None:
    """Find the last batches before ``offset`` of producers that a snapshot named, each with one.

    Kafka does not: after a restart it takes the repetition of an older batch for a gap in the sequence.
    """
    ranges: list[tuple[Segment, int, int]] = []
    budget = _LOOK_BACK_BYTES
    for segment in reversed(segments):
        end = segment.position_of(offset)
        start = max(end - budget, 0)
        if start:
            found = segment.last_end_within(0, start)
            start = 0 if found is None else found[0]
        ranges.append((segment, start, end))
        budget -= end - start
        if budget <= 0:
            break
    for segment, start, end in reversed(ranges):
        for position, header in segment.headers(start):
            if position >= end:
                break
            if header.producer_id >= 0 and not header.is_control:
                producers.recall(header)


def note_replicated_batch(
    producers: ProducerStateManager, segment: Segment, position: int, header: BatchHeader, *, adds_to_index: bool
) -> None:
    """A batch of a producer is in the log, at ``position`` of ``segment``; it was checked by whoever wrote it."""
    info = producers.prepare(header.producer_id, "replication")
    if producers.verifications and header.is_transactional:
        producers.end_verification(header)
    if not header.is_control:
        info.append_data(header, header.base_offset)
        producers.update(info)
        return
    marker = read_end_transaction_marker(segment.read(position, header.size_in_bytes), header)
    if marker is None:
        return
    completed = info.append_marker(header, marker, header.base_offset, 0)
    producers.update(info)
    if completed is not None:
        if completed.is_aborted and adds_to_index:
            stable = producers.last_stable_offset_after(completed)
            segment.txn_index.append(
                AbortedTxn(completed.producer_id, completed.first_offset, completed.last_offset, stable)
            )
        producers.complete(completed)
