"""What can be said besides the functions in a call of the DSL: serdes, names, stores (``Consumed`` and so on)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.streams.errors import TopologyError
from engine.streams.serdes import Serde
from engine.streams.stores.builders import KIND_TIMESTAMPED_KEY_VALUE, KIND_VERSIONED_KEY_VALUE, StoreBuilder
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
    """The serdes of a join of a stream with a table.

    With ``grace_ms`` records of the stream wait that long, in stream time, and are joined in the order of their times,
    each with the table's value as of its own time (KIP-923). The table must be versioned, and keep as long a history.
    """

    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    other_value_serde: Serde[Any] | None = None
    name: str | None = None
    grace_ms: int | None = None

    def __post_init__(self) -> None:
        if self.grace_ms is not None and self.grace_ms < 0:
            raise TopologyError("Joined: grace_ms must not be negative.")


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

    ``retention_ms`` is for windowed tables: how long a window is kept. ``history_retention_ms`` makes a table without
    windows a versioned one (KIP-889); :meth:`of` takes it from a store of ``Stores``. ``engine`` is ``memory``,
    ``sqlite`` or ``rocksdb``; None is what the application's config says.
    """

    name: str | None = None
    key_serde: Serde[Any] | None = field(default=None, kw_only=True)
    value_serde: Serde[Any] | None = field(default=None, kw_only=True)
    logging_enabled: bool = field(default=True, kw_only=True)
    topic_config: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    caching_enabled: bool = field(default=True, kw_only=True)
    retention_ms: int | None = field(default=None, kw_only=True)
    history_retention_ms: int | None = field(default=None, kw_only=True)
    segment_interval_ms: int | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)

    @property
    def versioned(self) -> bool:
        """Whether the table keeps versions of its values."""
        return self.history_retention_ms is not None

    @classmethod
    def of(cls, store: StoreBuilder, **more: Any) -> Materialized:
        """A table kept in a store that ``Stores`` made: a key-value one, versioned or not.

        Raises:
            TopologyError: tables are not kept in stores of that kind.
        """
        if store.kind not in (KIND_VERSIONED_KEY_VALUE, KIND_TIMESTAMPED_KEY_VALUE):
            raise TopologyError(f"store {store.name}: a table is not kept in a {store.kind} store")
        given: dict[str, Any] = {
            "key_serde": store.key_serde,
            "value_serde": store.value_serde,
            "logging_enabled": store.logging_enabled,
            "topic_config": dict(store.topic_config),
            "history_retention_ms": store.history_retention_ms,
            "segment_interval_ms": store.segment_interval_ms,
            "engine": store.engine,
        }
        return cls(store.name, **{**given, **more})

    def refuse_versions(self, what: str) -> None:
        """Raise TopologyError when it is versioned, which ``what`` cannot be."""
        if self.versioned:
            raise TopologyError(f"{what} cannot be versioned.")

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.retention_ms is not None and self.retention_ms < 0:
            raise TopologyError("Retention must not be negative.")
