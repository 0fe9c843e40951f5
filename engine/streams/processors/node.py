"""What a node of a running topology is: it takes a list of records and hands a list on to each of its children.

A list given to a node means exactly what its records would mean one after the other. Whether lists or single records
are given is for the task to decide (:mod:`engine.streams.batching`): a node does not know. A node never changes a list
it was given, and does not keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from engine.streams.records import Headers, OutputRecord, Row
from engine.streams.stores.state_store import StateStore


class TaskContext(Protocol):
    """What a node asks of its task."""

    application_id: str
    task_id: str
    config: dict[str, Any]
    topic: str | None
    """Source topic of the records in work; None in a punctuation."""
    partition: int
    stream_time: int
    """The greatest timestamp the task has seen (ms), -1 before the first record."""
    processor_metadata: dict[str, int]
    """What nodes want to find again after a restart; committed with the offsets (Kafka's ProcessorMetadata)."""
    row: Row | None
    """The record in work, where a node works record by record (processors of the user's)."""

    def wall_clock_ms(self) -> int:
        """The time of day (ms), as of the batch or punctuation in work."""

    def timestamp(self) -> int:
        """The time of the record in work, -1 outside of one."""

    def dropped(self, where: str, count: int = 1) -> None:
        """Count records that were dropped (metric ``dropped-records-total``)."""

    def store(self, name: str) -> StateStore:
        """A store of this task, or a global one; raises InvalidStateStoreError when the node may not see it."""

    def send(self, topic: str, records: list[OutputRecord], node: str) -> None:
        """Hand records of a sink to the collector."""

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has, for partitioners."""

    def failed(self, node: str, row: Row, error: Exception) -> None:
        """A function of the user failed on ``row``: returns when the handler says to go on, raises otherwise."""

    def failed_to_serialize(self, node: str, topic: str, row: Row, error: Exception) -> None:
        """A record could not be serialized for a sink: returns when the handler says to go on, raises otherwise."""

    def schedule(self, node: Node, interval_ms: int, kind: str, callback: Callable[[int], None]) -> Any:
        """Call ``callback`` with the time, every ``interval_ms`` of stream time or of the wall clock."""


class Node:
    """A node of a running topology. Subclasses override :meth:`process`, and :meth:`init` when they have stores."""

    __slots__ = ("children", "context", "name", "processed")

    def __init__(self) -> None:
        self.name = ""
        self.children: tuple[Node, ...] = ()
        self.context: TaskContext = _NO_CONTEXT
        self.processed = 0
        """How many records came in: the rate the console shows."""

    def init(self, context: TaskContext) -> None:
        """Called once the stores are there and the children are set."""
        self.context = context

    def process(self, rows: list[Row]) -> None:
        """Take records, in their order."""
        raise NotImplementedError

    def cached_table(self) -> tuple[str, bool] | None:
        """Of a table's node: the store whose updates it hands on, and whether with old values (the record cache)."""
        return None

    def time_to_keep(self) -> int | None:
        """The node's own stream time, which must survive a restart; None for nodes that have none."""
        return None

    def resume_time(self, time: int) -> None:
        """The stream time that the node had before a restart; called before the first record."""

    @property
    def concurrency(self) -> int:
        """How many records of a list the node works on at once."""
        return 1

    def close(self) -> None:
        """The task ends."""

    def forward(self, rows: list[Row]) -> None:
        """Hand records to every child, in the order in which they were added."""
        if rows:
            count = len(rows)
            for child in self.children:
                child.processed += count
                child.process(rows)

    def each(self, rows: list[Row], work: Callable[[Iterator[Row]], Iterable[Row]]) -> None:
        """Forward what ``work`` makes of the rows, lazily and in order, past those on which it fails.

        ``work`` is a generator over an iterator of rows that takes one and yields its results. When a row fails, the
        handler of processing errors is asked, and the work goes on with the next row.
        """
        out: list[Row] = []
        rest = iter(rows)
        while True:
            try:
                out.extend(work(rest))
                break
            except Exception as error:
                left = rest.__length_hint__()  # type: ignore[attr-defined]
                self.context.failed(self.name, rows[len(rows) - left - 1], error)
        self.forward(out)


class _NoContext:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("the node was used before init()")


_NO_CONTEXT: Any = _NoContext()

NodeFactory: TypeAlias = Callable[[], Node]
"""Makes the node of one task; called once for each task."""


class PassThrough(Node):
    """Hands on what it gets (Kafka's ``PassThrough``: merges and branches)."""

    __slots__ = ()

    def process(self, rows: list[Row]) -> None:
        """Forward."""
        self.forward(rows)


def with_headers(row: Row, headers: Headers) -> Row:
    """``row`` with other headers."""
    return (row[0], row[1], row[2], headers, row[4])
