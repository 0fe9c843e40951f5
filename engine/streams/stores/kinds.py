"""Engines by the names that configs and builders use (``default.dsl.store``, ``Stores.key_value(…, engine=…)``)."""

from __future__ import annotations

from engine.streams.stores.engines import Engines
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.rocksdb import RocksDbEngines
from engine.streams.stores.sqlite import SqliteEngines

DEFAULT_ENGINE = "sqlite"

_KAFKAS_NAMES = {"in_memory": "memory", "rocksdb": "rocksdb"}
"""What ``default.dsl.store`` says in Kafka Streams, in small letters."""


def engines_by_name() -> dict[str, Engines]:
    """Every kind of engine. RocksDB's library is not imported before a store is made in it."""
    return {"memory": MemoryEngines(), "sqlite": SqliteEngines(), "rocksdb": RocksDbEngines()}


def engines_named(name: str) -> Engines:
    """The engines of a config: ``sqlite``, ``rocksdb``, ``memory``, or Kafka's ``rocksDB`` and ``in_memory``."""
    known = engines_by_name()
    small = name.lower()
    found = known.get(_KAFKAS_NAMES.get(small, small))
    if found is None:
        raise StateStoreError(f"there is no store engine {name!r}; known are {', '.join(sorted(known))}")
    return found
