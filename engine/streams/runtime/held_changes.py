"""Changes of stores that wait for the commit, so that a changelog gets each key once and not each of its updates.

What is written in the end is what compaction would leave of the changelog: the last record of each key, in the order of
these. Kafka Streams' record cache does the same to changelogs (``statestore.cache.max.bytes``), at the price that
standbys learn of a change with the next commit. A worker that dies before it has written nothing of what it did.

Changelogs of versioned stores have every change: what a key was before is what such a store is for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Any, Final

from engine.streams.records import ChangelogRecord

LIMIT: Final = 50_000
"""Keys that may wait in all: as many writes as sqlite stores gather before they are given to the file."""


class HeldChanges:
    """Changes by changelog partition. Not for several threads."""

    def __init__(self, limit: int = LIMIT, versioned: Collection[str] = ()) -> None:
        """``versioned`` are changelog topics of which each change is kept."""
        self._limit = limit
        self._versioned = versioned
        self._numbers = count()
        self._held: dict[tuple[str, int], dict[Any, ChangelogRecord]] = {}

    def add(self, topic: str, partition: int, records: list[ChangelogRecord]) -> bool:
        """Take changes, in order; whether there are so many now that they must be written."""
        held = self._held.setdefault((topic, partition), {})
        if topic in self._versioned:
            held.update(zip(self._numbers, records, strict=False))
        else:
            forget = held.pop
            for record in records:
                key = record[0]
                forget(key, None)
                held[key] = record
        return sum(map(len, self._held.values())) >= self._limit

    def take(self) -> Iterator[tuple[str, int, list[ChangelogRecord]]]:
        """What is to be written, by partition; it is held no more."""
        held, self._held = self._held, {}
        for (topic, partition), changes in held.items():
            yield topic, partition, list(changes.values())

    def clear(self) -> None:
        """Forget all: the tasks that made these changes begin anew."""
        self._held.clear()
