"""A cluster whose records are read and masked before anybody gets them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from console.gateway.protocol import GatewayError, Tail, TailBatch
from console.values.serdes import SerdeError
from console.values.value_reader import NO_REGISTRY
from console.values.values import MaskingBroken, Values

if TYPE_CHECKING:
    from console.gateway.protocol import Gateway
    from console.gateway.schemas import SchemaQuestions
    from console.gateway.streams_protocol import StreamsQuestions
    from console.values.registry import RegistryConfig
    from console.viewmodel.segments import BatchView
    from console.viewmodel.store_queries import Entries, StoreQuery


class ReadableGateway:
    """Everything but records is the cluster's own."""

    def __init__(self, gateway: Gateway, values: Values) -> None:
        self._gateway = gateway
        self.values = values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    @property
    def streams(self) -> StreamsQuestions:
        """Workers, of whose stores nothing is shown that comes from a masked topic."""
        return _UnmaskedStores(self._gateway.streams, self.values)

    @property
    def schemas(self) -> SchemaQuestions:
        """The registry that values are read by."""
        from console.gateway.schemas import SchemaQuestions

        return SchemaQuestions(self._registry, self._check_writable)

    def _check_writable(self) -> None:
        capabilities = self._gateway.capabilities
        if capabilities.read_only:
            raise GatewayError(capabilities.read_only_because)

    async def _registry(self) -> RegistryConfig:
        await self.find_registry()
        self.values.read_rules()
        config = self.values.registry_config
        if config is None:
            raise GatewayError(self.values.problem or NO_REGISTRY)
        return config

    async def find_registry(self) -> None:
        """An embedded cluster may have one of its own: to be known before anything is read or written."""
        registry_url = getattr(self._gateway, "registry_url", None)
        if registry_url is not None:
            self.values.cluster_has_registry(await registry_url())

    async def sought_key(self, topic: str, typed: str) -> bytes:
        """The bytes of a key that somebody typed. Raises: GatewayError: it is none."""
        await self.find_registry()
        try:
            return await self.values.sought_key(topic, typed)
        except (ValueError, SerdeError) as error:
            raise GatewayError(str(error)) from None

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        """Records as rules have them. Raises GatewayError too where masks are wrong."""
        await self.find_registry()
        try:
            reader = self.values.begin()
        except MaskingBroken as error:
            raise GatewayError(str(error)) from None
        async with aclosing(self._gateway.tail(tail)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                yield batch._replace(records=await reader.read(batch.records))

    async def batch(self, path: str, position: int) -> BatchView:
        """One batch byte by byte, where nothing of the topic is masked."""
        _check_masks(self.values, os.path.basename(os.path.dirname(path)).rpartition("-")[0], "its bytes are")
        return await self._gateway.batch(path, position)


class _UnmaskedStores:
    """Questions to workers. Masks say what to take out of records, not out of what an application made of them."""

    def __init__(self, streams: StreamsQuestions, values: Values) -> None:
        self._streams = streams
        self._values = values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streams, name)

    async def query(self, endpoints: Sequence[str], query: StoreQuery, topics: Sequence[str]) -> Entries:
        for topic in topics:
            _check_masks(self._values, topic, "stores made of it are")
        return await self._streams.query(endpoints, query, topics)


def _check_masks(values: Values, topic: str, what: str) -> None:
    """Raises: GatewayError: rules take something out of the topic's records."""
    try:
        masked = values.is_masked(topic)
    except MaskingBroken as error:
        raise GatewayError(str(error)) from None
    if masked:
        raise GatewayError(f"{topic} is masked: {what} not shown ({values.masking_path})")
