"""Kafka's own two connectors: lines of a file into a topic, and back (``org.apache.kafka.connect.file``).

Configs, offsets and messages are Kafka's. What rotates, has many files or records of several lines is read by
:mod:`engine.connect.connectors.file_source`.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from engine.connect.batches import SinkBatch, SourceBatch
from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, non_empty
from engine.connect.connector import (
    ExactlyOnceSupport,
    Props,
    SinkConnector,
    SinkTask,
    SourceConnector,
    SourceTask,
    TopicPartition,
)
from engine.connect.data import STRING
from engine.connect.errors import ConnectError
from engine.connect.java_text import java_text
from engine.connect.records import SinkRecord

log = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 1024
STDIN, STDOUT = 0, 1
IDLE_S = 0.2
"""How long ``poll`` waits when there is nothing new."""


class FileStreamSourceConnector(SourceConnector):
    """One file, or the standard input, line by line."""

    CONFIG = (
        ConfigDef()
        .define(
            "file",
            ConfigType.STRING,
            None,
            Importance.HIGH,
            "Source filename. If not specified, the standard input will be used",
        )
        .define(
            "topic",
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.HIGH,
            "The topic to publish data to",
            validator=non_empty,
        )
        .define(
            "batch.size",
            ConfigType.INT,
            2000,
            Importance.LOW,
            "The maximum number of records the source task can read from the file each time it is polled",
        )
    )

    def start(self, props: Props) -> None:
        self._props = dict(props)
        file = self.CONFIG.parse(props)["file"]
        log.info("Starting file source connector reading from %s", file or "standard input")

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[FileStreamSourceTask]:
        return FileStreamSourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props]  # only one makes sense of one stream

    @classmethod
    def config(cls) -> ConfigDef:
        return cls.CONFIG

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        # A file that is only appended to can be read again from a position, the standard input cannot.
        return ExactlyOnceSupport.SUPPORTED if self.CONFIG.parse(props)["file"] else ExactlyOnceSupport.UNSUPPORTED

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        if not self.CONFIG.parse(props)["file"]:
            raise ConnectError(
                "Offsets cannot be modified if the 'file' configuration is unspecified. "
                "This is because stdin is used for input and offsets are not tracked."
            )
        for partition, offset in offsets.items():
            if offset is None:
                continue  # whatever somebody wants to be rid of
            if "position" not in offset:
                raise ConnectError("Offset objects should either be null or contain the key 'position'")
            position = offset["position"]
            if not isinstance(position, int) or isinstance(position, bool):
                raise ConnectError("The value for the 'position' key in the offset is expected to be a Long value")
            if position < 0:
                raise ConnectError("The value for the 'position' key in the offset should be a non-negative value")
            if partition is None:
                raise ConnectError("Partition objects cannot be null")
            if "filename" not in dict(partition):
                raise ConnectError("Partition objects should contain the key 'filename'")
        return True


class FileStreamSourceTask(SourceTask):
    """Reads blocks and splits them; a last line without an end waits for it."""

    def start(self, props: Props) -> None:
        configs = FileStreamSourceConnector.CONFIG.parse(props)
        self._filename: str | None = configs["file"] or None
        self._topic: str = configs["topic"]
        self._batch_size: int = configs["batch.size"]
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        self._stream: int | None = None
        self._is_pipe = self._filename is None
        self._missing = False
        self._position = 0
        self._rest: list[bytes] = []
        self._values: list[str] = []
        self._ends: list[int] = []
        self._given = 0

    def poll(self) -> SourceBatch | None:
        if self._given == len(self._values):
            with self._reading:
                if not self._read():
                    return None
        first, self._given = self._given, min(self._given + self._batch_size, len(self._values))
        ends = self._ends
        return SourceBatch(
            self._topic,
            STRING,
            self._values[first : self._given],
            time.time_ns() // 1_000_000,
            {"filename": self._filename},
            # Positions mean nothing where nothing can be read again.
            (lambda index: {"position": ends[first + index]})
            if self._filename is not None
            else (lambda _: {"position": None}),
        )

    def _read(self) -> bool:
        """Lines of the next blocks, until there is one; whether there is."""
        if self._stopping.is_set() or (self._stream is None and not self._open()):
            return False
        assert self._stream is not None
        while not self._stopping.is_set():
            if self._is_pipe and not select.select([self._stream], [], [], IDLE_S)[0]:
                return False
            try:
                block = os.read(self._stream, BLOCK_BYTES)
            except OSError as error:
                raise ConnectError(f"Cannot read file {self._filename}: {error.strerror}") from error
            if not block:
                self._stopping.wait(IDLE_S)
                return False
            whole = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
            # A carriage return at the end of what was read before is an end of its own, or half of one.
            if not whole and not (self._rest and self._rest[-1].endswith(b"\r")):
                self._rest.append(block)
                continue
            self._rest.append(block[:whole])
            self._split(b"".join(self._rest))
            self._rest = [block[whole:]] if whole < len(block) else []
            return True
        return False

    def _split(self, lines: bytes) -> None:
        """``lines`` ends with the end of a line. Ends are Java's: ``\\n``, ``\\r\\n`` or ``\\r``."""
        start = self._position
        pieces = lines.splitlines(keepends=True)
        self._ends = [start + end for end in accumulate(map(len, pieces))]
        self._position = start + len(lines)
        if b"\r" not in lines and lines.isascii():
            self._values = lines.decode("ascii").split("\n")
            self._values.pop()
        else:
            self._values = [piece.decode("utf-8", "replace") for piece in lines.splitlines()]
        self._given = 0

    def _open(self) -> bool:
        if self._filename is None:
            self._stream = STDIN
            return True
        try:
            # A named pipe that nobody writes to would block here, and later where nothing is written.
            stream = os.open(self._filename, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            if not self._missing:
                log.warning("Couldn't find file %s, waiting for it to be created", self._filename)
                self._missing = True
            self._stopping.wait(IDLE_S)
            return False
        except OSError as error:
            raise ConnectError(f"Cannot open file {self._filename}: {error.strerror}") from error
        offset = self.context.offset_storage_reader().offset({"filename": self._filename})
        position = None if offset is None else offset.get("position")
        if position is not None and (not isinstance(position, int) or isinstance(position, bool)):
            os.close(stream)
            raise ConnectError("Offset position is the incorrect type")
        self._position = position or 0
        self._is_pipe = stat.S_ISFIFO(os.fstat(stream).st_mode)
        if self._is_pipe:
            self._stream, self._missing = stream, False
            return True
        os.lseek(stream, self._position, os.SEEK_SET)
        if self._position > os.fstat(stream).st_size:
            log.warning(
                "%s has fewer bytes than the offset %d: nothing is read until it has grown beyond",
                self._filename,
                self._position,
            )
        self._stream = stream
        self._missing = False
        log.info("Opened %s at position %d", self._filename, self._position)
        return True

    def stop(self) -> None:
        self._stopping.set()
        with self._reading:
            if self._stream is not None and self._filename is not None:
                os.close(self._stream)
            self._stream = None


class FileStreamSinkConnector(SinkConnector):
    """Values of records as lines, appended to one file or written to the standard output."""

    CONFIG = ConfigDef().define(
        "file",
        ConfigType.STRING,
        None,
        Importance.HIGH,
        "Destination filename. If not specified, the standard output will be used",
    )

    def start(self, props: Props) -> None:
        self._props = dict(props)
        file = self.CONFIG.parse(props)["file"]
        log.info("Starting file sink connector writing to %s", file or "standard output")

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[FileStreamSinkTask]:
        return FileStreamSinkTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props] * max_tasks

    @classmethod
    def config(cls) -> ConfigDef:
        return cls.CONFIG

    def alter_offsets(self, props: Props, offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True  # nothing but the group's offsets says where it is


class FileStreamSinkTask(SinkTask):
    """Each ``put`` is one write: nothing is held back, so that there is nothing to flush."""

    _stream: int | None = None

    def start(self, props: Props) -> None:
        self._filename: str | None = FileStreamSinkConnector.CONFIG.parse(props)["file"]
        if self._filename is None:
            self._stream = STDOUT
            return
        try:
            self._stream = os.open(self._filename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise ConnectError(
                f"Couldn't find or create file '{self._filename}' for FileStreamSinkTask: {error.strerror}"
            ) from error
        if _ends_within_a_line(self._filename):
            # A full disk has cut it off: its record comes again, on a line of its own.
            self._write(b"\n")

    def put(self, records: Sequence[SinkRecord]) -> None:
        if not records:
            return
        values = records.values if isinstance(records, SinkBatch) else [each.value for each in records]
        try:
            lines = "\n".join(values)
        except TypeError:
            lines = "\n".join(map(line_text, records))
        self._write(f"{lines}\n".encode("utf-8", "surrogatepass"))

    def _write(self, lines: bytes) -> None:
        assert self._stream is not None
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._stream, left) :]
        except OSError as error:
            raise ConnectError(f"Cannot write to {self._filename or 'standard output'}: {error.strerror}") from error

    def stop(self) -> None:
        if self._stream is not None and self._filename is not None:
            os.close(self._stream)
        self._stream = None


def _ends_within_a_line(path: str) -> bool:
    with suppress(OSError):
        if os.path.isfile(path) and os.path.getsize(path):
            with open(path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
    return False


def line_text(record: SinkRecord) -> str:
    """A record's value as Java prints it (``String.valueOf``), but bytes, which are taken for UTF-8."""
    value = record.value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return java_text(record.value_schema, value)
