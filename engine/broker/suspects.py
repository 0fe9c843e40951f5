"""Leaders that may have just died: their connections to this broker broke, and the metadata does not say it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.world import Clock

# By then the controller has fenced a broker that is dead, or it lives and the suspicion was wrong.
_SUSPECTED_FOR_MS = 500


class SuspectedLeaders:
    """Kept by the replica fetchers, read by Metadata: an answer that still names such a leader is worth a short wait.

    A client that lost its connection asks for metadata at once and, told of the dead leader once more, comes back only
    after its refresh interval: a second in librdkafka.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost_at_ms: dict[int, float] = {}

    def on_connection_lost(self, broker_id: int) -> None:
        """The connection to the broker broke; attempts that fail after that are no news."""
        self._lost_at_ms.setdefault(broker_id, self._clock.monotonic_ms())

    def on_heard(self, broker_id: int) -> None:
        """The broker answers."""
        if self._lost_at_ms:
            self._lost_at_ms.pop(broker_id, None)

    def left_ms(self, broker_id: int) -> float:
        """For how long the broker is still suspected; 0 if it is not."""
        lost_at_ms = self._lost_at_ms.get(broker_id)
        if lost_at_ms is None:
            return 0.0
        return max(0.0, lost_at_ms + _SUSPECTED_FOR_MS - self._clock.monotonic_ms())

    def any(self) -> bool:
        """Whether some broker was lost and not heard of since."""
        return bool(self._lost_at_ms)
