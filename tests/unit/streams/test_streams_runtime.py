"""What a worker is made of, without a cluster: configs, what is told to the group, what waits for what."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Message

from engine.core.group.streams_topology import topology_from
from engine.streams import Consumed, Grouped, JoinWindows, Materialized, Serdes, StreamsBuilder, StreamsError, Topology
from engine.streams.error_handlers import ErrorContext, fail, go_on
from engine.streams.records import InputRecord, OutputRecord
from engine.streams.runtime.__main__ import load_topology, main
from engine.streams.runtime.config import StreamsConfig, StreamsConfigError, read_properties
from engine.streams.runtime.error_policy import error_handlers
from engine.streams.runtime.group_topology import TaskId, group_topology, owned, tasks_of
from engine.streams.runtime.offset_metadata import decode_metadata, encode_metadata
from engine.streams.runtime.output import Output, group_metadata
from engine.streams.runtime.process_id import ProcessId
from engine.streams.runtime.worker import Worker
from engine.streams.runtime.worker_task import WorkerTask
from engine.streams.task import StreamTask

TEXT = Serdes.string()
NEEDED = {"application.id": "app", "bootstrap.servers": "127.0.0.1:9092"}


def word_count() -> Topology:
    builder = StreamsBuilder()
    lines = builder.stream("lines", Consumed(key_serde=TEXT, value_serde=TEXT))
    words = lines.flat_map_values(str.split).group_by(lambda _, word: word, Grouped(key_serde=TEXT, value_serde=TEXT))
    words.count(Materialized("counts")).to_stream().to("word-counts")
    return builder.build()


def test_defaults_are_kafkas() -> None:
    config = StreamsConfig(NEEDED)
    assert config["commit.interval.ms"] == 30_000
    assert not config.exactly_once
    assert config["production.exception.handler"] is fail
    exactly_once = StreamsConfig({**NEEDED, "processing.guarantee": "exactly_once_v2"})
    assert exactly_once["commit.interval.ms"] == 100
    assert (
        StreamsConfig({**NEEDED, "processing.guarantee": "exactly_once_v2", "commit.interval.ms": "7"})[
            "commit.interval.ms"
        ]
        == 7
    )


def test_values_of_a_file_become_what_they_name() -> None:
    text = """
    # an application
    application.id=app
    bootstrap.servers = a:1,b:2
    default.key.serde=org.apache.kafka.common.serialization.Serdes$StringSerde
    default.value.serde=long
    processing.exception.handler=org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler
    producer.linger.ms=3
    auto.offset.reset=by_duration:P1DT2H0.5S
    consumer.isolation.level=read_committed
    """
    config = StreamsConfig(read_properties(text))
    assert config.bootstrap == [("a", 1), ("b", 2)]
    assert config["default.value.serde"].serialize(1) == bytes(7) + b"\1"
    assert config["processing.exception.handler"] is go_on
    assert config.librdkafka("producer.")["linger.ms"] == "3"
    assert config.librdkafka("consumer.").keys() - config.librdkafka().keys() == {"isolation.level"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"application.id": ""}, "application.id is missing: give the name"),
        ({"application.id": "../elsewhere"}, "application.id: '../elsewhere' cannot begin the names of topics"),
        ({"application.id": ".."}, "cannot begin the names of topics"),
        ({"commit.interval": "1"}, "commit.interval: no such config; did you mean commit.interval.ms"),
        ({"commit.interval.ms": "soon"}, "commit.interval.ms: 'soon' is no whole number"),
        ({"processing.guarantee": "exactly_once"}, "neither at_least_once nor exactly_once_v2"),
        ({"group.protocol": "consumer"}, "neither streams"),
        ({"producer.transactional.id": "x"}, "sets transactional.id itself"),
        (
            {"consumer.isolation.level": "read_uncommitted", "processing.guarantee": "exactly_once_v2"},
            "isolation.level is read_committed where",
        ),
        ({"auto.offset.reset": "by_duration:1h"}, "none of earliest, latest, none, by_duration:"),
        ({"auto.offset.reset": "by_duration:PT"}, "none of earliest, latest, none, by_duration:"),
        ({"group.instance.id": "one"}, "static members are not built"),
        ({"main.consumer.group.instance.id": "one"}, "static members are not built"),
        ({"default.key.serde": "text"}, "none of StringSerde"),
        ({"application.server": "here"}, "not host:port"),
        ({"security.protocol": "TLS"}, "security.protocol"),
    ],
)
def test_a_wrong_config_is_named_with_its_remedy(given: dict[str, str], says: str) -> None:
    with pytest.raises(StreamsConfigError) as caught:
        StreamsConfig({**NEEDED, **given})
    assert says in str(caught.value)


def test_what_is_told_to_the_group_is_what_our_brokers_read() -> None:
    told = topology_from(group_topology(word_count().sub_topologies("app"), -1))
    first, second = told.subtopologies.values()
    assert (first.subtopology_id, list(first.source_topics)) == ("0", ["lines"])
    assert [each.name for each in second.repartition_source_topics] == ["app-counts-repartition"]
    (changelog,) = second.state_changelog_topics
    assert changelog.name == "app-counts-changelog"
    assert dict(changelog.configs)["cleanup.policy"] == "compact"


def test_sources_by_pattern_are_refused_with_the_reason() -> None:
    topology = Topology()
    topology.add_source("source", pattern="lines.*", key_serde=TEXT, value_serde=TEXT)
    with pytest.raises(StreamsConfigError, match="name the topics"):
        group_topology(topology.sub_topologies("app"), -1)


def test_tasks_there_and_back() -> None:
    tasks = frozenset((TaskId(0, 1), TaskId(0, 0), TaskId(12, 3)))
    assert tasks_of(owned(tasks)) == tasks
    assert str(TaskId(12, 3)) == "12_3"


def test_librdkafka_takes_our_group_metadata() -> None:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

    quiet = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    consumer = Consumer({**quiet, "group.id": "app"})
    assert group_metadata("app", "", -1) == consumer.consumer_group_metadata()
    consumer.close()
    with pytest.raises(KafkaException) as caught:
        Producer(quiet).send_offsets_to_transaction([TopicPartition("t", 0, 1)], group_metadata("app", "m", 7), 0.1)
    # It was read; what is missing is a transactional producer.
    assert caught.value.args[0].code() == KafkaError._NOT_CONFIGURED


def test_workers_that_share_a_directory_have_ids_of_their_own_and_find_them_again(tmp_path: Path) -> None:
    first, second = ProcessId(tmp_path / "app"), ProcessId(tmp_path / "app")
    assert first.value != second.value
    first.release()
    again = ProcessId(tmp_path / "app")
    assert again.value == first.value
    again.release()
    second.release()


def test_who_was_killed_as_a_member_is_found_by_the_next_start(tmp_path: Path) -> None:
    first = ProcessId(tmp_path)
    assert first.replace_member("a-member") == ""
    first.release()  # as the lock of a killed process
    second = ProcessId(tmp_path)
    assert second.value == first.value
    assert second.replace_member("another") == "a-member"
    assert second.replace_member("") == "another"
    second.release()
    third = ProcessId(tmp_path)
    assert third.replace_member("x") == ""
    third.release()


def test_a_directory_for_ids_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamsError, match=r"set state\.dir"):
        ProcessId(tmp_path / "file")


class Sent:
    """A collector that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, OutputRecord]] = []

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        self.records += [(topic, each) for each in records]

    def log_changes(self, topic: str, partition: int, records: list[object]) -> None:
        pass

    def partitions_of(self, topic: str) -> int:
        return 1


def test_what_fails_goes_to_the_dead_letter_topic_as_it_came() -> None:
    sent = Sent()
    config = StreamsConfig(
        {
            **NEEDED,
            "errors.dead.letter.queue.topic.name": "dead",
            "processing.exception.handler": "LogAndContinueProcessingExceptionHandler",
        }
    )
    handlers = error_handlers(config, sent.send)
    source = InputRecord(5, 77, b"k", b"v", (("h", b"x"),))
    context = ErrorContext("processing", "node", "0_0", "lines", 3, 5, "k", 1, 77, (), source)
    assert handlers.processing(context, ValueError("no"))
    assert not handlers.deserialization(context, ValueError("no"))
    (topic, record), _ = sent.records
    headers = dict(record.headers)
    assert (topic, record.key, record.value, record.timestamp) == ("dead", b"k", b"v", 77)
    assert headers["h"] == b"x"
    assert headers["__streams.errors.exception"] == b"ValueError"
    assert headers["__streams.errors.topic"] == b"lines"
    assert (headers["__streams.errors.partition"], headers["__streams.errors.offset"]) == (b"3", b"5")


def test_a_dead_letter_that_is_too_large_ends_the_worker_and_is_not_written_about() -> None:
    config = StreamsConfig(
        {
            **NEEDED,
            "errors.dead.letter.queue.topic.name": "dead",
            "production.exception.handler": "LogAndContinueExceptionHandler",
            "producer.message.max.bytes": "5000",
        }
    )
    handlers = error_handlers(config, lambda topic, records: output.send(topic, records))
    output = Output(config, "client", "id", lambda topic: 1, handlers)
    output.open()
    with pytest.raises(StreamsError, match=r"topic dead: .*cannot be written.*Message size too large"):
        output.send("out", [OutputRecord(b"k", b"v" * 6_000, 1, ())])
    output.close()


class Acknowledging:
    """A producer whose records are told to be at these offsets."""

    def __init__(self, *offsets: int) -> None:
        self._offsets = iter(offsets)

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *, on_delivery: Any, **_: object) -> None:
        on_delivery(None, Message(topic=topic, partition=partition, offset=next(self._offsets)))

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return 0


def test_the_end_of_a_changelog_is_the_last_that_was_told() -> None:
    config = StreamsConfig(NEEDED)
    output = Output(config, "client", "id", lambda topic: 1, error_handlers(config, Sent().send))
    # The second is what librdkafka tells of a record that it had to send again.
    output._producer = Acknowledging(7, OFFSET_INVALID)
    for _ in range(2):
        output.log_changes("changelog", 0, [(b"k", b"v", 1, ())])
        output.flush(1)
        assert output.changelog_ends == {("changelog", 0): 8}


def joined_task() -> WorkerTask:
    builder = StreamsBuilder()
    consumed = Consumed(key_serde=TEXT, value_serde=TEXT)
    builder.stream("a", consumed).merge(builder.stream("b", consumed)).foreach(lambda key, value: None)
    task = StreamTask(builder.build(), {"application.id": "app"}, sub_topology=0, partition=0, collector=Sent())
    task.init(0)
    return WorkerTask(TaskId(0, 0), "active", task, [("a", 0), ("b", 0)])


def test_a_task_waits_for_what_brokers_still_have() -> None:
    each = joined_task()
    each.task.add_records("a", 0, [InputRecord(0, 1, b"k", b"v")])
    assert each.may_process(-1)
    assert not each.may_process(0)  # nothing is known of b yet
    each.at_end.add(("b", 0))
    assert each.may_process(0)
    assert not each.may_process(60_000)
    each.task.add_records("b", 0, [InputRecord(0, 1, b"k", b"v")])
    assert each.may_process(60_000)


def test_offsets_go_past_markers_once_nothing_waits() -> None:
    each = joined_task()
    each.task.add_records("a", 0, [InputRecord(0, 1, b"k", b"v")])
    each.positions["a", 0] = 2  # a transaction's marker at offset 1
    assert each.changes() == {}
    each.task.process(0)
    assert each.changes() == {("a", 0): 2}
    each.committed["a", 0] = 2
    assert each.changes() == {}


def test_times_are_committed_in_kafka_streams_bytes() -> None:
    # As TopicPartitionMetadata writes them: version, time, number of names, and each name with its length and time.
    text = base64.b64encode(b"\2" + (1_000).to_bytes(8, "big") + b"\0\0\0\1" + b"\0\0\0\1n" + (7).to_bytes(8, "big"))
    assert encode_metadata(1_000, {"n": 7}) == text.decode()
    assert decode_metadata(text.decode()) == decode_metadata(text.decode() + "\0") == (1_000, {"n": 7})
    assert decode_metadata(encode_metadata(5, {})) == (5, {})
    assert decode_metadata("somebody's note") == (-1, {})
    assert decode_metadata(encode_metadata(5, {"x" * 300 + str(each): each for each in range(20)})) == (5, {})


def test_the_next_owner_of_a_task_goes_on_at_its_time() -> None:
    before, after = joined_task(), joined_task()
    before.task.add_records("a", 0, [InputRecord(0, 4_711, b"k", b"v")])
    before.task.process(0)
    before.task.prepare_commit()
    after.resume(before.to_commit())
    assert after.committed == {("a", 0): 1}
    assert after.task.stream_time == 4_711


def test_a_topology_is_found_by_its_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_topology(f"{__name__}:word_count").describe() == word_count().describe()
    with pytest.raises(StreamsConfigError, match="no Topology"):
        load_topology(f"{__name__}:NEEDED")
    needed = [part for name, value in NEEDED.items() for part in ("--set", f"{name}={value}")]
    assert main(["no_such_module:topology", *needed]) == 2
    assert "no_such_module cannot be imported" in capsys.readouterr().err


def self_joined() -> StreamsBuilder:
    builder = StreamsBuilder()
    stream = builder.stream("words", Consumed(key_serde=Serdes.string(), value_serde=Serdes.string()))
    stream.join_stream(stream, max, JoinWindows.of_time_difference_with_no_grace(10)).to("pairs")
    return builder


def test_a_builder_is_built_as_topology_optimization_says(capsys: pytest.CaptureFixture[str]) -> None:
    plain, single = (load_topology(f"{__name__}:self_joined", each) for each in ("none", "single.store.self.join"))
    assert (len(plain.store_builders), len(single.store_builders)) == (2, 1)
    needed = [part for name, value in NEEDED.items() for part in ("--set", f"{name}={value}")]
    assert main([f"{__name__}:self_joined", *needed, "--set", "topology.optimization=all,none"]) == 2
    assert "topology.optimization: 'all,none' is not valid" in capsys.readouterr().err


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once_v2"])
@pytest.mark.parametrize("protocol", ["", "streams"])
def test_a_worker_that_waits_for_brokers_ends_when_it_is_told(tmp_path: Path, guarantee: str, protocol: str) -> None:
    states: list[str] = []
    names = {"processing.guarantee": guarantee, "group.protocol": protocol, "state.dir": tmp_path}
    nowhere = StreamsConfig({**NEEDED, "bootstrap.servers": "127.0.0.1:1", **names})
    worker = Worker(word_count(), nowhere, on_state=states.append)
    worker.stop()
    worker.run()
    assert states[-1] == "NOT_RUNNING"
