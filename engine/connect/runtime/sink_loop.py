"""What a sink's task does all the time: read, convert, put, and commit offsets of what is safe (``WorkerSinkTask``)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Position

from engine.connect.connector import ErrantRecordReporter, Props, SinkTask, SinkTaskContext, TopicPartition
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SinkRecord
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG
from engine.connect.runtime.dead_letters import DeadLetterQueue
from engine.connect.runtime.error_operator import ErrorOperator, Stage, ToleranceExceeded
from engine.connect.runtime.stages import Converters, SinkStages
from engine.connect.runtime.task_control import TaskControl

log = logging.getLogger(__name__)

_POLL_S = 0.1
_ASK_S = 10.0
_ASKS = 5
_CLOSE_S = 3.0
CONSUMER_DEFAULTS: dict[str, str] = {
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": "10",
    "fetch.wait.max.ms": "100",
    # Java's default; librdkafka has another one.
    "isolation.level": "read_uncommitted",
    "partition.assignment.strategy": "range,roundrobin",
    "queued.max.messages.kbytes": str(32 * 1024),
    "queued.min.messages": "50000",
    "reconnect.backoff.max.ms": "1000",
    "reconnect.backoff.ms": "50",
}


class _Message:
    """A record as the message that it might have been: for the dead-letter queue."""

    def __init__(self, record: SinkRecord, key: bytes | None, value: bytes | None, headers: list[Any]) -> None:
        self._record, self._key, self._value, self._headers = record, key, value, headers

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return -1 if self._record.partition is None else self._record.partition

    def offset(self) -> int:
        return self._record.offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[Any]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return (1, self._record.timestamp) if self._record.timestamp is not None else (0, -1)


class _Reporter(ErrantRecordReporter):
    """``WorkerErrantRecordReporter``. Records of the batch that is put now go as they came, others converted again."""

    def __init__(self, loop: SinkLoop, operator: ErrorOperator, converters: Converters) -> None:
        self._loop = loop
        self._operator = operator
        self._converters = converters
        self.failure: ToleranceExceeded | None = None

    def report(self, record: SinkRecord, error: Exception) -> None:
        message = self._loop.message_of(record) or self._again(record)
        try:
            self._operator.failed(message, Stage.TASK_PUT, _SINK_TASK, error)
        except ToleranceExceeded as exceeded:
            self.failure = self.failure or exceeded
            raise

    def _again(self, record: SinkRecord) -> _Message:
        topic = record.topic
        headers: list[tuple[str, bytes | None]] = [
            (key, self._converters.header.from_connect_header(topic, key, schema, value))
            for key, schema, value in record.headers
        ]
        key = self._converters.key.from_connect_data(topic, headers, record.key_schema, record.key)
        value = self._converters.value.from_connect_data(topic, headers, record.value_schema, record.value)
        return _Message(record, key, value, headers)


class _SinkTaskName(SinkTask):
    java_name = "org.apache.kafka.connect.sink.SinkTask"


_SINK_TASK: type = _SinkTaskName


class _Context(SinkTaskContext):
    def __init__(self, loop: SinkLoop, configs: Props, reporter: _Reporter | None) -> None:
        self._loop = loop
        self._configs = configs
        self._reporter = reporter
        self.offsets: dict[TopicPartition, int] = {}
        self.retry_ms: int | None = None
        self.commit_requested = False
        self.paused: set[TopicPartition] = set()

    def configs(self) -> Props:
        return self._configs

    def offset(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.offsets.update(offsets)

    def timeout_ms(self, timeout_ms: int) -> None:
        self.retry_ms = timeout_ms

    def assignment(self) -> set[TopicPartition]:
        return set(self._loop.assigned)

    def pause(self, *partitions: TopicPartition) -> None:
        self._loop.check_assigned(partitions)
        self.paused |= set(partitions)
        self._loop.pause_or_resume()

    def resume(self, *partitions: TopicPartition) -> None:
        self._loop.check_assigned(partitions)
        self.paused -= set(partitions)
        self._loop.pause_or_resume()

    def request_commit(self) -> None:
        self.commit_requested = True

    def errant_record_reporter(self) -> ErrantRecordReporter | None:
        return self._reporter


class SinkLoop:
    """One task's. :meth:`run` returns when the task shall stop, and raises when it failed."""

    def __init__(
        self,
        task: SinkTask,
        configs: Props,
        stages: SinkStages,
        converters: Converters,
        operator: ErrorOperator,
        control: TaskControl,
        settings: Mapping[str, str],
        *,
        dead_letters: DeadLetterQueue | None,
        batch_size: int,
        commit_interval_ms: int,
    ) -> None:
        """``settings`` are librdkafka's; ``batch_size`` is max.poll.records."""
        self._task = task
        self._configs = configs
        self._stages = stages
        self._operator = operator
        self._control = control
        self._dead_letters = dead_letters
        self._batch_size = batch_size
        self._interval_s = commit_interval_ms / 1000
        self._reporter = _Reporter(self, operator, converters)
        self.context = _Context(self, configs, self._reporter)
        self.assigned: set[TopicPartition] = set()
        self._cooperative = "cooperative" in settings["partition.assignment.strategy"]
        self._consumer: Any = Consumer(
            {**settings, "enable.auto.commit": "false", "enable.auto.offset.store": "false"}, logger=LIBRDKAFKA_LOG
        )
        self._messages: Sequence[Any] = ()
        self._index: dict[tuple[str, int, int], Any] | None = None
        self._records: Sequence[SinkRecord] = []
        self._next: dict[TopicPartition, int] = {}
        """Of the batch that was not put yet."""
        self._current: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._redelivering = False
        self._opening = False
        self._gave_some_up = False
        self._really_paused: set[TopicPartition] = set()
        self._failure: BaseException | None = None
        self._commit_at = 0.0

    def subscribe(self) -> None:
        """Before :meth:`run`: the topics of the configs.

        Raises:
            ConnectError: neither or both of topics and topics.regex.
        """
        topics = [each.strip() for each in self._configs.get("topics", "").split(",") if each.strip()]
        pattern = self._configs.get("topics.regex", "")
        if bool(topics) == bool(pattern):
            raise ConnectError("Must configure one of topics or topics.regex")
        wanted = topics or [pattern if pattern.startswith("^") else f"^(?:{pattern})$"]
        self._consumer.subscribe(wanted, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def run(self) -> None:
        """Raises whatever the task raised, or ToleranceExceeded."""
        self._commit_at = time.monotonic() + self._interval_s
        was_paused = False
        try:
            while not self._control.stopping:
                if self._control.paused != was_paused:
                    was_paused = self._control.paused
                    self.pause_or_resume()
                    self._control.status("PAUSED" if was_paused else "RUNNING")
                    if was_paused:
                        self.context.request_commit()
                now = time.monotonic()
                if self.context.commit_requested or now >= self._commit_at:
                    self.context.commit_requested = False
                    self._commit_at = now + self._interval_s
                    self._commit(set(self.assigned), closing=False)
                self._iterate()
        finally:
            if self.assigned:
                try:
                    self._remove(set(self.assigned), lost=False)
                except Exception as error:
                    log.warning("%s Offset commit failed during close: %s", self._control.name, error)

    def close(self) -> None:
        """Leave the group, unless it takes long: one that waits for a dead member lets nobody go."""
        closing = threading.Thread(target=self._consumer.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    # -- records ------------------------------------------------------------------------------------------------

    def _iterate(self) -> None:
        self._rewind()
        timeout_s = _POLL_S
        retry_ms, self.context.retry_ms = self.context.retry_ms, None
        if self._redelivering:
            timeout_s = (_POLL_S if retry_ms is None else retry_ms / 1000) or 0.001
        messages = self._poll(timeout_s)
        if messages:
            self._messages, self._index = messages, None
            for message in messages:
                self._next[TopicPartition(message.topic(), message.partition())] = message.offset() + 1
                self._control.wrote_to(message.topic())
            self._know_where_it_began(messages)
            self._take(messages)
        self._deliver()

    def _know_where_it_began(self, messages: Sequence[Any]) -> None:
        """What has no committed offset yet is read again from its first record on, if that cannot be committed."""
        for at in self._next.keys() - self._committed.keys():
            self._committed[at] = next(
                each.offset() for each in messages if each.partition() == at.partition and each.topic() == at.topic
            )

    def _take(self, messages: list[Any]) -> None:
        batch = self._stages.column(messages) if not self._records else None
        if batch is not None:
            self._records = batch
        else:
            self._records = [*self._records, *self._stages.convert(messages)]

    def _poll(self, timeout_s: float) -> list[Any]:
        """What there is now, or, when there is nothing, the first that comes within the time.

        A longer time than a moment is spent in slices, so that a stop is noticed.
        """
        until = time.monotonic() + timeout_s
        while True:
            messages = self._consumer.consume(self._batch_size, 0)
            if not messages:
                left = until - time.monotonic()
                first = self._consumer.poll(max(0.0, min(left, _POLL_S)))
                if first is not None:
                    messages = [first, *self._consumer.consume(self._batch_size - 1, 0)]
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            records = [each for each in messages if each.error() is None] if messages else []
            if len(records) != len(messages):
                self._look_at([each for each in messages if each.error() is not None])
            if self._gave_some_up:
                # A record may have been read before its partition went, in this very poll.
                self._gave_some_up = False
                records = [each for each in records if (each.topic(), each.partition()) in self.assigned]
            if records or time.monotonic() >= until or self._control.stopping:
                return records

    def _look_at(self, told: Iterable[Any]) -> None:
        for message in told:
            error = message.error()
            if error.fatal() or error.code() in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.GROUP_AUTHORIZATION_FAILED,
                KafkaError._AUTO_OFFSET_RESET,
            ):
                raise ConnectError(f"The consumer cannot go on: {error}")
            log.info("%s: %s", self._control.name, error)

    def _deliver(self) -> None:
        try:
            self._task.put(self._records)
            if self._reporter.failure is not None:
                raise self._reporter.failure
        except RetriableError as error:
            log.error("%s RetriableException from SinkTask:", self._control.name, exc_info=error)
            if not self._redelivering:
                self._redelivering = True
                self.pause_or_resume()
            return
        except ToleranceExceeded:
            raise
        except Exception as error:
            raise ConnectError("Exiting WorkerSinkTask due to unrecoverable exception.") from error
        if self._records:
            self._control.count(len(self._records))
            self._records = []
        self._messages, self._index = (), None
        if self._next:
            self._current.update(self._next)
            self._next = {}
        if self._redelivering:
            self._redelivering = False
            self.pause_or_resume()

    def message_of(self, record: SinkRecord) -> Any:
        """The message that a record of this batch was, or None."""
        if self._index is None:
            self._index = {(each.topic(), each.partition(), each.offset()): each for each in self._messages}
        return self._index.get((record.original_topic, record.original_partition, record.original_offset))

    # -- partitions ---------------------------------------------------------------------------------------------

    def check_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises ConnectError of a partition that the task has not."""
        for each in partitions:
            if each not in self.assigned:
                raise ConnectError(f"SinkTasks may not pause or resume partitions that are not assigned: {each}")

    def pause_or_resume(self) -> None:
        """Have those partitions paused that should be."""
        if self._opening:
            return  # the consumer does not have them yet
        wanted = (
            set(self.assigned) if self._control.paused or self._redelivering else self.context.paused & self.assigned
        )
        stop, go = wanted - self._really_paused, (self._really_paused - wanted) & self.assigned
        if stop:
            self._consumer.pause([Position(*each) for each in stop])
        if go:
            self._consumer.resume([Position(*each) for each in go])
        self._really_paused = wanted

    def _rewind(self) -> None:
        if not self.context.offsets:
            return
        offsets, self.context.offsets = self.context.offsets, {}
        for partition, offset in offsets.items():
            if partition not in self.assigned:
                continue
            until = time.monotonic() + _ASK_S
            while True:
                try:
                    self._consumer.seek(Position(*partition, offset))
                    break
                except KafkaException as error:
                    # It is not fetched yet.
                    if time.monotonic() > until:
                        raise ConnectError(f"{partition} cannot be rewound to {offset}: {error}") from error
                    time.sleep(0.02)
            self._committed[partition] = self._current[partition] = offset
            self._next.pop(partition, None)
            self._records = [each for each in self._records if _origin(each) != partition]

    def _on_assign(self, consumer: Any, positions: list[Any]) -> None:
        try:
            partitions = [TopicPartition(each.topic, each.partition) for each in positions]
            known = self._ask_committed(positions) if positions else []
            for each in known:
                at = TopicPartition(each.topic, each.partition)
                if each.error is None and each.offset >= 0:
                    self._committed[at] = self._current[at] = each.offset
                self._control.wrote_to(each.topic)
            self.assigned |= set(partitions)
            self._really_paused -= set(partitions)
            if partitions:
                self._opening = True
                try:
                    self._task.open(partitions)
                finally:
                    self._opening = False
            offsets, self.context.offsets = self.context.offsets, {}
            for each in known:
                at = TopicPartition(each.topic, each.partition)
                if at in offsets:
                    each.offset = offsets.pop(at)
                    self._committed[at] = self._current[at] = each.offset
            self.context.offsets = offsets
            (consumer.incremental_assign if self._cooperative else consumer.assign)(known)
            self.context.paused &= self.assigned
            self._redelivering = self._redelivering and bool(self._records)
            self.pause_or_resume()
        except Exception as error:
            # librdkafka would swallow it.
            self._failure = error

    def _ask_committed(self, positions: list[Any]) -> list[Any]:
        for _ in range(_ASKS - 1):
            try:
                found: list[Any] = self._consumer.committed(positions, timeout=_ASK_S)
                return found
            except KafkaException as error:
                log.info("%s: committed offsets: %s; again", self._control.name, error)
        last: list[Any] = self._consumer.committed(positions, timeout=_ASK_S)
        return last

    def _on_revoke(self, consumer: Any, positions: list[Any]) -> None:
        self._removed(positions, lost=False)

    def _on_lost(self, consumer: Any, positions: list[Any]) -> None:
        self._removed(positions, lost=True)

    def _removed(self, positions: list[Any], *, lost: bool) -> None:
        partitions = {TopicPartition(each.topic, each.partition) for each in positions} & self.assigned
        if not partitions:
            return
        try:
            self._remove(partitions, lost=lost)
        except Exception as error:
            self._failure = error

    def _remove(self, partitions: set[TopicPartition], *, lost: bool) -> None:
        try:
            if lost:
                self._task.close(sorted(partitions))
            else:
                self._commit(partitions, closing=True)
        finally:
            for each in partitions:
                self._next.pop(each, None)
                self._current.pop(each, None)
                self._committed.pop(each, None)
            self.assigned -= partitions
            self._gave_some_up = True
            self._really_paused -= partitions
            self.context.paused -= partitions
            self._records = [each for each in self._records if _origin(each) not in partitions]

    # -- offsets ------------------------------------------------------------------------------------------------

    def _commit(self, partitions: set[TopicPartition], *, closing: bool) -> None:
        try:
            if self._dead_letters is not None:
                self._dead_letters.flush()
            offsets = {each: offset for each, offset in self._current.items() if each in partitions}
            if not offsets:
                return
            try:
                safe = self._task.pre_commit(dict(offsets))
            except Exception as error:
                self._rewind_to_committed(partitions, error, closing=closing)
                return
        finally:
            if closing:
                self._task.close(sorted(partitions))
        wanted: dict[TopicPartition, int] = {}
        for each, offset in (safe or {}).items():
            if each not in offsets or each not in partitions:
                log.warning("%s ignores the offset %s of %s: it has nothing of it", self._control.name, offset, each)
            elif offset > offsets[each]:
                log.warning("%s ignores the offset %s of %s: it is not consumed yet", self._control.name, offset, each)
            elif self._committed.get(each) != offset:
                wanted[TopicPartition(*each)] = offset
        if not wanted:
            return
        try:
            told = self._consumer.commit(
                offsets=[Position(*each, offset) for each, offset in wanted.items()], asynchronous=False
            )
            for each in told:
                if each.error is not None:
                    raise KafkaException(each.error)
        except KafkaException as error:
            log.error("%s Commit of offsets threw an unexpected exception: %s", self._control.name, error)
            return
        self._committed.update(wanted)

    def _rewind_to_committed(self, partitions: set[TopicPartition], error: Exception, *, closing: bool) -> None:
        if closing:
            log.warning("%s Offset commit failed during close", self._control.name, exc_info=error)
            return
        log.error("%s Offset commit failed, rewinding to last committed offsets", self._control.name, exc_info=error)
        self.context.offsets.update({each: offset for each, offset in self._committed.items() if each in partitions})


def _origin(record: SinkRecord) -> TopicPartition:
    return TopicPartition(record.original_topic, record.original_partition)
