"""One partition's open files: when they are closed, and how they get into the store without a record lost or twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.connect.connector import TopicPartition
from engine.connect.connectors.storage_files import Store, remove
from engine.connect.connectors.storage_formats import RecordFile, extension_of, open_file
from engine.connect.connectors.storage_partitioners import Partitioner, time_extractor
from engine.connect.connectors.storage_schemas import is_newer, projected
from engine.connect.data import Schema
from engine.connect.errors import ConnectError, DataError
from engine.connect.records import SinkRecord

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Open:
    """An open file: the offset of its first record, and that one's time."""

    file: RecordFile
    schema: Schema | None
    shape: tuple[str, ...]
    start_offset: int
    first_ms: int | None


def _unwritable(file: RecordFile, error: OSError) -> ConnectError:
    """A file of this machine that cannot be written, as on a full disk, ends the task.

    Records that it was given may be lost to it: another try would put a file without them into the store. A new task
    reads them again.
    """
    return ConnectError(f"{file.path} cannot be written: {error}")


class PartitionWriter:
    """Of one topic's partition. All of its files are closed at once, so that one offset tells what is in files.

    A commit puts each file under its name, then keeps the offset that comes next. A crash in between leaves files that
    begin at that offset or later: they are removed when the partition is opened again, and its records come again.
    """

    def __init__(
        self, partition: TopicPartition, store: Store, partitioner: Partitioner, values: Mapping[str, Any]
    ) -> None:
        """Removes what a commit left that did not end.

        Raises:
            OSError: the store fails.
        """
        self._partition = partition
        self._store = store
        self._values = values
        self._partitioner = partitioner
        self._flush_size: int = values["flush.size"]
        self._flush_bytes: int = values["flush.bytes"]
        self._interval_ms: int = values["rotate.interval.ms"]
        self._schedule_ms: int = values["rotate.schedule.interval.ms"]
        self._zone = ZoneInfo(values["timezone"])
        self._compatibility: str = values["schema.compatibility"]
        self._time_ms: Callable[[SinkRecord], int] | None = time_extractor(values) if self._interval_ms > 0 else None
        self._open: dict[str, _Open] = {}
        self._count = 0
        self._bytes = 0
        self._closing = False
        self._began = False
        self._next: int | None = None
        self._due_ms: int | None = None
        store.remove_unfinished(partition)
        self.committed = store.progress(partition)
        self._kept = self.committed is not None
        if self.committed is not None:
            for name in store.remove_from(partition, self.committed):
                _log.info("%s is removed: its commit did not end", name)
            self._next = self.committed

    def add(self, record: SinkRecord, now_ms: int) -> None:
        """A record; one that was added already is left out.

        Raises:
            DataError: it cannot be in a file.
            ConnectError: the file on this machine cannot be written, or the first record is from before what the store
                has, where the partition was to be read on.
            OSError: the store fails: the same record is to be added again.
        """
        if self._closing:
            self._finish()
        if self._next is not None and record.offset < self._next:
            if not self._began:
                topic, number = self._partition
                raise ConnectError(
                    f"{topic}-{number} begins at {record.offset}, and the store has it up to {self._next}: was the "
                    "topic made anew? Move its files and delete the connector's offsets, or use another topics.dir"
                )
            return
        self._began = True
        if record.value is None:
            if self._values["behavior.on.null.values"].lower() == "fail":
                raise DataError("it has no value: drop such records, or set behavior.on.null.values=ignore")
            self._advance(record)
            return
        directory = self._partitioner.directory(record)
        moment = self._time_ms(record) if self._time_ms is not None else None
        opened = self._open.get(directory)
        value: Any = record.value
        if opened is not None and self._has_other_schema(opened, record):
            if self._begins_anew(opened.schema, record.value_schema):
                self._commit()
                opened = None
            else:
                assert opened.schema is not None
                value = projected(record.value_schema, opened.schema, value)
        if (
            opened is not None
            and moment is not None
            and opened.first_ms is not None
            and moment - opened.first_ms >= self._interval_ms
        ):
            self._commit()
            opened = None
        if opened is None:
            opened = self._begin(directory, record, moment, now_ms)
        try:
            opened.file.add(value)
        except OSError as error:
            raise _unwritable(opened.file, error) from error
        self._count += 1
        if self._flush_bytes > 0:
            self._bytes += _size(value)
        self._advance(record)
        if self._count >= self._flush_size or 0 < self._flush_bytes <= self._bytes:
            self._commit()

    def _begin(self, directory: str, record: SinkRecord, moment: int | None, now_ms: int) -> _Open:
        if not self._open and self._schedule_ms > 0:
            self._due_ms = self._next_schedule(now_ms)
        if not self._kept:
            # From now on a crash leaves nothing that is not known to be of a commit that did not end.
            self._store.keep_progress(self._partition, record.offset)
            self._kept, self.committed = True, record.offset
        file = open_file(record.value_schema, self._values, self._store.place(self._partition))
        opened = _Open(file, record.value_schema, _shape(record), record.offset, moment)
        self._open[directory] = opened
        return opened

    @property
    def safe(self) -> int | None:
        """The offset before which every record is in the store or is left out; None before the first."""
        if self._closing:
            return self.committed
        return min((each.start_offset for each in self._open.values()), default=self._next)

    def leave_out(self, record: SinkRecord) -> None:
        """A record that :meth:`add` refused, and that is reported elsewhere."""
        self._advance(record)

    def _advance(self, record: SinkRecord) -> None:
        self._next = record.offset + 1

    def _has_other_schema(self, opened: _Open, record: SinkRecord) -> bool:
        schema = record.value_schema
        if schema is None and self._values["format.class"] == "json":
            return opened.schema is not None
        if schema is None or opened.schema is None:
            return schema is not opened.schema or _shape(record) != opened.shape
        return schema is not opened.schema and schema != opened.schema

    def _begins_anew(self, current: Schema | None, schema: Schema | None) -> bool:
        """Whether another schema closes the file; else its records are brought to the file's."""
        if self._compatibility == "NONE" or current is None or schema is None:
            return True
        if self._compatibility == "FORWARD":
            return not is_newer(schema, current)
        return is_newer(schema, current)

    def on_time(self, now_ms: int) -> None:
        """Close files whose time has come by the clock; finish what a failure of the store has left.

        Raises:
            OSError: the store fails.
        """
        if self._closing:
            self._finish()
        if self._due_ms is not None and now_ms >= self._due_ms and self._open:
            self._commit()

    def _next_schedule(self, now_ms: int) -> int:
        """The next whole interval since midnight in the time zone."""
        now = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(self._zone)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since_ms = (now - midnight) // timedelta(milliseconds=1)
        return now_ms - since_ms % self._schedule_ms + self._schedule_ms

    def _commit(self) -> None:
        self._closing = True
        self._finish()

    def _finish(self) -> None:
        """Put what is closed, and keep the offset. After a failure it goes on where it was."""
        extension = extension_of(self._values)
        width: int = self._values["filename.offset.zero.pad.width"]
        topic, number = self._partition
        for directory, opened in list(self._open.items()):
            try:
                opened.file.close()
            except OSError as error:
                raise _unwritable(opened.file, error) from error
            name = f"{topic}/{directory}/{topic}+{number}+{opened.start_offset:0{width}}.{extension}"
            self._store.put(opened.file.path, name)
            del self._open[directory]
        if self._next is not None:
            self._store.keep_progress(self._partition, self._next)
            self.committed = self._next
        self._closing = False
        self._count = self._bytes = 0
        self._due_ms = None

    def discard(self) -> None:
        """The partition goes elsewhere: what is not in the store is read again there."""
        for each in self._open.values():
            with suppress(OSError, ConnectError):  # nobody needs what is in it
                each.file.close()
            remove(each.file.path)
        self._open.clear()


def _shape(record: SinkRecord) -> tuple[str, ...]:
    return tuple(map(str, record.value)) if record.value_schema is None and isinstance(record.value, dict) else ()


def _size(value: Any) -> int:
    """About how many bytes a value has."""
    values = getattr(value, "values", None)
    if isinstance(value, dict):
        values = value.values()
    if isinstance(values, (list, tuple)) or isinstance(value, dict):
        return sum(map(_size, values or ()))
    if isinstance(value, (str, bytes)):
        return len(value)
    return sum(map(_size, value)) if isinstance(value, list) else 8
