"""The processor API: nodes that the user writes (``org.apache.kafka.streams.processor.api``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from engine.streams.punctuation import STREAM_TIME, WALL_CLOCK_TIME, Cancellable
from engine.streams.records import Headers, Record, RecordMetadata

KIn = TypeVar("KIn")
VIn = TypeVar("VIn")
KOut = TypeVar("KOut")
VOut = TypeVar("VOut")

__all__ = [
    "STREAM_TIME",
    "WALL_CLOCK_TIME",
    "FixedKeyProcessor",
    "Processor",
    "ProcessorContext",
    "ValueTransformer",
]


class ProcessorContext(Protocol):
    """What a processor may ask of its task."""

    @property
    def application_id(self) -> str:
        """The application's id."""

    @property
    def task_id(self) -> str:
        """``<sub-topology>_<partition>``."""

    def forward(self, record: Record[Any, Any], child: str | None = None) -> None:
        """Hand a record to every child, or to the one of that name."""

    def get_state_store(self, name: str) -> Any:
        """A store that the processor was connected to, or a global one."""

    def schedule(self, interval_ms: int, kind: str, punctuator: Callable[[int], None]) -> Cancellable:
        """Call ``punctuator`` with the time every ``interval_ms`` of STREAM_TIME or WALL_CLOCK_TIME."""

    def record_metadata(self) -> RecordMetadata | None:
        """Where the record in work came from; None in a punctuation."""

    def headers(self) -> Headers:
        """The headers of the record in work."""

    def timestamp(self) -> int:
        """The time (ms) of the record in work."""

    def current_stream_time_ms(self) -> int:
        """The greatest timestamp that the task has seen."""

    def current_system_time_ms(self) -> int:
        """The time of day; a test driver's is what the test says."""


class Processor(Generic[KIn, VIn, KOut, VOut]):
    """A processor: subclasses override :meth:`process`, and :meth:`init` when they have stores or punctuators."""

    context: ProcessorContext

    def init(self, context: ProcessorContext) -> None:
        """Called once, when the stores are there."""
        self.context = context

    def process(self, record: Record[KIn, VIn]) -> None:
        """Take a record; what is forwarded goes on."""
        raise NotImplementedError

    def close(self) -> None:
        """The task ends."""


class FixedKeyProcessor(Generic[KIn, VIn, VOut]):
    """A processor that cannot change a record's key: forwarding another key raises StreamsError."""

    context: ProcessorContext

    def init(self, context: ProcessorContext) -> None:
        """Called once, when the stores are there."""
        self.context = context

    def process(self, record: Record[KIn, VIn]) -> None:
        """Take a record; what is forwarded goes on."""
        raise NotImplementedError

    def close(self) -> None:
        """The task ends."""


class ValueTransformer(Generic[KIn, VIn, VOut]):
    """Makes a table's value of another table's (``ValueTransformerWithKey``); cannot forward."""

    context: ProcessorContext

    def init(self, context: ProcessorContext) -> None:
        """Called once, when the stores are there."""
        self.context = context

    def transform(self, key: KIn, value: VIn | None) -> VOut | None:
        """The value for ``key``; None deletes it."""
        raise NotImplementedError

    def close(self) -> None:
        """The task ends."""
