"""A process that writes to stores is killed (SIGKILL) again and again: each store is whole, as of its own offset.

What a store holds at an offset is a function of the offset alone, so that after each kill the contents can be told
from the offset that is found beside them. ``KCONSOLE_STORE_KILLS`` is how often, 2 unless it is set.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.streams.stores.buffered import BufferedEngine
from engine.streams.stores.memory import MemoryKeyValueEngine, MemoryWindowEngine
from engine.streams.stores.ordered import OrderedWindowEngine
from engine.streams.stores.rocksdb import RocksDbBackend
from engine.streams.stores.sqlite import SqliteBackend

PLACES = {"sqlite": SqliteBackend, "rocksdb": RocksDbBackend}
KILLS = int(os.environ.get("KCONSOLE_STORE_KILLS", "2"))


def engines(place: str, directory: Path) -> tuple[Any, Any]:
    backend = PLACES[place]
    # Staged after every 50 writes: a kill finds transactions of which a part is in the file already.
    items = BufferedEngine(backend(directory / "items", "key-value"), stage_at=50, cache_bytes=2_000)
    windows = BufferedEngine(backend(directory / "windows", "window"), stage_at=50, cache_bytes=2_000)
    return items, OrderedWindowEngine(windows)


def write_item(engine: Any, offset: int) -> None:
    value = None if offset % 5 == 0 else b"%d" % offset * (offset % 40)
    engine.put(b"key-%d" % (offset * 7919 % 300), value)


def write_window(engine: Any, offset: int) -> None:
    engine.put(b"key-%d" % (offset * 31 % 17), offset // 10, 0, None if offset % 11 == 0 else b"%d" % offset)
    if offset % 100 == 0:
        engine.remove_before(offset // 10 - 50)


def write_until_killed(place: str, directory: Path) -> None:
    items, windows = engines(place, directory)
    choose = random.Random(os.getpid())
    item_offset, window_offset = items.changelog_offset() or 0, windows.changelog_offset() or 0
    while True:
        for _ in range(choose.randrange(1, 400)):
            write_item(items, item_offset)
            item_offset += 1
        items.commit(item_offset)
        for _ in range(choose.randrange(1, 400)):
            write_window(windows, window_offset)
            window_offset += 1
        windows.commit(window_offset)
        print(item_offset, window_offset, flush=True)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_killed_writer_leaves_whole_stores_and_their_offsets(place: str, tmp_path: Path) -> None:
    choose = random.Random(place)
    item_model, window_model = MemoryKeyValueEngine(), MemoryWindowEngine()
    item_offset = window_offset = 0
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, __file__, place, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(choose.randrange(1, 40)):
            line = writer.stdout.readline()
        writer.kill()
        told = (line + writer.stdout.read()).splitlines()
        writer.stdout.close()
        writer.wait()
        last = [int(word) for word in told[-1 if told[-1].count(b" ") == 1 else -2].split()]

        items, windows = engines(place, tmp_path)
        assert items.changelog_offset() >= last[0]
        assert windows.changelog_offset() >= last[1]
        while item_offset < items.changelog_offset():
            write_item(item_model, item_offset)
            item_offset += 1
        while window_offset < windows.changelog_offset():
            write_window(window_model, window_offset)
            window_offset += 1
        assert list(items.range(None, None)) == list(item_model.range(None, None))
        assert list(windows.fetch_range(None, None, 0, 2**40)) == list(window_model.fetch_range(None, None, 0, 2**40))
        items.close()
        windows.close()


def test_at_each_statement_of_sqlite_the_files_are_a_whole_store(tmp_path: Path) -> None:
    path = tmp_path / "live" / "counts.db"
    backend = SqliteBackend(path, "key-value")
    engine = BufferedEngine(backend, stage_at=3)
    taken: list[Path] = []

    def take(statement: str) -> None:
        """What a kill before this statement would leave behind."""
        to = tmp_path / f"{len(taken)}"
        to.mkdir()
        for each in path.parent.iterdir():
            shutil.copy(each, to)
        taken.append(to / path.name)

    engine.put(b"key-0", b"before")
    engine.commit(0)
    backend._connection.set_trace_callback(take)
    model = MemoryKeyValueEngine()
    model.put(b"key-0", b"before")
    expected = {0: list(model.range(None, None))}
    for offset in range(1, 25):
        for each in (engine, model):
            each.put(b"key-%d" % (offset % 7), None if offset % 5 == 0 else b"%d" % offset)
        if offset % 8 == 0:
            engine.commit(offset)
            expected[offset] = list(model.range(None, None))
    backend._connection.set_trace_callback(None)
    engine.close()
    found = set()
    for each in taken:
        left = BufferedEngine(SqliteBackend(each, "key-value"))
        offset = left.changelog_offset()
        assert offset is not None
        assert list(left.range(None, None)) == expected[offset]
        found.add(offset)
        left.close()
    assert found == {0, 8, 16}
    assert len(taken) > 30


if __name__ == "__main__":
    write_until_killed(sys.argv[1], Path(sys.argv[2]))
