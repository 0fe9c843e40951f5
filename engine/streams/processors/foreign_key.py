"""Joins of tables on a foreign key (KIP-213), in four steps over two internal topics.

1. The left table's task *subscribes*: it sends the foreign key, its own key, and a hash of its value.
2. The right table's task keeps the subscription, and answers with the right value; it answers again to every
   subscriber when the right value changes.
3. The left table's task joins the answer with its value, unless the hash says that the value has changed since: then
   another answer is under way.

All bytes are Kafka's: subscriptions of version 1, answers of version 0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from engine.streams.errors import SerdeMissingError, StreamsError
from engine.streams.processors.murmur3 import hash128
from engine.streams.processors.node import Node, TaskContext
from engine.streams.processors.table_supplier import (
    GetterSupplier,
    Supplier,
    ValueGetter,
    newest_only,
    timestamped_store,
)
from engine.streams.records import Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import StoreBuilder
from engine.streams.stores.key_value import TimestampedKeyValueStore

DELETE_KEY_NO_PROPAGATE = 0
DELETE_KEY_AND_PROPAGATE = 1
PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE = 2
PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE = 3

_INT = struct.Struct(">i")
_NO_HASH = 0x80


class Subscription(NamedTuple):
    """What the left side sends (``SubscriptionWrapper``)."""

    hash: bytes | None
    instruction: int
    primary_key: Any
    primary_partition: int | None


class Response(NamedTuple):
    """What the right side answers (``SubscriptionResponseWrapper``); the partition is not on the wire."""

    hash: bytes | None
    value: Any
    primary_partition: int | None


class SubscriptionSerde(Serde[Subscription]):
    """Subscriptions of version 1; version 0, without the partition, is read as well."""

    __slots__ = ("_key",)

    def __init__(self, key: Serde[Any]) -> None:
        super().__init__(self._write, self._read, "subscription")
        self._key = key

    def _write(self, subscription: Subscription) -> bytes:
        raw_hash = subscription.hash
        version = 1 if raw_hash is not None else 1 | _NO_HASH
        key = self._key.serialize(subscription.primary_key)
        partition = _INT.pack(subscription.primary_partition or 0)
        return bytes((version, subscription.instruction)) + (raw_hash or b"") + key + partition

    def _read(self, data: bytes) -> Subscription:
        version, at = data[0] & 0x7F, 2
        if version > 1:
            raise StreamsError(f"SubscriptionWrapper is of an incompatible version: {version}")
        raw_hash = None
        if not data[0] & _NO_HASH:
            raw_hash, at = data[2:18], 18
        end = len(data) - 4 if version else len(data)
        partition = _INT.unpack_from(data, end)[0] if version else None
        return Subscription(raw_hash, data[1], self._key.deserialize(data[at:end]), partition)


class ResponseSerde(Serde[Response]):
    """Answers of version 0."""

    __slots__ = ("_value",)

    def __init__(self, value: Serde[Any]) -> None:
        super().__init__(self._write, self._read, "subscription response")
        self._value = value

    def _write(self, response: Response) -> bytes:
        value = b"" if response.value is None else self._value.serialize(response.value)
        return bytes((_NO_HASH,)) + value if response.hash is None else b"\x00" + response.hash + value

    def _read(self, data: bytes) -> Response:
        raw_hash, at = (None, 1) if data[0] & _NO_HASH else (data[1:17], 17)
        return Response(raw_hash, self._value.deserialize(data[at:]) if len(data) > at else None, None)


def subscription_key(foreign: bytes, primary: bytes) -> bytes:
    """The key of the store of subscriptions (``CombinedKeySchema``): the foreign key's length and it, then the own."""
    return _INT.pack(len(foreign)) + foreign + primary


class ForeignKeyJoin:
    """What the steps of one join share. Serdes of None are the config's."""

    def __init__(
        self,
        foreign_key: Callable[[Any, Any], Any],
        joiner: Callable[[Any, Any], Any],
        primary_serde: Serde[Any] | None,
        foreign_serde: Serde[Any] | None,
        value_serde: Serde[Any] | None,
        *,
        left: bool,
    ) -> None:
        self.foreign_key = foreign_key
        self.joiner = joiner
        self.primary_serde = primary_serde
        self.foreign_serde = foreign_serde
        self.value_serde = value_serde
        self.left = left

    def serde(self, context: TaskContext, given: Serde[Any] | None, which: str) -> Serde[Any]:
        """A serde, or the config's."""
        found: Serde[Any] | None = given or context.config.get(f"default.{which}.serde")
        if found is None:
            raise SerdeMissingError(f"foreign-key join: a table has no {which} serde (Consumed, Materialized)")
        return found


class _Step(Supplier):
    def __init__(self, join: ForeignKeyJoin) -> None:
        self.join = join


class SubscriptionSend(_Step):
    """Step 1 (``SubscriptionSendProcessorSupplier``)."""

    def make(self) -> Node:
        """The node of one task."""
        return _SendNode(self.join, drops_late=self.reads_versions)


class _SendNode(Node):
    __slots__ = ("_drops_late", "_foreign", "_join", "_value")

    def __init__(self, join: ForeignKeyJoin, *, drops_late: bool) -> None:
        super().__init__()
        self._join = join
        self._drops_late = drops_late
        self._foreign: Callable[[Any], bytes]
        self._value: Callable[[Any], bytes]

    def init(self, context: TaskContext) -> None:
        """Find the serdes."""
        super().init(context)
        join = self._join
        self._foreign = join.serde(context, join.foreign_serde, "key").serialize
        self._value = join.serde(context, join.value_serde, "value").serialize

    def process(self, rows: list[Row]) -> None:
        """Send what changed: subscribe, subscribe elsewhere, unsubscribe."""
        rows = newest_only(self, rows) if self._drops_late else rows
        out: list[Row] = []
        extract, partition = self._join.foreign_key, self.context.partition
        for row in rows:
            key, (new, old), timestamp, headers, offset = row
            try:
                old_foreign = None if old is None else extract(key, old)
                new_foreign = None if new is None else extract(key, new)
                raw_hash = None if new is None else hash128(self._value(new))
                for foreign, instruction in self._instructions(new, old, new_foreign, old_foreign):
                    subscription = Subscription(raw_hash, instruction, key, partition)
                    out.append((foreign, subscription, timestamp, headers, offset))
            except Exception as error:
                self.context.failed(self.name, row, error)
        self.forward(out)

    def _instructions(self, new: Any, old: Any, new_foreign: Any, old_foreign: Any) -> list[tuple[Any, int]]:
        if self._join.left:
            if new is None and old is None:
                return []
            subscribe = [(new_foreign, PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE)]
            if old_foreign is not None and self._differ(new_foreign, old_foreign):
                return [(old_foreign, DELETE_KEY_NO_PROPAGATE), *subscribe]
            return subscribe
        if new_foreign is None:
            if new is not None:
                self.context.dropped(self.name)
            return [] if old_foreign is None else [(old_foreign, DELETE_KEY_AND_PROPAGATE)]
        if old_foreign is not None and self._differ(new_foreign, old_foreign):
            return [
                (old_foreign, DELETE_KEY_NO_PROPAGATE),
                (new_foreign, PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE),
            ]
        return [(new_foreign, PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE)]

    def _differ(self, new: Any, old: Any) -> bool:
        return new is None or self._foreign(new) != self._foreign(old)


class SubscriptionReceive(_Step):
    """Step 2a: keep the subscription (``SubscriptionReceiveProcessorSupplier``)."""

    def __init__(self, join: ForeignKeyJoin, builder: StoreBuilder) -> None:
        super().__init__(join)
        self._builder = builder

    def make(self) -> Node:
        """The node of one task."""
        return _ReceiveNode(self.join, self._builder.name)

    def stores(self) -> list[StoreBuilder]:
        """The subscriptions."""
        return [self._builder]


class _SubscriptionNode(Node):
    __slots__ = ("_foreign", "_join", "_primary", "_store", "_store_name")

    def __init__(self, join: ForeignKeyJoin, store_name: str) -> None:
        super().__init__()
        self._join = join
        self._store_name = store_name
        self._store: TimestampedKeyValueStore[Any, Any]
        self._foreign: Serde[Any]
        self._primary: Serde[Any]

    def init(self, context: TaskContext) -> None:
        """Find the store and the serdes."""
        super().init(context)
        self._store = timestamped_store(context, self._store_name)
        self._foreign = self._join.serde(context, self._join.foreign_serde, "key")
        self._primary = self._join.serde(context, self._join.primary_serde, "key")


class _ReceiveNode(_SubscriptionNode):
    __slots__ = ()

    def process(self, rows: list[Row]) -> None:
        """Keep or delete the subscription, forward it."""
        out: list[Row] = []
        for row in rows:
            foreign, subscription, timestamp, headers, _ = row
            instruction = subscription.instruction
            if foreign is None:
                if instruction != PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE:
                    self.context.dropped(self.name)
                    continue
            else:
                raw_primary = self._primary.serialize(subscription.primary_key)
                key = subscription_key(self._foreign.serialize(foreign), raw_primary)
                gone = instruction in (DELETE_KEY_AND_PROPAGATE, DELETE_KEY_NO_PROPAGATE)
                self._store.set(key, None if gone else subscription, timestamp, headers)
            out.append(row)
        self.forward(out)


class SubscriptionJoin(_Step):
    """Step 2b: answer the subscription (``SubscriptionJoinProcessorSupplier``)."""

    def __init__(self, join: ForeignKeyJoin, getter: GetterSupplier) -> None:
        super().__init__(join)
        self._getter = getter

    def make(self) -> Node:
        """The node of one task."""
        return _SubscriptionJoinNode(self._getter)


class _SubscriptionJoinNode(Node):
    __slots__ = ("_get", "_getter")

    def __init__(self, getter: GetterSupplier) -> None:
        super().__init__()
        self._getter = getter
        self._get: ValueGetter

    def init(self, context: TaskContext) -> None:
        """Find the table."""
        super().init(context)
        self._get = self._getter.make(context)

    def process(self, rows: list[Row]) -> None:
        """Answer as the instruction says."""
        out: list[Row] = []
        for foreign, subscription, timestamp, headers, offset in rows:
            raw_hash, instruction, primary, partition = subscription
            found = None if foreign is None else self._get(foreign)
            if instruction == DELETE_KEY_NO_PROPAGATE:
                continue
            if instruction == PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE and found is None:
                continue
            value, at = (None, timestamp) if found is None else found
            if instruction == DELETE_KEY_AND_PROPAGATE:
                value = None
            out.append((primary, Response(raw_hash, value, partition), max(timestamp, at), headers, offset))
        self.forward(out)


class ForeignTableJoin(_Step):
    """Step 2c: answer every subscriber of a right value that changed (``ForeignTableJoinProcessorSupplier``)."""

    def __init__(self, join: ForeignKeyJoin, builder: StoreBuilder) -> None:
        super().__init__(join)
        self._builder = builder

    def make(self) -> Node:
        """The node of one task."""
        return _ForeignTableNode(self.join, self._builder.name, drops_late=self.reads_versions)

    def stores(self) -> list[StoreBuilder]:
        """The subscriptions."""
        return [self._builder]


class _ForeignTableNode(_SubscriptionNode):
    __slots__ = ("_drops_late",)

    def __init__(self, join: ForeignKeyJoin, store_name: str, *, drops_late: bool) -> None:
        super().__init__(join, store_name)
        self._drops_late = drops_late

    def process(self, rows: list[Row]) -> None:
        """Answer all subscribers."""
        rows = newest_only(self, rows) if self._drops_late else rows
        out: list[Row] = []
        for foreign, (new, _), timestamp, headers, offset in rows:
            if foreign is None:
                self.context.dropped(self.name)
                continue
            prefix = subscription_key(self._foreign.serialize(foreign), b"")
            for _, (subscription, _) in self._store.prefix_scan(prefix, _AS_IT_IS):
                response = Response(subscription.hash, new, subscription.primary_partition)
                out.append((subscription.primary_key, response, timestamp, headers, offset))
        self.forward(out)


_AS_IT_IS: Serde[bytes] = Serde(bytes, bytes, "bytes")


class ResponseJoin(_Step):
    """Step 3: join the answer (``ResponseJoinProcessorSupplier``)."""

    def __init__(self, join: ForeignKeyJoin, getter: GetterSupplier) -> None:
        super().__init__(join)
        self._getter = getter

    def make(self) -> Node:
        """The node of one task."""
        return _ResponseJoinNode(self.join, self._getter)


class _ResponseJoinNode(Node):
    __slots__ = ("_get", "_getter", "_join", "_value")

    def __init__(self, join: ForeignKeyJoin, getter: GetterSupplier) -> None:
        super().__init__()
        self._join = join
        self._getter = getter
        self._get: ValueGetter
        self._value: Callable[[Any], bytes]

    def init(self, context: TaskContext) -> None:
        """Find the table."""
        super().init(context)
        self._get = self._getter.make(context)
        self._value = self._join.serde(context, self._join.value_serde, "value").serialize

    def process(self, rows: list[Row]) -> None:
        """Join, unless the left value is another by now."""
        out: list[Row] = []
        join = self._join
        for row in rows:
            key, response, timestamp, headers, offset = row
            try:
                found = self._get(key)
                current = None if found is None else hash128(self._value(found[0]))
                if current != response.hash:
                    continue
                result = None
                if response.value is not None or (join.left and found is not None):
                    result = join.joiner(None if found is None else found[0], response.value)
            except Exception as error:
                self.context.failed(self.name, row, error)
                continue
            out.append((key, result, timestamp, headers, offset))
        self.forward(out)


def primary_partition(topic: str, key: Any, response: Response, partitions: int) -> int | None:
    """The partitioner of answers: back to where the subscription came from."""
    return response.primary_partition
