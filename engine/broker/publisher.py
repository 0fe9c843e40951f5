"""The broker's stream of facts for its supervisor: one JSON object a line, in the order in which things happened.

A broker without supervisor has no sink, and publishing costs nothing. The sink must never make the broker wait: it is
the shell's pipe with a bounded buffer, and what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from engine.model.notes import Note
from engine.world import World

# One line of totals a second: cheap enough to leave on.
_COUNTERS_INTERVAL_S = 1.0


class Publisher:
    """Turns notes, readiness and counters into lines."""

    def __init__(self, world: World, broker_id: int, sink: Callable[[bytes], bool] | None) -> None:
        """``sink`` takes one line and returns False when it had to drop it."""
        self._clock = world.clock
        self._broker_id = broker_id
        self._sink = sink
        self._counters: asyncio.Task[None] | None = None
        self.dropped = 0

    def publish(self, fact_type: str, /, **fields: Any) -> None:
        """Write one fact of ``fact_type`` with both clocks and this broker's id."""
        if self._sink is None:
            return
        fact = {
            "type": fact_type,
            "broker": self._broker_id,
            "mono_ns": self._clock.monotonic_ns(),
            "wall_ms": self._clock.now_ms(),
            **fields,
        }
        if not self._sink(json.dumps(fact, separators=(",", ":"), default=str).encode() + b"\n"):
            self.dropped += 1

    def notes(self, notes: Iterable[Note]) -> None:
        """Publish what a machine noted."""
        for note in notes:
            self.publish("note", kind=str(note.kind), subject=note.subject, reason=note.reason, detail=note.detail)

    def start_counters(self, read: Callable[[], dict[str, float]]) -> None:
        """Publish ``read()`` once a second until :meth:`stop`."""
        if self._sink is not None and self._counters is None:
            self._counters = asyncio.ensure_future(self._publish_counters(read))

    async def _publish_counters(self, read: Callable[[], dict[str, float]]) -> None:
        while True:
            await asyncio.sleep(_COUNTERS_INTERVAL_S)
            self.publish("counters", values=read(), dropped=self.dropped)

    def stop(self) -> None:
        """End the counters."""
        if self._counters is not None:
            self._counters.cancel()
            self._counters = None
