"""A sink's loop over a real cluster: what is read again, and what is not put."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence

import pytest
from confluent_kafka import Producer

from engine.connect.connector import SinkTask, TopicPartition
from engine.connect.converters.simple_header import SimpleHeaderConverter
from engine.connect.converters.string import StringConverter
from engine.connect.records import SinkRecord
from engine.connect.runtime.error_operator import ErrorOperator
from engine.connect.runtime.sink_loop import CONSUMER_DEFAULTS, SinkLoop
from engine.connect.runtime.stages import Converters, SinkStages
from engine.connect.runtime.task_control import TaskControl
from engine.connect.runtime.task_pipe import TaskEnd
from engine.connect.transforms.chain import TransformationChain
from engine.testing import KafkaCluster

pytestmark = pytest.mark.integration


@pytest.fixture
def control() -> Iterator[TaskControl]:
    ours, others = socket.socketpair()
    with ours, others:
        yield TaskControl("sink-0", TaskEnd(ours), paused=False, tracks_topics=False)


class _FailsToFlushOnce(SinkTask):
    """Its first commit fails with what was put, as a database's may; ends when it has seen six records."""

    def __init__(self, control: TaskControl) -> None:
        self.control = control
        self.put_offsets: list[int] = []
        self.commits = 0

    def version(self) -> str:
        return "1"

    def start(self, props: Mapping[str, str]) -> None:
        pass

    def stop(self) -> None:
        pass

    def put(self, records: Sequence[SinkRecord]) -> None:
        self.put_offsets += [each.offset for each in records]
        if self.put_offsets:
            self.context.request_commit()
        if self.commits > 2:
            self.control.stop()

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self.commits += 1
        if self.commits == 1:
            raise OSError("the flush failed")
        return offsets


def test_what_a_first_flush_lost_is_put_again_although_nothing_was_committed_before(control: TaskControl) -> None:
    with KafkaCluster(brokers=1) as kafka:
        kafka.create_topic("lines", partitions=1)
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for text in ("a", "b", "c"):
            producer.produce("lines", text)
        producer.flush(10)
        task = _FailsToFlushOnce(control)
        operator = ErrorOperator(retry_timeout_ms=0, retry_delay_max_ms=0, tolerates=False)
        converters = Converters(StringConverter(), StringConverter(), SimpleHeaderConverter())
        loop = SinkLoop(
            task,
            {"topics": "lines"},
            SinkStages(TransformationChain(()), converters, operator),
            converters,
            operator,
            control,
            {**CONSUMER_DEFAULTS, "bootstrap.servers": kafka.bootstrap_servers, "group.id": "connect-sink"},
            dead_letters=None,
            batch_size=500,
            commit_interval_ms=60_000,
        )
        loop.subscribe()
        task.initialize(loop.context)
        try:
            loop.run()
        finally:
            loop.close()
    assert task.put_offsets[:3] == [0, 1, 2]
    assert task.put_offsets[3:] == [0, 1, 2]
