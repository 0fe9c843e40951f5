"""The global stores of a worker: all partitions of their topics, from the beginning and ever after."""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from engine.streams.errors import StreamsError
from engine.streams.global_task import GlobalTask
from engine.streams.runtime.clients import Partition, Topics, input_records, is_end, is_out_of_range, make_consumer
from engine.streams.runtime.config import StreamsConfig

log = logging.getLogger(__name__)

_BATCH = 5_000


class GlobalReader:
    """Feeds a GlobalTask."""

    def __init__(self, config: StreamsConfig, topics: Topics, client_id: str, task: GlobalTask) -> None:
        self._task = task
        self._topics = topics
        self._config = config
        self._client_id = client_id
        self._consumer: Any = None
        self._positions: dict[Partition, int] = {}

    def open(self, is_cancelled: Any) -> None:
        """Read everything that is there now; returns early when ``is_cancelled()``.

        Raises:
            StreamsError: a topic is missing, or brokers are away for longer than task.timeout.ms.
        """
        task, now_ms = self._task, time.time_ns() // 1_000_000
        task.init(now_ms)
        partitions = [(topic, each) for topic in task.topics for each in range(self._topics.partitions_of(topic))]
        if not partitions:
            return
        until = time.monotonic() + self._config["task.timeout.ms"] / 1000
        ends: dict[Partition, int] = {}
        while not ends:
            found = self._topics.ask_offsets(partitions, latest=True).result()
            ends = {at: end for at, end in found.items() if isinstance(end, int)}
            failed = {at: error for at, error in found.items() if not isinstance(error, int)}
            if failed:
                if time.monotonic() > until:
                    raise StreamsError(f"the ends of global topics are not known: {failed}")
                if is_cancelled():
                    return
                ends.clear()
                time.sleep(0.1)
        self._consumer = make_consumer(self._config, "global", self._client_id)
        self._consumer.assign([TopicPartition(*at, OFFSET_BEGINNING) for at in partitions])
        while not is_cancelled() and any(end > 0 and self._positions.get(at, 0) < end for at, end in ends.items()):
            self.poll(0.1)

    def poll(self, timeout_s: float) -> None:
        """Take what is new."""
        if self._consumer is None:
            return
        records, told = input_records(self._consumer.consume(_BATCH, timeout_s))
        now_ms = time.time_ns() // 1_000_000
        for (topic, partition), batch in records.items():
            self._task.process(topic, partition, batch, now_ms)
            self._positions[topic, partition] = batch[-1].offset + 1
        for at, message in told:
            if is_end(message):
                self._positions[at] = max(self._positions.get(at, 0), message.offset())
            elif is_out_of_range(message):
                self._consumer.seek(TopicPartition(*at, OFFSET_BEGINNING))
            elif message.error().fatal():
                raise KafkaException(message.error())
            else:
                log.info("global topic %s-%d: %s", *at, message.error())

    def close(self) -> None:
        """Let go of consumer and stores."""
        if self._consumer is not None:
            self._consumer.close()
        self._task.close()
