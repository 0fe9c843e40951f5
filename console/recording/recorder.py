"""Writes the record: pictures, events, commands and documents as they come, in a thread of its own.

Whoever hands something in goes on at once. A picture is written when the state of the cluster changed, else once in
``interval_ms``: what stands between two of them are counters. What cannot be written (a full disk) is told, left out,
and tried again; the console goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from console.recording.codec import encoder, schema_of
from console.recording.frames import FrameWriter, Shapes, packed
from console.recording.store import (
    RecordError,
    RecordTaken,
    is_damage,
    open_to_write,
    put_meta,
    read_meta,
    set_aside,
    used_bytes,
)
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot

# So much is read at most to show a moment; of large pictures, which take long to put together, less.
KEY_EVERY_MS = 60_000
_LARGE_BYTES = 16 * 1024
_DIFFERENCES_TO_KEY = 3
_TRIM_EVERY_S = 30.0
_RETRY_S = 15.0
# What waits for the disk at most; older pictures are left out then.
_MOST_WAITING = 100
_HOUR_MS = 3_600_000
_MIB = 1 << 20
# So many pages are given back to the file system at once, when more than twice as many are free.
_PAGES_BACK = 500


class Limits(NamedTuple):
    """What a record may become: the oldest goes first. A picture is written every ``interval_ms``, and whenever the
    state changed."""

    hours: float = 24.0
    mebibytes: float = 256.0
    interval_ms: int = 1_000


class Command(NamedTuple):
    """What was done in a console."""

    number: int
    at_ms: int
    what: str
    command: str
    outcome: str
    failed: bool


class Recorder:
    """``start()`` it, hand things in from the loop's thread, ``close()`` it."""

    def __init__(
        self,
        path: str,
        limits: Limits = Limits(),  # noqa: B008  immutable
        *,
        about: dict[str, str] | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        """``about`` is written into the record: whose cluster it is, and how it is watched."""
        self.path = os.path.abspath(path)
        self.limits = limits
        # Why nothing is recorded now; empty while all is well.
        self.problem = ""
        # Something worth telling once: what was found at the start.
        self.remark = ""
        self.dropped = 0
        self.frames_written = 0
        self.bytes_written = 0
        self._about = dict(about or {})
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._session = self._now_ms()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._filled = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._lock: Any = None
        self._connection: sqlite3.Connection | None = None
        self._writer = FrameWriter()
        self._shapes = Shapes()
        self._key_at_ms: int | None = None
        self._key_bytes = 0
        self._since_key = 0
        self._written_at_ms = 0
        self._trimmed_at = 0.0
        self._cluster_id = ""
        self._documents: dict[tuple[str, str], bytes] = {}
        self._retry_at = 0.0

    # -- what its owner calls -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the file and begin. Raises: RecordError: it cannot be written, or another console writes it."""
        self._take_lock()
        try:
            try:
                open_to_write(self.path).close()
            except RecordError as error:
                if not is_damage(error.__cause__):
                    raise
                self.remark = f"the record was damaged: it is {set_aside(self.path)} now, a new one begins"
                open_to_write(self.path).close()
        except BaseException:
            self._release_lock()
            raise
        self._thread = threading.Thread(target=self._run, name="kconsole-recorder", daemon=True)
        self._thread.start()

    def _take_lock(self) -> None:
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._lock = open(f"{self.path}.lock", "a")  # noqa: SIM115  held as long as it is recorded
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release_lock()
            raise RecordTaken(f"another console records into {self.path} already") from None
        except OSError as error:
            raise RecordError(f"cannot record into {self.path}: {error.strerror}") from error

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def picture(self, snapshot: ClusterSnapshot) -> None:
        """A picture that the screens were given."""
        self._put("picture", snapshot)

    def events(self, events: Sequence[ClusterEvent]) -> None:
        """What happened; what was recorded already is left out."""
        if events:
            self._put("events", tuple(events))

    def command(self, command: Command) -> None:
        """What was done here, once more when its outcome is known."""
        self._put("command", command)

    def document(self, kind: str, name: str, value: Any, of: Any) -> None:
        """An answer of type ``of``; kept if it is another than the last one of that kind and name."""
        self._put("document", (kind, name, value, of, self._now_ms()))

    def about(self, **facts: str) -> None:
        """What is known of the cluster only now."""
        self._put("about", facts)

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return when all that was handed in is written (or was refused by the disk)."""
        done = threading.Event()
        self._put("flush", done)
        done.wait(timeout_s)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with self._filled:
            self._closing = True
            self._filled.notify()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None
        self._release_lock()

    def _put(self, kind: str, value: Any) -> None:
        with self._filled:
            if kind == "picture" and len(self._waiting) >= _MOST_WAITING:
                self.dropped += 1
                return
            self._waiting.append((kind, value))
            self._filled.notify()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._filled:
                while not self._waiting and not self._closing:
                    self._filled.wait()
                jobs = list(self._waiting)
                self._waiting.clear()
                ending = self._closing
            self._write_all(jobs)
            if ending:
                break
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    def _write_all(self, jobs: Iterable[tuple[str, Any]]) -> None:
        """One transaction; all of it is lost if the disk refuses."""
        jobs = list(jobs)
        real = [job for job in jobs if job[0] != "flush"]
        if real and time.monotonic() >= self._retry_at:
            try:
                self._write(real)
                self.problem = ""
            except (sqlite3.Error, OSError, RecordError) as error:
                self._gave_up(error)
        for kind, value in jobs:
            if kind == "flush":
                value.set()

    def _gave_up(self, error: Exception) -> None:
        full = "disk is full" in str(error) or "No space left" in str(error)
        said = f"no space left for {self.path}" if full else str(error)
        self.problem = f"nothing is recorded: {said}"
        self._retry_at = time.monotonic() + _RETRY_S
        # The next picture stands alone: what the file has of the last one is not known.
        self._key_at_ms = None
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _write(self, jobs: Sequence[tuple[str, Any]]) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = open_to_write(self.path)
            connection.execute("BEGIN IMMEDIATE")
            self._begin(connection)
            connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, value in jobs:
                self._write_one(connection, kind, value)
            self._maybe_trim(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self._maybe_give_back(connection)

    def _write_one(self, connection: sqlite3.Connection, kind: str, value: Any) -> None:
        try:
            getattr(self, f"_write_{kind}")(connection, value)
        except (sqlite3.Error, OSError, RecordError):
            raise
        except Exception as error:
            # A value that does not encode must not end the recording of all others.
            self.remark = f"one {kind} is not in the record: {error!r}"
            self._key_at_ms = None

    def _begin(self, connection: sqlite3.Connection) -> None:
        known = read_meta(connection)
        self._cluster_id = known.get("cluster_id", "")
        if "made_at_ms" not in known:
            put_meta(connection, made_at_ms=self._now_ms())
        put_meta(connection, interval_ms=self.limits.interval_ms, **self._about)

    def _write_picture(self, connection: sqlite3.Connection, snapshot: ClusterSnapshot) -> None:
        if not snapshot.brokers and not snapshot.topics:
            return
        changed = self._shapes.changed(snapshot)
        since = snapshot.at_ms - self._written_at_ms
        whole = (
            self._key_at_ms is None
            or not 0 <= snapshot.at_ms - self._key_at_ms < KEY_EVERY_MS
            or self._since_key > _DIFFERENCES_TO_KEY * max(_LARGE_BYTES, self._key_bytes)
        )
        # Samples come in steps of their own: one that is nearly due counts.
        if not (changed or self._key_at_ms is None or not 0 <= since < self.limits.interval_ms * 0.9):
            return
        self._check_cluster(connection, snapshot.cluster_id)
        data = self._writer.key_frame(snapshot) if whole else self._writer.difference(snapshot)
        connection.execute(
            "INSERT INTO frames (at_ms, is_key, data) VALUES (?, ?, ?)", (snapshot.at_ms, int(whole), data)
        )
        if whole:
            self._key_at_ms, self._key_bytes, self._since_key = snapshot.at_ms, len(data), 0
        else:
            self._since_key += len(data)
        self._written_at_ms = snapshot.at_ms
        self.frames_written += 1
        self.bytes_written += len(data)

    def _check_cluster(self, connection: sqlite3.Connection, cluster_id: str) -> None:
        if not cluster_id or cluster_id == self._cluster_id:
            return
        if self._cluster_id:
            raise RecordError(f"{self.path} is the record of cluster {self._cluster_id}, this is {cluster_id}")
        put_meta(connection, cluster_id=cluster_id)
        self._cluster_id = cluster_id

    def _write_events(self, connection: sqlite3.Connection, events: Sequence[ClusterEvent]) -> None:
        connection.executemany(
            "INSERT OR IGNORE INTO events (at_ms, source, sequence, kind, data) VALUES (?, ?, ?, ?, ?)",
            [
                (each.at_ms, each.source, each.sequence, each.kind, _json(each.subject, each.reason, each.detail))
                for each in events
            ],
        )

    def _write_about(self, connection: sqlite3.Connection, facts: dict[str, str]) -> None:
        put_meta(connection, **facts)

    def _write_command(self, connection: sqlite3.Connection, command: Command) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO commands (session, number, at_ms, data) VALUES (?, ?, ?, ?)",
            (self._session, command.number, command.at_ms, _json(*command[2:])),
        )

    def _write_document(self, connection: sqlite3.Connection, job: tuple[str, str, Any, Any, int]) -> None:
        kind, name, value, of, at_ms = job
        make = encoder(of)
        text = {"s": schema_of(of), "v": value if make is None else make(value)}
        digest = hashlib.blake2b(_json(text["v"]).encode(), digest_size=16).digest()
        if self._documents.get((kind, name)) == digest:
            return
        connection.execute(
            "INSERT INTO documents (at_ms, kind, name, data) VALUES (?, ?, ?, ?)", (at_ms, kind, name, packed(text))
        )
        self._documents[kind, name] = digest

    # -- its bounds -----------------------------------------------------------------------------------------------

    def _maybe_trim(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() - self._trimmed_at < _TRIM_EVERY_S and self._trimmed_at:
            return
        self._trimmed_at = time.monotonic()
        trim(connection, self._now_ms(), self.limits)

    def _maybe_give_back(self, connection: sqlite3.Connection) -> None:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free > 2 * _PAGES_BACK:
            # execute() takes one step of it, which is one page.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_BACK})")


def trim(connection: sqlite3.Connection, now_ms: int, limits: Limits) -> None:
    """Delete what is older or more than the limits allow, whole stretches between key frames at a time."""
    _forget_before(connection, int(now_ms - limits.hours * _HOUR_MS))
    while used_bytes(connection) > limits.mebibytes * _MIB:
        (number,) = connection.execute("SELECT count(*) FROM frames WHERE is_key").fetchone()
        if number < 2:
            return
        # A tenth at a time, so that it is not done again with every second picture; the last stretch stays.
        key_id, at_ms = connection.execute(
            "SELECT id, at_ms FROM frames WHERE is_key ORDER BY id LIMIT 1 OFFSET ?", (max(1, number // 10),)
        ).fetchone()
        _forget_before(connection, at_ms, key_id)


def _forget_before(connection: sqlite3.Connection, at_ms: int, key_id: int | None = None) -> None:
    if key_id is None:
        found = connection.execute("SELECT max(id) FROM frames WHERE is_key AND at_ms <= ?", (at_ms,)).fetchone()
        key_id = found[0]
    if key_id is not None:
        connection.execute("DELETE FROM frames WHERE id < ?", (key_id,))
    connection.execute("DELETE FROM events WHERE at_ms < ?", (at_ms,))
    connection.execute("DELETE FROM commands WHERE at_ms < ?", (at_ms,))
    # The last document of each name before is what held then.
    connection.execute(
        "DELETE FROM documents WHERE at_ms < ? AND EXISTS (SELECT 1 FROM documents AS later WHERE later.kind = "
        "documents.kind AND later.name = documents.name AND later.id > documents.id AND later.at_ms <= ?)",
        (at_ms, at_ms),
    )


def _json(*values: Any) -> str:
    return json.dumps(values, separators=(",", ":"), default=str)
