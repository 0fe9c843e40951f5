"""When a script's tail is over, what it prints, and the reason that it gives."""

from __future__ import annotations

import pytest

from console.gateway import ReadFrom, Start, TailBatch
from console.viewmodel.filters import Filter
from console.viewmodel.records import RecordView
from console.viewmodel.tailing import Ending, TailRun, record_document, record_line
from engine.model.topic_partition import TopicPartition

P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)
END = ReadFrom(Start.END)


def record(partition: int, offset: int, at_ms: int = 0, value: bytes = b"v") -> RecordView:
    return RecordView("orders", partition, offset, at_ms, b"k", value)


def offsets(shown: list[RecordView]) -> list[tuple[int, int]]:
    return [(each.partition, each.offset) for each in shown]


def test_the_end_is_the_one_that_was_there_when_reading_began_partition_by_partition() -> None:
    run = TailRun(0, until=END)
    assert offsets(run.on_batch(TailBatch([record(0, 4)], "", False, {P0: 5, P1: None}, {P0: 6}), 1)) == [(0, 4)]
    run.on_time(2, 2)
    assert run.ending is None, "partition 1 was not read yet"
    # Both logs have grown meanwhile: what came after the beginning is not read.
    grown = TailBatch([record(0, 5), record(0, 6), record(1, 0)], "", False, {P0: 7, P1: 1}, {P0: 9, P1: 1})
    assert offsets(run.on_batch(grown, 3)) == [(0, 5), (1, 0)]
    run.on_time(3, 3)
    assert run.ending == Ending("3 records, up to the end as it was", True)


def test_an_offset_is_the_first_that_is_not_read_and_one_to_come_is_waited_for() -> None:
    run = TailRun(0, until=ReadFrom(Start.OFFSET, 2))
    assert offsets(run.on_batch(TailBatch([record(0, 0)], "", True, {P0: 1}, {P0: 1}), 1)) == [(0, 0)]
    run.on_time(1e9, 1e9)
    assert run.ending is None and run.waits
    assert offsets(run.on_batch(TailBatch([record(0, 1), record(0, 2)], "", True, {P0: 3}, {P0: 3}), 2)) == [(0, 1)]
    run.on_time(2, 2)
    assert run.ending == Ending("2 records, up to offset 2", True)


def test_a_time_ends_a_partition_at_its_first_record_that_is_as_young_or_at_its_end_when_it_is_over() -> None:
    run = TailRun(0, until=ReadFrom(Start.TIMESTAMP, 1_000))
    batch = TailBatch(
        [record(0, 0, 999), record(0, 1, 1_000), record(0, 2, 5)], "", True, {P0: 3, P1: 0}, {P0: 3, P1: 0}
    )
    assert offsets(run.on_batch(batch, 1)) == [(0, 0)], "also not what comes after it, however old it says it is"
    run.on_time(2, 999)
    assert run.ending is None, "partition 1 may still get older ones"
    run.on_time(3, 1_000)
    assert run.ending == Ending("1 record, up to that time", True)


@pytest.mark.parametrize("wanted", ["yes", '-j .value == "yes"'])
def test_a_count_counts_what_matches(wanted: str) -> None:
    run = TailRun(0, count=2, wanted=Filter.parse(wanted))
    batch = TailBatch([record(0, at, value=b"yes" if at % 2 else b"no") for at in range(6)], "", True, {P0: 6}, {P0: 6})
    assert offsets(run.on_batch(batch, 1)) == [(0, 1), (0, 3)]
    assert run.ending == Ending("2 of 4 records matched, as many as were asked for", True)


def test_what_keeps_bounded_reading_from_going_on_ends_it_after_a_while() -> None:
    run = TailRun(0, until=END, patience_ms=500)
    run.on_batch(TailBatch([], "broker 2: connection refused", False, {P0: 5, P1: None}, {P0: 5}), 100)
    run.on_time(499, 499)
    assert run.ending is None
    run.on_time(500, 500)
    assert run.ending == Ending("0 records, and no more: broker 2: connection refused", False)


def test_a_problem_that_comes_and_goes_and_what_others_write_meanwhile_are_no_progress() -> None:
    run = TailRun(0, until=END, patience_ms=500)
    for at in range(100, 600, 100):
        # Partition 1 is on a broker that hangs; partition 0 was read to its end, and goes on growing.
        problem = "broker 2: not answered" if at % 200 else ""
        run.on_batch(TailBatch([record(0, 5 + at)], problem, False, {P0: 6 + at, P1: None}, {P0: 5}), at)
        run.on_time(at, at)
    assert run.ending == Ending("0 records, and no more: broker 2: not answered", False)


def test_waiting_for_more_is_no_trouble() -> None:
    run = TailRun(0, count=1, patience_ms=500)
    run.on_batch(TailBatch([], "", True, {P0: 5}, {P0: 5}), 100)
    run.on_time(60_000, 60_000)
    run.on_batch(TailBatch([], "broker 2: not answered", False, {P0: 5}, {P0: 5}), 60_100)
    run.on_time(60_100, 60_100)
    assert run.ending is None, "the trouble has only just begun"


def test_unbounded_reading_goes_on_once_something_was_found() -> None:
    run = TailRun(0, patience_ms=500)
    run.on_batch(TailBatch([], "broker 2: connection refused", False, {P0: 5, P1: None}), 100)
    run.on_time(1e9, 1e9)
    assert run.ending is None
    nothing = TailRun(0, patience_ms=500)
    nothing.on_time(500, 500)
    assert nothing.ending == Ending("0 records, and no more: nobody answered", False)


@pytest.mark.parametrize("problem", ["orders: UNKNOWN_TOPIC_OR_PARTITION", "orders: no partition 9"])
def test_a_topic_that_is_not_there_is_not_waited_for_as_long_as_a_broker(problem: str) -> None:
    run = TailRun(0, patience_ms=60_000)
    run.on_batch(TailBatch([], problem), 100)
    run.on_time(2_000, 2_000)
    assert run.ending is not None and not run.ending.complete


def test_bytes_that_are_no_text_are_base64_and_say_so() -> None:
    document = record_document(RecordView("t", 1, 2, 3, b"\xff\x00", None, (("h", b"x"), ("n", None))))
    assert (document["key"], document["key_encoding"]) == ("/wA=", "base64")
    assert (document["value"], document["value_encoding"]) == (None, None)
    assert document["headers"] == [
        {"name": "h", "value": "x", "encoding": "utf-8"},
        {"name": "n", "value": None, "encoding": None},
    ]
    assert record_line(RecordView("t", 1, 2, 3, b"\xff\x00", b"a\nb")).endswith("  t-1@2  base64:/wA=  a\\nb")
    coloured = RecordView("t", 1, 2, 3, None, "\x1b[31mred\ttea\x9b".encode())
    assert record_line(coloured).endswith("  null  \\x1b[31mred\ttea\\x9b"), "it stays words"
