"""Store builders: what a store is, before there is one; and :class:`Stores`, which makes them as Kafka's ``Stores``.

A builder knows the store's name, kind, serdes and changelog. The task that needs the store builds it on an engine:
that of the application's config, unless the builder names one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engine.streams.errors import SerdeMissingError, TopologyError
from engine.streams.serdes import Serde
from engine.streams.stores.engines import Engines
from engine.streams.stores.key_value import KeyValueStore, TimestampedKeyValueStore
from engine.streams.stores.lru import LruKeyValueStore
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.session import SessionStore
from engine.streams.stores.state_store import StateStore
from engine.streams.stores.versioned import VersionedKeyValueStore, default_segment_interval
from engine.streams.stores.window import TimestampedWindowStore, WindowStore

DAY_MS = 24 * 60 * 60 * 1000

CREATE_TIME = {"message.timestamp.type": "CreateTime"}

KIND_KEY_VALUE = "key-value"
KIND_TIMESTAMPED_KEY_VALUE = "timestamped-key-value"
KIND_WINDOW = "window"
KIND_TIMESTAMPED_WINDOW = "timestamped-window"
KIND_SESSION = "session"
KIND_VERSIONED_KEY_VALUE = "versioned-key-value"

Built = TypeVar("Built", bound=StateStore)


@dataclass(slots=True)
class BuildContext:
    """What a store is built with: the engines, the directory of its files, and the serdes of who gave none."""

    engines: Engines
    directory: Path | None = None
    default_key_serde: Serde[Any] | None = None
    default_value_serde: Serde[Any] | None = None
    changelog_topic: str = ""
    by_type: Mapping[str, Engines] = field(default_factory=dict)
    """Engines by the names a builder may ask for: ``memory``, ``sqlite``, ``rocksdb``."""


@dataclass(slots=True, kw_only=True)
class StoreBuilder:
    """A store to be. ``kind`` is one of the ``KIND_…`` words; times in ms."""

    name: str
    kind: str
    key_serde: Serde[Any] | None = None
    value_serde: Serde[Any] | None = None
    logging_enabled: bool = True
    caching_enabled: bool = False
    topic_config: dict[str, str] = field(default_factory=dict)
    """Configs of the changelog topic which the user wants other than Kafka Streams has them."""
    retention_ms: int | None = None
    history_retention_ms: int | None = None
    """Of versioned stores: how long a version that was replaced is kept."""
    segment_interval_ms: int | None = None
    """Of versioned stores: how often what is too old is deleted."""
    window_size: int | None = None
    retain_duplicates: bool = False
    emits_on_close: bool = False
    """Whether a windowed table's windows go on once, when they are closed."""
    engine: str | None = None
    """``memory``, ``sqlite`` or ``rocksdb``; None is what the application's config says."""
    make: Callable[[StoreBuilder, BuildContext], StateStore] | None = None
    """How a store of a kind of its own is built (join buffers, suppression); None for the kinds above."""

    @property
    def windowed(self) -> bool:
        """Whether the store forgets by time, so that its changelog is compacted and deleted."""
        return self.retention_ms is not None

    @property
    def versioned(self) -> bool:
        """Whether the store keeps versions of its values."""
        return self.kind == KIND_VERSIONED_KEY_VALUE

    def changelog_config(self, additional_retention_ms: int = DAY_MS) -> dict[str, str]:
        """The configs of the changelog topic.

        ``additional_retention_ms`` is the application's ``windowstore.changelog.additional.retention.ms``.
        """
        config = dict(CREATE_TIME)
        if self.retention_ms is None:
            config["cleanup.policy"] = "compact"
            if self.history_retention_ms is not None:
                # A day more than the history, always (``VersionedChangelogTopicConfig``).
                config["min.compaction.lag.ms"] = str(self.history_retention_ms + DAY_MS)
        else:
            config["cleanup.policy"] = "compact,delete"
            config["retention.ms"] = str(self.retention_ms + additional_retention_ms)
        config.update(self.topic_config)
        return config

    def build(self, context: BuildContext) -> StateStore:
        """The store, empty or as its engine's files have it."""
        if self.make is not None:
            return self.make(self, context)
        engines = self.engines(context)
        key, value = self.serdes(context)
        logged, name, directory = self.logging_enabled, self.name, context.directory
        if self.kind == KIND_KEY_VALUE:
            return KeyValueStore(name, engines.key_value(name, directory), key, value, logged=logged)
        if self.kind == KIND_TIMESTAMPED_KEY_VALUE:
            return TimestampedKeyValueStore(name, engines.key_value(name, directory), key, value, logged=logged)
        if self.kind == KIND_VERSIONED_KEY_VALUE:
            if self.history_retention_ms is None:
                raise TopologyError(f"store {name}: a {self.kind} store needs a history retention")
            return VersionedKeyValueStore(
                name,
                engines.window(name, directory),
                key,
                value,
                logged=logged,
                history_retention_ms=self.history_retention_ms,
                segment_interval_ms=self.segment_interval_ms or default_segment_interval(self.history_retention_ms),
            )
        if self.retention_ms is None:
            raise TopologyError(f"store {name}: a {self.kind} store needs a retention")
        if self.kind == KIND_SESSION:
            engine = engines.session(name, directory)
            return SessionStore(name, engine, key, value, logged=logged, retention_ms=self.retention_ms)
        made = WindowStore if self.kind == KIND_WINDOW else TimestampedWindowStore
        return made(
            name,
            engines.window(name, directory),
            key,
            value,
            logged=logged,
            retention_ms=self.retention_ms,
            window_size=self.window_size or 0,
            retain_duplicates=self.retain_duplicates,
            emits_on_close=self.emits_on_close,
        )

    def engines(self, context: BuildContext) -> Engines:
        """The engines the store is made in: those that the builder names, or else the application's."""
        if self.engine is None:
            return context.engines
        found = MemoryEngines() if self.engine == "memory" else context.by_type.get(self.engine)
        if found is None:
            known = ", ".join(sorted({"memory", *context.by_type}))
            raise TopologyError(f"store {self.name}: there is no engine {self.engine!r}, only {known}")
        return found

    def serdes(self, context: BuildContext) -> tuple[Serde[Any], Serde[Any]]:
        """The serdes of the store, for its changelog topic; the config's where the builder has none."""
        key = self.key_serde or context.default_key_serde
        value = self.value_serde or context.default_value_serde
        if key is None or value is None:
            which = "key" if key is None else "value"
            raise SerdeMissingError(
                f"store {self.name}: no {which} serde; give one (Materialized, Grouped, Consumed…) "
                f"or set default.{which}.serde"
            )
        topic = context.changelog_topic
        return key.for_topic(topic, is_key=True), value.for_topic(topic, is_key=False)

    def with_logging_disabled(self) -> StoreBuilder:
        """No changelog: what the store holds is lost with its engine."""
        self.logging_enabled = False
        return self

    def with_logging(self, config: Mapping[str, str] | None = None) -> StoreBuilder:
        """A changelog, with these configs of its topic."""
        self.logging_enabled = True
        self.topic_config = dict(config or {})
        return self

    def with_caching(self) -> StoreBuilder:
        """Updates of a key may be merged until the next commit (``statestore.cache.max.bytes``)."""
        self.caching_enabled = True
        return self


class Stores:
    """Builders of stores for processors (``org.apache.kafka.streams.state.Stores``)."""

    @staticmethod
    def key_value(
        name: str, key_serde: Serde[Any] | None = None, value_serde: Serde[Any] | None = None, engine: str | None = None
    ) -> StoreBuilder:
        """A key-value store."""
        return StoreBuilder(name=name, kind=KIND_KEY_VALUE, key_serde=key_serde, value_serde=value_serde, engine=engine)

    @staticmethod
    def lru_map(
        name: str,
        max_cache_size: int,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
    ) -> StoreBuilder:
        """A key-value store in memory of ``max_cache_size`` keys: the one that was used longest ago goes."""
        if max_cache_size < 0:
            raise TopologyError(f"store {name}: maxCacheSize cannot be negative")

        def make(builder: StoreBuilder, context: BuildContext) -> StateStore:
            key, value = builder.serdes(context)
            return LruKeyValueStore(name, key, value, logged=builder.logging_enabled, max_entries=max_cache_size)

        return StoreBuilder(name=name, kind=KIND_KEY_VALUE, key_serde=key_serde, value_serde=value_serde, make=make)

    @staticmethod
    def timestamped_key_value(
        name: str, key_serde: Serde[Any] | None = None, value_serde: Serde[Any] | None = None, engine: str | None = None
    ) -> StoreBuilder:
        """A key-value store of values with their times."""
        return StoreBuilder(
            name=name, kind=KIND_TIMESTAMPED_KEY_VALUE, key_serde=key_serde, value_serde=value_serde, engine=engine
        )

    @staticmethod
    def persistent_versioned_key_value_store(
        name: str,
        history_retention_ms: int,
        segment_interval_ms: int | None = None,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        engine: str | None = None,
    ) -> StoreBuilder:
        """A store of versions: what a value replaced is kept for ``history_retention_ms``.

        ``segment_interval_ms`` is how often what is too old is deleted. For a table, ``Materialized.of`` takes it.
        ``engine="memory"`` is ours: Kafka has them in RocksDB only.
        """
        if history_retention_ms < 0:
            raise TopologyError(f"store {name}: historyRetention cannot be negative")
        if segment_interval_ms is not None and segment_interval_ms < 1:
            raise TopologyError(f"store {name}: segmentInterval cannot be zero or negative")
        return StoreBuilder(
            name=name,
            kind=KIND_VERSIONED_KEY_VALUE,
            key_serde=key_serde,
            value_serde=value_serde,
            history_retention_ms=history_retention_ms,
            segment_interval_ms=segment_interval_ms,
            engine=engine,
        )

    @staticmethod
    def window(
        name: str,
        retention_ms: int,
        window_size: int,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        *,
        retain_duplicates: bool = False,
        timestamped: bool = False,
        engine: str | None = None,
    ) -> StoreBuilder:
        """A window store that keeps windows for ``retention_ms``."""
        if retention_ms < window_size:
            raise TopologyError(
                f"store {name}: the retention ({retention_ms} ms) is less than the size of a window ({window_size} ms)"
            )
        return StoreBuilder(
            name=name,
            kind=KIND_TIMESTAMPED_WINDOW if timestamped else KIND_WINDOW,
            key_serde=key_serde,
            value_serde=value_serde,
            retention_ms=retention_ms,
            window_size=window_size,
            retain_duplicates=retain_duplicates,
            engine=engine,
        )

    @staticmethod
    def session(
        name: str,
        retention_ms: int,
        key_serde: Serde[Any] | None = None,
        value_serde: Serde[Any] | None = None,
        engine: str | None = None,
    ) -> StoreBuilder:
        """A session store that keeps sessions for ``retention_ms`` after their end."""
        return StoreBuilder(
            name=name,
            kind=KIND_SESSION,
            key_serde=key_serde,
            value_serde=value_serde,
            retention_ms=retention_ms,
            engine=engine,
        )
