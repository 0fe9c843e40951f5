"""Punctuators: what is called every so often, in stream time or by the wall clock (``PunctuationSchedule``)."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from engine.streams.processors.node import Node

STREAM_TIME = "STREAM_TIME"
"""The punctuator follows the greatest timestamp the task has seen: no records, no call."""
WALL_CLOCK_TIME = "WALL_CLOCK_TIME"
"""The punctuator follows the time of day."""


class Cancellable:
    """What ``schedule`` gives: a punctuator that can be ended."""

    __slots__ = ("callback", "cancelled", "interval_ms", "node")

    def __init__(self, node: Node, interval_ms: int, callback: Callable[[int], None]) -> None:
        self.node = node
        self.interval_ms = interval_ms
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """No more calls."""
        self.cancelled = True


class PunctuationQueue:
    """The punctuators of one kind of one task, by the time they are due."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Cancellable]] = []
        self._order = count()

    def schedule(self, first: int, punctuator: Cancellable) -> None:
        """Call it when the time is ``first``, and every interval after that."""
        heappush(self._due, (first, next(self._order), punctuator))

    def next_due(self) -> int | None:
        """When something is due, None for never."""
        return self._due[0][0] if self._due else None

    def punctuate(self, now: int, call: Callable[[Cancellable, int], None]) -> int:
        """Call what is due at ``now``; each once, however many intervals went by. How many were called."""
        called = 0
        while self._due and self._due[0][0] <= now:
            due, _, punctuator = heappop(self._due)
            if punctuator.cancelled:
                continue
            call(punctuator, now)
            called += 1
            if not punctuator.cancelled:
                following = due + punctuator.interval_ms
                if now >= following:
                    following = due + ((now - due) // punctuator.interval_ms + 1) * punctuator.interval_ms
                self.schedule(following, punctuator)
        return called
