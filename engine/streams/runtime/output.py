"""Where the output of a worker's tasks goes: one producer, transactional under exactly-once."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from engine.streams.error_handlers import ErrorContext, ErrorHandlers
from engine.streams.errors import StreamsError
from engine.streams.records import ChangelogRecord, OutputRecord
from engine.streams.runtime.clients import LIBRDKAFKA_LOG, Partition
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.coordinator import Committed
from engine.streams.runtime.held_changes import HeldChanges
from engine.streams.runtime.worker_state import WorkerStopped

log = logging.getLogger(__name__)

_CALL_S = 10.0
_OPEN_S = 0.2
# Why brokers refuse records, whatever is tried again, and what helps.
_REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE: "raise the topic's max.message.bytes, or make records smaller",
    KafkaError.RECORD_LIST_TOO_LARGE: "raise the topic's segment.bytes",
    KafkaError.INVALID_RECORD: "a compacted topic takes no record without a key",
    KafkaError.INVALID_TIMESTAMP: "look at the topic's message.timestamp.before.max.ms and …after.max.ms",
    KafkaError.TOPIC_EXCEPTION: "the topic's name is none, or it is internal",
    KafkaError.POLICY_VIOLATION: "look at the brokers' policies",
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: "choose another producer.compression.type",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user needs WRITE on the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user needs WRITE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user needs READ on the group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user needs WRITE on the transactional id",
}


class TransactionLost(StreamsError):
    """The transaction was aborted, or the producer was fenced: nothing since the last commit has happened."""


def group_metadata(group_id: str, member_id: str, member_epoch: int) -> bytes:
    """The opaque bytes that librdkafka takes for a member of a group (``rd_kafka_consumer_group_metadata_write``)."""
    names = b"".join(each.encode() + b"\0" for each in (group_id, member_id))
    # Streams groups have no static members: the flag says that there is no instance id.
    return b"CGMDv2:" + struct.pack("=i", member_epoch) + names + b"\1"


class Output:
    """A collector of tasks over a producer. Not for several threads."""

    def __init__(
        self,
        config: StreamsConfig,
        client_id: str,
        transactional_id: str,
        partitions_of: Callable[[str], int],
        handlers: ErrorHandlers,
        versioned_changelogs: Collection[str] = (),
    ) -> None:
        self.partitions_of = partitions_of
        self.in_transaction = False
        self.sent = 0
        self.changelog_ends: dict[Partition, int] = {}
        """The next offset of changelogs that were written to, as far as brokers have told."""
        self._config = config
        self._client_id = client_id
        self._transactional_id = transactional_id if config.exactly_once else None
        self._handlers = handlers
        self._held = HeldChanges(versioned=versioned_changelogs)
        self._is_stopped: Callable[[], bool] = lambda: False
        self._failure: StreamsError | None = None
        self._producer: Any = None
        # In a transaction a failure shows in the commit; otherwise every record's fate must be looked at.
        self._on_delivery = None if config.exactly_once else self._delivered

    def open(self, is_stopped: Callable[[], bool] | None = None) -> None:
        """Make the producer; under exactly-once this fences whoever had its transactional id before.

        Raises:
            StreamsError: the cluster does not let it, or is not there within task.timeout.ms.
            WorkerStopped: ``is_stopped()`` meanwhile, which is kept for other producers that take over.
        """
        self._is_stopped = is_stopped or self._is_stopped
        config = self._config
        settings: dict[str, Any] = {
            "linger.ms": 5 if config.exactly_once else 100,
            "batch.size": 256 * 1024,
            "queue.buffering.max.messages": 500_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "message.timeout.ms": 120_000,
            **config.librdkafka("producer."),
            "client.id": f"{self._client_id}-producer",
            # Java's: a record and its table must meet in one partition, whoever wrote them.
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
        }
        if self._transactional_id is None:
            self._producer = Producer(settings, logger=LIBRDKAFKA_LOG)
            return
        settings["transactional.id"] = self._transactional_id
        settings["transaction.timeout.ms"] = config["transaction.timeout.ms"]
        settings["message.timeout.ms"] = min(settings["message.timeout.ms"], config["transaction.timeout.ms"])
        self._producer = Producer(settings, logger=LIBRDKAFKA_LOG)
        self._retry("init_transactions", lambda: self._producer.init_transactions(_OPEN_S), self._is_stopped)
        self.in_transaction = False

    def close(self) -> None:
        """Let go of the producer without waiting for anything."""
        if self._producer is not None:
            with suppress(KafkaException):  # of a producer that was fenced
                self._producer.purge()
                self._producer.flush(1)
            self._producer = None

    # -- the collector ------------------------------------------------------------------------------------------

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        """Records for a sink topic, in order."""
        self._begin()
        produce = self._producer.produce
        on_delivery = self._on_delivery
        for record in records:
            key, value, timestamp, headers, partition = record
            while True:
                try:
                    # librdkafka takes a time of 0 for "now".
                    produce(
                        topic,
                        value,
                        key,
                        -1 if partition is None else partition,
                        on_delivery=on_delivery,
                        timestamp=timestamp or 1,
                        headers=list(headers) or None,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as error:
                    self._refused(topic, record, error)
                    break
        self.sent += len(records)
        self._producer.poll(0)

    def log_changes(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        """Records for a changelog topic, in order: they are written with the commit, the last one of each key.

        Those of versioned stores are all written.
        """
        self._begin()
        if self._held.add(topic, partition, records):
            self._write_changes()

    def _write_changes(self) -> None:
        for topic, partition, records in self._held.take():
            if records:
                self._write_to_changelog(topic, partition, records)

    def _write_to_changelog(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        self._begin()
        produce = self._producer.produce
        on_delivery, last = self._on_delivery, len(records) - 1
        for index, (key, value, timestamp, headers) in enumerate(records):
            while True:
                try:
                    produce(
                        topic,
                        value,
                        key,
                        partition,
                        on_delivery=self._logged if index == last else on_delivery,
                        timestamp=max(timestamp, 1),
                        headers=list(headers) or None,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as error:
                    raise StreamsError(f"changelog {topic}-{partition}: {error}") from error
        self._producer.poll(0)

    def _refused(self, topic: str, record: OutputRecord, error: KafkaException) -> None:
        if error.args[0].fatal() or error.args[0].code() == KafkaError._STATE:
            raise TransactionLost(f"topic {topic}: {error}") from error
        if not self._handlers.production(_context(topic, record), error):
            raise StreamsError(f"topic {topic}: a record cannot be written: {error}") from error

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None or self._failure is not None or error.code() == KafkaError._PURGE_QUEUE:
            return
        topic = message.topic()
        record = OutputRecord(message.key(), message.value(), message.timestamp()[1], message.headers() or ())
        failure = KafkaException(error)
        if error.fatal() or not self._handlers.production(_context(topic, record), failure):
            self._failure = StreamsError(f"topic {topic}: a record was not written: {error}")

    def _logged(self, error: Any, message: Any) -> None:
        if error is None:
            # Sent again to a new leader that had it already, it is told without its offset; what is restored from the
            # end before it is the same once more.
            if message.offset() is not None:
                self.changelog_ends[message.topic(), message.partition()] = message.offset() + 1
        elif self._on_delivery is not None and self._failure is None and error.code() != KafkaError._PURGE_QUEUE:
            self._failure = StreamsError(f"changelog {message.topic()}-{message.partition()} was not written: {error}")

    # -- commits ------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Learn what became of records.

        Raises:
            StreamsError: one was lost.
        """
        self._producer.poll(0)
        if self._failure is not None:
            raise self._failure

    def flush(self, timeout_s: float) -> None:
        """Wait until all is written (at-least-once).

        Raises:
            StreamsError: not all is, within the time.
        """
        self._write_changes()
        left = self._producer.flush(timeout_s)
        if self._failure is not None:
            raise self._failure
        if left:
            raise StreamsError(f"{left} records were not written within {timeout_s:.0f} s (task.timeout.ms)")

    def _begin(self) -> None:
        if self._transactional_id is not None and not self.in_transaction:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise TransactionLost(f"begin_transaction: {error}") from error
            self.in_transaction = True

    def commit_transaction(
        self, offsets: Mapping[Partition, Committed], send: Callable[[Callable[[bytes], None]], None]
    ) -> None:
        """Commit what was sent, and these offsets with it.

        ``send`` calls what it is given with the member's metadata, while its epoch stands still.

        Raises:
            TransactionLost: it is aborted, or will be.
        """
        self._write_changes()
        self._begin()
        if offsets:
            listed = [
                TopicPartition(topic, partition, offset, metadata)
                for (topic, partition), (offset, metadata) in offsets.items()
            ]
            self._retry(
                "send_offsets_to_transaction",
                lambda: send(lambda metadata: self._producer.send_offsets_to_transaction(listed, metadata, _CALL_S)),
            )
        # Delivery reports come in here: the ends of changelogs.
        self._producer.flush(self._config["transaction.timeout.ms"] / 1000)
        self._retry("commit_transaction", lambda: self._producer.commit_transaction(_CALL_S))
        self.in_transaction = False

    def abort(self, *, reopen: bool = True) -> None:
        """Drop what was sent since the last commit; makes a new producer where the old one is done for.

        Without ``reopen``, as the worker ends, one that cannot abort is left to its next start.
        """
        self._held.clear()
        if self._transactional_id is None or self._producer is None:
            return
        if not self.in_transaction:
            return
        self.in_transaction = False
        self.changelog_ends.clear()
        try:
            self._retry("abort_transaction", lambda: self._producer.abort_transaction(_CALL_S))
        except (KafkaException, StreamsError) as error:
            log.warning("the transaction could not be aborted, a new producer will do it: %s", error)
            self.close()
            if reopen:
                self.open()

    def _retry(self, what: str, call: Callable[[], object], is_stopped: Callable[[], bool] = lambda: False) -> None:
        until = time.monotonic() + self._config["task.timeout.ms"] / 1000
        while True:
            try:
                call()
                return
            except KafkaException as error:
                told = error.args[0]
                if told.code() in _REFUSED:
                    # Begun anew, the same records would be refused again, and for ever.
                    raise StreamsError(f"{what}: {told.str()}: {_REFUSED[told.code()]}") from error
                if told.fatal() or told.txn_requires_abort():
                    raise TransactionLost(f"{what}: {error}") from error
                passing = told.retriable() or told.code() == KafkaError._TIMED_OUT
                if passing and is_stopped():
                    raise WorkerStopped(f"{what}: {error}") from error
                if not passing or time.monotonic() > until:
                    raise StreamsError(f"{what}: {error}") from error
                log.info("%s: %s; again", what, error)
                time.sleep(0.05)


def _context(topic: str, record: OutputRecord) -> ErrorContext:
    return ErrorContext(
        "production",
        "",
        "",
        None,
        -1,
        -1,
        record.key,
        record.value,
        record.timestamp,
        record.headers,
        None,
        topic,
    )
