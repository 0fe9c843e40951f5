"""Records in a Parquet file, read back by pyarrow."""

from __future__ import annotations

import asyncio
import datetime
import os
from pathlib import Path

import pyarrow.parquet
import pytest

from console import parquet_file
from console.gateway import Tail, TailBatch
from console.parquet_file import ParquetFile
from console.record_export import FileKind, export
from console.viewmodel.records import PartReading, Reading, RecordView
from console.viewmodel.tailing import TailRun


def record(offset: int, **fields) -> RecordView:
    fields.setdefault("key", b"k")
    fields.setdefault("value", b'{"n": 1}')
    return RecordView("orders", 3, offset, 1_795_000_000_123, **fields)


def test_columns_have_text_where_it_is_text_and_bytes_where_that_is_not_all(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "f.parquet", group_records=2)
    read = Reading(value=PartReading("avro, schema 8 Order"))
    hidden = Reading(masked=("value hidden",))
    file.write([record(1, headers=(("trace", b"\xff"), ("none", None))), record(2, key=None, value=b"\xff\x00")])
    file.write([record(3, value=b"\0\0", meaning=(b"k", b'{"a": 1}'), reading=read), record(4, value=None)])
    file.write([record(5, value=b"***", meaning=(b"k", b"***"), reading=hidden)])
    file.close()
    found = pyarrow.parquet.ParquetFile(tmp_path / "f.parquet")
    assert [found.metadata.row_group(at).num_rows for at in range(found.metadata.num_row_groups)] == [2, 2, 1]
    rows = found.read().to_pylist()
    assert rows[0] == {
        "topic": "orders",
        "partition": 3,
        "offset": 1,
        "timestamp": datetime.datetime(2026, 11, 18, 11, 6, 40, 123_000, datetime.UTC),
        "key": "k",
        "key_bytes": None,
        "value": '{"n": 1}',
        "value_bytes": None,
        "headers": [{"name": "trace", "value": b"\xff"}, {"name": "none", "value": None}],
        "masked": [],
    }
    assert [(each["key"], each["value"], each["value_bytes"]) for each in rows[1:]] == [
        (None, None, b"\xff\x00"),
        ("k", '{"a": 1}', b"\0\0"),
        ("k", None, None),
        ("k", "***", None),
    ]
    assert rows[4]["masked"] == ["value hidden"]


def names_in(folder: Path) -> list[str]:
    return os.listdir(folder)


class _Endless:
    """Gives a batch at each turn; nothing else is asked of it."""

    async def tail(self, tail: Tail):
        for offset in range(1_000_000):
            yield TailBatch([record(offset)])
            await asyncio.sleep(0)


async def test_a_file_has_its_name_once_it_is_whole_and_none_if_it_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    run = TailRun(0, count=5)
    ending = await export(_Endless(), Tail(("orders",)), run, path, FileKind.PARQUET, lambda: None)  # type: ignore[arg-type]
    assert ending.complete and pyarrow.parquet.read_table(path).column("offset").to_pylist() == [0, 1, 2, 3, 4]
    with pytest.raises(FileExistsError):
        await export(_Endless(), Tail(("orders",)), TailRun(0), path, FileKind.PARQUET, lambda: None)  # type: ignore[arg-type]
    os.unlink(path)
    begun = asyncio.Event()
    endless = TailRun(0)
    writing = asyncio.ensure_future(
        export(_Endless(), Tail(("orders",)), endless, path, FileKind.PARQUET, begun.set)  # type: ignore[arg-type]
    )
    await begun.wait()
    assert names_in(tmp_path) == ["orders.parquet.part"]
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not names_in(tmp_path)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OSError, match=r"pip install 'kconsole\[parquet\]'"):
        ParquetFile(tmp_path / "f.parquet")


def test_the_name_tells_the_format() -> None:
    for name, kind in (("a.parquet", FileKind.PARQUET), ("a.CSV", FileKind.CSV), ("a.txt", FileKind.JSON_LINES)):
        assert FileKind.of(Path(name), FileKind.JSON_LINES) is kind
