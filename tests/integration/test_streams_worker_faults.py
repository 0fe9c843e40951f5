"""Workers in this process, over one broker in this process: what becomes of topics, records and tasks that go wrong."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from engine.streams import Consumed, Grouped, Materialized, Produced, Serdes, StreamsBuilder, StreamsError, Topology
from engine.streams.runtime import classic_membership, clients, task_directories
from engine.streams.runtime.config import StreamsConfig, StreamsConfigError
from engine.streams.runtime.coordinator import GroupCoordinator
from engine.streams.runtime.output import Output
from engine.streams.runtime.worker import Worker
from engine.streams.runtime.worker_state import WorkerState
from engine.streams.runtime.worker_task import Phase
from engine.streams.stores.state_directory import StateDirectory
from engine.testing.cluster import KafkaCluster
from tests.integration.raw_client import wait_until
from tests.integration.test_streams_workers import GROUP_CONFIGS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TEXT = Serdes.string()
BOTH = Consumed(key_serde=TEXT, value_serde=TEXT)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(1, configs={**GROUP_CONFIGS, "group.initial.rebalance.delay.ms": 0}) as running:
        yield running


class Topics:
    """Topics of one test, and what is in them."""

    def __init__(self, cluster: KafkaCluster, name: str) -> None:
        self._quiet = {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0}
        self.admin = AdminClient(self._quiet)
        self._name = name

    def create(self, topic: str, partitions: int = 1, **configs: str) -> str:
        name = f"{self._name}-{topic}"
        given = {each.replace("_", "."): value for each, value in configs.items()}
        self.admin.create_topics([NewTopic(name, partitions, 1, config=given)])[name].result(10)
        return name

    def write(self, topic: str, *values: str, partition: int = 0) -> None:
        producer = Producer(self._quiet)
        for value in values:
            producer.produce(topic, value, "k", partition)
        assert producer.flush(10) == 0

    @contextmanager
    def reading(self, topic: str) -> Iterator[Callable[[], list[str]]]:
        """Gives all values so far when it is called."""
        consumer = Consumer({**self._quiet, "group.id": "nobody", "isolation.level": "read_committed"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[str] = []

        def read() -> list[str]:
            found.extend(each.value().decode() for each in consumer.consume(1000, 0.02) if each.error() is None)
            return found

        try:
            yield read
        finally:
            consumer.close()


@pytest.fixture
def topics(cluster: KafkaCluster, request: pytest.FixtureRequest) -> Topics:
    return Topics(cluster, request.node.name.replace("[", "-").replace("]", "")[-60:])


class Running:
    """A worker in a thread; ``error`` is what it ended with."""

    def __init__(self, cluster: KafkaCluster, topology: Topology, directory: Path, **configs: Any) -> None:
        given = {name.replace("_", "."): value for name, value in configs.items()}
        config = {
            "application.id": "faults",
            "bootstrap.servers": cluster.bootstrap_servers,
            "commit.interval.ms": 50,
            "state.dir": directory,
            **given,
        }
        self.worker = Worker(topology, StreamsConfig(config))
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.worker.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def until_it_runs(self, tasks: int) -> None:
        def phases() -> list[Phase]:
            return [each.phase for each in list(self.worker.tasks.values())]

        wait_until("tasks", lambda: phases() == [Phase.RUNNING] * tasks, 20)


def copied(output: str, *inputs: str) -> Topology:
    builder = StreamsBuilder()
    builder.stream(list(inputs), BOTH).to(output, Produced(key_serde=TEXT, value_serde=TEXT))
    return builder.build()


def test_a_task_that_begins_anew_goes_on_reading_what_it_had_held_back(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    full, empty, output = topics.create("full"), topics.create("empty"), topics.create("output")
    topics.write(full, *map(str, range(50)))
    settings = {"application_id": full, "max_task_idle_ms": 1000, "buffered_records_per_partition": 1}
    with Running(cluster, copied(output, full, empty), tmp_path, **settings) as run, topics.reading(output) as read:
        wait_until("a pause", lambda: any(each.paused for each in run.worker.tasks.values()))
        run.worker.membership.abandon("as if it had been away")
        wait_until("all", lambda: read() == [str(each) for each in range(50)], 10)


@pytest.mark.parametrize("protocol", ["streams", "classic"])
def test_partitions_that_a_source_topic_gets_later_are_read(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(classic_membership, "_TOPICS_AGAIN_S", 0.2)
    monkeypatch.setattr(clients, "_REFRESH_S", 0.2)
    small, large, output = topics.create("small"), topics.create("large", 2), topics.create("output")
    settings = {"application_id": small, "group_protocol": protocol}
    with Running(cluster, copied(output, small, large), tmp_path, **settings) as run, topics.reading(output) as read:
        run.until_it_runs(2)
        more = topics.admin.create_partitions([NewPartitions(small, 2), NewPartitions(large, 3)])
        for each in more.values():
            each.result(10)
        wait_until("topics grow", lambda: len(topics.admin.list_topics(large).topics[large].partitions) == 3)
        topics.write(large, "of a new task", partition=2)
        topics.write(small, "of a task that was there", partition=1)
        wait_until("all", lambda: sorted(read()) == ["of a new task", "of a task that was there"], 10)


def test_a_record_that_brokers_refuse_ends_the_worker_under_exactly_once_too(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    source, output = topics.create("source"), topics.create("output", max_message_bytes="500")
    topics.write(source, "short", "long" * 500)
    settings = {"application_id": source, "processing_guarantee": "exactly_once_v2", "state_dir": tmp_path}
    with Running(cluster, copied(output, source), tmp_path, **settings) as run:
        wait_until("its end", lambda: run.worker.state is WorkerState.ERROR, 10)
    assert isinstance(run.error, StreamsError)
    assert output in str(run.error)
    assert "max.message.bytes" in str(run.error)


def tabled(source: str, output: str) -> Topology:
    builder = StreamsBuilder()
    builder.table(source, BOTH, Materialized("table")).to_stream().to(
        output, Produced(key_serde=TEXT, value_serde=TEXT)
    )
    return builder.build("all")


def test_a_table_of_its_source_topic_is_not_read_from_the_beginning_again(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    source, output = topics.create("source"), topics.create("output")
    settings = {"application_id": source}
    with Running(cluster, tabled(source, output), tmp_path, **settings), topics.reading(output) as read:
        topics.write(source, *map(str, range(100)))
        wait_until("all", lambda: len(read()) == 100)
    with Running(cluster, tabled(source, output), tmp_path, **settings) as run:
        run.until_it_runs(1)
        assert [each.restored for each in run.worker.tasks.values()] == [0]
        assert next(iter(run.worker.store("table").all()))[1].value == "99"


def test_stores_of_an_application_that_stood_still_for_long_wait_for_their_tasks(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    source, output = topics.create("source"), topics.create("output")
    old = tmp_path / source / "0_7" / "sqlite" / "table.db"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (0, 0))
    with Running(cluster, tabled(source, output), tmp_path, application_id=source) as run:
        commits: set[int | None] = set()
        wait_until("commits", lambda: (commits.add(run.worker.committed_ms), len(commits) > 3)[1])
        assert old.exists()


def test_a_member_that_was_given_up_while_it_asked_takes_no_answer_for_its_own(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = topics.create("source"), topics.create("output")
    with Running(cluster, copied(output, source), tmp_path, application_id=source) as run:
        run.until_it_runs(1)
        membership, ask = run.worker.membership, GroupCoordinator.send
        (before,) = run.worker.tasks.values()
        abandoned: list[object] = []

        async def answered_too_late(*given: Any, **named: Any) -> Any:
            answer = await ask(*given, **named)
            if not abandoned:
                abandoned.append(answer)
                membership._fenced("its commit was refused")
            return answer

        monkeypatch.setattr(GroupCoordinator, "send", answered_too_late)
        wait_until("another task", lambda: before not in run.worker.tasks.values() and run.worker.tasks, 10)


def test_slow_functions_keep_no_transaction_open_beyond_its_time(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    source, output = topics.create("source", 2), topics.create("output")
    for partition in range(2):
        topics.write(source, *map(str, range(500)), partition=partition)

    def slow(value: str) -> str:
        time.sleep(0.005)
        return value

    builder = StreamsBuilder()
    builder.stream(source, BOTH).map_values(slow).to(output, Produced(key_serde=TEXT, value_serde=TEXT))
    settings = {
        "application_id": source,
        "processing_guarantee": "exactly_once_v2",
        "transaction_timeout_ms": 1000,
    }
    with Running(cluster, builder.build(), tmp_path, **settings), topics.reading(output) as read:
        wait_until("commits", lambda: len(read()) > 100, 10)
        assert read().count("0") == 2, "both tasks have their turns"


def test_workers_that_share_a_state_dir_may_have_one_task_both_and_wait_for_no_stopped_one(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_directories, "_PATIENCE_S", 0.1)
    source = topics.create("source")
    builder = StreamsBuilder()
    builder.stream(source, BOTH).group_by_key(Grouped(key_serde=TEXT, value_serde=TEXT)).count(Materialized("counts"))
    settings = {"application_id": source, "num_standby_replicas": 1}
    # The lock of a worker that was stopped (SIGSTOP) and that the group has given up.
    with (
        StateDirectory(tmp_path / source).acquire("0_0"),
        Running(cluster, builder.build(), tmp_path, **settings) as one,
        Running(cluster, builder.build(), tmp_path, **settings) as other,
    ):
        one.until_it_runs(1)
        other.until_it_runs(1)
        roles = [each.role for run in (one, other) for each in run.worker.tasks.values()]
        assert sorted(roles) == ["active", "standby"]
        assert sorted(each.name for each in (tmp_path / source).glob("0_0*")) == ["0_0", "0_0-2", "0_0-3"]


@pytest.mark.parametrize("protocol", ["streams", "classic"])
def test_an_internal_topic_of_another_number_of_partitions_is_named_with_its_remedy(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, protocol: str
) -> None:
    source = topics.create("source", 2)
    changelog = topics.create("source-counts-changelog")
    builder = StreamsBuilder()
    builder.stream(source, BOTH).group_by_key(Grouped(key_serde=TEXT, value_serde=TEXT)).count(Materialized("counts"))
    with Running(cluster, builder.build(), tmp_path, application_id=source, group_protocol=protocol) as run:
        wait_until("its end", lambda: run.worker.state is WorkerState.ERROR, 10)
    assert isinstance(run.error, StreamsConfigError)  # which is not started again
    assert f"INCORRECTLY_PARTITIONED_TOPICS: Existing topic {changelog} has different number" in str(run.error)
    assert "is created again once it is deleted" in str(run.error)


@pytest.mark.parametrize("protocol", ["streams", "classic"])
def test_a_worker_that_was_stopped_for_a_session_knows_that_its_tasks_may_be_elsewhere(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, protocol: str
) -> None:
    source, output = topics.create("source"), topics.create("output")
    settings = {"application_id": source, "group_protocol": protocol, "session_timeout_ms": 2000}
    with Running(cluster, tabled(source, output), tmp_path, **settings, heartbeat_interval_ms=200) as run:
        run.until_it_runs(1)
        membership = run.worker.membership
        assert membership.session_s == 2.0, "as the group has it"
        heard_s = membership.heard_s
        wait_until("a heartbeat", lambda: membership.heard_s > heard_s)
        assert membership.is_sure
        membership.session_s = 0.0
        assert not membership.is_sure


def test_what_keeps_a_task_from_its_input_is_told_and_the_worker_leaves_its_group(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path
) -> None:
    source, output = topics.create("source"), topics.create("output")
    settings = {"application_id": source, "auto_offset_reset": "none"}
    with Running(cluster, copied(output, source), tmp_path, **settings) as run:
        wait_until("its end", lambda: run.worker.state is WorkerState.ERROR, 10)
    assert "no offset is committed, and auto.offset.reset is none: commit one" in str(run.error)
    assert run.worker.membership.member_epoch == 0


def test_a_worker_whose_last_commit_fails_does_not_end_as_if_all_were_well(
    cluster: KafkaCluster, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = topics.create("source"), topics.create("output")
    settings = {"application_id": source, "commit_interval_ms": 60_000}

    def fails(*_: object) -> None:
        raise StreamsError("records were not written")

    with Running(cluster, copied(output, source), tmp_path, **settings) as run:
        run.until_it_runs(1)
        monkeypatch.setattr(Output, "flush", fails)
    assert str(run.error) == "the last commit failed: records were not written"
    assert run.worker.state is WorkerState.ERROR
