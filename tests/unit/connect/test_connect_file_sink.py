"""Records into files by topic and partition, rotated by size and age."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from engine.connect.connectors.file_sink import FileSinkConnector, FileSinkTask
from engine.connect.data import STRING, Struct, struct
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import Header, Headers, SinkRecord


def task(path: Path, **props: str) -> FileSinkTask:
    made = FileSinkTask()
    made.start({"path": str(path), **{name.replace("__", "."): value for name, value in props.items()}})
    return made


def records(*values: Any, topic: str = "t", partition: int = 0) -> list[SinkRecord]:
    return [
        SinkRecord(topic=topic, partition=partition, offset=number, value=value) for number, value in enumerate(values)
    ]


def test_each_topic_and_partition_has_its_file(tmp_path: Path) -> None:
    sink = task(tmp_path / "{topic}" / "{partition}.txt")
    sink.put([*records("a", None), *records("b", topic="u"), *records("c", partition=1), *records("d", topic="..")])
    sink.flush({})
    sink.put(records({"x": 1}))
    sink.stop()
    found = {str(each.relative_to(tmp_path)): each.read_text() for each in tmp_path.rglob("*.txt")}
    assert found == {"t/0.txt": "a\nnull\n{x=1}\n", "u/0.txt": "b\n", "t/1.txt": "c\n", "topic ../0.txt": "d\n"}


def test_records_become_json(tmp_path: Path) -> None:
    value = Struct(struct({"x": STRING}), {"x": "ä"})
    sink = task(tmp_path / "a", format="json")
    sink.put(records(value, b"\xff", None))
    assert (tmp_path / "a").read_text() == '{"x":"ä"}\n"/w=="\nnull\n'
    whole = task(tmp_path / "b", format="json-record")
    headers = Headers([Header("h", STRING, "v")])
    whole.put([SinkRecord(topic="t", partition=2, offset=7, key="k", value=value, timestamp=5, headers=headers)])
    assert json.loads((tmp_path / "b").read_text()) == {
        **{"topic": "t", "partition": 2, "offset": 7, "timestamp": 5},
        **{"key": "k", "value": {"x": "ä"}, "headers": [["h", "v"]]},
    }


def test_files_are_rotated_by_size_and_the_last_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    sink = task(path, rotate__bytes="10")
    sink.put(records("1234", "1234", "1234", "x" * 20, "1"))
    sink.put(records("2", "3"))
    rotated = sorted(each for each in tmp_path.iterdir() if each != path)
    assert [each.read_text() for each in rotated] == ["1234\n1234\n", "1234\n", "x" * 20 + "\n"]
    assert path.read_text() == "1\n2\n3\n"
    sink.stop()
    few = task(path, rotate__bytes="2", rotate__keep="2")
    few.put(records(*"abcdef"))
    rotated = sorted(each for each in tmp_path.iterdir() if each != path)
    assert [each.read_text() for each in rotated] == ["d\n", "e\n"]
    assert path.read_text() == "f\n"


def test_files_are_rotated_by_age_also_when_nothing_comes(tmp_path: Path) -> None:
    sink = task(tmp_path / "out", rotate__interval__ms="20")
    sink.put(records("a"))
    time.sleep(0.03)
    sink.put([])
    sink.put([])
    (rotated,) = tmp_path.iterdir()
    assert rotated.name.startswith("out.2") and rotated.read_text() == "a\n"


def test_half_a_line_of_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("whole\nha")
    sink = task(path)
    sink.put(records("half"))
    assert path.read_text() == "whole\nha\nhalf\n"


def test_partitions_that_go_are_closed_and_opened_again(tmp_path: Path) -> None:
    sink = task(tmp_path / "out")
    sink.put(records("a"))
    before = os.listdir("/proc/self/fd")
    sink.close([])
    assert len(os.listdir("/proc/self/fd")) == len(before) - 1
    sink.put(records("b"))
    assert (tmp_path / "out").read_text() == "a\nb\n"


def test_what_cannot_be_is_told() -> None:
    connector = FileSinkConnector()
    for path, message in [("out", "begins with a slash"), ("/x/{key}", "Only {topic}"), ("/x/{", "Single '{'")]:
        with pytest.raises(ConfigError, match=message):
            connector.start({"path": path})
    connector.start({"path": "/x/{topic}"})
    assert len(connector.task_configs(4)) == 1
    connector.start({"path": "/x/{partition}"})
    assert len(connector.task_configs(4)) == 4
    with pytest.raises(ConnectError, match="/dev/full cannot be written: No space left on device"):
        task(Path("/dev/full")).put(records("x"))
