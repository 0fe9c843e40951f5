"""An incident in one file: a stretch of the record with its events, acts and configs, logs and files beside it, without
secrets. It is a record itself (:mod:`console.recording.store`), to be opened read-only anywhere."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import sqlite3
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from console.recording.frames import FrameError, packed, unpacked
from console.recording.redaction import data_without_secrets, without_secrets
from console.recording.store import RecordError, open_to_read, open_to_write, plain_errors, put_meta, read_meta

LOG_TAIL_BYTES = 256 * 1024
_ROWS = 500


class Extras(NamedTuple):
    """What goes along: lines of logs by their names, texts of files by theirs."""

    logs: Mapping[str, list[str]] = {}
    files: Mapping[str, str] = {}


class Bundled(NamedTuple):
    """What is in a bundle."""

    path: str
    first_ms: int
    last_ms: int
    pictures: int
    events: int
    commands: int
    logs: int
    files: int
    bytes: int


def extras_of(data_dir: str) -> Extras:
    """Of an embedded cluster: its file, and of each broker the log's tail and its server.properties."""
    logs: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for name in ("cluster.yaml", "supervisor.log"):
        text = _tail_of(os.path.join(data_dir, name))
        if text is not None:
            files[name] = text
    for directory in sorted(glob.glob(os.path.join(glob.escape(data_dir), "broker-[0-9]*"))):
        broker = os.path.basename(directory).replace("-", " ")
        properties = _tail_of(os.path.join(directory, "server.properties"))
        if properties is not None:
            files[f"{os.path.basename(directory)}/server.properties"] = properties
        for name, kind in (("broker.log", broker), ("broker.log.1", f"{broker} previous")):
            text = _tail_of(os.path.join(directory, name))
            if text is not None:
                logs[kind] = text.splitlines()
    return Extras(logs, files)


def _tail_of(path: str) -> str | None:
    """The end of a file from a whole line on; ``None`` if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            cut = max(0, size - LOG_TAIL_BYTES)
            file.seek(cut)
            data = file.read(LOG_TAIL_BYTES)
    except OSError:
        return None
    return (data[data.find(b"\n") + 1 :] if cut else data).decode(errors="replace")


def write_bundle(source: str, target: str, first_ms: int, last_ms: int, extras: Extras, now_ms: int) -> Bundled:
    """Export what was recorded from the first moment to the last.

    Raises:
        RecordError: the record cannot be read, there is nothing of that time, or the file cannot be written.
    """
    if os.path.exists(target):
        raise RecordError(f"{target} exists already: name another file, or remove it")
    reading = open_to_read(source)
    part = f"{target}.part"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
        writing = open_to_write(part)
        try:
            with plain_errors(part):
                writing.execute("PRAGMA journal_mode = DELETE")
                writing.execute("BEGIN")
                bundled = _copy(reading, writing, source, first_ms, last_ms, extras, now_ms)
                writing.execute("COMMIT")
        finally:
            writing.close()
        size = os.path.getsize(part)
        with plain_errors(target):
            os.replace(part, target)
        return bundled._replace(path=target, bytes=size)
    finally:
        reading.close()
        with contextlib.suppress(OSError):
            os.remove(part)


def _copy(
    reading: sqlite3.Connection,
    writing: sqlite3.Connection,
    source: str,
    first_ms: int,
    last_ms: int,
    extras: Extras,
    now_ms: int,
) -> Bundled:
    with plain_errors(source):
        # One moment of a file that is being written.
        reading.execute("BEGIN")
        key = reading.execute("SELECT max(id) FROM frames WHERE is_key AND at_ms <= ?", (first_ms,)).fetchone()[0]
        if key is None:
            key = reading.execute("SELECT min(id) FROM frames WHERE is_key").fetchone()[0]
        begins = reading.execute("SELECT at_ms FROM frames WHERE id = ? AND at_ms <= ?", (key or 0, last_ms)).fetchone()
    if begins is None:
        raise RecordError(f"{source}: nothing was recorded in that time")
    frames = _rows(
        reading, source, "SELECT id, at_ms, is_key, data FROM frames WHERE id >= ? AND at_ms <= ?", key, last_ms
    )
    pictures = _insert(writing, "INSERT INTO frames (id, at_ms, is_key, data) VALUES (?, ?, ?, ?)", frames)
    events = _insert(
        writing,
        "INSERT INTO events (at_ms, source, sequence, kind, data) VALUES (?, ?, ?, ?, ?)",
        (
            (*about, _clean_json(data))
            for *about, data in _rows(
                reading,
                source,
                "SELECT at_ms, source, sequence, kind, data FROM events WHERE at_ms BETWEEN ? AND ? ORDER BY at_ms, id",
                begins[0],
                last_ms,
            )
        ),
    )
    commands = _insert(
        writing,
        "INSERT INTO commands (session, number, at_ms, data) VALUES (?, ?, ?, ?)",
        (
            (*about, _clean_json(data))
            for *about, data in _rows(
                reading,
                source,
                "SELECT session, number, at_ms, data FROM commands WHERE at_ms BETWEEN ? AND ?",
                begins[0],
                last_ms,
            )
        ),
    )
    _insert(
        writing,
        "INSERT INTO documents (at_ms, kind, name, data) VALUES (?, ?, ?, ?)",
        (
            (*about, _clean_document(source, data))
            for *about, data in _rows(
                reading,
                source,
                "SELECT at_ms, kind, name, data FROM documents WHERE at_ms <= ? AND (at_ms >= ? OR id IN "
                "(SELECT max(id) FROM documents WHERE at_ms < ? GROUP BY kind, name)) ORDER BY at_ms, id",
                last_ms,
                begins[0],
                begins[0],
            )
        ),
    )
    texts = [("log", name, list(map(without_secrets, lines))) for name, lines in extras.logs.items()]
    texts += [("file", name, [without_secrets(text)]) for name, text in extras.files.items()]
    _insert(
        writing,
        "INSERT INTO documents (at_ms, kind, name, data) VALUES (?, ?, ?, ?)",
        ((begins[0], kind, name, packed({"s": {}, "v": lines})) for kind, name, lines in texts),
    )
    with plain_errors(source):
        meta = read_meta(reading)
    put_meta(
        writing,
        **{name: value for name, value in meta.items() if name != "until_ms"},
        bundled_at_ms=now_ms,
        bundled_by=f"kconsole {_version()}",
        until_ms=last_ms,
    )
    return Bundled(
        "", max(first_ms, begins[0]), last_ms, pictures, events, commands, len(extras.logs), len(extras.files), 0
    )


def _rows(reading: sqlite3.Connection, source: str, query: str, *values: Any) -> Any:
    with plain_errors(source):
        cursor = reading.execute(query, values)
    while True:
        with plain_errors(source):
            rows = cursor.fetchmany(_ROWS)
        if not rows:
            return
        yield from rows


def _insert(writing: sqlite3.Connection, query: str, rows: Any) -> int:
    before = writing.total_changes
    writing.executemany(query, rows)
    return writing.total_changes - before


def _clean_json(data: str) -> str:
    return json.dumps(data_without_secrets(json.loads(data)), separators=(",", ":"))


def _clean_document(source: str, data: bytes) -> bytes:
    try:
        found = unpacked(data)
        return packed({"s": found["s"], "v": data_without_secrets(found["v"])})
    except (FrameError, KeyError, TypeError) as error:
        raise RecordError(f"{source} is damaged: a document does not decode: {error}") from error


def _version() -> str:
    try:
        return version("kconsole")
    except PackageNotFoundError:
        return "of a checkout"
