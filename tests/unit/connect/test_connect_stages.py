from __future__ import annotations

from typing import Any

import pytest

from engine.connect.batches import SourceBatch
from engine.connect.converters.json import JsonConverter
from engine.connect.converters.string import StringConverter
from engine.connect.data import INT64, STRING
from engine.connect.errors import DataError
from engine.connect.records import Headers, SourceRecord
from engine.connect.runtime.error_operator import ErrorOperator, Failed, Stage, ToleranceExceeded
from engine.connect.runtime.stages import Converters, SinkStages, SourceStages
from engine.connect.transforms.chain import TransformationChain

NO_TRANSFORMS = TransformationChain.of({})
ROUTER = TransformationChain.of(
    {
        "transforms": "route",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": "(.*)",
        "transforms.route.replacement": "new-$1",
    }
)


class Reports:
    def __init__(self) -> None:
        self.failures: list[Failed] = []

    def report(self, failed: Failed) -> None:
        self.failures.append(failed)

    def close(self) -> None: ...


class Message:
    """As confluent-kafka gives one."""

    def __init__(self, offset: int, value: bytes | None, key: bytes | None = None, headers: Any = None) -> None:
        self._offset, self._value, self._key, self._headers = offset, value, key, headers

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000 + self._offset


def operator(*, tolerates: bool = True) -> tuple[ErrorOperator, Reports]:
    made, reports = ErrorOperator(retry_timeout_ms=0, retry_delay_max_ms=0, tolerates=tolerates), Reports()
    made.reporters = [reports]
    return made, reports


def converters(value: Any = None) -> Converters:
    strings = StringConverter()
    strings.configure({}, False)
    return Converters(strings, value or strings, strings)


def json() -> JsonConverter:
    made = JsonConverter()
    made.configure({"schemas.enable": "false", "converter.type": "value"}, False)
    return made


def batch(values: list[Any]) -> SourceBatch:
    return SourceBatch("t", STRING, values, 5, {"file": "a"}, lambda index: {"at": index})


def record(value: Any, **more: Any) -> SourceRecord:
    return SourceRecord(topic="t", value=value, source_partition={}, source_offset={}, **more)


def none_dropped(record: SourceRecord) -> None:
    raise AssertionError(record)


def test_a_batch_as_a_column_has_the_bytes_of_its_records() -> None:
    stages = SourceStages(NO_TRANSFORMS, converters(), operator()[0])
    values = ["a", "ä", "", None]
    one_by_one = stages.convert(list(batch(values)), none_dropped)
    assert stages.column(batch(values)) == [each.value for each in one_by_one] == [b"a", "ä".encode(), b"", None]
    assert [(each.topic, each.partition, each.key, each.timestamp) for each in one_by_one] == [("t", -1, None, 5)] * 4


def test_a_batch_with_transforms_is_no_column() -> None:
    stages = SourceStages(ROUTER, converters(), operator()[0])
    assert stages.column(batch(["a"])) is None
    assert [each.topic for each in stages.convert(batch(["a"]), none_dropped)] == ["new-t"]


def test_what_cannot_be_converted_is_reported_by_its_stage_and_skipped() -> None:
    made, reports = operator()
    stages = SourceStages(NO_TRANSFORMS, converters(json()), made)
    dropped: list[Any] = []
    good, bad = record({"a": 1}), record({"a": object()})
    found = stages.convert([good, bad, good], dropped.append)
    assert [each.value for each in found] == [b'{"a":1}'] * 2
    assert dropped == [bad]
    (failed,) = reports.failures
    assert failed.original is bad and failed.stage is Stage.VALUE_CONVERTER and failed.executing is JsonConverter


def test_a_failing_transform_ends_the_task_unless_that_is_tolerated() -> None:
    chain = TransformationChain.of(
        {
            "transforms": "cast",
            "transforms.cast.type": "org.apache.kafka.connect.transforms.Cast$Value",
            "transforms.cast.spec": "int64",
        }
    )
    wrong = record("no number", value_schema=STRING)
    made, reports = operator(tolerates=False)
    with pytest.raises(ToleranceExceeded):
        SourceStages(chain, converters(), made).convert([wrong], none_dropped)
    assert reports.failures[0].stage is Stage.TRANSFORMATION
    right = record("12", value_schema=STRING)
    strings = SourceStages(chain, converters(json()), operator()[0])
    assert [each.value for each in strings.convert([wrong, right], lambda _: None)] == [b"12"]


def test_headers_go_along_and_a_time_before_1970_is_refused() -> None:
    stages = SourceStages(NO_TRANSFORMS, converters(), operator()[0])
    with_header = record("v", headers=Headers().add("h", "x", STRING).add("h", None))
    (message,) = stages.convert([with_header], none_dropped)
    assert message.headers == [("h", b"x"), ("h", None)]
    with pytest.raises(DataError, match="timestamp -1"):
        stages.convert([record("v", timestamp=-1)], none_dropped)


def test_a_sinks_column_makes_the_records_that_it_would_have_made_one_by_one() -> None:
    stages = SinkStages(NO_TRANSFORMS, converters(), operator()[0])
    messages = [Message(7, b"a", b"k"), Message(8, None), Message(9, b"b")]
    column = stages.column(messages)
    assert column is not None and column.values == ["a", None, "b"]
    assert list(column) == stages.convert(messages)
    first = column[0]
    assert (first.topic, first.partition, first.offset, first.key, first.timestamp) == ("t", 1, 7, "k", 1007)


def test_messages_with_headers_or_bad_values_are_no_column() -> None:
    made, reports = operator()
    stages = SinkStages(NO_TRANSFORMS, converters(json()), made)
    assert stages.column([Message(1, b"1", headers=[("h", b"x")])]) is None
    messages = [Message(1, b"1"), Message(2, b"{"), Message(3, b"3", headers=[("h", b"x")])]
    assert stages.column(messages) is None
    assert [(each.value, len(each.headers)) for each in stages.convert(messages)] == [(1, 0), (3, 1)]
    assert [each.original.offset() for each in reports.failures] == [2]


def test_a_transformed_record_still_tells_where_it_came_from() -> None:
    stages = SinkStages(ROUTER, converters(), operator()[0])
    (found,) = stages.convert([Message(7, b"a")])
    assert (found.topic, found.original_topic, found.original_partition, found.original_offset) == ("new-t", "t", 1, 7)


def test_schemas_of_values_that_differ_within_a_batch_stay_with_their_values() -> None:
    class ByContent(StringConverter):
        def decoder(self, topic: str) -> Any:
            return lambda value: (INT64, int(value)) if value.isdigit() else (STRING, value.decode())

    stages = SinkStages(NO_TRANSFORMS, converters(ByContent()), operator()[0])
    column = stages.column([Message(1, b"x"), Message(2, b"5"), Message(3, b"y")])
    assert column is not None
    assert [(each.value_schema, each.value) for each in column] == [(STRING, "x"), (INT64, 5), (STRING, "y")]
