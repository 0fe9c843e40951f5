"""What a worker reads for its tasks to process: one consumer, whose partitions come and go with the tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from engine.streams.runtime.clients import Partition, input_records, is_end, is_out_of_range, make_consumer
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.offset_reset import OffsetReset
from engine.streams.runtime.store_gate import StoreGate
from engine.streams.runtime.worker_task import WorkerTask

log = logging.getLogger(__name__)

_FETCH: Final = 2_000
_LOOK_S: Final = 0.5


class InputReader:
    """The main consumer of a worker. Not for several threads."""

    def __init__(self, config: StreamsConfig, client_id: str, resets: OffsetReset, gate: StoreGate) -> None:
        """Raises KafkaException: librdkafka does not take a setting."""
        self._consumer: Any = make_consumer(config, "main", client_id)
        self._resets = resets
        self._gate = gate
        self._assigned: set[Partition] = set()
        self._lost: set[Partition] = set()
        """Partitions that had no such offset: they are not read until the next look."""
        self._begun_anew: set[Partition] = set()
        """Those of them that have told nothing since: of a topic that was deleted it is said once."""
        self._next_look = 0.0

    def close(self) -> None:
        """Let go of the consumer."""
        self._consumer.close()

    def begin(self, each: WorkerTask) -> None:
        """Read a task's input from where it is committed.

        Raises:
            StreamsError: nothing is committed, and the topic's policy is not to begin then.
        """
        self._assign({at: self._resets.begin(self._consumer, at, each.committed.get(at)) for at in sorted(each.inputs)})

    def end(self, each: WorkerTask) -> None:
        """Read no more of a task's input."""
        if each.paused:
            # librdkafka keeps a pause for whoever reads the partition next.
            self._consumer.resume([TopicPartition(*at) for at in each.paused])
        self._lost -= each.inputs
        self._begun_anew -= each.inputs
        self._unassign(each.inputs & self._assigned)

    def _assign(self, offsets: Mapping[Partition, int]) -> None:
        if offsets:
            self._consumer.incremental_assign([TopicPartition(*at, offset) for at, offset in offsets.items()])
            self._assigned.update(offsets)

    def _unassign(self, partitions: Collection[Partition]) -> None:
        if partitions:
            self._consumer.incremental_unassign([TopicPartition(*at) for at in partitions])
            self._assigned.difference_update(partitions)

    def fetch(self, by_input: Mapping[Partition, WorkerTask], timeout_s: float) -> None:
        """Give tasks what there is of their input, in a gap of the worker's."""
        # What is there is taken at once: a consume() that may wait waits until it has all that it was asked for.
        with self._gate.gap():
            messages = self._consumer.consume(_FETCH, 0)
            if not messages and timeout_s > 0:
                messages = self._consumer.consume(1, timeout_s)
        records, told = input_records(messages)
        for at, batch in records.items():
            each = by_input.get(at)
            if each is None:
                continue
            each.at_end.discard(at)
            self._begun_anew.discard(at)
            each.task.add_records(*at, batch)
            each.positions[at] = batch[-1].offset + 1
        for at, message in told:
            each = by_input.get(at)
            if each is not None:
                self._told(each, at, message)

    def _told(self, each: WorkerTask, at: Partition, message: Any) -> None:
        if is_end(message):
            self._begun_anew.discard(at)
            each.log_ends[at] = message.offset()
            if message.offset() >= each.positions.get(at, 0):  # else records came behind that end
                each.at_end.add(at)
                each.positions[at] = message.offset()
        elif is_out_of_range(message):
            if at not in self._lost:
                self._lost.add(at)
                self._unassign((at,))
        elif message.error().fatal():
            raise KafkaException(message.error())
        else:
            log.info("%s-%d: %s", *at, message.error())

    def hold_back(self, each: WorkerTask, limit: int) -> None:
        """Read no more of partitions of which more than ``limit`` records wait for those of others.

        What could be processed is processed by now: a pause before that would cost a fetch, as librdkafka drops what
        it has prefetched of a partition that is paused.
        """
        held = {at for at, count in each.task.buffered().items() if count > limit}
        if held == each.paused:
            return
        if held - each.paused:
            self._consumer.pause([TopicPartition(*at) for at in held - each.paused])
        if each.paused - held:
            self._consumer.resume([TopicPartition(*at) for at in each.paused - held])
        each.paused = held

    def look(self, tasks: Iterable[WorkerTask]) -> None:
        """Now and then: where the input ends, as the last fetches told; what has lost its place begins anew."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        for each in tasks:
            for at in each.inputs:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(*at), cached=True)
                if end >= 0:
                    each.log_ends[at] = end
            for at in each.inputs & self._lost:
                offset = self._resets.begin_anew(self._consumer, at, "its offset is not in the log any more")
                if at not in self._begun_anew:
                    self._begun_anew.add(at)
                    policy = self._resets.policy(at[0])
                    log.warning("%s-%d: the offset is not in the log any more, begins at %s", *at, policy)
                each.positions.pop(at, None)
                self._lost.discard(at)
                self._assign({at: offset})
