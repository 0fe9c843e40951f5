"""All records of topics that pass a filter, into a file: JSON lines as ``kconsole tail --json`` prints them, or CSV."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from console.tail_reading import read_to_the_end
from console.viewmodel.filters import Filter
from console.viewmodel.tailing import Ending, TailRun, decoded_text, record_document

if TYPE_CHECKING:
    from console.gateway import Gateway, ReadFrom, Tail
    from console.viewmodel.records import RecordView

_COLUMNS = ("topic", "partition", "offset", "timestamp_ms", "key", "key_encoding", "value", "value_encoding", "headers")
_DECODED = ("key_decoded", "value_decoded")


class FileKind(StrEnum):
    """How records are written."""

    JSON_LINES = "jsonl"
    CSV = "csv"


async def export(
    gateway: Gateway,
    tail: Tail,
    until: ReadFrom,
    wanted: Filter,
    path: Path,
    kind: FileKind,
    progress: Callable[[TailRun], None],
) -> Ending:
    """Read and write until it is over; ``progress(run)`` is called now and then. How it ended.

    The file has its name once it is whole: what is cancelled or fails leaves none.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
        GatewayError: the cluster cannot be read.
    """
    run = TailRun(time.monotonic() * 1000, until=until, wanted=wanted)
    with _whole_or_not_at_all(path, run) as file:
        if kind is FileKind.CSV:
            file.write(_csv([(*_COLUMNS, *_DECODED)]))

        async def take(records: list[RecordView]) -> None:
            if records:
                # A slow disk must not hold up the screen.
                await asyncio.to_thread(file.write, _written(records, kind))

        await read_to_the_end(gateway, tail, run, take, lambda: progress(run))
    assert run.ending is not None
    return run.ending


@contextlib.contextmanager
def _whole_or_not_at_all(path: Path, run: TailRun) -> Iterator[TextIO]:
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        if run.ending is not None and run.ending.complete:
            part.rename(path)
    finally:
        part.unlink(missing_ok=True)


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
