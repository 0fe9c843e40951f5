"""The file of a record: SQLite, so that it survives the console's death at any moment and can be read meanwhile.

    meta        what it is: format, cluster, source, interval
    frames      pictures, see :mod:`console.recording.frames`; ``is_key`` says which stand alone
    events      what happened, each once, as JSON
    commands    what was done in a console, as the Acts screen shows it
    documents   answers that are no part of pictures (configs, transactions, …), and of a bundle logs and files

While it is written it is in WAL mode: what was committed stays, also after SIGKILL. A bundle is a file of the same
format that nobody writes any more.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

FORMAT = 1
# "kcon", in the header of the file.
APPLICATION_ID = 0x6B636F6E
_BUSY_S = 5.0
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE frames (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, is_key INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX frames_at ON frames (at_ms);
CREATE INDEX frames_key ON frames (id) WHERE is_key;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, source TEXT NOT NULL, sequence INTEGER NOT NULL,
  kind TEXT NOT NULL, data TEXT NOT NULL, UNIQUE (at_ms, source, sequence));
CREATE TABLE commands (session INTEGER, number INTEGER, at_ms INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (session, number));
CREATE TABLE documents (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX documents_of ON documents (kind, name, at_ms);
"""


class RecordError(Exception):
    """The record cannot be read or written; the message names the file and what to do."""


class RecordTaken(RecordError):
    """Another console writes it."""


class NoRecord(RecordError):
    """There is none (yet)."""


@contextmanager
def plain_errors(path: str) -> Iterator[None]:
    """What SQLite says, as a sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise RecordError(_words(path, error)) from error
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error


def _words(path: str, error: sqlite3.Error) -> str:
    said = str(error)
    if "disk is full" in said:
        return f"{path}: no space left on the device"
    if is_damage(error):
        return f"{path} is damaged or no record of kconsole: {said}"
    return f"{path}: {said}"


def is_damage(error: BaseException | None) -> bool:
    """Whether the file itself is wrong, not what surrounds it."""
    said = str(error)
    return isinstance(error, sqlite3.DatabaseError) and (
        "not a database" in said or "malformed" in said or "no such table" in said or "no such column" in said
    )


def open_to_write(path: str) -> sqlite3.Connection:
    """Open a record to go on with, or make one. For the thread that calls, alone.

    Raises:
        RecordError: it cannot be made, is of a newer kconsole, or is something else.
    """
    with plain_errors(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        exists = os.path.exists(path) and os.path.getsize(path) > 0
        if not exists:
            # Events, commands and configs may say more than everybody should read.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        with plain_errors(path):
            if not exists:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("BEGIN IMMEDIATE")
                # executescript() would commit first.
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")
        check_format(connection, path)
        with plain_errors(path):
            connection.execute("PRAGMA journal_mode = WAL")
            # A commit survives the death of the process; a power cut may take the last ones, no more.
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: str) -> sqlite3.Connection:
    """Open a record that others may be writing. Threads may share it one at a time.

    Raises:
        NoRecord: there is no such file.
        RecordError: it is damaged, of a newer kconsole, or something else.
    """
    if not os.path.exists(path):
        raise NoRecord(f"there is no record {path}")
    if os.path.isdir(path):
        raise RecordError(f"{path} is a directory: name the record in it")
    with plain_errors(path):
        connection = _connect_to_read(path)
        try:
            check_format(connection, path)
            connection.execute("SELECT count(*) FROM meta").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_to_read(path: str) -> sqlite3.Connection:
    place = f"file:{quote(os.path.abspath(path))}"

    def connect(mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{place}?{mode}", uri=True, timeout=_BUSY_S, check_same_thread=False, isolation_level=None
        )

    connection = connect("mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # In a directory that cannot be written to there can be no index of the WAL; nobody writes there either.
        connection = connect("mode=ro&immutable=1")
    return connection


def check_format(connection: sqlite3.Connection, path: str) -> None:
    """Raises: RecordError: it is no record, or one of a newer kconsole."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise RecordError(
            f"{path} is no record of kconsole: {error}; `kconsole bundle` and the console's recorder make them"
        ) from error
    if application != APPLICATION_ID:
        raise RecordError(f"{path} is a database of something else, not a record of kconsole")
    if version != FORMAT:
        raise RecordError(f"{path} has format {version}, this kconsole reads {FORMAT}: use the kconsole that made it")


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the record takes, without pages that are free to be used again."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def put_meta(connection: sqlite3.Connection, **values: object) -> None:
    """Set facts of the record."""
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, str(value)) for name, value in values.items()],
    )


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """All of them."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())


def set_aside(path: str) -> str:
    """Move a damaged record away so that a new one can begin; returns where it is now."""
    aside = f"{path}.damaged"
    os.replace(path, aside)
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + end)
    return aside
