"""What fails is named, and goes alone when a handler says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.streams import (
    BufferConfig,
    Consumed,
    ErrorContext,
    ErrorHandlers,
    FixedKeyProcessor,
    JoinWindows,
    Materialized,
    Processor,
    Produced,
    Record,
    SerdeMissingError,
    Serdes,
    StreamJoined,
    StreamsBuilder,
    StreamsError,
    StreamsSerializationError,
    Suppressed,
    TopologyError,
    TopologyTestDriver,
    log_and_skip_on_invalid_timestamp,
)
from engine.streams.error_handlers import go_on
from engine.streams.errors import ProcessingError
from engine.streams.processors.stream_join import EMIT_INTERVAL_CONFIG
from engine.streams.records import InputRecord, OutputRecord
from engine.streams.stores.errors import StateStoreError
from engine.streams.task import StreamTask
from tests.unit.streams.test_streams_batches import Collected

S = Serdes.string()
LONG = Serdes.long()
LONGS = Consumed(key_serde=S, value_serde=Serdes.long())


def halves() -> StreamsBuilder:
    builder = StreamsBuilder()
    stream = builder.stream("in", LONGS)
    stream.map_values(lambda value: 100 // value, "halve").to("out", Produced(key_serde=S, value_serde=S))
    return builder


def test_bytes_that_no_serde_reads_stop_the_task_and_say_where() -> None:
    with (
        TopologyTestDriver(halves().build()) as driver,
        pytest.raises(StreamsSerializationError, match=r"in-0 offset 0: a long takes 8 bytes, these are 2"),
    ):
        driver.pipe_raw("in", b"k", b"no", 5)


def test_a_function_that_fails_stops_the_task_and_names_its_node() -> None:
    builder = StreamsBuilder()
    builder.stream("in", LONGS).map_values(lambda value: 100 // value, "halve").foreach(lambda k, v: None)
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.create_input_topic("in", S, Serdes.long())
        with pytest.raises(ProcessingError, match="node halve, record of in-0 offset 0: ZeroDivisionError") as raised:
            topic.pipe_input("k", 0)
        assert raised.value.node == "halve"


def test_handlers_are_told_what_failed_and_the_rest_goes_on() -> None:
    told: list[ErrorContext] = []

    def handler(context: ErrorContext, error: Exception) -> bool:
        told.append(context)
        return True

    handlers = ErrorHandlers(deserialization=handler, processing=handler, production=handler)
    with TopologyTestDriver(halves().build(), handlers=handlers) as driver:
        topic = driver.create_input_topic("in", S, Serdes.long())
        driver.pipe_raw("in", b"k", b"no", 5)
        topic.pipe_input("zero", 0)
        topic.pipe_input("five", 5)  # 20 is no string
        assert [(context.kind, context.node, context.offset) for context in told] == [
            ("deserialization", "KSTREAM-SOURCE-0000000000", 0),
            ("processing", "halve", 1),
            ("production", "KSTREAM-SINK-0000000002", 2),
        ]
        assert told[1].source is not None and told[1].source.key == b"zero"
        assert sum(driver.dropped_records.values()) == 3


class Sent:
    """A collector that keeps what is sent."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        self.values += [Serdes.long().deserialize(record.value or b"") for record in records]

    def log_changes(self, topic: str, partition: int, records: object) -> None: ...

    def partitions_of(self, topic: str) -> int:
        return 1


def dividing(sent: Sent, handlers: ErrorHandlers | None = None) -> StreamTask:
    builder = StreamsBuilder()
    mapped = builder.stream("in", LONGS).map_values(lambda value: 100 // value)
    mapped.to("out", Produced(key_serde=S, value_serde=Serdes.long()))
    handlers = handlers or ErrorHandlers(processing=go_on, deserialization=go_on)
    config = {"application.id": "test"}
    task = StreamTask(builder.build(), config, sub_topology=0, partition=0, collector=sent, handlers=handlers)
    task.init(0)
    return task


def longs(*values: int, first: int = 0) -> list[InputRecord]:
    return [InputRecord(at, at, b"k", Serdes.long().serialize(value)) for at, value in enumerate(values, first)]


def test_only_the_record_that_fails_is_left_out_of_a_list() -> None:
    sent = Sent()
    task = dividing(sent)
    task.add_records("in", 0, longs(1, 0, 2, 0, 0, 4))
    assert task.process(0, limit=10) == 6
    assert sent.values == [100, 50, 25]
    assert task.offsets_to_commit() == {("in", 0): 6}


def test_records_that_are_dropped_unread_do_not_commit_those_that_wait() -> None:
    task = dividing(Sent())
    task.add_records("in", 0, longs(1, 2))
    task.add_records("in", 0, [InputRecord(2, 2, b"k", b"no")])
    task.process(0, limit=1)
    assert task.offsets_to_commit() == {("in", 0): 1}
    task.process(0, limit=1)
    task.add_records("in", 0, [InputRecord(3, 3, b"k", b"no")])
    assert task.offsets_to_commit() == {("in", 0): 4}


def test_what_cannot_be_read_is_told_when_it_is_its_turn_with_the_offset_that_covers_it() -> None:
    told: list[int] = []

    def handler(context: ErrorContext, error: Exception) -> bool:
        told.append(context.offset)
        return context.offset != 5

    sent = Sent()
    task = dividing(sent, ErrorHandlers(deserialization=handler))
    readable = (1, 3, 6)
    fetched = [each if each.offset in readable else each._replace(value=b"no") for each in longs(*[1] * 7)]
    task.add_records("in", 0, fetched)
    assert (told, task.offsets_to_commit()) == ([0], {("in", 0): 1})
    assert task.buffered() == {("in", 0): 6}  # those that cannot be read wait as well, and hold the fetch back
    assert task.process(0, limit=10) == 1
    assert (told, task.offsets_to_commit(), sent.values) == ([0, 2], {("in", 0): 3}, [100])
    with pytest.raises(StreamsSerializationError, match="in-0 offset 5"):
        task.process(0, limit=10)
    assert (told, task.offsets_to_commit(), sent.values) == ([0, 2, 4, 5], {("in", 0): 5}, [100, 100])


def test_fetched_records_are_not_kept_for_ever_while_some_always_wait() -> None:
    task = dividing(Sent())
    for number in range(20):
        task.add_records("in", 0, longs(1, 1, first=number * 2))
        task.process(0, limit=1 if number == 0 else 2)
    (queue,) = task._queues.values()
    assert len(queue.raw) <= 3


def test_a_negative_timestamp_stops_the_task_unless_it_is_to_be_skipped() -> None:
    builder = StreamsBuilder()
    builder.stream("in", LONGS).foreach(lambda k, v: None)
    with TopologyTestDriver(builder.build()) as driver, pytest.raises(StreamsError, match="negative"):
        driver.pipe_raw("in", None, None, -1)
    builder = StreamsBuilder()
    skipping = Consumed(key_serde=S, value_serde=S, timestamp_extractor=log_and_skip_on_invalid_timestamp)
    seen: list[str] = []
    builder.stream("in", skipping).foreach(lambda k, v: seen.append(v))
    with TopologyTestDriver(builder.build()) as driver:
        driver.pipe_raw("in", b"k", b"gone", -1)
        driver.pipe_raw("in", b"k", b"here", 1)
    assert seen == ["here"]


def test_a_serde_that_nobody_gave_is_asked_for_by_name() -> None:
    builder = StreamsBuilder()
    builder.stream("in").group_by_key().count()
    with pytest.raises(SerdeMissingError, match="KSTREAM-SOURCE-0000000000: no key serde"):
        TopologyTestDriver(builder.build())


def test_what_cannot_be_built_says_why() -> None:
    builder = StreamsBuilder()
    with pytest.raises(TopologyError, match='Name "a b" is illegal'):
        Materialized("a b")
    with pytest.raises(TopologyError, match=r"'all, single.store.self.join' is not valid"):
        builder.build("all, single.store.self.join")
    builder.stream("in", LONGS).process(Processor, ["missing"])
    with pytest.raises(TopologyError, match="StateStore missing is not added yet"):
        builder.build()


def test_process_values_cannot_change_a_key() -> None:
    class Renames(FixedKeyProcessor[str, int, int]):
        def process(self, record: Record[str, int]) -> None:
            self.context.forward(record.with_key("other"))

    builder = StreamsBuilder()
    builder.stream("in", LONGS).process_values(Renames).foreach(lambda k, v: None)
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.create_input_topic("in", S, Serdes.long())
        with pytest.raises(ProcessingError, match="cannot change the key from 'k' to 'other'"):
            topic.pipe_input("k", 1)


def test_tables_are_restored_from_their_source_when_it_is_asked_for() -> None:
    builder = StreamsBuilder()
    builder.table("in", LONGS, Materialized("table"))
    (sub_topology,) = builder.build("reuse.ktable.source.topics").sub_topologies("app")
    assert sub_topology.changelogs == {}
    assert sub_topology.changelog_of_store == {"table": "in"}


def test_processors_are_closed_that_were_begun_and_none_keeps_another_from_it() -> None:
    class Stubborn(Processor[str, str, str, str]):
        def process(self, record: Record[str, str]) -> None: ...

        def close(self) -> None:
            closed.append("stubborn")
            raise OSError("a file is gone")

    class Willing(Stubborn):
        def close(self) -> None:
            closed.append("willing")

    def task() -> StreamTask:
        return StreamTask(topology, {"application.id": "app"}, sub_topology=0, partition=0, collector=Collected())

    closed: list[str] = []
    builder = StreamsBuilder()
    stream = builder.stream("in", Consumed(key_serde=S, value_serde=S))
    stream.process(Stubborn, named="stubborn")
    stream.process(Willing)
    topology = builder.build()
    task().close()  # a standby, or one that is given up while it is restored
    assert closed == []
    running = task()
    running.init(0)
    with pytest.raises(ProcessingError, match=r"node stubborn: close\(\): OSError: a file is gone"):
        running.close()
    assert closed == ["stubborn", "willing"]


class Lost(StreamsError):
    """What a collector says when the transaction is gone."""


def test_what_the_collector_has_lost_is_no_failure_of_a_processor() -> None:
    class Passes(Processor[str, int, str, int]):
        def process(self, record: Record[str, int]) -> None:
            self.context.forward(record)

    class Losing(Sent):
        def send(self, topic: str, records: list[OutputRecord]) -> None:
            raise Lost

    builder = StreamsBuilder()
    builder.stream("in", LONGS).process(Passes).process(Passes).to("out", Produced(key_serde=S, value_serde=LONG))
    for handlers in (ErrorHandlers(), ErrorHandlers(processing=go_on)):
        task = StreamTask(
            builder.build(),
            {"application.id": "test"},
            sub_topology=0,
            partition=0,
            collector=Losing(),
            handlers=handlers,
        )
        task.init(0)
        task.add_records("in", 0, longs(1))
        with pytest.raises(Lost):
            task.process(0)


def test_a_topic_that_cannot_be_told_is_a_failure_of_its_record() -> None:
    def topic_of(key: str, value: int, metadata: object) -> str:
        return {1: "one", 2: "two", 3: ""}[value]

    builder = StreamsBuilder()
    builder.stream("in", LONGS).to(topic_of, Produced(key_serde=S, value_serde=LONG))
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing=go_on)) as driver:
        topic = driver.create_input_topic("in", S, LONG)
        for value in (1, 4, 3, 2):
            topic.pipe_input("k", value)
        assert driver.dropped_records == {"KSTREAM-SINK-0000000001": 2}
        assert driver.create_output_topic("two", S, LONG).read_value() == 2
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.create_input_topic("in", S, LONG)
        with pytest.raises(ProcessingError, match="node KSTREAM-SINK-0000000001, record of in-0 offset 0: KeyError"):
            topic.pipe_input("k", 4)
        with pytest.raises(ProcessingError, match="names no topic"):
            topic.pipe_input("k", 3)


def test_one_who_waits_and_fails_keeps_no_other_from_a_join() -> None:
    def joiner(left: str, right: str | None) -> str:
        if left == "bad":
            raise ValueError(left)
        return f"{left} {right}"

    builder = StreamsBuilder()
    consumed, joined = (
        Consumed(key_serde=S, value_serde=S),
        StreamJoined(key_serde=S, value_serde=S, other_value_serde=S),
    )
    windows = JoinWindows.of_time_difference_with_no_grace(5)
    left, right = builder.stream("left", consumed), builder.stream("right", consumed)
    left.left_join_stream(right, joiner, windows, joined).to("out", Produced(key_serde=S, value_serde=S))
    told: list[ErrorContext] = []

    def handler(context: ErrorContext, error: Exception) -> bool:
        told.append(context)
        return True

    config = {EMIT_INTERVAL_CONFIG: 0}
    with TopologyTestDriver(builder.build(), config, handlers=ErrorHandlers(processing=handler)) as driver:
        topic, other = driver.create_input_topic("left", S, S), driver.create_input_topic("right", S, S)
        for time, value in enumerate(("first", "bad", "last")):
            topic.pipe_input("k", value, timestamp=time)
        other.pipe_input("other", "x", timestamp=100)
        topic.pipe_input("k", "more", timestamp=200)
        topic.pipe_input("k", "end", timestamp=300)
        values = driver.create_output_topic("out", S, S).read_values()
        assert values == ["first None", "last None", "more None"]
        assert [(context.key, context.value, context.timestamp) for context in told] == [("k", "bad", 1)]


def test_a_dead_letter_of_a_cached_change_is_the_record_it_came_from() -> None:
    told: list[ErrorContext] = []

    def handler(context: ErrorContext, error: Exception) -> bool:
        told.append(context)
        return True

    class Quiet(Processor[str, str, str, str]):
        def process(self, record: Record[str, str]) -> None: ...

    def fails(value: str) -> str:
        raise ValueError(value)

    builder = StreamsBuilder()
    consumed = Consumed(key_serde=S, value_serde=S)
    builder.table("table", consumed, Materialized("store")).to_stream().map_values(fails).foreach(lambda k, v: None)
    builder.stream("other2", consumed).process(Quiet, ["store"])
    task = StreamTask(
        builder.build(),
        {"application.id": "test"},
        sub_topology=0,
        partition=0,
        collector=Collected(),
        handlers=ErrorHandlers(processing=handler),
        cache_max_bytes=10_000,
    )
    task.init(0)
    task.add_records("table", 0, [InputRecord(0, 1, b"k", b"mine")])
    task.add_records("other2", 0, [InputRecord(0, 2, b"o", b"another's")])
    while task.process(0):
        pass
    task.prepare_commit()
    (context,) = told
    assert context.topic == "table"
    assert context.source is not None and context.source.value == b"mine"


def test_a_partition_that_cannot_be_told_or_is_not_there_is_a_failure_of_its_record() -> None:
    def partition_of(topic: str, key: str, value: int, partitions: int) -> int | None:
        return {1: 0, 2: 4, 3: -1, 5: None}[value]

    builder = StreamsBuilder()
    builder.stream("in", LONGS).to("out", Produced(key_serde=S, value_serde=LONG, partitioner=partition_of))
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing=go_on)) as driver:
        topic = driver.create_input_topic("in", S, LONG)
        for value in (1, 2, 3, 4, 5):
            topic.pipe_input("k", value)
        assert driver.create_output_topic("out", S, LONG).read_values() == [1, 5]
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.create_input_topic("in", S, LONG)
        with pytest.raises(ProcessingError, match="partition 4 of out, which has 1"):
            topic.pipe_input("k", 2)
        with pytest.raises(ProcessingError, match="KeyError"):
            topic.pipe_input("k", 4)


def _kept(value_serde: Any) -> Materialized:
    return Materialized("kept", key_serde=S, value_serde=value_serde)


TEXTS = Consumed(key_serde=S, value_serde=S)
WRONG_SERDES: dict[str, Callable[[StreamsBuilder], object]] = {
    "a table of a stream": lambda b: b.stream("in", TEXTS).to_table(_kept(LONG)),
    "a filtered table": lambda b: b.table("in", TEXTS).filter(lambda k, v: True, _kept(LONG)),
    "two tables": lambda b: b.table("in", TEXTS).left_join(b.table("u", TEXTS), lambda a, c: a, _kept(LONG)),
    "a suppression": lambda b: (
        b.stream("in", TEXTS)
        .group_by_key()
        .reduce(lambda a, c: a, _kept(S))
        .map_values(lambda v: object())
        .suppress(Suppressed.until_time_limit(10, BufferConfig.unbounded()))
    ),
    "two streams": lambda b: b.stream("in", TEXTS).join_stream(
        b.stream("u", TEXTS),
        lambda a, c: a,
        JoinWindows.of_time_difference_with_no_grace(5),
        StreamJoined(key_serde=S, value_serde=LONG, other_value_serde=S),
    ),
}


@pytest.mark.parametrize("name", WRONG_SERDES)
def test_what_a_store_cannot_write_is_a_failure_of_its_record(name: str) -> None:
    builder = StreamsBuilder()
    WRONG_SERDES[name](builder)
    config = {"default.key.serde": S, "default.value.serde": S}
    with TopologyTestDriver(builder.build(), config) as driver, pytest.raises(ProcessingError, match="in-0 offset 0"):
        driver.create_input_topic("in", S, S).pipe_input("k", "text")
    with TopologyTestDriver(builder.build(), config, handlers=ErrorHandlers(processing=go_on)) as driver:
        driver.create_input_topic("in", S, S).pipe_input("k", "text")
        assert sum(driver.dropped_records.values()) == 1


def test_a_full_disk_is_no_failure_of_a_record() -> None:
    def fails(value: int) -> int:
        raise StateStoreError("disk full")

    builder = StreamsBuilder()
    builder.stream("in", LONGS).map_values(fails).foreach(lambda k, v: None)
    with TopologyTestDriver(builder.build(), handlers=ErrorHandlers(processing=go_on)) as driver:
        topic = driver.create_input_topic("in", S, LONG)
        with pytest.raises(StateStoreError, match="disk full"):
            topic.pipe_input("k", 1)
