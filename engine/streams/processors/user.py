"""Nodes that run the user's processors. They are given one record at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.streams.errors import StreamsError, TopologyError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import Supplier
from engine.streams.punctuation import STREAM_TIME, WALL_CLOCK_TIME, Cancellable
from engine.streams.records import NO_HEADERS, Headers, Record, RecordMetadata, Row
from engine.streams.stores.builders import StoreBuilder

if TYPE_CHECKING:
    from engine.streams.processor_api import FixedKeyProcessor, Processor


class UserContext:
    """The ProcessorContext of one node. ``node`` None: one that cannot forward (transformers of values)."""

    def __init__(self, task: TaskContext, node: Node | None, *, fixed_key: bool = False) -> None:
        self._task = task
        self._node = node
        self._fixed_key = fixed_key
        self.row: Row | None = None
        """The record in work at this node; None in a punctuation."""
        self.error_below: Exception | None = None
        """What :meth:`forward` raised last: decided on already, or the task's, in any case no failure of this node."""

    @property
    def application_id(self) -> str:
        """The application's id."""
        return self._task.application_id

    @property
    def task_id(self) -> str:
        """``<sub-topology>_<partition>``."""
        return self._task.task_id

    def forward(self, record: Record[Any, Any], child: str | None = None) -> None:
        """Hand a record on."""
        node = self._node
        if node is None:
            raise StreamsError("forward() is not there for a transformer of values: return the value")
        key, value, timestamp, *more = record
        if timestamp < 0:
            raise StreamsError(
                f"node {node.name}: a record cannot be forwarded with the negative timestamp {timestamp}"
            )
        headers: Headers = more[0] if more else NO_HEADERS
        row = self.row
        if self._fixed_key and row is not None and key is not row[0] and key != row[0]:
            raise StreamsError(f"node {node.name}: process_values cannot change the key from {row[0]!r} to {key!r}")
        rows: list[Row] = [(key, value, timestamp, headers, -1 if row is None else row[4])]
        children = [each for each in node.children if child is None or each.name == child]
        if child is not None and not children:
            raise StreamsError(
                f"Unknown downstream node: {child} either does not exist or is not connected to {node.name}"
            )
        try:
            for each in children:
                each.processed += 1
                each.process(rows)
        except Exception as error:
            self.error_below = error
            raise

    def get_state_store(self, name: str) -> Any:
        """A store."""
        return self._task.store(name)

    def schedule(self, interval_ms: int, kind: str, punctuator: Callable[[int], None]) -> Cancellable:
        """Call ``punctuator`` every so often."""
        if interval_ms < 1:
            raise TopologyError("The minimum supported scheduling interval is 1 millisecond.")
        if kind not in (STREAM_TIME, WALL_CLOCK_TIME):
            raise TopologyError(f"schedule(): {kind!r} is neither STREAM_TIME nor WALL_CLOCK_TIME")
        node = self._node
        if node is None:
            raise StreamsError("schedule() is not there for a getter's transformer")

        def call(time: int) -> None:
            self.row = None
            try:
                punctuator(time)
            except Exception as error:
                if error is self.error_below:
                    raise
                self._task.failed(node.name, (None, None, time, NO_HEADERS, -1), error)

        made: Cancellable = self._task.schedule(node, interval_ms, kind, call)
        return made

    def record_metadata(self) -> RecordMetadata | None:
        """Where the record in work came from."""
        task = self._task
        if self.row is None or task.topic is None:
            return None
        return RecordMetadata(task.topic, task.partition, self.row[4])

    def headers(self) -> Headers:
        """The headers of the record in work."""
        return NO_HEADERS if self.row is None else self.row[3]

    def timestamp(self) -> int:
        """The time of the record in work."""
        return self._task.timestamp() if self.row is None else self.row[2]

    def current_stream_time_ms(self) -> int:
        """The greatest timestamp that the task has seen."""
        return self._task.stream_time

    def current_system_time_ms(self) -> int:
        """The time of day."""
        return self._task.wall_clock_ms()


class UserProcessorNode(Node):
    """Runs a processor of the user's."""

    __slots__ = ("_fixed_key", "_processor", "_user")

    def __init__(
        self, processor: Processor[Any, Any, Any, Any] | FixedKeyProcessor[Any, Any, Any], *, fixed_key: bool = False
    ) -> None:
        super().__init__()
        self._processor = processor
        self._fixed_key = fixed_key
        self._user: UserContext | None = None

    def init(self, context: TaskContext) -> None:
        """Set up the processor."""
        super().init(context)
        self._user = UserContext(context, self, fixed_key=self._fixed_key)
        self._processor.init(self._user)

    def process(self, rows: list[Row]) -> None:
        """One after the other."""
        user = self._user
        assert user is not None
        task, before = self.context, user.row
        for row in rows:
            outer, task.row = task.row, row
            user.row = row
            try:
                self._processor.process(Record(row[0], row[1], row[2], row[3]))
            except Exception as error:
                if error is user.error_below:
                    raise
                task.failed(self.name, row, error)
            finally:
                task.row = outer
                user.row = before

    def close(self) -> None:
        """End the processor."""
        self._processor.close()


class UserSupplier(Supplier):
    """Processors of the user's. A supplier with a method ``stores`` brings its stores along."""

    record_by_record = True

    def __init__(self, supplier: Callable[[], Processor[Any, Any, Any, Any]]) -> None:
        self._supplier = supplier

    def make(self) -> Node:
        """The node of one task."""
        return UserProcessorNode(self._supplier())

    def stores(self) -> list[StoreBuilder]:
        """The stores that the supplier brings."""
        return list(getattr(self._supplier, "stores", list)())


class FixedKeySupplier(Supplier):
    """Processors of the user's that cannot change keys."""

    record_by_record = True

    def __init__(self, supplier: Callable[[], FixedKeyProcessor[Any, Any, Any]]) -> None:
        self._supplier = supplier

    def make(self) -> Node:
        """The node of one task."""
        return UserProcessorNode(self._supplier(), fixed_key=True)

    def stores(self) -> list[StoreBuilder]:
        """The stores that the supplier brings."""
        return list(getattr(self._supplier, "stores", list)())
