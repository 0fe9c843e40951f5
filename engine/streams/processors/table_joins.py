"""Joins with a table on the other side: of a stream with a table, global or not, and of two tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import (
    GetterSupplier,
    Supplier,
    TableStore,
    TableSupplier,
    ValueGetter,
    builder_getter,
    stored_change,
    table_store_of,
)
from engine.streams.records import LateChange, Row
from engine.streams.stores.builders import StoreBuilder

INNER = "inner"
LEFT = "left"
RIGHT = "right"
OUTER = "outer"


class StreamTableJoin(Supplier):
    """Each record of a stream with a table's value (``KStreamKTableJoinProcessor``).

    ``select`` gives the table's key of the record's key and value; None is the record's own key.
    """

    def __init__(
        self,
        getter: Callable[[], GetterSupplier],
        joiner: Callable[..., Any],
        select: Callable[[Any, Any], Any] | None,
        *,
        left: bool,
        with_key: bool = False,
    ) -> None:
        self.getter = getter
        self.with_key = with_key
        """Whether ``joiner`` takes the record's key first."""
        self.joiner = joiner
        self.select = select
        self.left = left

    def make(self) -> Node:
        """The node of one task."""
        return StreamTableJoinNode(self)


class StreamTableJoinNode(Node):
    """Looks up and joins."""

    __slots__ = ("_get", "_supplier", "_versioned")

    def __init__(self, supplier: StreamTableJoin) -> None:
        super().__init__()
        self._supplier = supplier
        self._get: ValueGetter
        self._versioned = False

    def init(self, context: TaskContext) -> None:
        """Find the table."""
        super().init(context)
        getter = self._supplier.getter()
        self._get, self._versioned = getter.make(context), getter.versioned

    def process(self, rows: list[Row]) -> None:
        """Look up, join, forward."""
        supplier, get = self._supplier, self._get
        select, joiner, left = supplier.select, supplier.joiner, supplier.left
        with_key, versioned = supplier.with_key, self._versioned
        out: list[Row] = []
        for row in rows:
            key, value, timestamp, headers, offset = row
            try:
                at = key if select is None else select(key, value)
                if value is None or (at is None and not left):
                    self.context.dropped(self.name)
                    continue
                found = None if at is None else get(at, timestamp) if versioned else get(at)
                if found is None and not left:
                    continue
                other = None if found is None else found[0]
                joined = joiner(key, value, other) if with_key else joiner(value, other)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            out.append((key, joined, timestamp, headers, offset))
        self.forward(out)


class TableJoinSide(TableSupplier):
    """One side of a join of two tables: changes of ``mine`` with values of ``other`` (``KTableKTable…Join``).

    ``joiner`` is called with this side's value first. ``how`` is seen from this side.
    """

    def __init__(self, mine: TableSupplier, other: TableSupplier, joiner: Callable[[Any, Any], Any], how: str) -> None:
        self.mine = mine
        self.other = other
        self.joiner = joiner
        self.how = how

    def make(self) -> Node:
        """The node of one task."""
        return _TableJoinNode(self)

    def view(self) -> GetterSupplier:
        """The joined values, computed from those of both tables."""
        mine, other = self.mine.view(), self.other.view()
        return GetterSupplier(
            tuple(dict.fromkeys(mine.stores + other.stores)),
            lambda context: self._getter(mine.make(context), other.make(context)),
        )

    def _getter(self, get_mine: ValueGetter, get_other: ValueGetter) -> ValueGetter:
        how, joiner = self.how, self.joiner

        def get(key: Any) -> tuple[Any, int] | None:
            first, second = get_mine(key), get_other(key)
            if first is None and (second is None or how in (INNER, LEFT)):
                return None
            if second is None and how in (INNER, RIGHT):
                return None
            value = joiner(None if first is None else first[0], None if second is None else second[0])
            time = max(-1 if first is None else first[1], -1 if second is None else second[1])
            return None if value is None else (value, time)

        return get


class _TableJoinNode(Node):
    __slots__ = ("_get", "_send_old", "_supplier")

    def __init__(self, supplier: TableJoinSide) -> None:
        super().__init__()
        self._supplier = supplier
        self._send_old = supplier.send_old_values
        self._get: ValueGetter

    def init(self, context: TaskContext) -> None:
        """Find the other table."""
        super().init(context)
        self._get = self._supplier.other.view().make(context)

    def process(self, rows: list[Row]) -> None:
        """Look up the other side, join old and new, forward."""
        get, joiner, how, send_old = self._get, self._supplier.joiner, self._supplier.how, self._send_old
        # Sides on which a value of None is joined all the same, when the other side has one.
        joins_none = how in (RIGHT, OUTER)
        needs_other = how in (INNER, RIGHT)
        drops_late = self._supplier.reads_versions
        out: list[Row] = []
        for row in rows:
            key, change, timestamp, headers, offset = row
            new_mine, old_mine = change
            if key is None or (drops_late and type(change) is LateChange):
                self.context.dropped(self.name)
                continue
            try:
                found = get(key)
                if found is None:
                    if needs_other or (new_mine is None and old_mine is None):
                        continue
                    value = None
                else:
                    value, at = found
                    if at > timestamp:
                        timestamp = at
                joins = joins_none and found is not None
                new = joiner(new_mine, value) if joins or new_mine is not None else None
                old = joiner(old_mine, value) if send_old and (joins or old_mine is not None) else None
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            out.append((key, (new, old), timestamp, headers, offset))
        self.forward(out)


class TableJoinMerger(TableSupplier):
    """Both sides of a join of two tables as one table (``KTableKTableJoinMerger``)."""

    def __init__(self, this: TableJoinSide, other: TableJoinSide, builder: StoreBuilder | None) -> None:
        self.this = this
        self.other = other
        self.builder = builder

    def enable_sending_old_values(self, force: bool) -> bool:
        """Old values of both tables, joined."""
        for side in (self.this, self.other):
            side.mine.enable_sending_old_values(True)
            side.send_old_values = True
        self.send_old_values = True
        return True

    def stores(self) -> list[StoreBuilder]:
        """The table's store, when it has one."""
        return [] if self.builder is None else [self.builder]

    def view(self) -> GetterSupplier:
        """The store's values, or those computed from both tables."""
        return self.this.view() if self.builder is None else builder_getter(self.builder)

    def make(self) -> Node:
        """The node of one task."""
        return _MergerNode(None if self.builder is None else self.builder.name, self.send_old_values)


class _MergerNode(Node):
    __slots__ = ("_send_old", "_store", "_store_name")

    def __init__(self, store_name: str | None, send_old: bool) -> None:
        super().__init__()
        self._store_name = store_name
        self._send_old = send_old
        self._store: TableStore | None = None

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        if self._store_name is not None:
            self._store = table_store_of(context, self._store_name)

    def process(self, rows: list[Row]) -> None:
        """Store, forward."""
        store = self._store
        if store is not None:
            kept: list[Row] = []
            for row in rows:
                key, (new, old), timestamp, headers, offset = row
                try:
                    ends = store.set(key, new, timestamp)
                except Exception as error:
                    self.context.failed(self.name, row, error)
                    continue
                if ends is None:
                    kept.append(row)
                elif (change := stored_change(new, old, ends)) is not None:
                    kept.append((key, change, timestamp, headers, offset))
            rows = kept
        if self._send_old:
            self.forward(rows)
        else:
            self.forward(
                [(key, type(change)((change[0], None)), time, headers, at) for key, change, time, headers, at in rows]
            )
