"""What Apache Kafka's own cleaner (4.3.1) wrote, byte by byte. Made by make_golden_cleaner.py."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from cleaner_scenario import DELETE_RETENTION_MS, INDEX_INTERVAL_BYTES, SEGMENT_BYTES, Clean, operations
from log_scenario import NOW_MS, Append, append
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, open_log

from engine.storage.cleaner import clean, run
from engine.storage.cleaner_plan import plan

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "cleaner-4.3.1.txt")
_KINDS = re.compile(r"[0-9]+[.](log|txnindex)")
_INDEXES = re.compile(r"[0-9]+[.](index|timeindex)")

Files = dict[str, bytes]


def theirs() -> tuple[list[int], list[Files]]:
    """How far each cleaning came, and the files after it."""
    ends: list[int] = []
    files: list[Files] = []
    with open(GOLDEN, encoding="ascii") as file:
        for line in file.read().splitlines():
            kind, number, name, *content = line.split(" ")
            if kind == "clean":
                ends.append(int(name))
                files.append({})
            else:
                files[int(number)][name] = bytes.fromhex(content[0] if content else "")
    return ends, files


def ours() -> Iterator[tuple[int, Files]]:
    """The same of ours; of the last one with the indexes."""
    disk = MemoryDisk()
    log = open_log(
        disk,
        cleanup_policy="compact",
        segment_bytes=SEGMENT_BYTES,
        index_interval_bytes=INDEX_INTERVAL_BYTES,
        delete_retention_ms=DELETE_RETENTION_MS,
    )
    for each in operations():
        if isinstance(each, Append):
            append(log, each)
        elif isinstance(each, Clean):
            log.flush()
            done = run(clean(plan(log, each.now_ms), each.now_ms, 1 << 20))
            assert done is not None
            log.first_dirty_offset = done.end_offset
            yield done.end_offset, _files(disk, _KINDS)
        elif each.name == "roll":
            log.roll(NOW_MS)
        else:
            log.set_high_watermark(log.log_end_offset)
    log.close()
    yield log.log_end_offset, _files(disk, _INDEXES)


def _files(disk: MemoryDisk, kinds: re.Pattern[str]) -> Files:
    return {name: disk.read(f"{DIRECTORY}/{name}") for name in disk.list_dir(DIRECTORY) if kinds.fullmatch(name)}


def test_what_is_left_is_what_kafka_leaves() -> None:
    ends, expected = theirs()
    *rounds, (_, indexes) = ours()
    assert [end for end, _ in rounds] == ends and len(ends) == 5
    for number, (_, files) in enumerate(rounds):
        wanted = {name: content for name, content in expected[number].items() if _KINDS.fullmatch(name)}
        # Where transactions ended and none was aborted we have an empty file, Kafka has none.
        found = {name: content for name, content in files.items() if content or not name.endswith(".txnindex")}
        assert sorted(found) == sorted(wanted), number
        for name, content in wanted.items():
            assert found[name] == content, (number, name)
    for name, content in expected[-1].items():
        if _INDEXES.fullmatch(name):
            assert indexes[name] == content, name
