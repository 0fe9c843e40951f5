"""Records into files that are kept small: a file for each topic or partition, rotated by size and age, synced to disk.

What ``flush`` returns from is on disk, before offsets are committed. After a crash the records since the last commit
come again: at least once.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import string
import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, between, one_of
from engine.connect.connector import Props, SinkConnector, SinkTask, TopicPartition
from engine.connect.connectors.file import line_text
from engine.connect.connectors.http_sink import plain
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SinkRecord

log = logging.getLogger(__name__)


def _path(name: str, value: Any) -> None:
    if not isinstance(value, str) or not os.path.isabs(value):
        raise ConfigError(name, value, "A path that begins with a slash is expected: workers run anywhere")
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(value) if field is not None}
    except ValueError as error:
        raise ConfigError(name, value, str(error)) from error
    if not fields <= {"topic", "partition"}:
        raise ConfigError(name, value, "Only {topic} and {partition} can be in a path")


_CONFIG = (
    ConfigDef()
    .define(
        "path",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The file that is written; {topic} and {partition} stand for a record's. With more than one task {partition} "
        "must be in it",
        validator=_path,
        group="Files",
    )
    .define(
        "format",
        ConfigType.STRING,
        "text",
        Importance.HIGH,
        "A line for each record. text: its value as Java prints it. json: its value as JSON. json-record: an object "
        "with topic, partition, offset, timestamp, key, value and headers",
        validator=one_of("text", "json", "json-record"),
        group="Records",
    )
    .define(
        "rotate.bytes",
        ConfigType.LONG,
        0,
        Importance.MEDIUM,
        "A file does not grow beyond so many bytes, unless by one record; 0: any number",
        validator=between(0),
        group="Rotation",
    )
    .define(
        "rotate.interval.ms",
        ConfigType.LONG,
        0,
        Importance.MEDIUM,
        "A file is not written longer than so long; 0: for ever",
        validator=between(0),
        group="Rotation",
    )
    .define(
        "rotate.keep",
        ConfigType.INT,
        0,
        Importance.MEDIUM,
        "How many rotated files stay, the last ones; 0: all",
        validator=between(0),
        group="Rotation",
    )
    .define(
        "sync",
        ConfigType.BOOLEAN,
        True,
        Importance.LOW,
        "Whether files are synced to disk (fsync) before offsets are committed",
        group="Files",
    )
)


class FileSinkConnector(SinkConnector):
    """Tasks write the files of their partitions."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        _CONFIG.parse(props)

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[FileSinkTask]:
        return FileSinkTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        # Two tasks must not write, and rotate, one file.
        return [self._props] * (max_tasks if "{partition}" in self._props["path"] else 1)

    @classmethod
    def config(cls) -> ConfigDef:
        return _CONFIG

    def alter_offsets(self, props: Props, offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True


class _Output:
    """A file that is open."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.stream = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self.size = os.fstat(self.stream).st_size
            if self.size and os.pread(self.stream, 1, self.size - 1) != b"\n":
                # A crash left half a line: its record comes again, on a line of its own.
                self.write(b"\n")
        except OSError as error:
            raise ConnectError(f"{path} cannot be written: {error.strerror}") from error
        self.opened_at = time.monotonic()
        self.unsynced = False

    def write(self, data: bytes) -> None:
        """All of it."""
        left = memoryview(data)
        try:
            while left:
                written = os.write(self.stream, left)
                left = left[written:]
                self.size += written
        except OSError as error:
            raise ConnectError(f"{self.path} cannot be written: {error.strerror}") from error
        self.unsynced = True

    def sync(self) -> None:
        """To disk."""
        if self.unsynced:
            try:
                os.fsync(self.stream)
                directory = os.open(os.path.dirname(self.path), os.O_RDONLY)  # for the file's name
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
            except OSError as error:
                raise ConnectError(f"{self.path} cannot be synced: {error.strerror}") from error
            self.unsynced = False


class FileSinkTask(SinkTask):
    """Writes each batch with one call for each file."""

    def start(self, props: Props) -> None:
        self._configs = _CONFIG.parse(props)
        self._outputs: dict[str, _Output] = {}

    def put(self, records: Sequence[SinkRecord]) -> None:
        pending: dict[str, list[bytes]] = {}
        for record in records:
            path = self._path_of(record)
            pending.setdefault(path, []).append(self._line(record))
        for path, lines in pending.items():
            self._write(path, lines)
        most_s = self._configs["rotate.interval.ms"] / 1000
        for output in list(self._outputs.values()) if most_s else ():
            if output.size and time.monotonic() - output.opened_at >= most_s:
                self._rotate(output)

    def _path_of(self, record: SinkRecord) -> str:
        # A topic's name has no slash, but may be "..": it must not lead out of the directory.
        topic = record.original_topic if record.original_topic.strip(".") else f"topic {record.original_topic}"
        return str(self._configs["path"]).format(topic=topic, partition=record.original_partition)

    def _line(self, record: SinkRecord) -> bytes:
        match self._configs["format"]:
            case "text":
                text = line_text(record)
            case "json":
                text = _json(record.value)
            case _:
                text = _json(
                    {
                        "topic": record.original_topic,
                        "partition": record.original_partition,
                        "offset": record.original_offset,
                        "timestamp": record.timestamp,
                        "key": record.key,
                        "value": record.value,
                        "headers": [[each.key, each.value] for each in record.headers],
                    }
                )
        return f"{text}\n".encode("utf-8", "replace")

    def _write(self, path: str, lines: list[bytes]) -> None:
        most = self._configs["rotate.bytes"]
        output = self._outputs.get(path) or self._outputs.setdefault(path, _Output(path))
        begun, size = 0, output.size
        for number, line in enumerate(lines) if most else ():
            if size and size + len(line) > most:
                output.write(b"".join(lines[begun:number]))
                self._rotate(output)
                output = self._outputs[path] = _Output(path)
                begun, size = number, 0
            size += len(line)
        output.write(b"".join(lines[begun:]))

    def _rotate(self, output: _Output) -> None:
        """To a name with the time; the next record opens a new file."""
        self._close(output)
        at = time.time_ns()
        name = f"{output.path}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime(at // 10**9))}.{at % 10**9:09d}"
        os.rename(output.path, name)
        keep = self._configs["rotate.keep"]
        if keep:
            for old in sorted(glob.glob(f"{glob.escape(output.path)}.{'[0-9]' * 8}T*"))[:-keep]:
                os.unlink(old)

    def _close(self, output: _Output) -> None:
        if self._configs["sync"]:
            output.sync()
        os.close(output.stream)
        del self._outputs[output.path]

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._configs["sync"]:
            for output in self._outputs.values():
                output.sync()

    def close(self, partitions: Sequence[TopicPartition]) -> None:
        # Another task may write them from now on; those that stay are opened again.
        for output in list(self._outputs.values()):
            self._close(output)

    def stop(self) -> None:
        for output in list(getattr(self, "_outputs", {}).values()):
            self._close(output)


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
