"""The records that go through a topology, and the small values of Kafka Streams' API.

Inside, a record is a plain tuple, a :data:`Row`: ``(key, value, timestamp, headers, offset)``. A node takes a list of
them. Building a tuple costs a tenth of what an object costs, and most of a topology's time is spent building them.
Between nodes of a table ``value`` is a :data:`Change`, ``(new value, old value)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

K = TypeVar("K")
V = TypeVar("V")

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Headers of a record, in order; never changed in place."""

NO_HEADERS: Headers = ()
NO_TIMESTAMP = -1

Row: TypeAlias = tuple[Any, Any, int, Headers, int]
"""``(key, value, timestamp in ms, headers, offset of the record it came from; -1 when there is none)``."""

Change: TypeAlias = tuple[Any, Any]
"""What a table hands on: ``(new value, old value)``; the old value is None unless somebody below asked for it."""


class LateChange(tuple[Any, Any]):
    """A change of a versioned table to a version that is not the newest of its key (KIP-914's ``isLatest``)."""

    __slots__ = ()


ChangelogRecord: TypeAlias = tuple[bytes, bytes | None, int, Headers]
"""A record of a changelog topic: ``(key, value, timestamp, headers)``; a value of None deletes the key."""


class Record(NamedTuple, Generic[K, V]):
    """A record as a processor of the user's sees it (``org.apache.kafka.streams.processor.api.Record``)."""

    key: K
    value: V
    timestamp: int
    headers: Headers = NO_HEADERS

    def with_key(self, key: Any) -> Record[Any, V]:
        """This record under another key."""
        return Record(key, self.value, self.timestamp, self.headers)

    def with_value(self, value: Any) -> Record[K, Any]:
        """This record with another value."""
        return Record(self.key, value, self.timestamp, self.headers)

    def with_timestamp(self, timestamp: int) -> Record[K, V]:
        """This record at another time (ms)."""
        return Record(self.key, self.value, timestamp, self.headers)

    def with_headers(self, headers: Headers) -> Record[K, V]:
        """This record with other headers."""
        return Record(self.key, self.value, self.timestamp, headers)


class KeyValue(NamedTuple, Generic[K, V]):
    """A key and a value. Wherever one is asked for, a plain pair does as well."""

    key: K
    value: V


class RecordMetadata(NamedTuple):
    """Where the record that is being processed came from."""

    topic: str
    partition: int
    offset: int


class ValueAndTimestamp(NamedTuple, Generic[V]):
    """A value of a timestamped store, and the time of the record that made it."""

    value: V
    timestamp: int


class Window(NamedTuple):
    """A window of time in ms: ``end`` is exclusive for time windows, inclusive for sessions."""

    start: int
    end: int


class Windowed(NamedTuple, Generic[K]):
    """A key in a window: the key of every windowed table."""

    key: K
    window: Window


class InputRecord(NamedTuple):
    """A record of a source topic as it was fetched."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = NO_HEADERS


class OutputRecord(NamedTuple):
    """A record for a sink topic. ``partition`` is None when the producer chooses by the key, as Kafka's does."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers = NO_HEADERS
    partition: int | None = None
