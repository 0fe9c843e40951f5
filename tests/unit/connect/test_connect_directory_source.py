"""A directory of whole files: where they go, from where reading goes on, and what becomes of broken ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.connect.connectors import directory
from engine.connect.connectors.directory import DirectorySourceConnector, DirectorySourceTask
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord
from tests.unit.connect.task_contexts import Offsets, started

Start = Callable[..., DirectorySourceTask]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(directory, "_IDLE_S", 0.001)

    def starting(offsets: Offsets | None = None, **props: str) -> DirectorySourceTask:
        configs = {"input.path": str(tmp_path), "topic": "t", "file.minimum.age.ms": "0"}
        configs |= {name.replace("__", "."): value for name, value in props.items()}
        return started(DirectorySourceTask(), configs, offsets)

    return starting


def read(task: DirectorySourceTask, *, acknowledge: bool = True, polls: int = 10) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    for _ in range(polls):
        records = task.poll() or []
        found += records
        for each in records if acknowledge else ():
            task.commit_record(each, 0)
    return found


def values(records: list[SourceRecord]) -> list[Any]:
    return [each.value for each in records]


def tree(path: Path) -> Iterator[str]:
    return (str(each.relative_to(path)) for each in sorted(path.rglob("*")) if each.is_file())


def test_files_are_read_by_age_and_finished_when_they_are_acknowledged(tmp_path: Path, start: Start) -> None:
    for name, age in (("b", 2), ("a", 1), (".hidden", 3), ("empty", 5)):
        (tmp_path / name).write_text("" if name == "empty" else f"{name} 1\r\n{name} 2")
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    task = start(input__file__pattern="[a-z]+")
    records = read(task, acknowledge=False)
    assert values(records) == ["b 1", "b 2", "a 1", "a 2"]
    assert [each.source_offset for each in records[:2]] == [{"line": 1}, {"line": 2}]
    assert records[0].headers.last_with_name("file").value == "b"  # type: ignore[union-attr]
    assert list(tree(tmp_path)) == [".hidden", "finished/empty", "processing/a", "processing/b"]
    for each in records[:3]:
        task.commit_record(each, 7)
    task.poll()
    assert list(tree(tmp_path)) == [".hidden", "finished/b", "finished/empty", "processing/a"]
    task.commit_record(records[3], None)
    task.poll()
    assert list(tree(tmp_path)) == [".hidden", "finished/a", "finished/b", "finished/empty"]


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_a_file_that_was_begun_goes_on_behind_the_line(tmp_path: Path, start: Start, done: int) -> None:
    (tmp_path / "f").write_text("1\n2\n3\n4\n")
    offsets = Offsets()
    before = read(start(offsets), acknowledge=False)
    if done:
        offsets.put(before[done - 1].source_partition, before[done - 1].source_offset)
    assert values(read(start(offsets))) == ["1", "2", "3", "4"][done:]
    assert list(tree(tmp_path)) == ["finished/f"]
    # Another file of the name is another file, and keeps the first.
    (tmp_path / "f").write_text("5\n")
    assert values(read(start(offsets))) == ["5"]
    assert list(tree(tmp_path)) == ["finished/f", "finished/f.1"]


def test_csv_gives_structs_with_columns_of_the_first_line(tmp_path: Path, start: Start) -> None:
    (tmp_path / "f.csv").write_text('\ufeffid;text\n1;"a;""b""\nc"\n\n2;\n', encoding="utf-8")
    offsets = Offsets()
    records = read(start(offsets, format="csv", csv__separator=";", key__field="id"))
    assert [dict(each.value.items()) for each in records] == [{"id": "1", "text": 'a;"b"\nc'}, {"id": "2", "text": ""}]
    assert [each.key for each in records] == ["1", "2"]
    assert [each.source_offset["line"] for each in records] == [3, 5]
    (tmp_path / "g.csv").write_text("7\t8\n")
    (row,) = read(start(format="csv", csv__separator="\\t", csv__columns="x, y"))
    assert dict(row.value.items()) == {"x": "7", "y": "8"}


def test_json_lines_are_data(tmp_path: Path, start: Start) -> None:
    (tmp_path / "f").write_text('{"id": 5}\n\n{"id": "x", "more": [1]}\n')
    records = read(start(format="json-lines", key__field="id", cleanup__policy="delete"))
    assert [(each.key, each.value, each.source_offset["line"]) for each in records] == [
        ("5", {"id": 5}, 1),
        ("x", {"id": "x", "more": [1]}, 3),
    ]
    assert list(tree(tmp_path)) == []


@pytest.mark.parametrize(
    ("props", "content", "good", "reason"),
    [
        ({"format": "json-lines"}, b'{"a": 1}\n{"a"\n', 1, "line 2: no JSON"),
        ({"format": "json-lines"}, b"1\n" + b"[" * 100_000, 1, "line 2: no JSON"),
        ({"format": "csv"}, b"a,b\n1," + b"x" * 200_000 + b"\n3\n", 1, "line 3: 1 columns, and 2 are expected"),
        ({"format": "csv"}, b'a,b\n1,2\n"3', 1, "line 3: no CSV: unexpected end of data"),
        ({"format": "csv"}, b"a,a\n1,2\n", 0, "line 1: columns need names, each another one: a, a"),
        ({"format": "csv", "key__field": "c"}, b"a,b\n1,2\n", 0, "line 2: there is no c, which is to be the key"),
        ({}, b"ok\n" + b"x" * 20_000 + b"\n\xff\n", 2, "no utf-8"),
    ],
)
def test_a_broken_file_goes_to_the_errors_with_the_reason(
    tmp_path: Path, start: Start, props: dict[str, str], content: bytes, good: int, reason: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    (tmp_path / "g").write_text("a,b\n" if props.get("format") == "csv" else "1\n")
    records = read(start(**props))
    from_f = [each for each in records if each.source_partition["file"] == "f"]
    assert len(from_f) <= good if reason == "no utf-8" else len(from_f) == good
    assert list(tree(tmp_path)) == ["error/f", "error/f.reason", "finished/g"]
    assert reason in (tmp_path / "error" / "f.reason").read_text()
    assert (tmp_path / "error" / "f").read_bytes() == content


def test_a_broken_file_may_end_the_task_when_what_is_before_was_given(tmp_path: Path, start: Start) -> None:
    (tmp_path / "f").write_text('1\n{"a"\n')
    task = start(format="json-lines", on__error="fail")
    assert values(list(task.poll() or ())) == [1]
    with pytest.raises(ConnectError, match=r"processing/f: line 2: no JSON"):
        task.poll()


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path, start: Start) -> None:
    (tmp_path / "f").write_text("1\n")
    task = start(file__minimum__age__ms="60000")
    assert read(task) == []
    os.utime(tmp_path / "f", (1, 1))
    assert values(read(task)) == ["1"]


def test_each_file_is_read_by_one_of_the_tasks(tmp_path: Path, start: Start) -> None:
    for number in range(20):
        (tmp_path / str(number)).write_text(f"{number}\n")
    connector = DirectorySourceConnector()
    connector.start({"input.path": str(tmp_path), "topic": "t", "file.minimum.age.ms": "0"})
    shares = [values(read(started(DirectorySourceTask(), each), polls=30)) for each in connector.task_configs(3)]
    assert all(shares)
    assert sorted(int(each) for share in shares for each in share) == list(range(20))


def test_configs_and_offsets_that_cannot_be_are_refused(tmp_path: Path) -> None:
    connector = DirectorySourceConnector()
    props = {"input.path": str(tmp_path / "none"), "topic": "t"}
    assert "There is no such directory on this worker" in connector.validate(props)["input.path"][0]
    with pytest.raises(ConnectError, match="There is no directory"):
        started(DirectorySourceTask(), props)
    for name, value, message in [
        ("input.path", "in", "begins with a slash"),
        ("csv.separator", "ab", "One character"),
        ("key.field", "x", "Lines have no fields"),
        ("input.file.pattern", "(", "no regular expression"),
    ]:
        with pytest.raises(ConfigError, match=message):
            connector.start({**props, name: value})
    key = (("file", "f"), ("modified", 1))
    assert connector.alter_offsets(props, {key: {"line": 3}, (("x", 1),): None})
    with pytest.raises(ConnectError, match="the key 'line', a number from 0 on"):
        connector.alter_offsets(props, {key: {"line": -1}})
    with pytest.raises(ConnectError, match="the keys 'file' and 'modified'"):
        connector.alter_offsets(props, {(("file", "f"),): {"line": 1}})
