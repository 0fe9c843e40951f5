"""A directory into which whole files are put: each becomes records and goes to another directory, finished or in error.

``input.path`` → ``processing.path`` → ``finished.path`` or ``error.path``, by renames within one file system. A file is
finished when brokers have acknowledged all of its records. The offset is the file, by name and time of its last change,
and a line.
"""

from __future__ import annotations

import csv
import errno
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from engine.connect.config_def import (
    NO_DEFAULT,
    ConfigDef,
    ConfigType,
    Importance,
    between,
    non_empty,
    one_of,
)
from engine.connect.connector import ExactlyOnceSupport, Props, SourceConnector, SourceTask
from engine.connect.connectors.file_shares import Share, shared_configs
from engine.connect.data import STRING, Schema, Struct, struct
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import Header, Headers, SourceRecord

log = logging.getLogger(__name__)

_IDLE_S = 0.2


def _pattern(name: str, value: Any) -> None:
    try:
        re.compile(value or "")
    except re.error as error:
        raise ConfigError(name, value, f"It is no regular expression: {error}") from None


def _encoding(name: str, value: Any) -> None:
    try:
        "".encode(value)
    except LookupError:
        raise ConfigError(name, value, "No such encoding") from None


def _one_character(name: str, value: Any) -> None:
    if len(value) != 1:
        raise ConfigError(name, value, "One character is expected")


def _absolute(name: str, value: Any) -> None:
    if value is not None and not os.path.isabs(value):
        raise ConfigError(name, value, "A path that begins with a slash is expected: workers run anywhere")


_CONFIG = (
    ConfigDef()
    .define(
        "input.path",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The directory that is looked into; its directories and names that begin with a dot are not",
        validator=_absolute,
        group="Files",
    )
    .define(
        "processing.path",
        ConfigType.STRING,
        None,
        Importance.LOW,
        "Where files are while they are read; the directory processing in input.path if not given",
        validator=_absolute,
        group="Files",
    )
    .define(
        "finished.path",
        ConfigType.STRING,
        None,
        Importance.HIGH,
        "Where files go of which all records are in the topic; the directory finished in input.path if not given",
        validator=_absolute,
        group="Files",
    )
    .define(
        "error.path",
        ConfigType.STRING,
        None,
        Importance.HIGH,
        "Where files go that cannot be read, each with the reason in a file NAME.reason beside it; the directory error "
        "in input.path if not given",
        validator=_absolute,
        group="Files",
    )
    .define(
        "input.file.pattern",
        ConfigType.STRING,
        ".*",
        Importance.MEDIUM,
        "A regular expression for the whole name",
        validator=_pattern,
        group="Files",
    )
    .define(
        "file.minimum.age.ms",
        ConfigType.LONG,
        1000,
        Importance.MEDIUM,
        "A file that was changed since is left alone: somebody may still write it",
        validator=between(0),
        group="Files",
    )
    .define(
        "cleanup.policy",
        ConfigType.STRING,
        "move",
        Importance.MEDIUM,
        "What becomes of finished files: move or delete",
        validator=one_of("move", "delete"),
        group="Files",
    )
    .define(
        "on.error",
        ConfigType.STRING,
        "move",
        Importance.MEDIUM,
        "Of a file that cannot be read: move, or fail, which ends the task. Records before the line are in the topic",
        validator=one_of("move", "fail"),
        group="Files",
    )
    .define(
        "topic",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The topic to publish to",
        validator=non_empty,
        group="Records",
    )
    .define(
        "format",
        ConfigType.STRING,
        "lines",
        Importance.HIGH,
        "lines: texts. csv: structs of texts. json-lines: data without a schema",
        validator=one_of("lines", "csv", "json-lines"),
        group="Records",
    )
    .define(
        "encoding",
        ConfigType.STRING,
        "utf-8",
        Importance.MEDIUM,
        "Of the files' text; bytes that do not fit are an error",
        validator=_encoding,
        group="Records",
    )
    .define(
        "key.field",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "The column, or field of JSON, whose text is the key",
        group="Records",
    )
    .define(
        "csv.separator",
        ConfigType.STRING,
        ",",
        Importance.LOW,
        "What is between columns; \\t is a tab",
        group="CSV",
    )
    .define(
        "csv.quote",
        ConfigType.STRING,
        '"',
        Importance.LOW,
        "What is around values that have separators or line breaks",
        validator=_one_character,
        group="CSV",
    )
    .define(
        "csv.columns",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Names of columns, separated by commas; if not given they are in the first line",
        group="CSV",
    )
    .define(
        "batch.size",
        ConfigType.INT,
        2000,
        Importance.LOW,
        "The most records in a poll",
        validator=between(1),
        group="Records",
    )
)


def _parse(props: Props) -> dict[str, Any]:
    """Configs with paths.

    Raises:
        ConfigError: one cannot be.
    """
    configs = _CONFIG.parse(props)
    for each in ("processing", "finished", "error"):
        name = f"{each}.path"
        configs[name] = configs[name] or os.path.join(configs["input.path"], each)
    configs["csv.separator"] = configs["csv.separator"].replace("\\t", "\t")
    _one_character("csv.separator", configs["csv.separator"])
    if configs["key.field"] and configs["format"] == "lines":
        raise ConfigError("key.field", configs["key.field"], "Lines have no fields")
    return configs


class DirectorySourceConnector(SourceConnector):
    """Files are shared among tasks by their names."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        _parse(props)

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[DirectorySourceTask]:
        return DirectorySourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return shared_configs(self._props, max_tasks)

    @classmethod
    def config(cls) -> ConfigDef:
        return _CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        try:
            _CONFIG.parse(props)
        except ConfigError:
            return {}  # told by the definitions
        try:
            configs = _parse(props)
        except ConfigError as error:
            return {error.name: [str(error)]}
        path = configs["input.path"]
        if not os.path.isdir(path):
            return {"input.path": [str(ConfigError("input.path", path, "There is no such directory on this worker"))]}
        return {}

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        return ExactlyOnceSupport.SUPPORTED

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        for partition, offset in offsets.items():
            if offset is None:
                continue
            if not {"file", "modified"} <= set(dict(partition or ())):
                raise ConnectError("Partition objects should contain the keys 'file' and 'modified'")
            line = offset.get("line")
            if not isinstance(line, int) or isinstance(line, bool) or line < 0:
                raise ConnectError("Offset objects should contain the key 'line', a number from 0 on")
        return True


class _Row(NamedTuple):
    """A record: the number of the line behind which it ends, from 1 on."""

    line: int
    schema: Schema | None
    value: Any


class _Broken(Exception):
    """What is wrong with a file, and where."""


class _Spooled:
    """A file that is read, or waits for acknowledgements."""

    def __init__(self, name: str, path: str, modified: int, rows: Iterator[_Row]) -> None:
        self.name = name
        self.path = path
        self.key = (name, modified)
        self.partition = {"file": name, "modified": modified}
        self.rows = rows
        self.unacknowledged = 0
        self.reason: str | None = None
        """Why it cannot be read."""


class DirectorySourceTask(SourceTask):
    """Reads one file after the other."""

    def start(self, props: Props) -> None:
        self._configs = _parse(props)
        self._share = Share.of(props)
        self._pattern = re.compile(self._configs["input.file.pattern"])
        if not os.path.isdir(self._configs["input.path"]):
            raise ConnectError(f"There is no directory {self._configs['input.path']}")
        for each in ("processing.path", "finished.path", "error.path"):
            try:
                os.makedirs(self._configs[each], exist_ok=True)
            except OSError as error:
                raise ConnectError(f"{each}={self._configs[each]} cannot be made: {error.strerror}") from error
        self._current: _Spooled | None = None
        self._waiting: dict[tuple[str, int], _Spooled] = {}
        self._stopping = threading.Event()
        self._polling = threading.Lock()

    def poll(self) -> list[SourceRecord] | None:
        with self._polling:
            if self._stopping.is_set():
                return None
            for each in list(self._waiting.values()):
                if each is not self._current and not each.unacknowledged:
                    self._finish(each)
            if self._current is None:
                self._current = self._begin_next()
            if self._current is None:
                self._stopping.wait(_IDLE_S)
                return None
            records = self._read(self._current)
            return records or None

    def commit_record(self, record: SourceRecord, offset: int | None) -> None:
        waiting = self._waiting.get((record.source_partition["file"], record.source_partition["modified"]))
        if waiting is not None:
            waiting.unacknowledged -= 1

    def stop(self) -> None:
        stopping = getattr(self, "_stopping", None)
        if stopping is not None:
            stopping.set()

    # -- files --------------------------------------------------------------------------------------------------

    def _begin_next(self) -> _Spooled | None:
        # What was begun before comes first.
        for directory in (self._configs["processing.path"], self._configs["input.path"]):
            for modified, name in sorted(self._mine(directory)):
                if (name, modified) in self._waiting:
                    continue
                path = os.path.join(self._configs["processing.path"], name)
                if directory != self._configs["processing.path"]:
                    if os.path.exists(path):
                        continue  # another of its name is not finished yet
                    if not self._rename(os.path.join(directory, name), path):
                        continue
                return self._begin(name, path, modified)
        return None

    def _mine(self, directory: str) -> Iterator[tuple[int, str]]:
        youngest = time.time_ns() - self._configs["file.minimum.age.ms"] * 1_000_000
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") or self._pattern.fullmatch(entry.name) is None:
                    continue
                if not self._share.has(os.fsencode(entry.name)):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    modified = entry.stat().st_mtime_ns
                except OSError:
                    continue  # gone in between
                if modified <= youngest or directory == self._configs["processing.path"]:
                    yield modified, entry.name

    def _begin(self, name: str, path: str, modified: int) -> _Spooled:
        partition = {"file": name, "modified": modified}
        offset = self.context.offset_storage_reader().offset(partition)
        done = 0 if offset is None else int(offset.get("line", 0))
        rows = (each for each in _rows(path, self._configs) if each.line > done)
        spooled = _Spooled(name, path, modified, rows)
        self._waiting[spooled.key] = spooled
        log.info("Reading %s%s", name, f" behind line {done}" if done else "")
        return spooled

    def _read(self, spooled: _Spooled) -> list[SourceRecord]:
        records: list[SourceRecord] = []
        now_ms = time.time_ns() // 1_000_000
        try:
            for row in spooled.rows:
                records.append(self._record(spooled, row, now_ms))
                if len(records) == self._configs["batch.size"]:
                    break
            else:
                self._current = None
        except _Broken as error:
            if self._configs["on.error"] == "fail" and not records:
                raise ConnectError(f"{spooled.path}: {error}") from error
            if self._configs["on.error"] == "move":
                self._current = None
                spooled.reason = str(error)
            else:
                spooled.rows = _raising(error)  # when these records were given
        spooled.unacknowledged += len(records)
        return records

    def _record(self, spooled: _Spooled, row: _Row, now_ms: int) -> SourceRecord:
        field, key = self._configs["key.field"], None
        if field:
            found = row.value.get(field) if isinstance(row.value, (Struct, dict)) and _has(row.value, field) else None
            if found is None:
                raise _Broken(f"line {row.line}: there is no {field}, which is to be the key")
            key = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        return SourceRecord(
            topic=self._configs["topic"],
            key_schema=None if key is None else STRING,
            key=key,
            value_schema=row.schema,
            value=row.value,
            timestamp=now_ms,
            headers=Headers([Header("file", STRING, spooled.name)]),
            source_partition=spooled.partition,
            source_offset={"line": row.line},
        )

    def _finish(self, spooled: _Spooled) -> None:
        del self._waiting[spooled.key]
        if spooled.reason is not None:
            target = _free(os.path.join(self._configs["error.path"], spooled.name))
            log.error("%s goes to %s: %s", spooled.name, target, spooled.reason)
            with open(f"{target}.reason", "w") as out:
                out.write(f"{spooled.reason}\n")
            self._rename(spooled.path, target)
        elif self._configs["cleanup.policy"] == "delete":
            os.unlink(spooled.path)
        else:
            self._rename(spooled.path, _free(os.path.join(self._configs["finished.path"], spooled.name)))

    def _rename(self, path: str, target: str) -> bool:
        try:
            os.rename(path, target)
        except FileNotFoundError:
            log.warning("%s is gone", path)
            return False
        except OSError as error:
            why = "they are not in one file system" if error.errno == errno.EXDEV else error.strerror
            raise ConnectError(f"{path} cannot be moved to {target}: {why}") from error
        return True


def _has(value: Struct | dict[str, Any], field: str) -> bool:
    return value.schema.field(field) is not None if isinstance(value, Struct) else field in value


def _raising(error: _Broken) -> Iterator[_Row]:
    raise error
    yield


def _free(path: str) -> str:
    """The path, or if something is there one with a number behind it."""
    number, found = 0, path
    while os.path.exists(found):
        number += 1
        found = f"{path}.{number}"
    return found


def _rows(path: str, configs: Mapping[str, Any]) -> Iterator[_Row]:
    """A file's records.

    Raises:
        _Broken: it cannot be read further; says where.
    """
    line = 0
    try:
        with open(path, encoding=configs["encoding"], newline="") as stream:
            if configs["encoding"].lower().replace("-", "").replace("_", "") == "utf8" and stream.read(1) != "\ufeff":
                stream.seek(0)
            if configs["format"] == "csv":
                for row in _csv_rows(stream, configs):
                    yield row
                    line = row.line
                return
            for line, text in enumerate(stream, 1):
                text = text.removesuffix("\n").removesuffix("\r")
                if configs["format"] == "lines":
                    yield _Row(line, STRING, text)
                elif text.strip():
                    yield _Row(line, None, json.loads(text))
    except UnicodeDecodeError as error:
        raise _Broken(f"behind line {line}: no {configs['encoding']}: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise _Broken(f"line {line}: no JSON: {error}") from error
    except OSError as error:
        raise _Broken(f"it cannot be read: {error.strerror}") from error


def _csv_rows(stream: Any, configs: Mapping[str, Any]) -> Iterator[_Row]:
    csv.field_size_limit(sys.maxsize)  # of all readers of the process: a value has no limit here
    rows = csv.reader(stream, delimiter=configs["csv.separator"], quotechar=configs["csv.quote"], strict=True)
    columns: list[str] = configs["csv.columns"]
    schema = _schema(columns, 0) if columns else None
    try:
        for row in rows:
            if not row:
                continue
            if schema is None:
                columns = row
                schema = _schema(columns, rows.line_num)
                continue
            if len(row) != len(columns):
                raise _Broken(f"line {rows.line_num}: {len(row)} columns, and {len(columns)} are expected")
            yield _Row(rows.line_num, schema, Struct(schema, dict(zip(columns, row, strict=True))))
    except csv.Error as error:
        raise _Broken(f"line {rows.line_num}: no CSV: {error}") from error


def _schema(columns: list[str], line: int) -> Schema:
    if len(set(columns)) != len(columns) or not all(columns):
        raise _Broken(f"line {line}: columns need names, each another one: {', '.join(columns)}")
    return struct({each: STRING.as_optional() for each in columns}, name="kconsole.directory.Row")
