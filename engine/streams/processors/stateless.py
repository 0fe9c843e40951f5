"""Nodes without a store: filter, map, flat map, peek, foreach, branch. One function of the user's each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.streams.processors.node import Node
from engine.streams.records import Row


class StatelessNode(Node):
    """A node that makes rows of each row. Subclasses say how in :meth:`work`, a generator over rows."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        raise NotImplementedError

    def process(self, rows: list[Row]) -> None:
        """Forward what the function makes of the rows."""
        self.each(rows, self.work)


class FilterNode(StatelessNode):
    """Keeps the rows for which the predicate of key and value is true (``KStreamFilter``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        predicate = self._function
        for row in rows:
            if predicate(row[0], row[1]):
                yield row


class FilterNotNode(StatelessNode):
    """Keeps the rows for which the predicate of key and value is false."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        predicate = self._function
        for row in rows:
            if not predicate(row[0], row[1]):
                yield row


class MapNode(StatelessNode):
    """Another key and value (``KStreamMap``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            new_key, new_value = mapper(key, value)
            yield new_key, new_value, timestamp, headers, offset


class SelectKeyNode(StatelessNode):
    """Another key."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            yield mapper(key, value), value, timestamp, headers, offset


class MapValuesNode(StatelessNode):
    """Another value (``KStreamMapValues``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            yield key, mapper(value), timestamp, headers, offset


class MapValuesWithKeyNode(StatelessNode):
    """Another value, from key and value."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            yield key, mapper(key, value), timestamp, headers, offset


class FlatMapNode(StatelessNode):
    """Any number of keys and values (``KStreamFlatMap``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order. All of a row's results are made before the first goes on: it fails whole."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            for new_key, new_value in list(mapper(key, value)):
                yield new_key, new_value, timestamp, headers, offset


class FlatMapValuesNode(StatelessNode):
    """Any number of values (``KStreamFlatMapValues``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        mapper = self._function
        for key, value, timestamp, headers, offset in rows:
            for new_value in list(mapper(key, value)):
                yield key, new_value, timestamp, headers, offset


class PeekNode(StatelessNode):
    """Shows each row to the function and hands it on (``KStreamPeek``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """Results, in order."""
        action = self._function
        for row in rows:
            action(row[0], row[1])
            yield row


class ForeachNode(StatelessNode):
    """Shows each row to the function; nothing follows (``ForeachProcessor``)."""

    __slots__ = ()

    def work(self, rows: Iterator[Row]) -> Iterable[Row]:
        """No results."""
        action = self._function
        for row in rows:
            action(row[0], row[1])
        return ()


class BranchNode(Node):
    """Hands each row to the child of the first predicate that is true, or to the default one (``KStreamBranch``).

    ``names`` are the children by predicate; one more than there are predicates is the default's.
    """

    __slots__ = ("_names", "_predicates")

    def __init__(self, predicates: list[Callable[[Any, Any], bool]], names: list[str]) -> None:
        super().__init__()
        self._predicates = predicates
        self._names = names

    def process(self, rows: list[Row]) -> None:
        """Split."""
        outputs: dict[str, list[Row]] = {name: [] for name in self._names}
        tests = list(zip(self._predicates, (outputs[name] for name in self._names), strict=False))
        names = self._names
        default = outputs[names[-1]] if len(names) > len(self._predicates) else None
        for row in rows:
            key, value = row[0], row[1]
            try:
                for predicate, output in tests:
                    if predicate(key, value):
                        output.append(row)
                        break
                else:
                    if default is not None:
                        default.append(row)
            except Exception as error:
                self.context.failed(self.name, row, error)
        by_name = {child.name: child for child in self.children}
        for name, output in outputs.items():
            if output:
                child = by_name[name]
                child.processed += len(output)
                child.process(output)
