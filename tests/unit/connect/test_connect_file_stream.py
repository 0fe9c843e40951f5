"""Kafka's file connectors: lines, positions in bytes, messages."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from engine.connect.batches import SinkBatch
from engine.connect.connector import ExactlyOnceSupport
from engine.connect.connectors import file
from engine.connect.connectors.file import (
    FileStreamSinkConnector,
    FileStreamSinkTask,
    FileStreamSourceConnector,
    FileStreamSourceTask,
)
from engine.connect.data import STRING, Struct, struct
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SinkRecord, SourceRecord
from tests.unit.connect.task_contexts import Offsets, polled, started


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "IDLE_S", 0.001)


def source(path: Path, offsets: Offsets | None = None, **props: str) -> FileStreamSourceTask:
    return started(FileStreamSourceTask(), {"file": str(path), "topic": "lines", **props}, offsets)


def told(records: list[SourceRecord]) -> list[tuple[str, int]]:
    return [(each.value, each.source_offset["position"]) for each in records]


def test_lines_come_with_the_position_in_bytes_behind_each(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes("one\nzwölf\r\ndrei\rvier\n\nlast".encode())
    task = source(path)
    records = polled(task, 5)
    assert told(records) == [("one", 4), ("zwölf", 12), ("drei", 17), ("vier", 22), ("", 23)]
    (first, *_) = records
    assert (first.topic, first.key, first.value_schema, first.partition) == ("lines", None, STRING, None)
    assert first.source_partition == {"filename": str(path)}
    assert first.timestamp is not None and first.timestamp > 1_700_000_000_000
    assert task.poll() is None


def test_a_line_without_an_end_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"begun")
    task = source(path)
    assert task.poll() is None
    with path.open("ab") as out:
        for piece, expected in [(b" and", []), (b" ended\r", []), (b"\nnext\r", [("begun and ended", 17)])]:
            out.write(piece)
            out.flush()
            assert told(list(task.poll() or ())) == expected
        out.write(b"more\n")
    assert told(polled(task, 2)) == [("next", 22), ("more", 27)]


@pytest.mark.parametrize("block", range(1, 12))
def test_where_blocks_end_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(file, "BLOCK_BYTES", block)
    path = tmp_path / "in"
    text = "a\r\n\r\rbü\n\nc\rlong line of text\r\n\r\n"
    path.write_bytes(text.encode())
    records = polled(source(path), 9, polls=100)
    assert [each.value for each in records] == ["a", "", "", "bü", "", "c", "long line of text", ""]
    assert told(records)[-1][1] == len(text.encode())


def test_a_carriage_return_ends_a_line_when_something_else_than_a_newline_follows(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"a\r")
    task = source(path)
    assert task.poll() is None
    with path.open("ab") as out:
        out.write(b"b")
    assert told(polled(task, 1)) == [("a", 2)]


def test_reading_goes_on_behind_the_offset_of_any_record(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("".join(f"line {number} é\n" for number in range(50)))
    everything = polled(source(path), 50)
    for number in (0, 7, 49):
        offsets = Offsets()
        offsets.put(everything[number].source_partition, everything[number].source_offset)
        after = polled(source(path, offsets), 49 - number, polls=3)
        assert told(after) == told(everything[number + 1 :])


def test_a_batch_has_no_more_lines_than_configured(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("x\n" * 25)
    task = source(path, **{"batch.size": "10"})
    assert [len(task.poll() or ()) for _ in range(4)] == [10, 10, 5, 0]


def test_a_file_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "in"
    task = source(path)
    assert task.poll() is None
    path.write_text("here\n")
    assert told(polled(task, 1)) == [("here", 5)]
    task.stop()
    assert task.poll() is None


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"\xff\xfe ok\n")
    assert told(polled(source(path), 1)) == [("\ufffd\ufffd ok", 6)]


def test_an_offset_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text("x\n")
    offsets = Offsets()
    offsets.put({"filename": str(path)}, {"position": "2"})
    with pytest.raises(ConnectError, match="Offset position is the incorrect type"):
        source(path, offsets).poll()


def test_the_standard_input_is_read_and_has_no_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(file, "STDIN", read)
    task = started(FileStreamSourceTask(), {"topic": "lines"})
    assert task.poll() is None
    os.write(write, b"typed\n")
    assert told(polled(task, 1)) == [("typed", None)]
    os.close(write)
    assert task.poll() is None
    task.stop()
    os.close(read)


def test_a_named_pipe_is_read_and_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in")
    task = source(tmp_path / "in")
    assert task.poll() is None  # nobody writes
    with open(tmp_path / "in", "wb", buffering=0) as out:
        assert task.poll() is None
        out.write(b"a\nb\nc")
        assert told(polled(task, 2)) == [("a", 2), ("b", 4)]
    with open(tmp_path / "in", "wb", buffering=0) as out:
        out.write(b"d\n")
        assert told(polled(task, 1)) == [("cd", 7)]
    task.stop()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=f"Cannot read file {tmp_path}: Is a directory"):
        source(tmp_path).poll()


def test_a_source_has_one_task_and_knows_whether_it_can_do_exactly_once() -> None:
    connector = FileStreamSourceConnector()
    props = {"topic": "t", "file": "/tmp/x"}
    connector.start(props)
    assert connector.task_configs(5) == [props]
    assert connector.task_class() is FileStreamSourceTask
    assert connector.exactly_once_support(props) is ExactlyOnceSupport.SUPPORTED
    assert connector.exactly_once_support({"topic": "t"}) is ExactlyOnceSupport.UNSUPPORTED
    with pytest.raises(ConfigError, match="String must be non-empty"):
        connector.start({"topic": ""})


@pytest.mark.parametrize(
    ("partition", "offset", "message"),
    [
        ({"filename": "x"}, {"pos": 1}, "Offset objects should either be null or contain the key 'position'"),
        ({"filename": "x"}, {"position": "1"}, "'position' key in the offset is expected to be a Long value"),
        ({"filename": "x"}, {"position": -1}, "'position' key in the offset should be a non-negative value"),
        ({"name": "x"}, {"position": 1}, "Partition objects should contain the key 'filename'"),
        (None, {"position": 1}, "Partition objects cannot be null"),
    ],
)
def test_offsets_that_cannot_be_are_told_as_kafka_tells_them(
    partition: dict[str, Any] | None, offset: dict[str, Any], message: str
) -> None:
    key = None if partition is None else tuple(partition.items())
    with pytest.raises(ConnectError, match=message):
        FileStreamSourceConnector().alter_offsets({"file": "x", "topic": "t"}, {key: offset})


def test_offsets_may_be_set_and_removed_but_not_of_the_standard_input() -> None:
    connector = FileStreamSourceConnector()
    offsets = {(("filename", "x"),): {"position": 0}, (("anything", 1),): None}
    assert connector.alter_offsets({"file": "x", "topic": "t"}, offsets)
    with pytest.raises(ConnectError, match="This is because stdin is used for input and offsets are not tracked"):
        connector.alter_offsets({"topic": "t"}, offsets)


def sink_record(value: object) -> SinkRecord:
    return SinkRecord(topic="t", partition=0, offset=0, value=value)


def test_a_sink_appends_values_as_java_prints_them(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before\n")
    task = FileStreamSinkTask()
    task.start({"file": str(path)})
    point = struct({"x": STRING, "y": STRING.as_optional()})
    values = ["é", None, True, 7, {"a": [1, None]}, b"raw", Struct(point, {"x": "1"})]
    task.put([sink_record(value) for value in values])
    task.put([])
    task.put(SinkBatch(["in", "columns"], sink_record))
    assert path.read_text() == "before\né\nnull\ntrue\n7\n{a=[1, null]}\nraw\nStruct{x=1}\nin\ncolumns\n"
    task.stop()


def test_what_a_full_disk_has_cut_off_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number in range(2):
        task = FileStreamSinkTask()
        task.start({"file": str(path)})
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft if number else 10, hard))
            task.put([sink_record("whole"), sink_record("cut off")])
        except ConnectError:
            assert path.read_text() == "whole\ncut "
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            task.stop()
    assert path.read_text() == "whole\ncut \nwhole\ncut off\n"


def test_a_sink_whose_file_cannot_be_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"Couldn't find or create file '.*nowhere/out' for FileStreamSinkTask"):
        FileStreamSinkTask().start({"file": str(tmp_path / "nowhere" / "out")})
    full = FileStreamSinkTask()
    full.start({"file": "/dev/full"})
    with pytest.raises(ConnectError, match="Cannot write to /dev/full: No space left on device"):
        full.put([sink_record("x")])
    full.stop()


def test_a_sink_has_as_many_tasks_as_may_be() -> None:
    connector = FileStreamSinkConnector()
    connector.start({"file": "x"})
    assert connector.task_configs(3) == [{"file": "x"}] * 3
    assert connector.alter_offsets({"file": "x"}, {})
