"""Nodes of tables: source, filter, map values, transform values. They hand on changes, ``(new, old)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import (
    GetterSupplier,
    TableStore,
    TableSupplier,
    ValueGetter,
    builder_getter,
    stored_change,
    table_store_of,
)
from engine.streams.records import Change, LateChange, Row
from engine.streams.stores.builders import StoreBuilder

if TYPE_CHECKING:
    from engine.streams.processor_api import ValueTransformer
    from engine.streams.processors.user import UserContext


class TableSource(TableSupplier):
    """A topic or a stream as a table (``KTableSource``). It has a store once somebody needs one."""

    def __init__(self, builder: StoreBuilder, *, queryable: bool) -> None:
        self.builder = builder
        self.materialized = queryable

    def materialize(self) -> None:
        """Keep the table in its store."""
        self.materialized = True

    def enable_sending_old_values(self, force: bool) -> bool:
        """Old values come from the store."""
        if not force and not self.materialized:
            return False
        self.materialized = True
        self.send_old_values = True
        return True

    def view(self) -> GetterSupplier:
        """The store's values."""
        self.materialize()
        return builder_getter(self.builder)

    def stores(self) -> list[StoreBuilder]:
        """The table's store, when it has one."""
        return [self.builder] if self.materialized else []

    def make(self) -> Node:
        """The node of one task."""
        return TableSourceNode(self.builder.name if self.materialized else None, self.send_old_values)


class TableSourceNode(Node):
    """Puts each record into the table; a key of None is dropped."""

    __slots__ = ("_send_old", "_store", "_store_name")

    def __init__(self, store_name: str | None, send_old: bool) -> None:
        super().__init__()
        self._store_name = store_name
        self._send_old = send_old
        self._store: TableStore | None = None

    def cached_table(self) -> tuple[str, bool] | None:
        """Its store's updates may be merged."""
        return None if self._store_name is None else (self._store_name, self._send_old)

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        if self._store_name is not None:
            self._store = table_store_of(context, self._store_name)

    def process(self, rows: list[Row]) -> None:
        """Store and forward."""
        out: list[Row] = []
        store, send_old = self._store, self._send_old
        for row in rows:
            key, value, timestamp, headers, offset = row
            if key is None:
                self.context.dropped(self.name)
                continue
            change: Change | None = (value, None)
            if store is not None:
                old = None
                try:
                    if send_old:
                        found = store.find(key)
                        old = None if found is None else found[0]
                    ends = store.set(key, value, timestamp)
                except Exception as error:
                    self.context.failed(self.name, row, error)
                    continue
                change = (value, old)
                if ends is not None and (change := stored_change(value, old, ends)) is None:
                    continue
            out.append((key, change, timestamp, headers, offset))
        self.forward(out)


class _Derived(TableSupplier):
    """A table computed from another one; ``builder`` is its store's, None when it has none."""

    def __init__(self, parent: TableSupplier, builder: StoreBuilder | None) -> None:
        self.parent = parent
        self.builder = builder
        # Where the parent sends old values already, this one can as well; nothing is materialized for it.
        self.send_old_values = parent.enable_sending_old_values(False)

    def enable_sending_old_values(self, force: bool) -> bool:
        """From the table's own store, or computed from the parent's old values."""
        if self.builder is not None or self.parent.enable_sending_old_values(force):
            self.send_old_values = True
        return self.send_old_values

    def stores(self) -> list[StoreBuilder]:
        """The table's store, when it has one."""
        return [] if self.builder is None else [self.builder]

    def view(self) -> GetterSupplier:
        """The store's values, or those computed from the parent's."""
        if self.builder is not None:
            return builder_getter(self.builder)
        parent = self.parent.view()
        return GetterSupplier(
            parent.stores, lambda context: self.getter(parent.make(context), context), parent.versioned
        )

    def getter(self, parent: ValueGetter, context: TaskContext) -> ValueGetter:
        """A getter over the parent's."""
        raise NotImplementedError

    @property
    def store_name(self) -> str | None:
        """The name of the table's store, None when it has none."""
        return None if self.builder is None else self.builder.name


class TableFilter(_Derived):
    """``KTable.filter``: what does not pass is deleted (``KTableFilter``)."""

    def __init__(
        self,
        parent: TableSupplier,
        predicate: Callable[[Any, Any], bool],
        builder: StoreBuilder | None,
        *,
        negated: bool,
    ) -> None:
        super().__init__(parent, builder)
        self.predicate = predicate
        self.negated = negated

    def make(self) -> Node:
        """The node of one task."""
        return _TableFilterNode(self)

    def getter(self, parent: ValueGetter, context: TaskContext) -> ValueGetter:
        """The parent's values that pass."""
        predicate, negated = self.predicate, self.negated

        def get(key: Any, *as_of: int) -> tuple[Any, int] | None:
            found = parent(key, *as_of)
            return found if found is not None and bool(predicate(key, found[0])) != negated else None

        return get


class _DerivedNode(Node):
    """Computes new and old value, keeps the new one when the table has a store, forwards."""

    __slots__ = ("_send_old", "_store", "_store_name", "_supplier")

    skips_nothing_to_nothing = False

    def __init__(self, supplier: Any) -> None:
        super().__init__()
        self._supplier = supplier
        self._send_old: bool = supplier.send_old_values
        self._store_name: str | None = supplier.store_name
        self._store: TableStore | None = None

    def init(self, context: TaskContext) -> None:
        """Find the store."""
        super().init(context)
        if self._store_name is not None:
            self._store = table_store_of(context, self._store_name)

    def compute(self, key: Any, value: Any) -> Any:
        """The table's value from the parent's."""
        raise NotImplementedError

    def process(self, rows: list[Row]) -> None:
        """Compute, store, forward."""
        out: list[Row] = []
        store, send_old, compute = self._store, self._send_old, self.compute
        # A versioned table's history has deletions, too.
        skips = self.skips_nothing_to_nothing and not self._supplier.reads_versions
        for row in rows:
            key, changed, timestamp, headers, offset = row
            parent_new, parent_old = changed
            try:
                new = compute(key, parent_new)
                old = None
                if send_old:
                    if store is None:
                        old = compute(key, parent_old)
                    else:
                        found = store.find(key)
                        old = None if found is None else found[0]
                    if skips and old is None and new is None:
                        continue
                ends = None if store is None else store.set(key, new, timestamp)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            change: Change | None
            if store is not None:
                change = stored_change(new, old, ends)
                if change is None:
                    continue
            else:
                change = (new, old) if type(changed) is tuple else LateChange((new, old))
            out.append((key, change, timestamp, headers, offset))
        self.forward(out)


class _TableFilterNode(_DerivedNode):
    __slots__ = ()

    skips_nothing_to_nothing = True

    def compute(self, key: Any, value: Any) -> Any:
        """The value when it passes."""
        supplier = self._supplier
        if value is not None and bool(supplier.predicate(key, value)) != supplier.negated:
            return value
        return None


class TableMapValues(_Derived):
    """``KTable.map_values`` (``KTableMapValues``)."""

    def __init__(self, parent: TableSupplier, mapper: Callable[[Any, Any], Any], builder: StoreBuilder | None) -> None:
        super().__init__(parent, builder)
        self.mapper = mapper

    def make(self) -> Node:
        """The node of one task."""
        return _TableMapValuesNode(self)

    def getter(self, parent: ValueGetter, context: TaskContext) -> ValueGetter:
        """The parent's values, mapped."""
        mapper = self.mapper

        def get(key: Any, *as_of: int) -> tuple[Any, int] | None:
            found = parent(key, *as_of)
            if found is None:
                return None
            value = mapper(key, found[0])
            return None if value is None else (value, found[1])

        return get


class _TableMapValuesNode(_DerivedNode):
    __slots__ = ()

    def compute(self, key: Any, value: Any) -> Any:
        """The mapped value; None stays None."""
        return None if value is None else self._supplier.mapper(key, value)


class TableTransformValues(_Derived):
    """``KTable.transform_values``: a mapper with stores; it sees None as well (``KTableTransformValues``)."""

    record_by_record = True

    def __init__(
        self,
        parent: TableSupplier,
        supplier: Callable[[], ValueTransformer[Any, Any, Any]],
        builder: StoreBuilder | None,
    ) -> None:
        super().__init__(parent, builder)
        self.supplier = supplier

    def make(self) -> Node:
        """The node of one task."""
        return _TableTransformValuesNode(self)

    def getter(self, parent: ValueGetter, context: TaskContext) -> ValueGetter:
        """The parent's values, transformed by a transformer of its own."""
        transformer = self.supplier()
        transformer.init(_context(context))

        def get(key: Any, *as_of: int) -> tuple[Any, int] | None:
            found = parent(key, *as_of)
            value = transformer.transform(key, None if found is None else found[0])
            return None if value is None else (value, -1 if found is None else found[1])

        return get


def _context(context: TaskContext, node: Node | None = None) -> UserContext:
    from engine.streams.processors.user import UserContext

    return UserContext(context, node)


class _TableTransformValuesNode(_DerivedNode):
    __slots__ = ("_transformer",)

    def __init__(self, supplier: TableTransformValues) -> None:
        super().__init__(supplier)
        self._transformer: ValueTransformer[Any, Any, Any] = supplier.supplier()

    def init(self, context: TaskContext) -> None:
        """Set up the transformer."""
        super().init(context)
        self._transformer.init(_context(context, self))

    def compute(self, key: Any, value: Any) -> Any:
        """The transformed value."""
        return self._transformer.transform(key, value)

    def close(self) -> None:
        """End the transformer."""
        self._transformer.close()
