"""Files by patterns: rotation of both kinds, restarts at any record, records of several lines, encodings."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.connect.connectors import file_source
from engine.connect.connectors.file_records import RecordReader
from engine.connect.connectors.file_source import FileSourceConnector, FileSourceTask
from engine.connect.data import STRING
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord
from tests.unit.connect.task_contexts import Offsets, started

Start = Callable[..., FileSourceTask]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(file_source, "_IDLE_S", 0.001)
    tasks: list[FileSourceTask] = []

    def starting(*paths: str, offsets: Offsets | None = None, **props: str) -> FileSourceTask:
        configs = {"paths": ",".join(str(tmp_path / each) for each in paths or ("app.log",)), "topic": "logs"}
        configs |= {"scan.interval.ms": "1", "multiline.timeout.ms": "0", "close.after.ms": "1"}
        configs |= {name.replace("__", "."): value for name, value in props.items()}
        tasks.append(started(FileSourceTask(), configs, offsets))
        return tasks[-1]

    yield starting
    for task in tasks:
        task.stop()


def read(task: FileSourceTask, offsets: Offsets | None = None, quiet: int = 8) -> list[SourceRecord]:
    """Everything, until several polls in a row gave nothing."""
    found: list[SourceRecord] = []
    nothing = 0
    while nothing < quiet:
        records = task.poll() or []
        nothing = 0 if records else nothing + 1
        found += records
    for each in found if offsets is not None else ():
        assert offsets is not None
        offsets.put(each.source_partition, each.source_offset)
    return found


def values(records: list[SourceRecord]) -> list[str]:
    return [each.value for each in records]


def append(path: Path, text: str) -> None:
    with path.open("ab") as out:
        out.write(text.encode())


def test_files_of_patterns_and_directories_are_read_with_their_paths_as_keys(tmp_path: Path, start: Start) -> None:
    for name in ("a.log", "deep/er/b.log", "dir/c.txt", "dir/d.gz", "other.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"in {name}\n")
    records = read(start("**/*.log", "dir"))
    assert sorted((each.key.removeprefix(f"{tmp_path}/"), each.value) for each in records) == [
        (name, f"in {name}") for name in ("a.log", "deep/er/b.log", "dir/c.txt")
    ]
    (first,) = (each for each in records if each.key.endswith("a.log"))
    assert (first.key_schema, first.value_schema, first.topic) == (STRING, STRING, "logs")
    assert first.source_partition == {"directory": str(tmp_path), "inode": (tmp_path / "a.log").stat().st_ino}
    assert first.source_offset["position"] == len("in a.log\n")


def test_a_file_that_is_renamed_is_read_to_its_end_and_the_next_from_its_beginning(
    tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "app.log"
    append(path, "1\n2\n")
    task = start(ends__topic="ends")
    assert values(read(task)) == ["1", "2"]
    inode = path.stat().st_ino
    with path.open("ab") as still_open:
        path.rename(tmp_path / "app.log.1")
        append(path, "5\n")
        still_open.write(b"3\n4 without an end")
        still_open.flush()
        records = read(task)
    by_topic = {topic: [each for each in records if each.topic == topic] for topic in ("logs", "ends")}
    assert sorted(values(by_topic["logs"])) == ["3", "4 without an end", "5"]
    assert {each.key for each in records} == {str(path)}
    (end,) = by_topic["ends"]
    assert dict(end.value.items()) == {"path": str(path), "inode": inode, "bytes": 4 + len("3\n4 without an end")}
    append(path, "6\n")
    (tmp_path / "app.log.1").unlink()
    assert values(read(task)) == ["6"]


def test_a_file_that_is_deleted_is_read_to_its_end(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "app.log"
    append(path, "1\n")
    task = start(ends__topic="ends")
    assert values(read(task)) == ["1"]
    with path.open("ab") as still_open:
        path.unlink()
        still_open.write(b"2\n")
    records = read(task)
    assert [each.topic for each in records] == ["logs", "ends"]
    assert records[0].value == "2"
    assert not task._files


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_what_was_rotated_while_nobody_read_is_read_from_where_it_was(
    tmp_path: Path, start: Start, pattern: str
) -> None:
    path, offsets = tmp_path / "app.log", Offsets()
    append(path, "1\n2\n")
    before = start(pattern, offsets=offsets)
    assert values(read(before, offsets)) == ["1", "2"]
    before.stop()
    append(path, "3\n")
    path.rename(tmp_path / "app.log.1")
    task = start(pattern, offsets=offsets)
    records = read(task, offsets)
    assert values(records) == ["3"]
    append(path, "4\n")
    records += read(task, offsets)
    assert values(records) == ["3", "4"]
    assert {each.key for each in records} == {str(path)}
    assert values(read(start(pattern, offsets=offsets))) == []


@pytest.mark.parametrize("longer", [False, True])
def test_a_file_that_is_copied_and_truncated_is_read_anew(tmp_path: Path, start: Start, longer: bool) -> None:
    path, offsets = tmp_path / "app.log", Offsets()
    append(path, "old 1\nold 2\nbegun")
    task = start(offsets=offsets)
    assert values(read(task, offsets)) == ["old 1", "old 2"]
    shutil.copy(path, tmp_path / "app.log.1")
    with path.open("r+b") as out:
        out.truncate(0)
    after = [f"new {number}" for number in range(20 if longer else 1)]
    append(path, "".join(f"{each}\n" for each in after))
    assert values(read(task)) == ["begun", *after]
    # The same while nobody reads: all that is known is the offset of "old 2".
    assert values(read(start(offsets=offsets))) == after


def test_a_file_that_is_truncated_while_much_of_it_is_unread_is_read_anew(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "_BLOCK_BYTES", 64)
    log = tmp_path / "app.log"
    append(log, "".join(f"old {number}\n" for number in range(100)))
    task = start()
    assert task.poll() is not None
    log.write_text("")
    append(log, "".join(f"new {number}\n" for number in range(100)))
    assert [each for each in values(read(task)) if not each.startswith("old")] == [f"new {each}" for each in range(100)]


def test_an_inode_that_has_come_to_another_file_is_no_reason_to_skip_anything(tmp_path: Path, start: Start) -> None:
    path, offsets = tmp_path / "app.log", Offsets()
    append(path, "first\n")
    offsets.put(
        {"directory": str(tmp_path), "inode": path.stat().st_ino},
        {"path": str(tmp_path / "gone.log"), "position": 3, "head_bytes": 3, "head_crc": 1},
    )
    (record,) = read(start(offsets=offsets))
    assert (record.key, record.value) == (str(path), "first")


def test_reading_goes_on_behind_any_record_whatever_blocks_are_read(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.log"
    append(path, "".join(f"{number} {'ü' * (number % 50)}\r\n" for number in range(200)))
    expected = [f"{number} {'ü' * (number % 50)}" for number in range(200)]
    chance = random.Random(3)
    for _ in range(12):
        monkeypatch.setattr(file_source, "_BLOCK_BYTES", chance.randrange(1, 400))
        offsets = Offsets()
        everything = read(start())
        assert values(everything) == expected
        at = chance.randrange(200)
        offsets.put(everything[at].source_partition, everything[at].source_offset)
        assert values(read(start(offsets=offsets))) == expected[at + 1 :]


def test_lines_that_belong_together_are_one_record(tmp_path: Path, start: Start) -> None:
    path, offsets = tmp_path / "app.log", Offsets()
    append(path, "    stray\n2026-01-01 one\n2026-01-02 two\n  at x\n  at y\n2026-01-03 three\n")
    pattern = r"\d{4}-"
    records = read(start(multiline__pattern=pattern, multiline__timeout__ms="100000"))
    assert values(records) == ["    stray", "2026-01-01 one", "2026-01-02 two\n  at x\n  at y"]
    offsets.put(records[2].source_partition, records[2].source_offset)
    # Quiet for the time-out: the last one is whole as well.
    later = start(multiline__pattern=pattern, offsets=offsets)
    assert values(read(later, offsets)) == ["2026-01-03 three"]
    append(path, "2026-01-04 four\n")
    assert values(read(later)) == ["2026-01-04 four"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_encodings(tmp_path: Path, start: Start, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["\u00e9\u0a0a" if encoding != "latin-1" else "é", "", "zwei ÿ", "x" * 40]
    mark = "\ufeff" if encoding.startswith("utf") else ""
    path = tmp_path / "app.log"
    path.write_bytes((mark + "".join(f"{each}\r\n" for each in lines)).encode(encoding))
    for block in (1, 3, 7, 1000):
        monkeypatch.setattr(file_source, "_BLOCK_BYTES", block)
        records = read(start(encoding=encoding))
        assert values(records) == lines
        assert records[-1].source_offset["position"] == path.stat().st_size


def test_what_is_too_long_is_cut_between_characters() -> None:
    reader = RecordReader(0, encoding="utf-8", pattern=None, most=16)
    text = "ä" * 20 + "b\nnext\n"
    records = [each for at in range(0, len(text.encode()), 5) for each in reader.feed(text.encode()[at : at + 5])]
    assert [each.text for each in records] == ["ä" * 8, "ä" * 8, "ääääb", "next"]
    assert records[-1].end == len(text.encode())
    many = RecordReader(0, encoding="utf-8", pattern=re.compile("A"), most=16)
    found = [*many.feed(b"A1\n" + b"23456\n" * 5 + b"A2\n"), *many.end()]
    assert [each.text for each in found] == ["A1\n23456\n23456", "23456\n23456\n23456", "A2"]


def test_files_that_are_there_may_be_begun_at_their_end(tmp_path: Path, start: Start) -> None:
    append(tmp_path / "app.log", "old\nbeg")
    task = start("*.log", start="end")
    assert values(read(task)) == []
    append(tmp_path / "app.log", "un\nnew\n")
    append(tmp_path / "later.log", "all of it\n")
    assert sorted(values(read(task))) == ["all of it", "begun", "new"]


def test_each_file_is_read_by_one_of_the_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_source, "_IDLE_S", 0.001)
    for number in range(30):
        append(tmp_path / f"{number}.log", f"{number}\n")
    connector = FileSourceConnector()
    connector.start({"paths": str(tmp_path), "topic": "t", "scan.interval.ms": "1"})
    shares = [values(read(started(FileSourceTask(), each))) for each in connector.task_configs(3)]
    assert all(shares)
    assert sorted(int(each) for share in shares for each in share) == list(range(30))


def test_many_files_are_not_all_open_at_once(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_source, "_MOST_OPEN", 5)
    for number in range(40):
        append(tmp_path / f"{number}.log", f"{number}\n")
    task = start("*.log")
    assert len(read(task, quiet=100)) == 40
    assert sum(each.stream is not None for each in task._files.values()) <= 5
    for number in range(0, 40, 7):
        append(tmp_path / f"{number}.log", "more\n")
    assert values(read(task, quiet=100)) == ["more"] * 6


def test_random_writing_and_rotating_loses_and_repeats_nothing(tmp_path: Path, start: Start) -> None:
    for seed in range(8):
        chance, path, offsets = random.Random(seed), tmp_path / f"{seed}.log", Offsets()
        # What is rotated twice between two looks is found under a name that the pattern has, or not at all.
        pattern = f"{path.name}*"
        task, found, number, kept = start(pattern, offsets=offsets), [], 0, 0
        for _ in range(60):
            match chance.randrange(6):
                case 0 if path.exists():
                    kept += 1
                    os.rename(path, tmp_path / f"{seed}.log.{kept}")
                case 1:
                    found += values(read(task, offsets, quiet=1))
                    task.stop()
                    task = start(pattern, offsets=offsets)
                case 2:
                    found += values(read(task, offsets, quiet=1))
                case _:
                    lines = chance.randrange(1, 4)
                    append(path, "".join(f"{each}\n" for each in range(number, number + lines)))
                    number += lines
        found += values(read(task, quiet=20))
        assert sorted(map(int, found)) == list(range(number)), seed


def test_configs_and_offsets_that_cannot_be_are_refused() -> None:
    props = {"paths": "/var/log/*.log", "topic": "t"}
    for name, value, message in [
        ("paths", "log/*.log", "A path that begins with a slash"),
        ("paths", "", "At least one path"),
        ("encoding", "utf-16", "utf-16-le or utf-16-be"),
        ("encoding", "klingon", "No such encoding"),
        ("multiline.pattern", "(", "It is no regular expression"),
    ]:
        with pytest.raises(ConfigError, match=message):
            FileSourceConnector().start({**props, name: value})
    alter = FileSourceConnector().alter_offsets
    key = (("directory", "/d"), ("inode", 1))
    assert alter(props, {key: {"path": "/d/f", "position": 0}, (("any", 1),): None})
    for partition, offset, message in [
        ((("filename", "x"),), {"path": "/d/f", "position": 1}, "keys 'directory' and 'inode'"),
        (key, {"path": "/d/f", "position": -1}, "'position', a number of bytes"),
        (key, {"position": 1}, "the key 'path'"),
    ]:
        with pytest.raises(ConnectError, match=message):
            alter(props, {partition: offset})
