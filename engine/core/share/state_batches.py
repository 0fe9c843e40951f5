"""How far a share group has come with ranges of offsets, and how two such lists become one
(Kafka: PersisterStateBatch, PersisterStateBatchCombiner)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple


class RecordState(IntEnum):
    """Where a record stands; numbers as they are persisted (RecordState)."""

    AVAILABLE = 0
    """May be given to a consumer."""

    ACQUIRED = 1
    """A consumer has it, for as long as its lock lasts. Never persisted."""

    ACKNOWLEDGED = 2
    """It was dealt with. Final."""

    ARCHIVED = 4
    """It will not be given to anybody (again): rejected, given too often, a gap, or aborted. Final."""

    @property
    def is_final(self) -> bool:
        return self >= RecordState.ACKNOWLEDGED


class StateBatch(NamedTuple):
    """Offsets from ``first_offset`` to ``last_offset``, both included, with one state and delivery count."""

    first_offset: int
    last_offset: int
    state: int
    delivery_count: int


def combine(batches: Iterable[StateBatch], start_offset: int) -> tuple[StateBatch, ...]:
    """One list without overlaps, in order; nothing before ``start_offset`` (-1: everything stays).

    Where batches overlap, the higher delivery count is the later one; at the same count, the higher state. Neighbours
    that say the same become one.
    """
    waiting = sorted(
        each._replace(first_offset=max(each.first_offset, start_offset))
        for each in batches
        if each.last_offset >= max(each.first_offset, start_offset)
    )
    result: list[StateBatch] = []
    # Those that cover the present offset, the one that counts on top.
    open_batches: list[tuple[int, int, int]] = []
    index, at = 0, 0
    while index < len(waiting) or open_batches:
        while open_batches and open_batches[0][2] < at:
            heapq.heappop(open_batches)
        if not open_batches:
            if index == len(waiting):
                break
            at = max(at, waiting[index].first_offset)
        while index < len(waiting) and waiting[index].first_offset <= at:
            each = waiting[index]
            heapq.heappush(open_batches, (-each.delivery_count, -each.state, each.last_offset))
            index += 1
        while open_batches and open_batches[0][2] < at:
            heapq.heappop(open_batches)
        if not open_batches:
            continue
        count, state, last = open_batches[0]
        if index < len(waiting):
            last = min(last, waiting[index].first_offset - 1)
        _add(result, StateBatch(at, last, -state, -count))
        at = last + 1
    return tuple(result)


def _add(result: list[StateBatch], batch: StateBatch) -> None:
    if result:
        before = result[-1]
        if before.last_offset + 1 == batch.first_offset and before[2:] == batch[2:]:
            result[-1] = before._replace(last_offset=batch.last_offset)
            return
    result.append(batch)
