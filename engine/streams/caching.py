"""The record cache of a task: of many updates of a key between two commits, the last one goes on.

With ``statestore.cache.max.bytes`` greater than 0, stores with caching (every table's, unless its Materialized says
otherwise) write to their changelogs, and tables hand on to the nodes below, what is left of a key's updates at the next
commit, or when the cache is full: the last value, and the old value from before the first of them. The stores
themselves are always up to date. Kafka's ``NamedCache`` and ``CachingKeyValueStore`` are the models, with two
differences: a full cache is flushed whole, where Kafka's evicts the least recently used entries; and a key that came
and went between two commits is handed on as a deletion, unless old values are asked for, which tell that it was never
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from engine.streams.processors.node import Node, TaskContext
from engine.streams.records import ChangelogRecord, Row, Windowed

_ROW_BYTES: Final = 320
"""What a held row costs: its tuples, and a guess at its key and value, which are objects and not bytes here."""
_CHANGE_BYTES: Final = 200
"""What a held change costs besides the bytes of its key and value."""

_NOTHING: Final = (None, None)
"""The change of a key that was not there before its updates, nor is after them."""


class HeldForwards(Node):
    """Stands between a table's node and its children and holds changes back until :meth:`flush`."""

    __slots__ = ("_batchable", "_identity", "_pending", "_send_old")

    def __init__(
        self, behind: Node, write_key: Callable[[Any], bytes], *, send_old_values: bool, batchable: bool
    ) -> None:
        super().__init__()
        self.name = behind.name
        self.children, behind.children = behind.children, (self,)
        self._identity = _identity(write_key)
        self._send_old = send_old_values
        self._batchable = batchable
        self._pending: dict[Any, tuple[Row, str | None]] = {}
        """Rows, and the topic of the records that they came from."""

    def size(self) -> int:
        """About how many bytes are held."""
        return len(self._pending) * _ROW_BYTES

    def process(self, rows: list[Row]) -> None:
        """Keep the last change of each key, with the old value of its first."""
        pending, identity, topic = self._pending, self._identity, self.context.topic
        for row in rows:
            at = identity(row[0])
            held = pending.pop(at, None)  # out and in again: the order is that of the last updates
            if held is not None:
                row = (row[0], (row[1][0], held[0][1][1]), row[2], row[3], row[4])
            pending[at] = row, topic

    def flush(self) -> None:
        """Hand on what is held, as records of where it came from."""
        held = [each for each in self._pending.values() if not self._send_old or each[0][1] != _NOTHING]
        self._pending = {}
        context = self.context
        for topic, group in groupby(held, key=itemgetter(1)):
            context.topic = topic
            rows = [row for row, _ in group]
            if self._batchable:
                self.forward(rows)
                continue
            for row in rows:
                context.row = row
                self.forward([row])
            context.row = None
        context.topic = None


def _identity(write_key: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    def identity(key: Any) -> Any:
        if isinstance(key, Windowed):
            return write_key(key.key), key.window.start, key.window.end
        return write_key(key)

    return identity


class TaskCache:
    """What one task holds back. ``max_bytes`` 0 holds nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held: list[HeldForwards] = []
        self._changes: dict[str, dict[bytes, ChangelogRecord]] = {}
        self._change_bytes = 0

    def hold(self, store: str) -> None:
        """Hold back the changelog of a store."""
        self._changes[store] = {}

    def hold_forwards(
        self,
        node: Node,
        context: TaskContext,
        write_key: Callable[[Any], bytes],
        *,
        send_old_values: bool,
        batchable: bool,
    ) -> None:
        """Hold back what a table's node hands on. Nodes come in the order of the topology, parents first.

        ``batchable``: the nodes below cannot tell a list from single records.
        """
        held = HeldForwards(node, write_key, send_old_values=send_old_values, batchable=batchable)
        held.init(context)
        self._held.append(held)

    def is_full(self) -> bool:
        """Whether more is held than may be."""
        return self._change_bytes + sum(each.size() for each in self._held) > self.max_bytes

    def add(self, store: str, changes: Iterable[ChangelogRecord]) -> bool:
        """Take changes of a store; False when its changelog is not held back."""
        held = self._changes.get(store)
        if held is None:
            return False
        for change in changes:
            before = held.pop(change[0], None)
            self._change_bytes += _size(change) - (0 if before is None else _size(before))
            held[change[0]] = change
        return True

    def forward(self) -> None:
        """Hand on what is held, from the top: what one table hands on may be held by the next, and goes as well."""
        for held in self._held:
            held.flush()

    def take_changes(self, store: str) -> list[ChangelogRecord]:
        """The changes that were held of a store, the last of each key."""
        held = self._changes.get(store)
        if not held:
            return []
        self._changes[store] = {}
        self._change_bytes = sum(map(_size, (change for each in self._changes.values() for change in each.values())))
        return list(held.values())


def _size(change: ChangelogRecord) -> int:
    return _CHANGE_BYTES + len(change[0]) + (0 if change[1] is None else len(change[1]))
