"""Log files as they are found: many by patterns, rotated, with records of several lines, in any encoding.

A file is known by its directory and inode, whatever it is renamed to: a rotated file is read to its end, and the next
one of the name from its beginning. With the position goes a checksum of the file's first bytes: an inode that has come
to another file, and a file that was truncated and written anew, are begun anew.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import logging
import os
import re
import stat
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.connect.config_def import (
    NO_DEFAULT,
    ConfigDef,
    ConfigType,
    Importance,
    Width,
    between,
    non_empty,
    one_of,
)
from engine.connect.connector import ExactlyOnceSupport, Props, SourceConnector, SourceTask
from engine.connect.connectors.file_records import Record, RecordReader
from engine.connect.connectors.file_shares import Share, shared_configs
from engine.connect.data import INT64, STRING, Schema, Struct, struct
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord

log = logging.getLogger(__name__)

_BLOCK_BYTES = 256 * 1024
_HEAD_BYTES = 256
_IDLE_S = 0.2
_MOST_OPEN = 256

END_SCHEMA = struct({"path": STRING, "inode": INT64, "bytes": INT64}, name="kconsole.file.End", version=1)
"""What ends.topic is told."""


def _paths(name: str, value: Any) -> None:
    if not value:
        raise ConfigError(name, value, "At least one path is needed")
    for each in value:
        if not os.path.isabs(each):
            raise ConfigError(name, each, "A path that begins with a slash is expected: workers run anywhere")


def _encoding(name: str, value: Any) -> None:
    try:
        "\n".encode(value)
    except LookupError:
        raise ConfigError(name, value, "No such encoding") from None
    if value.lower().replace("_", "-") in ("utf-16", "utf-32"):
        raise ConfigError(name, value, f"In which order its bytes are, too: {value}-le or {value}-be")


def _pattern(name: str, value: Any) -> None:
    try:
        re.compile(value or "")
    except re.error as error:
        raise ConfigError(name, value, f"It is no regular expression: {error}") from None


CONFIG = (
    ConfigDef()
    .define(
        "paths",
        ConfigType.LIST,
        NO_DEFAULT,
        Importance.HIGH,
        "Files, directories, or patterns with *, ?, [abc] and ** for any depth, separated by commas",
        validator=_paths,
        group="Files",
        width=Width.LONG,
    )
    .define(
        "exclude",
        ConfigType.LIST,
        "*.gz,*.bz2,*.xz,*.zst",
        Importance.MEDIUM,
        "Patterns of names that are not read",
        group="Files",
    )
    .define(
        "topic",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The topic to publish to; the path is the key",
        validator=non_empty,
        group="Files",
    )
    .define(
        "ends.topic",
        ConfigType.STRING,
        None,
        Importance.LOW,
        "A topic that is told when a file that was rotated or deleted has been read to its end",
        group="Files",
    )
    .define(
        "start",
        ConfigType.STRING,
        "beginning",
        Importance.MEDIUM,
        "Where files are begun that are there when the connector first runs: beginning or end. Later ones always at "
        "their beginning",
        validator=one_of("beginning", "end"),
        group="Files",
    )
    .define(
        "encoding",
        ConfigType.STRING,
        "utf-8",
        Importance.MEDIUM,
        "Of the files' text; bytes that do not fit are replaced",
        validator=_encoding,
        group="Records",
    )
    .define(
        "multiline.pattern",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "A regular expression: a line whose beginning it matches begins a record, others belong to the record before. "
        "Without it each line is a record",
        validator=_pattern,
        group="Records",
    )
    .define(
        "multiline.timeout.ms",
        ConfigType.INT,
        1000,
        Importance.LOW,
        "A record of several lines is over when the file has not grown for so long",
        validator=between(0),
        group="Records",
    )
    .define(
        "record.max.bytes",
        ConfigType.INT,
        1 << 20,
        Importance.LOW,
        "What is longer is cut there",
        validator=between(16),
        group="Records",
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
    .define(
        "scan.interval.ms",
        ConfigType.INT,
        1000,
        Importance.LOW,
        "How often is looked for new files and growth",
        validator=between(1),
        group="Files",
    )
    .define(
        "close.after.ms",
        ConfigType.INT,
        5000,
        Importance.LOW,
        "A file that was rotated or deleted, and has not grown for so long, is at its end",
        validator=between(1),
        group="Files",
    )
)


class FileSourceConnector(SourceConnector):
    """Files are shared among tasks by their paths: a path's records are in order."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        CONFIG.parse(props)

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[FileSourceTask]:
        return FileSourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return shared_configs(self._props, max_tasks)

    @classmethod
    def config(cls) -> ConfigDef:
        return CONFIG

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        return ExactlyOnceSupport.SUPPORTED

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        for partition, offset in offsets.items():
            if offset is None:
                continue
            if not {"directory", "inode"} <= set(dict(partition or ())):
                raise ConnectError("Partition objects should contain the keys 'directory' and 'inode'")
            position = offset.get("position")
            if not isinstance(position, int) or isinstance(position, bool) or position < 0:
                raise ConnectError("Offset objects should contain the key 'position', a number of bytes from 0 on")
            if not isinstance(offset.get("path"), str):
                raise ConnectError("Offset objects should contain the key 'path', that the file was found under")
        return True


_Key = tuple[str, int]
"""Directory and inode."""


class _File:
    """A file under the path that it was first seen at, and where reading it has come to."""

    def __init__(self, key: _Key, path: str, now_at: str, reader: RecordReader) -> None:
        self.key = key
        self.partition = {"directory": key[0], "inode": key[1]}
        self.path = path
        self.now_at: str | None = now_at
        """Where it is now; None where it was deleted."""
        self.rotated = False
        self.stream: int | None = None
        self.reader = reader
        self.read_to = 0
        """Where the next read begins; the reader may hold some of what is before."""
        self.head = (0, 0)
        """How many bytes at the beginning, and their checksum."""
        self.grew_at = time.monotonic()
        self.idle = True
        """Whether there is nothing to read, as far as is known."""
        self.ended = False

    def close(self) -> None:
        """Until it grows."""
        if self.stream is not None:
            os.close(self.stream)
            self.stream = None


class FileSourceTask(SourceTask):
    """Looks around now and then, and reads a block of one file after the other."""

    def start(self, props: Props) -> None:
        configs = CONFIG.parse(props)
        self._configs = configs
        self._share = Share.of(props)
        pattern = configs["multiline.pattern"]
        self._pattern = re.compile(pattern) if pattern else None
        self._files: dict[_Key, _File] = {}
        # Files that are not read, and whether they were under a path that is asked for.
        self._ignored: dict[_Key, bool] = {}
        self._unreadable: set[str] = set()
        self._ready: deque[SourceRecord] = deque()
        self._scan_at = 0.0
        self._first_scan = True
        self._more_waits = False
        self._stopping = threading.Event()
        self._polling = threading.Lock()

    def poll(self) -> list[SourceRecord] | None:
        with self._polling:
            if self._stopping.is_set():
                return None
            if not self._ready:
                if time.monotonic() >= self._scan_at:
                    self._scan()
                    self._scan_at = time.monotonic() + self._configs["scan.interval.ms"] / 1000
                self._read()
            if not self._ready:
                self._stopping.wait(max(0.0, min(_IDLE_S, self._scan_at - time.monotonic())))
                return None
            return [self._ready.popleft() for _ in range(min(self._configs["batch.size"], len(self._ready)))]

    def stop(self) -> None:
        stopping = getattr(self, "_stopping", None)
        if stopping is None:
            return  # it did not start
        stopping.set()
        with self._polling:
            for each in self._files.values():
                each.close()

    # -- which files there are ----------------------------------------------------------------------------------

    def _scan(self) -> None:
        wanted = self._inodes(self._matching())
        directories = {directory for directory, _ in (*wanted, *self._files)}
        for each in self._configs["paths"]:
            directories.update(glob.glob(os.path.dirname(each)))
        # What was rotated while nobody read is where the file was, under a name that no pattern need match.
        beside = self._inodes(_entries(directories))
        self._meet(wanted, beside)
        for key in [each for each in self._ignored if each not in beside]:
            del self._ignored[key]  # its inode may come to another file
        for key, file in list(self._files.items()):
            file.now_at = wanted.get(key) or beside.get(key)
            file.rotated = wanted.get(key) != file.path
            if file.stream is None and (file.now_at is None or (file.ended and key not in wanted)):
                del self._files[key]
                self._ignored[key] = False
        self._open_those_that_grew()

    def _open_those_that_grew(self) -> None:
        closed = [each for each in self._files.values() if each.stream is None]
        grown = [each for each in closed if (each.rotated and not each.ended) or self._has_grown(each)]
        idle = [each for each in self._files.values() if each.stream is not None and each.idle and not each.rotated]
        room = _MOST_OPEN - (len(self._files) - len(closed))
        for file in sorted(idle, key=lambda each: each.grew_at)[: max(0, len(grown) - room)]:
            file.close()
            room += 1
        for file in grown[: max(0, room)]:
            file.idle = not self._open(file)
        self._more_waits = len(grown) > room

    def _matching(self) -> Iterator[str]:
        for pattern in self._configs["paths"]:
            for path in glob.glob(pattern, recursive=True):
                if os.path.isdir(path):
                    yield from _entries([path])
                else:
                    yield path

    def _inodes(self, paths: Iterable[str]) -> dict[_Key, str]:
        found: dict[_Key, str] = {}
        for path in sorted(paths):
            directory, name = os.path.split(path)
            if any(fnmatch.fnmatchcase(name, each) for each in self._configs["exclude"]):
                continue
            with contextlib.suppress(OSError):  # gone in between
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode):
                    found.setdefault((directory, status.st_ino), path)
        return found

    def _meet(self, wanted: Mapping[_Key, str], beside: Mapping[_Key, str]) -> None:
        """Files that are new to this task, though perhaps not to the connector."""
        new = [key for key in wanted if key not in self._files and not self._ignored.get(key, False)]
        new += [key for key in beside if key not in self._files and key not in self._ignored and key not in wanted]
        if not new:
            self._first_scan = False
            return
        asked = [{"directory": directory, "inode": inode} for directory, inode in new]
        offsets = self.context.offset_storage_reader().offsets(asked)
        at_end = self._first_scan and self._configs["start"] == "end" and not any(offsets)
        self._first_scan = False
        for key, offset in zip(new, offsets, strict=True):
            now_at = wanted.get(key) or beside[key]
            path = offset["path"] if offset is not None else now_at
            others = not self._share.has(path.encode("utf-8", "surrogateescape"))
            if others or (offset is None and key not in wanted):
                self._ignored[key] = key in wanted
                continue
            file = _File(key, path, now_at, self._reader(0))
            if not self._open(file):
                continue  # until the next time
            self._place(file, offset, at_end=at_end)
            file.close()  # most are at their end already
            if key in wanted or file.read_to:
                self._files[key] = file
                self._ignored.pop(key, None)
            else:
                self._ignored[key] = False  # it has the inode of one that was ours

    def _place(self, file: _File, offset: Mapping[str, Any] | None, *, at_end: bool) -> None:
        """Where to begin in a file that is open."""
        assert file.stream is not None and file.now_at is not None
        size, position = os.fstat(file.stream).st_size, 0
        if offset is not None:
            length, checksum = int(offset.get("head_bytes", 0)), offset.get("head_crc", 0)
            if size >= offset["position"] and _checksum(file.stream, length) == checksum:
                position, file.ended = offset["position"], bool(offset.get("ended"))
            else:
                log.info("%s is another file than what was read as %s: from its beginning", file.now_at, file.path)
                file.path = file.now_at
        elif at_end:
            tail = os.pread(file.stream, _BLOCK_BYTES, max(0, size - _BLOCK_BYTES))
            newline = "\n".encode(self._configs["encoding"])
            position = size - len(tail) + tail.rfind(newline) + len(newline) if newline in tail else size
        self._begin(file, position)

    def _reader(self, position: int) -> RecordReader:
        return RecordReader(
            position,
            encoding=self._configs["encoding"],
            pattern=self._pattern,
            most=self._configs["record.max.bytes"],
        )

    def _begin(self, file: _File, position: int) -> None:
        file.reader, file.read_to, file.head = self._reader(position), position, (0, 0)
        if file.stream is not None:
            length = min(_HEAD_BYTES, position)
            file.head = (length, _checksum(file.stream, length))

    def _open(self, file: _File) -> bool:
        """Whether it is open now."""
        if file.stream is not None:
            return True
        if file.now_at is None:
            return False
        try:
            stream = os.open(file.now_at, os.O_RDONLY)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) and file.now_at not in self._unreadable:
                self._unreadable.add(file.now_at)
                log.warning("%s cannot be read: %s", file.now_at, error.strerror)
            return False
        if os.fstat(stream).st_ino != file.key[1]:
            os.close(stream)  # rotated since the scan: the next one finds it
            return False
        file.stream = stream
        return True

    # -- what is in them ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        """A block of the first file that has something, of the one behind it the next time."""
        for file in list(self._files.values()):
            # Until there is a record: a block may have none.
            before = -1
            while file.stream is not None and not self._ready and before != file.read_to:
                before = file.read_to
                self._ready.extend([self._source_record(file, each) for each in self._next(file)])
            if self._ready:
                self._files[file.key] = self._files.pop(file.key)
                return
        if self._more_waits:
            self._scan_at = 0.0

    def _has_grown(self, file: _File) -> bool:
        with contextlib.suppress(OSError):
            return file.now_at is not None and os.stat(file.now_at).st_size != file.read_to
        return False

    def _next(self, file: _File) -> list[Record]:
        assert file.stream is not None
        size = os.fstat(file.stream).st_size
        if size == file.read_to:
            return self._at_end(file)
        if size < file.read_to or _checksum(file.stream, file.head[0]) != file.head[1]:
            log.info("%s was truncated: from its beginning", file.path)
            left = list(file.reader.end())
            self._begin(file, 0)
            # They are of the file as it was: no position in it is theirs.
            return [Record(each.text, 0) for each in left]
        block = os.pread(file.stream, _BLOCK_BYTES, file.read_to)
        file.read_to += len(block)
        file.grew_at, file.idle, file.ended = time.monotonic(), False, False
        if file.head[0] < _HEAD_BYTES:
            length = min(_HEAD_BYTES, file.read_to)
            file.head = (length, _checksum(file.stream, length))
        return list(file.reader.feed(block))

    def _at_end(self, file: _File) -> list[Record]:
        file.idle = True
        quiet_ms = (time.monotonic() - file.grew_at) * 1000
        left: list[Record] = []
        if quiet_ms >= self._configs["multiline.timeout.ms"]:
            left += file.reader.pause()
        if file.rotated and quiet_ms >= self._configs["close.after.ms"]:
            left += file.reader.end()
            if not file.ended:
                file.ended = True
                log.info("%s has been read to its end, %d bytes", file.path, file.read_to)
                self._ready.extend(self._source_record(file, each) for each in left)
                left = []
                self._tell_end(file)
            file.close()
        return left

    def _tell_end(self, file: _File) -> None:
        topic = self._configs["ends.topic"]
        if not topic:
            return
        value = Struct(END_SCHEMA, {"path": file.path, "inode": file.key[1], "bytes": file.read_to})
        offset = {**self._offset(file, file.read_to), "ended": True}
        self._ready.append(self._made(topic, file, END_SCHEMA, value, offset))

    def _source_record(self, file: _File, record: Record) -> SourceRecord:
        return self._made(self._configs["topic"], file, STRING, record.text, self._offset(file, record.end))

    def _offset(self, file: _File, position: int) -> dict[str, Any]:
        length, checksum = file.head
        return {"path": file.path, "position": position, "head_bytes": length, "head_crc": checksum}

    def _made(self, topic: str, file: _File, schema: Schema, value: Any, offset: Mapping[str, Any]) -> SourceRecord:
        return SourceRecord(
            topic=topic,
            key_schema=STRING,
            key=file.path,
            value_schema=schema,
            value=value,
            timestamp=time.time_ns() // 1_000_000,
            source_partition=file.partition,
            source_offset=offset,
        )


def _entries(directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        with contextlib.suppress(OSError):
            yield from (os.path.join(directory, name) for name in os.listdir(directory))


def _checksum(stream: int, length: int) -> int:
    return zlib.crc32(os.pread(stream, length, 0)) if length else 0
