"""Refused produce requests as facts for people: the first of a kind each second, with how many came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode
from engine.model.ids import Uuid
from engine.model.notes import Note, NoteKind

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.world import Clock

_INTERVAL_MS = 1_000
_MAX_KINDS = 1_000


class Refusals:
    """Bounds what clients can make the broker tell."""

    def __init__(self, clock: Clock, publish: Callable[[Iterable[Note]], None]) -> None:
        self._clock = clock
        self._publish = publish
        # (topic id, partition, code): when it was told, how many since.
        self._told: dict[tuple[Uuid | None, int, ErrorCode], tuple[float, int]] = {}

    def note(
        self, context: RequestContext, topic_id: Uuid | None, partition: int, code: ErrorCode, message: str | None
    ) -> None:
        """An append was refused."""
        now_ms = self._clock.monotonic_ms()
        key = (topic_id, partition, code)
        told_at_ms, untold = self._told.get(key, (float("-inf"), 0))
        if now_ms - told_at_ms < _INTERVAL_MS:
            self._told[key] = (told_at_ms, untold + 1)
            return
        if len(self._told) >= _MAX_KINDS:
            self._told.clear()
        self._told[key] = (now_ms, 0)
        topic = context.broker.metadata.image.topics_by_id.get(topic_id) if topic_id is not None else None
        subject = f"{topic.name}-{partition}" if topic is not None else "unknown topic"
        self._publish(
            [
                Note(
                    NoteKind.PRODUCE_REFUSED,
                    subject,
                    f"{code.name}: {message or code.default_message}",
                    {"error": code.name, "client_id": context.client_id, "refused_before": untold},
                )
            ]
        )
