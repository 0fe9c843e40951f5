"""``Worker.store(name)``: a store of this worker to be read by other threads (``KafkaStreams.store``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

from engine.streams.errors import InvalidStateStoreError
from engine.streams.queries.catalogue import StoreInfo
from engine.streams.queries.errors import NotReady
from engine.streams.runtime.local_stores import LocalStores
from engine.streams.stores.builders import KIND_VERSIONED_KEY_VALUE

T = TypeVar("T")


class ReadOnlyStore:
    """The partitions of one store that this worker has, read only; others are with other workers.

    Methods are those of ``ReadOnlyKeyValueStore``, ``ReadOnlyWindowStore`` and ``ReadOnlySessionStore``; each gives
    what the store has at one moment. All raise InvalidStateStoreError while the store is restored, is elsewhere, or
    is of another kind.
    """

    def __init__(self, local: LocalStores, info: StoreInfo) -> None:
        self._local = local
        self._info = info

    def _each(self, read: Callable[[Any], T], method: str) -> list[T]:
        def work() -> list[T]:
            stores = self._local.stores_of(self._info)
            if not all(hasattr(each, method) for each in stores):
                raise InvalidStateStoreError(f"store {self._info.name} is a {self._info.kind} store: no {method}()")
            return [read(each) for each in stores]

        try:
            return self._local.in_gap(work)
        except NotReady as error:
            raise InvalidStateStoreError(f"store {self._info.name}: {error}") from error

    def _all(self, method: str, *arguments: Any) -> Iterator[Any]:
        return chain.from_iterable(self._each(lambda store: list(getattr(store, method)(*arguments)), method))

    def get(self, key: Any, as_of: int | None = None) -> Any:
        """The value of a key, None when there is none here (of timestamped stores with its time).

        Of versioned stores, a VersionedRecord: the newest, or the one that held at ``as_of`` (ms).
        """
        if as_of is not None and self._info.kind != KIND_VERSIONED_KEY_VALUE:
            raise InvalidStateStoreError(f"store {self._info.name} is a {self._info.kind} store: it keeps no versions")
        given = (key,) if as_of is None else (key, as_of)
        found = self._each(lambda store: store.get(*given), "prefix_scan")
        return next((each for each in found if each is not None), None)

    def range(self, low: Any = None, high: Any = None) -> Iterator[Any]:
        """``(key, value)`` from ``low`` to ``high``, both inclusive, in order within each partition."""
        return self._all("range", low, high)

    def all(self) -> Iterator[Any]:
        """Every ``(key, value)``, or ``(windowed key, value)``."""
        return self._all("all")

    def prefix_scan(self, prefix: Any, serde: Any) -> Iterator[Any]:
        """``(key, value)`` of keys that begin with ``prefix`` as ``serde`` writes it."""
        return self._all("prefix_scan", prefix, serde)

    def approximate_num_entries(self) -> int:
        """How many items there are here, about."""
        return sum(self._each(lambda store: store.approximate_num_entries(), "approximate_num_entries"))

    def fetch(self, key: Any, *times: int) -> Iterator[Any]:
        """Windows of a key that start between two times (ms), ``(start, value)``; without times, its sessions."""
        return self._all("fetch", key, *times)

    def fetch_all(self, earliest: int, latest: int) -> Iterator[Any]:
        """``(windowed key, value)`` of all keys whose windows start between two times (ms)."""
        return self._all("fetch_all", earliest, latest)

    def find_sessions(self, key: Any, earliest_end: int, latest_start: int) -> Iterator[Any]:
        """Sessions of a key that end at ``earliest_end`` or later and start at ``latest_start`` or earlier (ms)."""
        return self._all("find_sessions", key, earliest_end, latest_start)
