"""What was read of repartition topics is needed by nobody any more (``repartition.purge.interval.ms``)."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from engine.streams.runtime.clients import Partition, Topics


class RepartitionPurge:
    """Has records deleted up to what is committed, not with every commit."""

    def __init__(self, topics: Topics, mine: Collection[str], interval_s: float) -> None:
        """``mine`` are the repartition topics that the application reads."""
        self._topics = topics
        self._mine = mine
        self._interval_s = interval_s
        self._waiting: dict[Partition, int] = {}
        self._next = 0.0

    def note(self, committed: Mapping[Partition, int]) -> None:
        """These offsets are committed; delete what is before them and before earlier ones when it is time."""
        self._waiting.update({at: offset for at, offset in committed.items() if at[0] in self._mine})
        now = time.monotonic()
        if self._waiting and now >= self._next:
            if self._next:
                self._topics.delete_records(self._waiting)
                self._waiting.clear()
            self._next = now + self._interval_s

    def clear(self) -> None:
        """The tasks are elsewhere."""
        self._waiting.clear()
