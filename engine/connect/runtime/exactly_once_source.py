"""The loop of a source's task that writes in transactions, its offsets among the records (KIP-618).

Where a transaction ends is ``transaction.boundary``'s: a batch of ``poll``, an interval, or what the connector says.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from engine.connect.batches import SourceBatch
from engine.connect.connector import SourceTask, TransactionContext
from engine.connect.errors import ConnectError
from engine.connect.records import SourceRecord
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG
from engine.connect.runtime.error_operator import ErrorOperator
from engine.connect.runtime.source_loop import told_offset
from engine.connect.runtime.source_poll import poll_task
from engine.connect.runtime.stages import OutgoingRecord, SourceStages
from engine.connect.runtime.submitted_records import Offsets, last_offsets
from engine.connect.runtime.task_control import TaskControl
from engine.connect.runtime.topic_creation import TopicCreation

log = logging.getLogger(__name__)

_CALL_S = 10.0
_PATIENCE_S = 120.0


def transactional_id(group_id: str, connector: str, task: int) -> str:
    """``Worker.taskTransactionalId``: the same in every generation, so that a new one fences the old."""
    return f"{group_id}-{connector}-{task}"


class Boundaries(TransactionContext):
    """What a connector says of transactions, until the loop has looked (``WorkerTransactionContext``)."""

    def __init__(self) -> None:
        self._commit_batch = False
        self._abort_batch = False
        self._commits: dict[int, SourceRecord] = {}
        self._aborts: dict[int, SourceRecord] = {}

    def commit_transaction(self, record: SourceRecord | None = None) -> None:
        if record is None:
            self._commit_batch = True
        else:
            self._commits[id(record)] = record

    def abort_transaction(self, record: SourceRecord | None = None) -> None:
        if record is None:
            self._abort_batch = True
        else:
            self._aborts[id(record)] = record

    def on(self, record: SourceRecord) -> str | None:
        """``commit`` or ``abort`` after this record, or None.

        Raises:
            ConnectError: both.
        """
        commit, abort = self._commits.pop(id(record), None), self._aborts.pop(id(record), None)
        if commit is not None and abort is not None:
            raise ConnectError("Connector requested both commit and abort of the same transaction, on the same record")
        return "commit" if commit is not None else "abort" if abort is not None else None

    @property
    def by_record(self) -> bool:
        """Whether something was said of single records."""
        return bool(self._commits or self._aborts)

    def on_batch(self) -> str | None:
        """``commit`` or ``abort`` after the batch, or None.

        Raises:
            ConnectError: both.
        """
        commit, abort = self._commit_batch, self._abort_batch
        self._commit_batch = self._abort_batch = False
        if commit and abort:
            raise ConnectError("Connector requested both commit and abort of the same transaction, on the same batch")
        return "commit" if commit else "abort" if abort else None


class ExactlyOnceSourceLoop:
    """One task's. :meth:`run` returns when the task shall stop, and raises when it failed or was fenced."""

    def __init__(
        self,
        task: SourceTask,
        stages: SourceStages,
        operator: ErrorOperator,
        topics: TopicCreation,
        control: TaskControl,
        settings: dict[str, str],
        *,
        connector: str,
        offsets_topic: str,
        boundary: str,
        boundaries: Boundaries,
        interval_ms: int,
    ) -> None:
        """``settings`` are librdkafka's, with the transactional id."""
        self._task = task
        self._stages = stages
        self._operator = operator
        self._topics = topics
        self._control = control
        self._producer: Any = Producer(settings, logger=LIBRDKAFKA_LOG)
        self._connector = connector
        self._offsets_topic = offsets_topic
        self._boundary = boundary
        self._boundaries = boundaries
        self._interval_s = interval_ms / 1000
        self._offsets: Offsets = {}
        self._open = False
        self._committed_at = 0.0
        self._tells = type(task).commit_record is not SourceTask.commit_record
        self._to_tell: list[tuple[SourceRecord, int | None]] = []

    def prepare(self, still_mine: Callable[[], None]) -> None:
        """Fence whoever had the transactional id; ``still_mine`` raises if the task is somebody else's by now.

        Raises:
            ConnectError: it is, or the cluster does not let it.
        """
        still_mine()
        self._retry("init_transactions", lambda: self._producer.init_transactions(_CALL_S))
        still_mine()

    def run(self) -> None:
        """Raises whatever the task raised, or ConnectError of the producer."""
        self._committed_at = time.monotonic()
        while not self._control.stopping:
            if self._control.paused:
                self._commit_final()
                self._control.pause(lambda: self._producer.poll(0))
                self._committed_at = time.monotonic()
                continue
            records = poll_task(self._task, self._control)
            if records:
                self._send(records)
            self._producer.poll(0)
            self._after_batch()
        self._commit_final()

    def close(self) -> None:
        """Abort what is open, and let go of the producer."""
        if self._open:
            try:
                self._producer.abort_transaction(_CALL_S)
            except KafkaException as error:
                log.info("%s: the open transaction was not aborted: %s", self._control.name, error)

    def _send(self, records: Sequence[SourceRecord]) -> None:
        if not self._boundaries.by_record:
            self._send_all(records)
            return
        first = 0
        for index, record in enumerate(records):
            act = self._boundaries.on(record)
            if act is not None:
                self._send_all(records[first : index + 1])
                first = index + 1
                self._act(act)
        self._send_all(records[first:])

    def _send_all(self, records: Sequence[SourceRecord]) -> None:
        if not records:
            return
        if isinstance(records, SourceBatch) and not self._tells and self._send_column(records):
            return
        messages = self._stages.convert(records, self._dropped)
        known = ""
        for message in messages:
            topic = message.topic
            if topic != known:
                self._ready_for(topic)
                known = topic
            self._begin()
            self._produce(message)
        # Of dropped records too: who polls again must not see them again.
        self._offsets.update(last_offsets(records))
        self._control.count(len(messages))

    def _send_column(self, records: SourceBatch) -> bool:
        values = self._stages.column(records)
        if values is None:
            return False
        self._ready_for(records.topic)
        self._begin()
        topic, timestamp, produce = records.topic, records.timestamp or 0, self._producer.produce
        for value in values:
            while True:
                try:
                    produce(topic, value, None, -1, None, None, timestamp)
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as error:
                    raise ConnectError(f"Unrecoverable exception trying to send: {error}") from error
        self._offsets.update(last_offsets(records))
        self._control.count(len(values))
        return True

    def _ready_for(self, topic: str) -> None:
        if topic == self._offsets_topic:
            # A read of the offsets would wait for this task's own transaction.
            raise ConnectError(
                "Source tasks may not produce to their own offsets topics when exactly-once support is enabled"
            )
        self._topics.ensure(topic)
        self._control.wrote_to(topic)

    def _produce(self, message: OutgoingRecord) -> None:
        topic, partition, key, value, headers, timestamp, original = message
        callback = None
        if self._tells:

            def callback(error: Any, sent: Any) -> None:
                if error is None:
                    self._to_tell.append((original, told_offset(sent)))

        while True:
            try:
                self._producer.produce(topic, value, key, partition, callback, None, timestamp, headers)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                raise ConnectError(f"Unrecoverable exception trying to send: {error}") from error

    def _dropped(self, record: SourceRecord) -> None:
        if self._tells:
            self._to_tell.append((record, None))

    def _begin(self) -> None:
        if not self._open:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise ConnectError(f"A transaction cannot begin: {error}") from error
            self._open = True

    # -- boundaries ---------------------------------------------------------------------------------------------

    def _after_batch(self) -> None:
        match self._boundary:
            case "poll":
                self._commit()
            case "interval":
                now = time.monotonic()
                if now - self._committed_at >= self._interval_s:
                    self._committed_at = now
                    self._commit()
            case _:
                act = self._boundaries.on_batch()
                if act is not None:
                    self._act(act)

    def _commit_final(self) -> None:
        if self._boundary != "connector":
            self._commit()
        else:
            act = self._boundaries.on_batch()
            if act is not None:
                self._act(act)

    def _act(self, act: str) -> None:
        if act == "abort":
            if self._open:
                log.info("%s aborts a transaction, as its connector asks", self._control.name)
                self._retry("abort_transaction", lambda: self._producer.abort_transaction(_CALL_S))
                self._open = False
            else:
                log.warning("%s has an empty transaction, there is nothing to abort", self._control.name)
        # After an abort too: who polls again must not see the same records again.
        self._commit()

    def _commit(self) -> None:
        if not self._open and not self._offsets:
            self._tell()
            return
        self._begin()
        for partition, offset in self._offsets.values():
            self._write_offset(partition, offset)
        self._retry("commit_transaction", lambda: self._producer.commit_transaction(_CALL_S))
        self._open = False
        self._offsets = {}
        self._tell()

    def _write_offset(self, partition: Any, offset: Any) -> None:
        key = json.dumps([self._connector, partition], separators=(",", ":"), ensure_ascii=False).encode()
        value = None if offset is None else json.dumps(offset, separators=(",", ":"), ensure_ascii=False).encode()
        while True:
            try:
                self._producer.produce(self._offsets_topic, value, key)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                raise ConnectError(f"Failed to write offsets: {error}") from error

    def _tell(self) -> None:
        told, self._to_tell = self._to_tell, []
        for record, offset in told:
            try:
                self._task.commit_record(record, offset)
            except Exception as error:
                log.error("%s Exception thrown while calling task.commitRecord()", self._control.name, exc_info=error)
        try:
            self._task.commit()
        except Exception as error:
            log.error("%s Exception thrown while calling task.commit()", self._control.name, exc_info=error)

    def _retry(self, what: str, call: Callable[[], object]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                call()
                return
            except KafkaException as error:
                told = error.args[0]
                passing = told.retriable() or told.code() == KafkaError._TIMED_OUT
                if told.fatal() or told.txn_requires_abort() or not passing or time.monotonic() > until:
                    raise ConnectError(
                        f"Failed to flush offsets and/or records for task {self._control.name}: {what}: {error}"
                    ) from error
                log.info("%s: %s: %s; again", self._control.name, what, error)
                time.sleep(0.05)
