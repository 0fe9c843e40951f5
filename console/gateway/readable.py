"""A cluster whose records are read and masked before anybody gets them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from console.gateway.protocol import GatewayError, Tail, TailBatch
from console.values.values import MaskingBroken, Values

if TYPE_CHECKING:
    from console.gateway.protocol import Gateway
    from console.viewmodel.segments import BatchView


class ReadableGateway:
    """Everything but records is the cluster's own."""

    def __init__(self, gateway: Gateway, values: Values) -> None:
        self._gateway = gateway
        self.values = values

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        """Records as rules have them. Raises GatewayError too where masks are wrong."""
        try:
            reader = self.values.begin()
        except MaskingBroken as error:
            raise GatewayError(str(error)) from None
        async with aclosing(self._gateway.tail(tail)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                yield batch._replace(records=await reader.read(batch.records))

    async def batch(self, path: str, position: int) -> BatchView:
        """One batch byte by byte, where nothing of the topic is masked."""
        topic = os.path.basename(os.path.dirname(path)).rpartition("-")[0]
        try:
            masked = self.values.is_masked(topic)
        except MaskingBroken as error:
            raise GatewayError(str(error)) from None
        if masked:
            raise GatewayError(f"{topic} is masked: its bytes are not shown ({self.values.masking_path})")
        return await self._gateway.batch(path, position)
