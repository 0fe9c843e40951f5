"""What is done about a record that cannot be read, processed or written (KIP-161, KIP-1033, KIP-210).

A handler is given what failed and says whether to go on without the record. Dead-letter queues (KIP-1034) are handlers
of the runtime, which has a producer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from engine.streams.records import NO_HEADERS, Headers, InputRecord


class ErrorContext(NamedTuple):
    """What failed. ``key`` and ``value`` are what the node was given; ``source`` is the record as it was fetched."""

    kind: str
    """``deserialization``, ``processing`` or ``production``."""
    node: str
    task_id: str
    topic: str | None
    """Source topic, None in a punctuation."""
    partition: int
    offset: int
    key: Any
    value: Any
    timestamp: int
    headers: Headers = NO_HEADERS
    source: InputRecord | None = None
    sink_topic: str | None = None


Handler: TypeAlias = Callable[[ErrorContext, Exception], bool]
"""True goes on without the record, False stops the application."""


def fail(context: ErrorContext, error: Exception) -> bool:
    """Stop (``LogAndFailExceptionHandler``, Kafka's default for all three)."""
    return False


def go_on(context: ErrorContext, error: Exception) -> bool:
    """Go on without the record (``LogAndContinueExceptionHandler``)."""
    return True


@dataclass(slots=True)
class ErrorHandlers:
    """``deserialization.exception.handler`` and its two siblings."""

    deserialization: Handler = fail
    processing: Handler = fail
    production: Handler = fail
