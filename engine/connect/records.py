"""Records between connectors and topics (``org.apache.kafka.connect.source.SourceRecord``, ``sink.SinkRecord``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, Self

from engine.connect.data import Schema, SchemaAndValue
from engine.connect.errors import DataError


class Header(NamedTuple):
    """A header: its name and typed value."""

    key: str
    schema: Schema | None
    value: Any


class Headers:
    """A record's headers in their order; a name may come several times (``ConnectHeaders``)."""

    __slots__ = ("_headers",)

    def __init__(self, headers: list[Header] | None = None) -> None:
        self._headers: list[Header] = list(headers or ())

    def add(self, key: str, value: Any, schema: Schema | None = None) -> Headers:
        """Append one; gives these headers.

        Raises:
            DataError: it is null, and the schema does not allow that.
        """
        if value is None and schema is not None and not schema.optional:
            raise DataError(f"A null value requires an optional schema but was {schema}")
        self._headers.append(Header(key, schema, value))
        return self

    def remove(self, key: str) -> Headers:
        """Take out all of a name; gives these headers."""
        self._headers = [each for each in self._headers if each.key != key]
        return self

    def last_with_name(self, key: str) -> Header | None:
        """The last of a name, or None."""
        return next((each for each in reversed(self._headers) if each.key == key), None)

    def duplicate(self) -> Headers:
        """Others that hold the same."""
        return Headers(self._headers)

    def __iter__(self) -> Iterator[Header]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._headers == other._headers

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._headers!r})"


@cache
def _attributes(cls: type[ConnectRecord]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls))


@dataclass(slots=True, kw_only=True)
class ConnectRecord:
    """What source and sink records have in common. ``timestamp`` in ms since 1970, or None."""

    topic: str
    partition: int | None = None
    key_schema: Schema | None = None
    key: Any = None
    value_schema: Schema | None = None
    value: Any = None
    timestamp: int | None = None
    headers: Headers = field(default_factory=Headers)

    def changed(self, **changes: Any) -> Self:
        """Another record that differs in these attributes (``newRecord``); headers are shared unless given."""
        cls: type[Self] = type(self)
        made = cls.__new__(cls)
        for name in _attributes(type(self)):  # type: ignore[arg-type]
            setattr(made, name, changes[name] if name in changes else getattr(self, name))
        return made

    @property
    def key_and_schema(self) -> SchemaAndValue:
        return SchemaAndValue(self.key_schema, self.key)

    @property
    def value_and_schema(self) -> SchemaAndValue:
        return SchemaAndValue(self.value_schema, self.value)


@dataclass(slots=True, kw_only=True)
class SourceRecord(ConnectRecord):
    """From a source: where in the source it comes from (``source_partition``) and how far (``source_offset``).

    Both are flat mappings of what JSON knows; the offset is that to begin *after*, as the connector reads it.
    """

    source_partition: Mapping[str, Any]
    source_offset: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class SinkRecord(ConnectRecord):
    """For a sink: with its offset; what it was before transforms is in ``original_…`` (KIP-793)."""

    offset: int
    timestamp_type: str = "CreateTime"
    original_topic: str = ""
    original_partition: int = -1
    original_offset: int = -1

    def __post_init__(self) -> None:
        if not self.original_topic:
            self.original_topic = self.topic
            self.original_partition = -1 if self.partition is None else self.partition
            self.original_offset = self.offset
