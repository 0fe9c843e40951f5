"""What the simulator raises when a promise of docs/promises.md does not hold."""

from __future__ import annotations


class Violation(AssertionError):
    """A promise does not hold. ``promise`` is its id."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
