"""The config topic: read into a :class:`ConfigState`, written to by the leader (``KafkaConfigBackingStore``).

Under exactly-once the leader writes in transactions, under one transactional id: who leads fences who led before.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from engine.connect.errors import ConnectError
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG, librdkafka_settings
from engine.connect.runtime.config_state import Change, ConfigState, Records
from engine.connect.runtime.kafka_log import KafkaLog, plan_of
from engine.connect.runtime.source_loop import PRODUCER_DEFAULTS
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)
_CALL_S = 30.0


class FencedFromConfigTopic(ConnectError):
    """Another worker leads, or did for a moment (``PrivilegedWriteException``)."""


class ConfigStore:
    """Coroutines of the worker's event loop."""

    def __init__(
        self, config: WorkerConfig, state: ConfigState, on_change: Callable[[Change, bool], None], client_id: str
    ) -> None:
        """``on_change(change, whether the connector was there before)`` hears of what comes after the start."""
        self._config = config
        self._state = state
        self._on_change = on_change
        self._client_id = client_id
        self._started = False
        # Workers that only prepare fence each other already.
        self._transactional = config["exactly.once.source.support"].lower() != "disabled"
        self._producer: Any = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "config-writer")
        self._log = KafkaLog(
            config,
            plan_of(config, "config"),
            self._replay,
            client_id=f"{client_id}-configs",
            read_committed=config.exactly_once,
        )

    async def start(self) -> None:
        """Read all of the topic; raises ConnectError."""
        await self._log.start()
        self._started = True

    async def stop(self) -> None:
        """No more."""
        self.relinquish()
        self._thread.shutdown(wait=False)
        await self._log.stop()

    async def refresh(self, timeout_s: float = 30.0) -> None:
        """All that is in the topic now is in the state.

        Raises:
            ConnectError: not within the time.
        """
        await self._log.read_to_end(timeout_s)

    async def claim(self) -> None:
        """This worker leads now.

        Raises:
            ConnectError: the cluster does not let it.
        """
        if not self._transactional or self._producer is not None:
            return

        def claim() -> Any:
            settings = {
                **PRODUCER_DEFAULTS,
                "linger.ms": "0",
                **librdkafka_settings(self._config.client_props("producer")),
                "client.id": f"{self._client_id}-configs-leader",
                "transactional.id": f"connect-cluster-{self._config['group.id']}",
            }
            # librdkafka wants messages to be given up before their transaction is.
            settings["delivery.timeout.ms"] = settings.setdefault("transaction.timeout.ms", "60000")
            producer = Producer(settings, logger=LIBRDKAFKA_LOG)
            producer.init_transactions(_CALL_S)
            return producer

        try:
            self._producer = await asyncio.get_running_loop().run_in_executor(self._thread, claim)
        except KafkaException as error:
            raise ConnectError(
                f"Failed to create and initialize fencable producer for config topic: {error}"
            ) from error

    def relinquish(self) -> None:
        """Somebody else leads."""
        self._producer = None

    async def write(self, records: Records) -> None:
        """As the leader; all or none under exactly-once. They are in the state when this returns.

        Raises:
            FencedFromConfigTopic: somebody else leads: claim again if that is not so.
            ConnectError: brokers did not take them.
        """
        if not self._transactional:
            await self.write_unprivileged(records)
            return
        producer = self._producer
        if producer is None:
            raise FencedFromConfigTopic("Cannot produce to config topic without claiming write privileges first")

        def write() -> None:
            producer.begin_transaction()
            for key, value in records:
                producer.produce(self._log.topic, value, key.encode())
            producer.commit_transaction(_CALL_S)

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write)
        except KafkaException as error:
            self.relinquish()
            raise FencedFromConfigTopic(f"Failed to perform fencable send to config topic: {error}") from error
        await self._log.read_to_end()

    async def write_unprivileged(self, records: Records) -> None:
        """What any worker may write.

        Raises:
            ConnectError: brokers did not take it.
        """
        await self._log.write([(key.encode(), value) for key, value in records])
        await self._log.read_to_end()

    def _replay(self, messages: Sequence[Any]) -> None:
        for message in messages:
            key = message.key()
            if key is None:
                continue
            name = key.decode("utf-8", "replace")
            before = self._state.connectors.keys() & {name.removeprefix("connector-")}
            change = self._state.replay(name, message.value(), message.offset())
            if self._started and change.kind != "nothing":
                self._on_change(change, change.connector in before)
