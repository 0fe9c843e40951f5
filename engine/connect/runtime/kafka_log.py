"""A compacted topic as a table of a worker's: read from the beginning, followed, written to (``KafkaBasedLog``)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from engine.client.admin.configs import ConfigResource, ResourceType
from engine.client.admin.offsets import OffsetAt, OffsetSpec
from engine.client.admin.topics import NewTopic
from engine.client.errors import ClientError
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG, librdkafka_settings
from engine.connect.runtime.source_loop import PRODUCER_DEFAULTS
from engine.connect.runtime.worker_config import WorkerConfig
from engine.model.errors import ErrorCode
from engine.model.errors import KafkaError as ModelError
from engine.model.topic_partition import TopicPartition as ModelPartition

log = logging.getLogger(__name__)

Message = Any
_CREATE_MS = 30_000
_RETRY_S = 0.2
_POLL_S = 0.2
_WRITE_S = 30.0


class TopicPlan:
    """How an internal topic is created where there is none."""

    def __init__(self, config: str, topic: str, partitions: int, replication_factor: int, configs: Mapping[str, str]):
        """``config`` is the name of the worker's config that names the topic, for errors."""
        self.config = config
        self.topic = topic
        self.partitions = partitions
        self.replication_factor = replication_factor
        self.configs = dict(configs)


def plan_of(config: WorkerConfig, kind: str) -> TopicPlan:
    """Of the topic of configs, offsets or statuses; ``<kind>.storage.<config of a topic>`` are its configs."""
    prefix = f"{kind}.storage."
    ours = ("topic", "partitions", "replication.factor", "cleanup.policy")
    return TopicPlan(
        f"{prefix}topic",
        config[f"{prefix}topic"],
        1 if kind == "config" else config[f"{prefix}partitions"],
        config[f"{prefix}replication.factor"],
        {
            name.removeprefix(prefix): value
            for name, value in config.resolved.items()
            if name.startswith(prefix) and name.removeprefix(prefix) not in ours
        },
    )


class KafkaLog:
    """One topic. Records come to ``on_records`` on the event loop, each partition's in order."""

    def __init__(
        self,
        config: WorkerConfig,
        plan: TopicPlan,
        on_records: Callable[[Sequence[Message]], None],
        *,
        client_id: str,
        read_committed: bool = False,
    ) -> None:
        self.topic = plan.topic
        self.partitions = 0
        self._config = config
        self._plan = plan
        self._on_records = on_records
        self._client_id = client_id
        self._read_committed = read_committed
        self._admin = config.admin()
        self._positions: dict[int, int] = {}
        self._moved = asyncio.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._producer: Any = None
        self._delivering: threading.Thread | None = None

    async def start(self) -> None:
        """Create the topic if there is none, and read all of it.

        Raises:
            ConfigError: there is one, but it is not compacted, or has the wrong number of partitions.
            ConnectError: the cluster does not let it.
        """
        await self._ensure_topic()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, args=(loop,), name=f"log-{self.topic}", daemon=True)
        self._thread.start()
        settings = {
            **PRODUCER_DEFAULTS,
            "delivery.timeout.ms": "120000",
            "linger.ms": "0",
            "client.id": self._client_id,
            **librdkafka_settings(self._config.client_props("producer")),
        }
        self._producer = Producer(settings, logger=LIBRDKAFKA_LOG)
        self._delivering = threading.Thread(target=self._deliver, name=f"log-producer-{self.topic}", daemon=True)
        self._delivering.start()
        await self.read_to_end()

    async def stop(self) -> None:
        """No more."""
        self._stopping.set()
        for each in (self._thread, self._delivering):
            if each is not None:
                await asyncio.to_thread(each.join, 5)
        self._admin.close()

    async def read_to_end(self, timeout_s: float = 30.0) -> None:
        """Everything that is in the topic now has come to ``on_records``.

        Where only committed records count this waits for open transactions: behind one may be what is asked for.

        Raises:
            ConnectError: not within the time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                ends = await self._ends()
                while any(self._positions.get(partition, 0) < end for partition, end in ends.items()):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise ConnectError(
                f"The topic {self.topic} could not be read to its end within {timeout_s:.0f} s"
            ) from None

    async def write(self, records: Sequence[tuple[bytes, bytes | None]], timeout_s: float = _WRITE_S) -> None:
        """Write these, and wait until brokers have them.

        Raises:
            ConnectError: they do not.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[None]] = []
        for key, value in records:
            done: asyncio.Future[None] = loop.create_future()
            futures.append(done)

            def delivered(error: Any, message: Any, done: asyncio.Future[None] = done) -> None:
                loop.call_soon_threadsafe(_settle, done, error, self.topic)

            self._producer.produce(self.topic, value, key, on_delivery=delivered)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*futures)
        except TimeoutError:
            raise ConnectError(f"The topic {self.topic} took nothing within {timeout_s:.0f} s") from None

    def write_soon(self, key: bytes, value: bytes | None, failed: Callable[[], None]) -> None:
        """Write this without waiting; a failure is logged, and told on the event loop."""
        loop = asyncio.get_running_loop()

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                log.error("a record for %s was not written: %s", self.topic, error)
                loop.call_soon_threadsafe(failed)

        self._producer.produce(self.topic, value, key, on_delivery=delivered)

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait for what was written without waiting."""
        if self._producer is None:
            # It never started, so nothing was.
            return
        await asyncio.to_thread(self._producer.flush, timeout_s)

    # -- the topic ------------------------------------------------------------------------------------------------

    async def _ensure_topic(self) -> None:
        plan = self._plan
        until = asyncio.get_running_loop().time() + _CREATE_MS / 1000
        while True:
            found = await self._described()
            if isinstance(found, int):
                self.partitions = found
                await self._check_policy()
                return
            wanted = NewTopic(
                plan.topic, plan.partitions, plan.replication_factor, {**plan.configs, "cleanup.policy": "compact"}
            )
            try:
                told = (await self._admin.create_topics([wanted], timeout_ms=_CREATE_MS))[plan.topic]
            except ClientError as error:
                told = error  # type: ignore[assignment]
            if isinstance(told, ModelError | ClientError):
                passing = isinstance(told, ClientError) or told.code is ErrorCode.TOPIC_ALREADY_EXISTS
                if not passing and not told.code.retriable:
                    raise ConnectError(
                        f"The topic {plan.topic} ({plan.config}) cannot be created: {told}. Create it, with "
                        "cleanup.policy=compact, or change the worker's configs"
                    )
                log.info("creating %s: %s", plan.topic, told)
            else:
                log.info("created the topic %s (%s)", plan.topic, plan.config)
            if asyncio.get_running_loop().time() > until:
                raise ConnectError(f"The topic {plan.topic} ({plan.config}) did not come up: {told}")
            await asyncio.sleep(_RETRY_S)

    async def _described(self) -> int | None:
        """How many partitions it has, all of them led; None: it is not there (yet)."""
        try:
            metadata = await self._admin.metadata([self._plan.topic])
        except (ClientError, ModelError) as error:
            log.info("%s: %s", self._plan.topic, error)
            return None
        topic = metadata.topics.get(self._plan.topic)
        if topic is None or isinstance(topic, ModelError) or not topic.partitions:
            return None
        if any(each.leader < 0 for each in topic.partitions):
            return None
        return len(topic.partitions)

    async def _check_policy(self) -> None:
        plan = self._plan
        if plan.config == "config.storage.topic" and self.partitions != 1:
            raise ConfigError.saying(
                f"Topic '{plan.topic}' supplied via the '{plan.config}' property is required to have a single "
                "partition in order to guarantee consistency of connector configurations, but found "
                f"{self.partitions} partitions."
            )
        resource = ConfigResource(ResourceType.TOPIC, plan.topic)
        found = (await self._admin.describe_configs([resource]))[resource]
        if not isinstance(found, list):
            log.warning("whether the topic %s is compacted cannot be seen: %s", plan.topic, found)
            return
        policy = next((each.value for each in found if each.name == "cleanup.policy"), None)
        if policy != "compact":
            raise ConfigError.saying(
                f"Topic '{plan.topic}' supplied via the '{plan.config}' property is required to have "
                "'cleanup.policy=compact' to guarantee consistency and durability of what it keeps, but found the "
                f"topic currently has 'cleanup.policy={policy}'. Continuing would likely result in losing it "
                "and problems restarting this Connect cluster in the future. Change the property in the Connect worker "
                "configurations to use a topic with 'cleanup.policy=compact'."
            )

    async def _ends(self) -> dict[int, int]:
        wanted = {ModelPartition(self.topic, each): OffsetSpec.LATEST for each in range(self.partitions)}
        while True:
            told = await self._admin.list_offsets(wanted)
            if all(isinstance(each, OffsetAt) for each in told.values()):
                return {at.partition: each.offset for at, each in told.items() if isinstance(each, OffsetAt)}
            await asyncio.sleep(_RETRY_S)

    # -- threads ----------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_S)
        self._producer.flush(5)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        settings = {
            "fetch.wait.max.ms": "500",
            "reconnect.backoff.max.ms": "1000",
            "reconnect.backoff.ms": "50",
            "client.id": self._client_id,
            **librdkafka_settings(self._config.client_props("consumer")),
            # librdkafka wants one; nothing is asked or committed under it.
            "group.id": f"{self._client_id}-log",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            "enable.partition.eof": "true",
            "isolation.level": "read_committed" if self._read_committed else "read_uncommitted",
        }
        consumer = Consumer(settings, logger=LIBRDKAFKA_LOG)
        try:
            consumer.assign([TopicPartition(self.topic, each, OFFSET_BEGINNING) for each in range(self.partitions)])
            while not self._stopping.is_set():
                first = consumer.poll(_POLL_S)
                if first is None:
                    continue
                messages = [first, *consumer.consume(1000, 0)]
                try:
                    loop.call_soon_threadsafe(self._take, messages)
                except RuntimeError:  # the loop is closed
                    return
        finally:
            consumer.close()

    def _take(self, messages: list[Message]) -> None:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                continue
            else:
                log.info("reading %s: %s", self.topic, error)
        if records:
            self._on_records(records)
        for message in messages:
            if message.error() is None:
                self._positions[message.partition()] = message.offset() + 1
            elif message.error().code() == KafkaError._PARTITION_EOF:
                # Past what is never delivered, too: markers of transactions, records of aborted ones.
                self._positions[message.partition()] = max(
                    self._positions.get(message.partition(), 0), message.offset()
                )
        self._moved.set()


def _settle(done: asyncio.Future[None], error: Any, topic: str) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(ConnectError(f"a record for {topic} was not written: {error}"))
