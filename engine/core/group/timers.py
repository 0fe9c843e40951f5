"""Named deadlines of a machine that has no clock: the shell asks for the next one and says when it has come."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Timers(Generic[Key]):
    """At most one deadline per key; setting it again replaces it.

    A session timer is pushed back by every heartbeat, so moving a deadline *later* only updates a dictionary: the heap
    keeps the early entry and puts it back when it comes up.
    """

    __slots__ = ("_deadlines", "_heap", "_queued", "_sequence", "popped_deadline_ms")

    def __init__(self) -> None:
        self._deadlines: dict[Key, float] = {}
        self._queued: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = 0
        # When the key that was popped last was due.
        self.popped_deadline_ms = 0.0

    def __contains__(self, key: object) -> bool:
        return key in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    def deadline_ms(self, key: Key) -> float | None:
        """When ``key`` is due, in monotonic milliseconds."""
        return self._deadlines.get(key)

    def schedule(self, key: Key, deadline_ms: float) -> None:
        """Set the deadline of ``key``."""
        self._deadlines[key] = deadline_ms
        queued = self._queued.get(key)
        if queued is None or deadline_ms < queued:
            self._push(key, deadline_ms)

    def cancel(self, key: Key) -> None:
        """Forget ``key``; unknown keys are fine."""
        self._deadlines.pop(key, None)

    def next_deadline_ms(self) -> float | None:
        """The earliest deadline, or None."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ms: float) -> Key | None:
        """Remove and return one key whose deadline has come, earliest first; None when there is none."""
        self._settle()
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        _, _, key = heapq.heappop(self._heap)
        self.popped_deadline_ms = self._deadlines.pop(key)
        del self._queued[key]
        return key

    def _push(self, key: Key, deadline_ms: float) -> None:
        self._sequence += 1
        self._queued[key] = deadline_ms
        heapq.heappush(self._heap, (deadline_ms, self._sequence, key))

    def _settle(self) -> None:
        """Drop cancelled entries from the top of the heap and put back those that were moved."""
        heap = self._heap
        while heap:
            queued_ms, _, key = heap[0]
            if self._queued.get(key) != queued_ms:
                heapq.heappop(heap)  # an older entry of a key that was queued again, earlier
                continue
            deadline_ms = self._deadlines.get(key)
            if deadline_ms == queued_ms:
                return
            heapq.heappop(heap)
            del self._queued[key]
            if deadline_ms is not None:
                self._push(key, deadline_ms)
