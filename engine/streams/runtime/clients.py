"""The librdkafka clients of a worker. Only here and in the modules beside it is confluent-kafka imported."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as LibrdkafkaError
from confluent_kafka import admin as confluent_admin

from engine.client.admin import AdminClient
from engine.client.admin.offsets import OffsetAt, OffsetSpec
from engine.client.errors import ClientError
from engine.client.security.world import secured
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition as ModelPartition
from engine.streams.errors import StreamsError
from engine.streams.records import InputRecord
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.worker_state import WorkerStopped
from engine.world.real import real_world

log = logging.getLogger(__name__)

Partition = tuple[str, int]

_METADATA_TIMEOUT_S = 5.0
_REFRESH_S = 30.0
"""How often it is looked whether topics have got partitions."""
_ASK_AGAIN_S = 0.2
LIBRDKAFKA_LOG = logging.getLogger("librdkafka")


def make_consumer(config: StreamsConfig, kind: str, client_id: str) -> Consumer:
    """A consumer whose partitions are assigned by hand; ``kind`` is main, restore or global.

    It tells where partitions end, which is how its position gets past what is never delivered (transaction markers,
    aborted records), and never chooses an offset by itself.
    """
    settings = config.librdkafka("consumer.", f"{kind}.consumer.")
    return Consumer(
        {
            "fetch.wait.max.ms": 100,
            # What is prefetched fills the queue again and again; librdkafka's second of rest is a second of waiting.
            "fetch.queue.backoff.ms": 10,
            # Kafka's default; librdkafka's is the other.
            "isolation.level": "read_uncommitted",
            # A broker that comes back is found soon.
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            **settings,
            "client.id": f"{client_id}-{kind}-consumer",
            # librdkafka wants one; nothing is ever asked or committed under it.
            "group.id": config.application_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            **({"isolation.level": "read_committed"} if config.exactly_once else {}),
        },
        logger=LIBRDKAFKA_LOG,
    )


def input_records(messages: list[Any]) -> tuple[dict[Partition, list[InputRecord]], list[tuple[Partition, Any]]]:
    """What a consumer gave, by partition, and what it said besides: ``(partition, message with an error)``."""
    records: dict[Partition, list[InputRecord]] = {}
    told: list[tuple[Partition, Any]] = []
    for message in messages:
        at = message.topic(), message.partition()
        if message.error() is not None:
            told.append((at, message))
            continue
        found = records.get(at)
        if found is None:
            found = records[at] = []
        found.append(
            InputRecord(
                message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or ()
            )
        )
    return records, told


def is_end(message: Any) -> bool:
    """Whether a message only says that its partition ends here; ``message.offset()`` is the next to be written."""
    return bool(message.error().code() == LibrdkafkaError._PARTITION_EOF)


def is_out_of_range(message: Any) -> bool:
    """Whether a message says that the offset asked for is not there (any more)."""
    return message.error().code() in (LibrdkafkaError._AUTO_OFFSET_RESET, LibrdkafkaError.OFFSET_OUT_OF_RANGE)


class PartitionUnknown(StreamsError):
    """The group has made a task for a partition that the brokers which were asked do not know yet."""


class Topics:
    """What a worker asks about topics: partitions, offsets of their ends; and the purge of repartition topics."""

    def __init__(self, config: StreamsConfig, client_id: str, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Once ``is_stopped()`` nothing waits for brokers that are away."""
        self._is_stopped = is_stopped
        self._admin = confluent_admin.AdminClient(
            {**config.librdkafka(), "client.id": f"{client_id}-admin"}, logger=LIBRDKAFKA_LOG
        )
        self._partitions: dict[str, int] = {}
        self._timeout_s = config["task.timeout.ms"] / 1000
        # librdkafka's ListOffsets goes on with the leader epoch that it knows, also when it is fenced.
        self._loop = asyncio.new_event_loop()
        self._offsets = AdminClient(secured(real_world(), config.security), config.bootstrap, client_id=client_id)
        self._thread = threading.Thread(target=self._loop.run_forever, name="streams-offsets", daemon=True)
        self._thread.start()
        self._refreshing = asyncio.run_coroutine_threadsafe(self._begin_refreshing(), self._loop).result()
        self._expect_again = 0.0

    def close(self) -> None:
        """Let go of connections and thread."""

        async def close() -> None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))
            self._offsets.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has; waits for brokers that are away.

        Raises:
            StreamsError: there is no such topic, or nobody answers within task.timeout.ms.
        """
        known = self._partitions.get(topic)
        if known is not None:
            return known
        until = time.monotonic() + self._timeout_s
        missing_until = time.monotonic() + _METADATA_TIMEOUT_S
        while True:
            try:
                found = self._admin.list_topics(topic, timeout=_METADATA_TIMEOUT_S).topics.get(topic)
                if found is not None and found.error is None and found.partitions:
                    self._partitions[topic] = len(found.partitions)
                    return len(found.partitions)
                why, limit = "it does not exist: create it", missing_until
            except KafkaException as error:
                why, limit = str(error), until
            if time.monotonic() > limit:
                raise StreamsError(f"topic {topic}: {why}")
            if self._is_stopped():
                raise WorkerStopped(f"topic {topic}: {why}")
            time.sleep(0.05)

    async def _begin_refreshing(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self._ask_partitions(list(self._partitions))
            except (ClientError, KafkaError) as error:
                log.info("topics were not looked at: %s", error)

    async def _ask_partitions(self, topics: list[str]) -> None:
        found = (await self._offsets.metadata(topics)).topics if topics else {}
        # One that is not there may be back soon, and is not to be taken for smaller.
        self._partitions.update({name: len(told.partitions) for name, told in found.items() if told.partitions})

    def expect(self, topics: Iterable[str], partition: int) -> None:
        """At least one of these topics has this partition, says the group: look again where that is news.

        Raises:
            PartitionUnknown: none has; try again.
            StreamsError: as :meth:`partitions_of`.
        """
        names = list(topics)
        if any(partition < self.partitions_of(each) for each in names):
            return
        if time.monotonic() >= self._expect_again:
            with suppress(ClientError, KafkaError, TimeoutError):
                asyncio.run_coroutine_threadsafe(self._ask_partitions(names), self._loop).result(_METADATA_TIMEOUT_S)
            self._expect_again = time.monotonic() + _ASK_AGAIN_S
        if all(partition >= self._partitions[each] for each in names):
            raise PartitionUnknown(f"partition {partition} of {', '.join(names)} is not known yet")

    def ask_offsets(self, partitions: list[Partition], *, latest: bool) -> Future[dict[Partition, int | Exception]]:
        """The first offset of each partition, or the one after the last that is replicated; or why it is not known.

        Open transactions do not count: the end is that of all records, whatever becomes of them.
        """
        spec = OffsetSpec.LATEST if latest else OffsetSpec.EARLIEST

        async def ask() -> dict[Partition, int | Exception]:
            outcomes = await self._offsets.list_offsets(dict.fromkeys((ModelPartition(*at) for at in partitions), spec))
            return {
                (at.topic, at.partition): outcome.offset if isinstance(outcome, OffsetAt) else outcome
                for at, outcome in outcomes.items()
            }

        return asyncio.run_coroutine_threadsafe(ask(), self._loop)

    def delete_records(self, offsets: Mapping[Partition, int]) -> None:
        """Have what is before these offsets deleted, in the background; a failure does not matter."""
        asked = self._admin.delete_records([TopicPartition(topic, each, at) for (topic, each), at in offsets.items()])
        for future in asked.values():
            future.add_done_callback(_note_failure)


def _note_failure(future: Any) -> None:
    error = future.exception()
    if error is not None:
        log.info("repartition topic not purged: %s", error)
