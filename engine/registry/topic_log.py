"""The topic ``_schemas``: one partition that is read to its end and followed, and written in transactions.

One registry writes at a time. Its producer has a transactional id that belongs to the topic, so that the brokers fence
the registry before it, however that one is (KIP-98); and a record that this one did not write, seen while it runs,
ends it as well: then a registry without such an id writes, Confluent's for instance.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not name what it exports
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from engine.registry.errors import (
    SCHEMA_TOO_LARGE,
    STORE_FAILED,
    STORE_TIMED_OUT,
    CannotStart,
    RegistryBroken,
    RegistryFenced,
    StoreError,
)
from engine.registry.topic_records import Record, noop_record

log = logging.getLogger(__name__)
_LIBRDKAFKA_LOG = logging.getLogger("librdkafka")

_CALL_S = 5.0
_POLL_S = 0.2
_MOST_REPLICAS = 3
# As long as a transaction may be open before brokers end it (transaction.timeout.ms).
_TRANSACTION_S = 10.0
_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)


class TopicLog:
    """The topic of one registry. All but the callbacks' work happens in threads of its own."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        on_record: Callable[[bytes, bytes | None, int], None],
        on_lost: Callable[[RegistryFenced], None],
        *,
        timeout_s: float = 30.0,
    ) -> None:
        """
        Args:
            settings: of librdkafka: where the brokers are, and what secures connections to them.
            on_record: is given key, value and time (ms) of each record, in order, on the event loop.
            on_lost: is told on the event loop, once, why this registry must not write any more.
            timeout_s: how long a write may take.
        """
        self.topic = topic
        self._settings = {
            **settings,
            "client.id": "kconsole-registry",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
        }
        self._on_record = on_record
        self._on_lost = on_lost
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="registry-writer")
        self._reader = threading.Thread(target=self._read, name="registry-reader", daemon=True)
        self._producer: Any = None
        self._closing = threading.Event()
        # Offsets that this registry wrote and has not read yet; read and written by both threads.
        self._own: set[int] = set()
        self._own_lock = threading.Lock()
        # Before this offset others may have written.
        self._since = -1
        self._lost: RegistryFenced | None = None
        # A transaction was begun, and its end is not known; these are the offsets that its records have.
        self._is_open = False
        self._in_doubt: list[int] = []
        # By the clock on the wall, which goes on while a machine sleeps.
        self._begun_at = 0.0
        # What was committed last.
        self._committed = -1
        self._position = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    # -- start and end ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have the topic, fence who wrote before, and read all that there is.

        Raises:
            CannotStart: no broker answers, or the topic is not fit for schemas.
        """
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(self._writing, self._prepare)
        self._reader.start()
        try:
            await self.append([noop_record()])
        except StoreError as error:
            raise CannotStart(f"{self.topic} cannot be written or read: {error.message}") from error
        except RegistryFenced as error:
            raise CannotStart(str(error)) from error

    async def close(self) -> None:
        """Let go of clients and threads."""
        self._closing.set()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writing, self._close_producer)
        if self._reader.is_alive():
            await loop.run_in_executor(None, self._reader.join, _CALL_S)
        self._writing.shutdown(wait=False)
        for _, waiting in self._waiting:
            waiting.cancel()

    def _prepare(self) -> None:
        until = time.monotonic() + self._timeout_s
        admin = AdminClient(self._settings, logger=_LIBRDKAFKA_LOG)
        while True:
            try:
                self._have_topic(admin)
                self._open_producer(until)
                return
            except KafkaException as error:
                if not error.args[0].retriable() and error.args[0].code() not in (
                    KafkaError._TRANSPORT,
                    KafkaError._TIMED_OUT,
                    KafkaError._ALL_BROKERS_DOWN,
                    KafkaError.INVALID_REPLICATION_FACTOR,
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                ):
                    raise CannotStart(f"{self.topic}: {error.args[0].str()}") from error
                if time.monotonic() > until:
                    raise CannotStart(
                        f"{self._settings['bootstrap.servers']}: no answer within {self._timeout_s:.0f} s: "
                        f"{error.args[0].str()}"
                    ) from error
                time.sleep(0.1)

    def _have_topic(self, admin: Any) -> None:
        cluster = admin.list_topics(timeout=_CALL_S)
        found = cluster.topics.get(self.topic)
        if found is None:
            new = NewTopic(
                self.topic,
                num_partitions=1,
                replication_factor=min(_MOST_REPLICAS, len(cluster.brokers)),
                config={"cleanup.policy": "compact"},
            )
            made = admin.create_topics([new], request_timeout=_CALL_S)[self.topic]
            try:
                made.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            return
        if len(found.partitions) != 1:
            raise CannotStart(
                f"topic {self.topic} has {len(found.partitions)} partitions: a registry's has one, name another"
            )
        resource = ConfigResource(ResourceType.TOPIC, self.topic)
        configs = next(iter(admin.describe_configs([resource], request_timeout=_CALL_S).values())).result()
        policy = configs["cleanup.policy"].value
        if policy != "compact":
            raise CannotStart(
                f"topic {self.topic} has cleanup.policy={policy}: schemas would be lost with time; set it to compact"
            )

    def _open_producer(self, until: float) -> None:
        self._producer = Producer(
            {
                **self._settings,
                "transactional.id": f"schema-registry-{self.topic}",
                "transaction.timeout.ms": int(_TRANSACTION_S * 1000),
                "message.timeout.ms": 10_000,
                "linger.ms": 0,
            },
            logger=_LIBRDKAFKA_LOG,
        )
        while True:
            try:
                self._producer.init_transactions(_CALL_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > until:
                    raise

    def _close_producer(self) -> None:
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.purge()
                self._producer.flush(1)
            self._producer = None

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, records: list[Record]) -> None:
        """Write records, all or none; returns when they are read back.

        Raises:
            StoreError: they are not written, or it is not known whether (50002).
            RegistryFenced: this registry must not write any more.
        """
        if self._lost is not None:
            raise self._lost
        await self._until_read(await self._in_writer(self._write, records))

    async def settled(self) -> None:
        """Have the end of a write whose outcome was not known, and all read that was written: what the next write
        rests on (which id is free) is known then, and not before.

        Raises:
            StoreError: it cannot be known yet; nothing must be written meanwhile.
            RegistryFenced: this registry must not write any more.
        """
        if self._lost is None and (self._is_open or self._committed >= self._position):
            await self._until_read(await self._in_writer(self._end_open))

    async def _in_writer(self, call: Callable[..., int], *arguments: Any) -> int:
        assert self._loop is not None, "the log was started"
        try:
            return await self._loop.run_in_executor(self._writing, call, *arguments)
        except RegistryFenced as error:
            self._lose(error)
            raise

    def _end_open(self) -> int:
        try:
            self._settle(time.monotonic() + self._timeout_s)
        except KafkaException as error:
            raise self._failed(error) from error
        return self._committed

    def _write(self, records: list[Record]) -> int:
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                self._settle(until)
                offsets = self._in_transaction(records, until)
                break
            except KafkaException as error:
                told = error.args[0]
                # What was aborted is not there for anybody: it may be written once more.
                may_again = told.txn_requires_abort() or told.code() in (
                    KafkaError._PURGE_QUEUE,
                    KafkaError._PURGE_INFLIGHT,
                )
                if told.fatal() or not may_again or time.monotonic() > until or self._closing.is_set():
                    raise self._failed(error) from error
        if self._since < 0:
            self._since = offsets[0]
        return max(offsets)

    def _in_transaction(self, records: list[Record], until: float) -> list[int]:
        """Their offsets, once they are committed."""
        offsets = self._in_doubt = []
        failures: list[KafkaError] = []

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                failures.append(error)
            elif message.offset() is None:
                # Sent again to a new leader that had it already: where it is, nobody says.
                failures.append(KafkaError(KafkaError._STATE, "no offset was told", txn_requires_abort=True))
            else:
                offsets.append(message.offset())
                with self._own_lock:
                    self._own.add(message.offset())

        self._producer.begin_transaction()
        self._is_open, self._begun_at = True, time.time()
        for record in records:
            self._producer.produce(self.topic, record.value, record.key, 0, on_delivery=delivered)
        while self._producer.flush(_POLL_S) and time.monotonic() < until and not self._closing.is_set():
            pass
        if failures or len(offsets) < len(records):
            raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))
        self._until_done(self._producer.commit_transaction, until)
        self._is_open = False
        self._committed = max(offsets)
        return offsets

    def _until_done(self, call: Callable[[float], object], until: float) -> None:
        while True:
            try:
                call(max(0.1, min(_CALL_S, until - time.monotonic())))
                return
            except KafkaException as error:
                told = error.args[0]
                again = told.retriable() or told.code() == KafkaError._TIMED_OUT
                if told.fatal() or told.txn_requires_abort() or not again:
                    raise
                if time.monotonic() > until or self._closing.is_set():
                    raise

    def _settle(self, until: float) -> None:
        """End the transaction of a write that failed. The same producer does it: one that was fenced stays so."""
        if not self._is_open:
            return
        try:
            self._until_done(self._producer.abort_transaction, until)
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError._CONFLICT, KafkaError._STATE):
                raise
            # It was being committed, and goes on where it was.
            self._until_done(self._producer.commit_transaction, until)
            self._committed = max(self._in_doubt, default=self._committed)
        self._is_open = False

    def _failed(self, error: KafkaException) -> Exception:
        told = error.args[0]
        if told.code() in _FENCED and self._is_open and time.time() - self._begun_at >= _TRANSACTION_S:
            # They fence who was too slow as they fence who came before another one.
            self._close_producer()
            return RegistryBroken(
                f"{self.topic}: a write took longer than {_TRANSACTION_S:.0f} s (its process was stopped, or no broker "
                "answered), and brokers have taken it back: the registry has to begin anew"
            )
        if told.code() in _FENCED:
            self._close_producer()
            return RegistryFenced(f"another registry writes to {self.topic} (it has fenced this one)")
        if told.fatal():
            self._close_producer()
            return RegistryBroken(f"{self.topic}: {told.str()}: the registry has to begin anew")
        if told.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return StoreError(SCHEMA_TOO_LARGE, f"the schema is larger than a record of {self.topic} may be")
        timed_out = told.code() in (KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT)
        return StoreError(STORE_TIMED_OUT if timed_out else STORE_FAILED, f"{self.topic}: {told.str()}")

    async def _until_read(self, offset: int) -> None:
        if self._position > offset:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((offset, waiting))
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiting
        except TimeoutError:
            raise StoreError(
                STORE_TIMED_OUT, f"{self.topic}: written, and not read back within {self._timeout_s:.0f} s"
            ) from None
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not waiting]

    # -- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        consumer = Consumer(
            {
                **self._settings,
                # librdkafka wants one; nothing is ever committed under it.
                "group.id": "kconsole-registry",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 500,
            },
            logger=_LIBRDKAFKA_LOG,
        )
        assert self._loop is not None, "the log was started"
        consumer.assign([TopicPartition(self.topic, 0, OFFSET_BEGINNING)])
        try:
            while not self._closing.is_set():
                # Whatever is there at once: consume() would wait for as many as it may give.
                first = consumer.poll(_POLL_S)
                if first is None:
                    continue
                messages = [each for each in (first, *consumer.consume(500, 0)) if each.error() is None]
                if messages:
                    with suppress(RuntimeError):  # the loop is closed
                        self._loop.call_soon_threadsafe(self._take, messages)
        finally:
            consumer.close()

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            offset = message.offset()
            with self._own_lock:
                is_own = offset in self._own
                self._own.discard(offset)
            if not is_own and 0 <= self._since < offset:
                self._lose(RegistryFenced(f"another registry writes to {self.topic} (offset {offset}): only one may"))
            if message.key() is not None:
                self._on_record(message.key(), message.value(), message.timestamp()[1])
            self._position = offset + 1
        for offset, waiting in self._waiting:
            if offset < self._position and not waiting.done():
                waiting.set_result(None)

    def _lose(self, why: RegistryFenced) -> None:
        if self._lost is None:
            self._lost = why
            log.error("%s", why)
            self._on_lost(why)
