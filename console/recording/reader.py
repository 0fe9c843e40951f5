"""Reads a record at any moment of it, also while another thread or console writes it."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from console.recording.codec import CodecError, Decoder
from console.recording.frames import FrameError, FrameReader, unpacked
from console.recording.recorder import Command
from console.recording.store import RecordError, open_to_read, plain_errors, read_meta
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot

# Between two pictures there is a gap if nothing was written for so long: the console was closed, or the disk full.
GAP_MS = 10_000


class Range(NamedTuple):
    """From the first picture to the last thing that is known, in wall-clock milliseconds."""

    first_ms: int
    last_ms: int


class Picture(NamedTuple):
    """A picture, and when it was recorded."""

    snapshot: ClusterSnapshot
    at_ms: int


class Mark(NamedTuple):
    """Events of one kind in one cell of a bar."""

    cell: int
    kind: str
    number: int


class Record:
    """An open record. Calls may come from several threads; they wait for each other."""

    def __init__(self, path: str) -> None:
        """Raises: RecordError: it is not there, damaged, or something else."""
        self.path = path
        self._connection = open_to_read(path)
        self._lock = threading.Lock()
        # Who puts a picture together goes through frames in their order, alone.
        self._putting_together = threading.RLock()
        self._frames = FrameReader()
        # The frame that the picture of ``_frames`` is of, and the key frame before it.
        self._at: tuple[int, int] | None = None
        # The last events that were asked for: of which state of the file, until when.
        self._known_events: tuple[Any, int, list[ClusterEvent]] = (None, 0, [])
        with plain_errors(path):
            self.meta = read_meta(self._connection)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _one(self, query: str, *values: Any) -> Any:
        with self._lock, plain_errors(self.path):
            return self._connection.execute(query, values).fetchone()

    def _all(self, query: str, *values: Any) -> list[Any]:
        with self._lock, plain_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    # -- pictures -------------------------------------------------------------------------------------------------

    def range(self) -> Range | None:
        """``None`` while there is no picture."""
        (first,) = self._one("SELECT at_ms FROM frames WHERE is_key ORDER BY id LIMIT 1") or (None,)
        if first is None:
            return None
        (last,) = self._one("SELECT max(at_ms) FROM frames")
        (event,) = self._one("SELECT max(at_ms) FROM events")
        until = int(self.meta.get("until_ms", 0))
        return Range(first, max(last, until) if event is None else max(last, until, event))

    def picture_at(self, at_ms: int) -> Picture | None:
        """The last picture up to a moment. Raises: RecordError: the record is damaged there."""
        found = self._one("SELECT max(id) FROM frames WHERE at_ms <= ?", at_ms)
        if found[0] is None:
            return None
        key = self._one("SELECT max(id) FROM frames WHERE is_key AND id <= ?", found[0])[0]
        if key is None:
            return None
        return Picture(self._picture_of(key, found[0]), self._one("SELECT at_ms FROM frames WHERE id = ?", found[0])[0])

    def _picture_of(self, key: int, frame_id: int) -> ClusterSnapshot:
        with self._putting_together:
            self._go_to(key, frame_id)
            return self._snapshot()

    def _go_to(self, key: int, wanted: int) -> None:
        begin = key
        if self._at is not None and self._at[0] == key and self._at[1] <= wanted:
            begin = self._at[1] + 1
        for frame_id, data in self._all(
            "SELECT id, data FROM frames WHERE id BETWEEN ? AND ? ORDER BY id", begin, wanted
        ):
            self._at = None
            self._take(frame_id, data)
            self._at = (key, frame_id)

    def _take(self, frame_id: int, data: bytes) -> None:
        try:
            self._frames.take(data)
        except FrameError as error:
            raise RecordError(f"{self.path} is damaged at frame {frame_id}: {error}") from error

    def _snapshot(self) -> ClusterSnapshot:
        try:
            return self._frames.snapshot()
        except FrameError as error:
            raise RecordError(f"{self.path} is damaged: {error}") from error

    def samples(
        self, first_ms: int, last_ms: int, step_ms: int, *, whole_ones: bool = False
    ) -> Iterator[ClusterSnapshot]:
        """Pictures of a stretch, so far apart at least; for what is drawn from several of them. ``whole_ones``: those
        alone that need no others to be read."""
        rows = self._all(
            "SELECT id, at_ms, is_key FROM frames WHERE at_ms BETWEEN ? AND ? AND is_key >= ? ORDER BY id",
            *(first_ms, last_ms, int(whole_ones)),
        )
        if not rows:
            return
        key = self._one("SELECT max(id) FROM frames WHERE is_key AND id <= ?", rows[0][0])[0]
        if key is None:
            return
        told_ms: int | None = None
        for frame_id, at_ms, is_key in rows:
            key = frame_id if is_key else key
            if told_ms is None or at_ms - told_ms >= step_ms:
                told_ms = at_ms
                yield self._picture_of(key, frame_id)

    # -- events ---------------------------------------------------------------------------------------------------

    def events_until(self, at_ms: int, most: int = 5_000) -> list[ClusterEvent]:
        """The last ones up to a moment, in order; at least half of ``most``, if there are so many."""
        (newest,) = self._one("SELECT max(id) FROM events")
        with self._putting_together:
            known_of, until_ms, known = self._known_events
            if known_of == (newest, most) and at_ms >= until_ms:
                # Who goes from event to event has most of them already.
                found = [*known, *self.events_between(until_ms, at_ms)][-most:]
            elif known_of == (newest, most):
                found = known[: bisect_right(known, at_ms, key=lambda each: each.at_ms)]
            if known_of != (newest, most) or (len(known) == most and len(found) < most // 2):
                found = self._events("at_ms <= ? ORDER BY at_ms DESC, id DESC LIMIT ?", at_ms, most)[::-1]
            if len(found) == most or at_ms >= until_ms or known_of != (newest, most):
                self._known_events = ((newest, most), at_ms, found)
            return found

    def events_between(self, first_ms: int, last_ms: int, most: int = 50_000) -> list[ClusterEvent]:
        """Those after the first moment, up to the last."""
        return self._events("at_ms > ? AND at_ms <= ? ORDER BY at_ms, id LIMIT ?", first_ms, last_ms, most)

    def _events(self, where: str, *values: Any) -> list[ClusterEvent]:
        rows = self._all(f"SELECT sequence, at_ms, kind, source, data FROM events WHERE {where}", *values)
        return [_event(self.path, *row) for row in rows]

    def event_after(self, at_ms: int) -> int | None:
        """When the next ones happened."""
        return self._one("SELECT min(at_ms) FROM events WHERE at_ms > ?", at_ms)[0]  # type: ignore[no-any-return]

    def event_before(self, at_ms: int) -> int | None:
        """When the last ones before a moment happened."""
        return self._one("SELECT max(at_ms) FROM events WHERE at_ms < ?", at_ms)[0]  # type: ignore[no-any-return]

    def event_count(self, first_ms: int, last_ms: int) -> int:
        """How many happened from the first moment to the last."""
        return int(self._one("SELECT count(*) FROM events WHERE at_ms BETWEEN ? AND ?", first_ms, last_ms)[0])

    def marks(self, first_ms: int, last_ms: int, cells: int) -> list[Mark]:
        """Where on a bar of so many cells events of which kind are."""
        span = max(1, last_ms - first_ms)
        rows = self._all(
            "SELECT (at_ms - ?) * ? / ? AS cell, kind, count(*) FROM events WHERE at_ms BETWEEN ? AND ? GROUP BY 1, 2",
            *(first_ms, cells - 1, span, first_ms, last_ms),
        )
        return [Mark(*row) for row in rows]

    def gaps(self, first_ms: int, last_ms: int) -> list[tuple[int, int]]:
        """Stretches of which there are no pictures."""
        return self._all(
            "SELECT was, at_ms FROM (SELECT at_ms, lag(at_ms) OVER (ORDER BY id) AS was FROM frames "
            "WHERE at_ms BETWEEN ? AND ?) WHERE at_ms - was > ?",
            *(first_ms, last_ms, GAP_MS),
        )

    # -- the rest -------------------------------------------------------------------------------------------------

    def commands_until(self, at_ms: int) -> list[Command]:
        """What was done here up to a moment, numbered anew."""
        rows = self._all("SELECT at_ms, data FROM commands WHERE at_ms <= ? ORDER BY at_ms, session, number", at_ms)
        return [Command(number, when, *json.loads(data)) for number, (when, data) in enumerate(rows, 1)]

    def document_at(self, kind: str, name: str, at_ms: int, of: Any) -> Any:
        """An answer as it was at a moment; ``None`` if nobody asked before."""
        row = self._one(
            "SELECT data FROM documents WHERE kind = ? AND name = ? AND at_ms <= ? "
            "ORDER BY at_ms DESC, id DESC LIMIT 1",
            *(kind, name, at_ms),
        )
        if row is None:
            return None
        try:
            found = unpacked(row[0])
            return Decoder(found["s"]).decode(of, found["v"])
        except (FrameError, CodecError, KeyError, TypeError) as error:
            raise RecordError(f"{self.path} is damaged: {kind} {name}: {error}") from error

    def names_of(self, *kinds: str) -> list[tuple[str, str]]:
        """Kind and name of the documents of some kinds."""
        marks = ", ".join("?" * len(kinds))
        rows = self._all(f"SELECT DISTINCT kind, name FROM documents WHERE kind IN ({marks}) ORDER BY 1, 2", *kinds)
        return [(kind, name) for kind, name in rows]


def _event(path: str, sequence: int, at_ms: int, kind: str, source: str, data: str) -> ClusterEvent:
    try:
        subject, reason, detail = json.loads(data)
    except ValueError as error:
        raise RecordError(f"{path} is damaged: an event of {at_ms} is no JSON") from error
    return ClusterEvent(sequence, at_ms, kind, subject, reason, source, detail)
