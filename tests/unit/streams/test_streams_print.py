"""KStream.print: what is printed, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.streams import Consumed, ErrorHandlers, Printed, Serdes, StreamsBuilder, TopologyError, TopologyTestDriver
from engine.streams.error_handlers import go_on

TEXT = Serdes.string()
READ = Consumed(key_serde=TEXT, value_serde=TEXT)


def run(printed: Printed, handlers: ErrorHandlers | None = None) -> None:
    builder = StreamsBuilder()
    builder.stream("in", READ).print(printed)
    with TopologyTestDriver(builder.build(), handlers=handlers) as driver:
        topic = driver.create_input_topic("in", TEXT, TEXT)
        topic.pipe_input("k", "v", timestamp=1)
        topic.pipe_input(None, None, timestamp=2)


def test_records_go_to_standard_output_behind_the_name_of_their_stream(capsys: pytest.CaptureFixture[str]) -> None:
    run(Printed.to_sys_out())
    assert capsys.readouterr().out == "[KSTREAM-SOURCE-0000000000]: k, v\n[KSTREAM-SOURCE-0000000000]: null, null\n"


def test_a_label_and_a_mapper_say_what_a_file_gets_which_is_emptied_first(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    path.write_text("of yesterday\n")
    printed = Printed.to_file(path).with_label("clicks").with_key_value_mapper(lambda key, value: f"{value}={key!r}")
    run(printed)
    assert path.read_text() == "[clicks]: v='k'\n[clicks]: None=None\n"
    run(printed)
    assert len(path.read_text().splitlines()) == 4, "tasks of one process share the file"


def test_a_mapper_that_fails_is_a_failed_record(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    run(Printed.to_file(path).with_key_value_mapper(lambda key, _: key.upper()), ErrorHandlers(processing=go_on))
    assert path.read_text() == "[KSTREAM-SOURCE-0000000000]: K\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="Unable to write stream to file at"):
        run(Printed.to_file(tmp_path / "missing" / "printed.txt"))
    with pytest.raises(TopologyError, match="filePath can't be an empty string"):
        Printed.to_file(" ")
