"""A partition's log as polls showed it: which value at which offset, who read it first, where readers passed over."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from engine.sim.history import Assign, Poll, Rebalance, Seek, Subscribe, Value

Positioning = Assign | Seek
"""What sets a position."""


@dataclass(slots=True, eq=False)
class Gap:
    """A consumer that read on without a seek or a rebalance received nothing from ``start`` up to ``end``.

    ``before``: what was received last before it, or what set the position. In a log without faults a gap holds
    markers of transactions, and for read_committed aborted records.
    """

    start: int
    end: int
    before: Poll | Positioning
    after: Poll

    @property
    def is_internal(self) -> bool:
        """Whether one poll contains both sides of it."""
        return self.before is self.after


@dataclass(slots=True, eq=False)
class Run:
    """An uninterrupted reading of a partition, from ``start``."""

    start: int
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class FinalRead:
    """A run that came to the log's ``end`` after faults were healed; nothing was received from ``position`` on."""

    run: Run
    position: int
    end: int
    poll: Poll
    last: Poll | Positioning | None
    """What was received last, or what set the position."""

    def misses(self, offset: int) -> bool:
        """Whether it should have received the record at the offset and did not."""
        if offset < self.run.start:
            return False
        if offset >= self.position:
            return True
        gaps = self.run.gaps
        index = bisect_left(gaps, offset + 1, key=lambda gap: gap.start) - 1
        return index >= 0 and offset < gaps[index].end


@dataclass(slots=True, eq=False)
class GroupStart:
    """A member of a group was given a partition, and this is the first offset that it received."""

    rebalance: Rebalance
    subscription: Subscribe
    poll: Poll
    offset: int


class PartitionLog:
    """What is known of one partition."""

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.value_at: dict[int, Value] = {}
        """Offset -> the value that was read there first."""
        self.first_poll: dict[int, Poll] = {}
        self.first_committed_poll: dict[int, Poll] = {}
        """The first with read_committed."""
        self.offset_of: dict[Value, int] = {}
        """Value -> the offset where it was read first."""
        self.copies: dict[Value, list[tuple[int, Poll]]] = {}
        """Where else values were read."""
        self.conflicts: list[tuple[int, Value, Poll]] = []
        """Values that were read where another had been read."""
        self._conflicting: set[tuple[int, Value]] = set()
        self.gaps: list[Gap] = []
        self.final_reads: list[FinalRead] = []
        self.group_starts: list[GroupStart] = []
        self._empty: list[tuple[int, int]] | None = None

    def on_new_record(self, offset: int, value: Value, poll: Poll) -> None:
        """It was read at an offset where nothing, or something else, had been read."""
        known = self.value_at.setdefault(offset, value)
        if known != value:
            if (offset, value) in self._conflicting:
                return
            self._conflicting.add((offset, value))
            self.conflicts.append((offset, value, poll))
        else:
            self.first_poll[offset] = poll
        if self.offset_of.setdefault(value, offset) != offset:
            self.copies.setdefault(value, []).append((offset, poll))

    def offsets(self, value: Value) -> list[int]:
        """All offsets where the value was read."""
        first = self.offset_of.get(value)
        if first is None:
            return []
        return [first, *(offset for offset, _ in self.copies.get(value, ()))]

    def was_passed_over(self, offset: int) -> bool:
        """Whether some consumer read on without receiving anything at the offset; ask when all gaps are known."""
        if self._empty is None:
            self._empty = []
            for start, end in sorted((gap.start, gap.end) for gap in self.gaps):
                if self._empty and start <= self._empty[-1][1]:
                    self._empty[-1] = self._empty[-1][0], max(end, self._empty[-1][1])
                else:
                    self._empty.append((start, end))
        index = bisect_left(self._empty, (offset + 1,)) - 1
        return index >= 0 and offset < self._empty[index][1]
