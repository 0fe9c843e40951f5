"""The time of an input, on both clocks; machines have none of their own."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """The time of an input.

    Sessions, rebalances and transactions are measured with ``monotonic_ms``, so that a jump of the wall clock expires
    nobody; ``wall_ms`` (since the Unix epoch) is what the records carry.
    """

    monotonic_ms: float
    wall_ms: int
