"""What every state store has in common: a name, an engine, a changelog that is written and restored from.

A store that is logged appends every change to :attr:`StateStore.changes`; the task takes them after each batch and
gives them to its collector. A restored batch goes past the changelog, straight into the engine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from engine.streams.errors import InvalidStateStoreError
from engine.streams.records import NO_TIMESTAMP, ChangelogRecord
from engine.streams.stores.engines import Engine, Noting


class StoreContext(Protocol):
    """What a store asks of the task it belongs to."""

    def timestamp(self) -> int:
        """The time (ms) of the record in work, -1 outside of one."""

    def dropped(self, where: str, count: int = 1) -> None:
        """Count records that were dropped (metric ``dropped-records-total``)."""


class _NoContext:
    def timestamp(self) -> int:
        return NO_TIMESTAMP

    def dropped(self, where: str, count: int = 1) -> None:
        return None


class StateStore:
    """A store of one task. ``kind`` is ``key-value``, ``window`` or ``session``, for those who show it."""

    kind = "key-value"

    def __init__(self, name: str, engine: Engine, *, logged: bool) -> None:
        self.name = name
        self.logged = logged
        self.changes: list[ChangelogRecord] = []
        """Changes since the task last took them, for the changelog."""
        self.context: StoreContext = _NoContext()
        self._engine = engine

    def init(self, context: StoreContext) -> None:
        """Join a task."""
        self.context = context

    @property
    def persistent(self) -> bool:
        """Whether the store's bytes outlive the process."""
        return self._engine.persistent

    def take_changes(self) -> list[ChangelogRecord]:
        """What must be written to the changelog, in order; the store forgets it."""
        changes = self.changes
        self.changes = []
        return changes

    def time_to_keep(self) -> int | None:
        """The store's own stream time where it must survive a restart: what is late is late after it, too."""
        return None

    def resume_time(self, time: int) -> None:
        """The stream time (ms) that the store had before a restart; called after :meth:`init`."""

    def restore(self, records: Iterable[ChangelogRecord]) -> None:
        """Put what a changelog (or a source topic that serves as one) says, in its order."""
        raise NotImplementedError

    def flush(self) -> None:
        """Before a commit: write to the changelog what the store still holds back."""

    def commit(self, changelog_offset: int | None) -> None:
        """Make the store durable as of ``changelog_offset``, the next offset of its changelog to read."""
        self._engine.commit(changelog_offset)

    def changelog_offset(self) -> int | None:
        """Where restoring goes on from; None is the beginning of the changelog."""
        return self._engine.changelog_offset()

    def wipe(self) -> None:
        """Forget everything: the changelog is read from its beginning again."""
        self.changes = []
        self._engine.wipe()

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


class StoreNote:
    """The numbers that a store keeps in the engine's note: its time first, so that it goes on at it when it is opened
    again."""

    def __init__(self, engine: Noting, layout: str) -> None:
        """``layout`` is that of :mod:`struct`."""
        self._engine = engine
        self._layout = struct.Struct(layout)
        self._kept = engine.note()

    def read(self) -> tuple[int, ...] | None:
        """What was kept last, None where nothing was."""
        return None if self._kept is None else self._layout.unpack(self._kept)

    def keep(self, *numbers: int) -> None:
        """Have them in the engine's next commit."""
        note = self._layout.pack(*numbers)
        if note != self._kept:
            self._kept = note
            self._engine.set_note(note)

    def forget(self) -> None:
        """The engine was wiped."""
        self._kept = None


Writer = Callable[[Any], bytes]
Reader = Callable[[bytes], Any]


def key_bytes(store: StateStore, write: Writer, key: Any) -> bytes:
    """The bytes of a key, with an error that names the store."""
    if key is None:
        raise InvalidStateStoreError(f"store {store.name}: a key cannot be None")
    return write(key)
