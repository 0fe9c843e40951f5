"""What a table is made of while the topology is built: a supplier of its node, which can also give its values by key.

A table needs a store when somebody queries it, joins it, or needs its old values. Tables that have none compute their
values from those of the table they come from, by a *getter* (Kafka's ``KTableValueGetter``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from engine.streams.processors.node import Node, TaskContext
from engine.streams.records import Change, LateChange, Row
from engine.streams.stores.builders import StoreBuilder
from engine.streams.stores.key_value import TimestampedKeyValueStore
from engine.streams.stores.versioned import NOT_PUT, VersionedKeyValueStore

ValueGetter: TypeAlias = Callable[..., tuple[Any, int] | None]
"""``key -> (value, timestamp)`` as the table is now, None when it has none.

Of versioned tables also ``key, as_of (ms) -> …``, as it was then.
"""

TableStore: TypeAlias = TimestampedKeyValueStore[Any, Any] | VersionedKeyValueStore[Any, Any]
"""What a table is kept in. ``set`` answers None when the value is the newest of its key."""


class GetterSupplier(NamedTuple):
    """How a node gets at a table's values: the stores it must be connected to, and the getter of a task."""

    stores: tuple[str, ...]
    make: Callable[[TaskContext], ValueGetter]
    versioned: bool = False
    """Whether the getter takes a time as well."""


class Supplier:
    """Makes a node for each task, and says which stores it brings."""

    record_by_record = False
    reads_versions = False
    """Whether the node's changes are those of a versioned table (KIP-914); set when the topology is written."""

    def make(self) -> Node:
        """The node of one task."""
        raise NotImplementedError

    def stores(self) -> list[StoreBuilder]:
        """The stores that come with the node."""
        return []


class PlainSupplier(Supplier):
    """A node by its factory."""

    def __init__(self, factory: Callable[[], Node], stores: list[StoreBuilder] | None = None) -> None:
        self._factory = factory
        self._stores = stores or []

    def make(self) -> Node:
        """The node of one task."""
        return self._factory()

    def stores(self) -> list[StoreBuilder]:
        """The stores that come with the node."""
        return self._stores


class TableSupplier(Supplier):
    """Makes the node of a table."""

    send_old_values = False

    def enable_sending_old_values(self, force: bool) -> bool:
        """From now on the node hands on old values as well; ``force`` lets the table be materialized for it.

        False when that would need a store and ``force`` does not allow one.
        """
        self.send_old_values = True
        return True

    def view(self) -> GetterSupplier:
        """How the table's values are got by key."""
        raise NotImplementedError


def store_getter(name: str, *, versioned: bool = False) -> GetterSupplier:
    """The values of a store."""

    def make(context: TaskContext) -> ValueGetter:
        store = context.store(name)
        if isinstance(store, TimestampedKeyValueStore | VersionedKeyValueStore):
            return store.find
        return _plain_getter(store)

    return GetterSupplier((name,), make, versioned)


def builder_getter(builder: StoreBuilder) -> GetterSupplier:
    """The values of the store that a builder makes."""
    return store_getter(builder.name, versioned=builder.versioned)


def _plain_getter(store: Any) -> ValueGetter:
    def get(key: Any) -> tuple[Any, int] | None:
        found = store.get(key)
        return None if found is None else (found[0], found[1])

    return get


def table_store_of(context: TaskContext, name: str) -> TableStore:
    """A table's own store."""
    store = context.store(name)
    assert isinstance(store, TimestampedKeyValueStore | VersionedKeyValueStore), f"{name} is a {store.kind} store"
    return store


def timestamped_store(context: TaskContext, name: str) -> TimestampedKeyValueStore[Any, Any]:
    """A store that is no versioned one."""
    store = table_store_of(context, name)
    assert isinstance(store, TimestampedKeyValueStore), f"{name} is a {store.kind} store"
    return store


def newest_only(node: Node, rows: list[Row]) -> list[Row]:
    """Changes to the newest versions of their keys, which are what joins of versioned tables see (KIP-914)."""
    found = [row for row in rows if type(row[1]) is not LateChange]
    if len(found) < len(rows):
        node.context.dropped(node.name, len(rows) - len(found))
    return found


def stored_change(new: Any, old: Any, ends: int | None) -> Change | None:
    """The change to hand on, by what the store's ``set`` answered; None when the value was too old to be stored."""
    if ends is None:
        return new, old
    return None if ends == NOT_PUT else LateChange((new, old))
