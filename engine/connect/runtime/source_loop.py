"""What a source's task does all the time: poll, convert, write, and commit offsets of what is acknowledged.

At least once (``WorkerSourceTask``); the other one is :mod:`engine.connect.runtime.exactly_once_source`. One thread:
the producer's delivery reports come in while it is polled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, Producer

from engine.connect.batches import SourceBatch
from engine.connect.connector import SourceTask
from engine.connect.errors import ConnectError
from engine.connect.records import SourceRecord
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG
from engine.connect.runtime.error_operator import ErrorOperator, Stage
from engine.connect.runtime.source_poll import poll_task
from engine.connect.runtime.stages import OutgoingRecord, SourceStages
from engine.connect.runtime.submitted_records import Batch, Offsets, SubmittedRecords
from engine.connect.runtime.task_control import TaskControl
from engine.connect.runtime.topic_creation import TopicCreation

log = logging.getLogger(__name__)

_FULL_QUEUE_S = 0.05
PRODUCER_DEFAULTS: dict[str, str] = {
    "acks": "all",
    "batch.size": str(256 * 1024),
    "delivery.timeout.ms": "2147483647",
    "enable.idempotence": "true",
    "linger.ms": "5",
    # Java's: records with a key go to the partition that they have always gone to.
    "partitioner": "murmur2_random",
    "queue.buffering.max.kbytes": str(64 * 1024),
    "reconnect.backoff.max.ms": "1000",
    "reconnect.backoff.ms": "50",
}


class SourceLoop:
    """One task's. :meth:`run` returns when the task shall stop, and raises when it failed."""

    def __init__(
        self,
        task: SourceTask,
        stages: SourceStages,
        operator: ErrorOperator,
        topics: TopicCreation,
        control: TaskControl,
        settings: dict[str, str],
        *,
        write_offsets: Callable[[Offsets], None],
        commit_interval_ms: int,
        commit_timeout_ms: int,
    ) -> None:
        """``settings`` are librdkafka's; ``write_offsets`` returns when they are kept, and raises ConnectError."""
        self._task = task
        self._stages = stages
        self._operator = operator
        self._topics = topics
        self._control = control
        self._producer: Any = Producer(settings, logger=LIBRDKAFKA_LOG)
        self._write_offsets = write_offsets
        self._interval_s = commit_interval_ms / 1000
        self._timeout_s = commit_timeout_ms / 1000
        self._submitted = SubmittedRecords()
        self._uncommitted: Offsets = {}
        self._failure: Exception | None = None
        # Who does not ask for it is not told of each record.
        self._tells = type(task).commit_record is not SourceTask.commit_record

    def run(self) -> None:
        """Raises whatever the task raised, or ToleranceExceeded, or ConnectError of the producer."""
        commit_at = time.monotonic() + self._interval_s
        try:
            while not self._control.stopping:
                if self._control.paused:
                    self._commit()
                    self._control.pause(lambda: self._producer.poll(0))
                    continue
                records = poll_task(self._task, self._control)
                if records:
                    self._send(records)
                self._producer.poll(0)
                if self._failure is not None:
                    raise self._failure
                now = time.monotonic()
                if now >= commit_at:
                    self._commit()
                    commit_at = now + self._interval_s
        except BaseException:
            self._last_commit(failed=True)
            raise
        self._last_commit(failed=False)

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.flush(self._timeout_s)

    def _send(self, records: Sequence[SourceRecord]) -> None:
        if isinstance(records, SourceBatch) and not self._tells and self._send_column(records):
            return
        messages = self._stages.convert(records, self._dropped)
        batch = self._submitted.submit(records, len(messages))
        delivered = partial(self._delivered, batch)
        produce = self._producer.produce
        known = ""
        for message in messages:
            topic, partition, key, value, headers, timestamp, original = message
            if topic != known:
                self._topics.ensure(topic)
                self._control.wrote_to(topic)
                known = topic
            callback = partial(self._told, batch, message) if self._tells else delivered
            while True:
                try:
                    produce(topic, value, key, partition, callback, None, timestamp, headers)
                    break
                except BufferError:
                    self._producer.poll(_FULL_QUEUE_S)
                    if self._failure is not None:
                        raise self._failure from None
                except KafkaException as error:
                    self._refused(batch, original, error)
                    break
        self._control.count(len(messages))

    def _send_column(self, records: SourceBatch) -> bool:
        values = self._stages.column(records)
        if values is None:
            return False
        topic = records.topic
        self._topics.ensure(topic)
        self._control.wrote_to(topic)
        batch = self._submitted.submit(records, len(values))
        delivered, timestamp = partial(self._delivered, batch), records.timestamp or 0
        produce = self._producer.produce
        for index, value in enumerate(values):
            while True:
                try:
                    produce(topic, value, None, -1, delivered, None, timestamp)
                    break
                except BufferError:
                    self._producer.poll(_FULL_QUEUE_S)
                    if self._failure is not None:
                        raise self._failure from None
                except KafkaException as error:
                    self._refused(batch, records.record(index), error)
                    break
        self._control.count(len(values))
        return True

    def _dropped(self, record: SourceRecord) -> None:
        if self._tells:
            self._tell(record, None)

    def _delivered(self, batch: Batch, error: Any, message: Any) -> None:
        if error is not None:
            self._lost(error, None)
        batch.pending -= 1

    def _told(self, batch: Batch, sent: OutgoingRecord, error: Any, message: Any) -> None:
        if error is None:
            self._tell(sent.original, told_offset(message))
        else:
            self._lost(error, sent.original)
        batch.pending -= 1

    def _tell(self, record: SourceRecord, offset: int | None) -> None:
        try:
            self._task.commit_record(record, offset)
        except Exception as error:
            log.error("%s Exception thrown while calling task.commit_record()", self._control.name, exc_info=error)

    def _refused(self, batch: Batch, record: SourceRecord, error: KafkaException) -> None:
        batch.pending -= 1
        self._lost(error.args[0], record)
        if self._failure is not None:
            raise self._failure

    def _lost(self, error: Any, record: SourceRecord | None) -> None:
        failure = ConnectError(f"Unrecoverable exception from producer send callback: {error}")
        log.error("%s failed to send a record: %s", self._control.name, error)
        if error.fatal() or not self._operator.tolerates:
            self._failure = self._failure or failure
            # It may not count as acknowledged: what is behind it must not be committed either.
            self._submitted.fail()
            return
        if record is not None:
            self._operator.failed(record, Stage.KAFKA_PRODUCE, Producer, failure)
            if self._tells:
                self._tell(record, None)
        else:
            self._operator.skipped += 1

    # -- offsets ------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Commit what may be; a failure is told, and the same offsets are committed the next time."""
        self._producer.poll(0)
        self._uncommitted.update(self._submitted.committable().offsets)
        if self._uncommitted:
            try:
                self._write_offsets(self._uncommitted)
            except ConnectError as error:
                log.error("%s Failed to commit offsets: %s", self._control.name, error)
                return
            self._uncommitted = {}
        try:
            self._task.commit()
        except Exception as error:
            log.error("%s Exception thrown while calling task.commit()", self._control.name, exc_info=error)

    def _last_commit(self, *, failed: bool) -> None:
        try:
            self._producer.flush(self._timeout_s)
            self._commit()
        except Exception as error:
            if not failed:
                raise
            log.error("%s Failed to commit offsets for already-failing task", self._control.name, exc_info=error)


def told_offset(message: Any) -> int:
    """Where a message that was acknowledged is; -1 (``RecordMetadata.offset``) of one that was sent again to a leader
    which had it already."""
    offset = message.offset()
    return -1 if offset is None else int(offset)
