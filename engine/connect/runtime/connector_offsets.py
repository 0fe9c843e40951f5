"""Source offsets of a connector that has a topic of its own for them (``ConnectorOffsetBackingStore``)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from engine.connect.errors import ConnectError
from engine.connect.runtime.kafka_stores import KafkaOffsetStore
from engine.connect.runtime.offset_store import OffsetIndex, OffsetStore, Raw
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)


class ConnectorOffsetStore(OffsetStore):
    """Its own topic, and the worker's for what is not there: written to both, so that it can go back."""

    def __init__(self, own: OffsetStore, workers: OffsetStore) -> None:
        self._own = own
        self._workers = workers

    async def start(self) -> None:
        await self._own.start()

    async def stop(self) -> None:
        await self._own.stop()

    async def index(self) -> OffsetIndex:
        return await self._own.index()

    async def read(self, connector: str, partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        own = await self._own.read(connector, partitions)
        if None not in own:
            return own
        others = await self._workers.read(connector, partitions)
        return [mine if mine is not None else other for mine, other in zip(own, others, strict=True)]

    async def put(self, connector: str, offsets: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
        forgotten = [each for each in offsets if each[1] is None]
        if forgotten:
            # First there: what is forgotten here would be found there again.
            await self._workers.put(connector, forgotten)
        await self._own.put(connector, offsets)
        try:
            await self._workers.put(connector, [each for each in offsets if each[1] is not None])
        except ConnectError as error:
            log.warning("the worker's topic has not the newest offsets of %s: %s", connector, error)

    async def write(self, records: Raw) -> None:
        await self._own.write(records)


class OffsetStores:
    """The stores of connectors with a topic of their own, by that topic; opened when one is asked for."""

    def __init__(self, config: WorkerConfig, workers: OffsetStore, client_id: str) -> None:
        self._config = config
        self._workers = workers
        self._client_id = client_id
        self._stores: dict[str, ConnectorOffsetStore] = {}
        self._opening = asyncio.Lock()

    async def of(self, topic: str | None) -> OffsetStore:
        """The store over a topic; None, or the worker's own topic: the worker's.

        Raises:
            ConnectError: the topic cannot be had.
        """
        if not topic or topic == self._config["offset.storage.topic"]:
            return self._workers
        async with self._opening:
            found = self._stores.get(topic)
            if found is None:
                found = ConnectorOffsetStore(KafkaOffsetStore(self._config, self._client_id, topic), self._workers)
                await found.start()
                self._stores[topic] = found
            return found

    async def stop(self) -> None:
        """Close all of them."""
        for each in self._stores.values():
            await each.stop()
