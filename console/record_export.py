"""Records that pass a filter, into a file: JSON lines as ``kconsole tail --json`` prints them, CSV, or Parquet."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from console.parquet_file import ParquetFile
from console.tail_reading import read_to_the_end
from console.viewmodel.tailing import Ending, TailRun, decoded_text, record_document

if TYPE_CHECKING:
    from console.gateway import Gateway, Tail
    from console.viewmodel.records import RecordView

_COLUMNS = ("topic", "partition", "offset", "timestamp_ms", "key", "key_encoding", "value", "value_encoding", "headers")
_DECODED = ("key_decoded", "value_decoded")


class FileKind(StrEnum):
    """How records are written."""

    JSON_LINES = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"

    @classmethod
    def of(cls, path: Path, otherwise: FileKind) -> FileKind:
        """By the end of a file's name."""
        word = path.suffix.lower().removeprefix(".")
        return cls(word) if word in tuple(cls) else otherwise


class _File(Protocol):
    """A file that is being written. All of it blocks."""

    def write(self, records: Sequence[RecordView]) -> None:
        """Raises: OSError."""

    def close(self) -> None:
        """Raises: OSError."""


async def export(
    gateway: Gateway, tail: Tail, run: TailRun, path: Path, kind: FileKind, looked: Callable[[], None]
) -> Ending:
    """Read what ``run`` wants and write it until it is over; ``looked()`` is called now and then. How it ended.

    The file has its name once it is whole: what is cancelled or fails leaves none.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
        GatewayError: the cluster cannot be read.
    """
    with _whole_or_not_at_all(path, run) as part:
        file: _File = ParquetFile(part) if kind is FileKind.PARQUET else _TextFile(part, kind)
        try:

            async def take(records: list[RecordView]) -> None:
                if records:
                    await _beside(lambda: file.write(records))

            await read_to_the_end(gateway, tail, run, take, looked)
        finally:
            await _beside(file.close)
    assert run.ending is not None
    return run.ending


async def _beside(call: Callable[[], None]) -> None:
    """In a thread: a slow disk must not hold up the screen. What has begun is waited for, even when all is
    given up: nobody may close a file that is written to."""
    writing = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


@contextlib.contextmanager
def _whole_or_not_at_all(path: Path, run: TailRun) -> Iterator[Path]:
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    part = path.with_name(path.name + ".part")
    try:
        yield part
        if run.ending is not None and run.ending.complete:
            part.rename(path)
    finally:
        part.unlink(missing_ok=True)


class _TextFile:
    """A line a record."""

    def __init__(self, path: Path, kind: FileKind) -> None:
        """Raises: OSError."""
        self._kind = kind
        self._file = path.open("w", encoding="utf-8", newline="")
        if kind is FileKind.CSV:
            self._file.write(_csv([(*_COLUMNS, *_DECODED)]))

    def write(self, records: Sequence[RecordView]) -> None:
        """Take records. Raises: OSError."""
        self._file.write(_written(records, self._kind))

    def close(self) -> None:
        """Raises: OSError."""
        self._file.close()


def _written(records: Sequence[RecordView], kind: FileKind) -> str:
    documents = [record_document(each) for each in records]
    if kind is FileKind.JSON_LINES:
        return "".join(json.dumps(each) + "\n" for each in documents)
    rows = []
    for each in documents:
        headers = json.dumps(each["headers"]) if each["headers"] else ""
        row = [headers if name == "headers" else each[name] for name in _COLUMNS]
        rows.append([*row, *(decoded_text(each, name.removesuffix("_decoded")) for name in _DECODED)])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()
