"""What can be said besides the functions in a call of the DSL: serdes, names, stores (``Consumed`` and so on)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.streams.errors import TopologyError
from engine.streams.serdes import Serde
from engine.streams.topology import StreamPartitioner, TimestampExtractor

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def check_name(name: str | None) -> None:
    """Raise TopologyError when a name cannot be part of a topic's name."""
    if name is None:
        return
    if not _LEGAL_NAME.fullmatch(name) or name in (".", ".."):
        raise TopologyError(
            f'Name "{name}" is illegal: 1 to 249 ASCII alphanumerics, ".", "_" and "-", other than "." and ".."'
        )


@dataclass(slots=True, kw_only=True)
class Consumed:
    """How a topic is read."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    timestamp_extractor: TimestampExtractor | None = None
    offset_reset: str | None = None
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class Produced:
    """How a topic is written."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    partitioner: StreamPartitioner | None = None
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class Grouped:
    """The serdes of a grouping, and the name of its repartition topic."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class Repartitioned:
    """A repartition topic: its name, its serdes, how many partitions it has."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    partitioner: StreamPartitioner | None = None
    partitions: int | None = None
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class Joined:
    """The serdes of a join of a stream with a table. ``grace_ms`` needs a versioned table."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    other_value_serde: Serde[Any] | None = None
    name: str | None = None


@dataclass(slots=True, kw_only=True)
class StreamJoined:
    """The serdes and the stores of a join of two streams."""

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    other_value_serde: Serde[Any] | None = None
    name: str | None = None
    store_name: str | None = None
    logging_enabled: bool = True
    topic_config: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None


@dataclass(slots=True, kw_only=True)
class TableJoined:
    """Names and partitioners of a foreign-key join."""

    partitioner: StreamPartitioner | None = None
    other_partitioner: StreamPartitioner | None = None
    name: str | None = None


@dataclass(slots=True)
class Materialized:
    """The store of a table. With a ``name`` it can be queried.

    ``retention_ms`` is for windowed tables: how long a window is kept. ``engine`` is ``memory``, ``sqlite`` or
    ``rocksdb``; None is what the application's config says.
    """

    name: str | None = None
    key_serde: Serde[Any] | None = field(default=None, kw_only=True)
    value_serde: Serde[Any] | None = field(default=None, kw_only=True)
    logging_enabled: bool = field(default=True, kw_only=True)
    topic_config: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    caching_enabled: bool = field(default=True, kw_only=True)
    retention_ms: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.retention_ms is not None and self.retention_ms < 0:
            raise TopologyError("Retention must not be negative.")
