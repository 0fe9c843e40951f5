"""What all areas of the admin client stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from engine.client.admin.outcome import Failure
from engine.client.broker_pool import BrokerPool
from engine.client.channel import Address
from engine.client.errors import ClientError
from engine.model.errors import KafkaError

if TYPE_CHECKING:
    from engine.world import World

R = TypeVar("R")


class AdminBase:
    """The pool of channels, and asking several brokers at once."""

    def __init__(
        self,
        world: World,
        bootstrap: Iterable[Address],
        *,
        client_id: str = "kconsole",
        request_timeout_ms: float = 5_000,
        connect_timeout_ms: float = 2_000,
    ) -> None:
        """``request_timeout_ms`` bounds each request to each broker, the connect included."""
        self.brokers = BrokerPool(
            world,
            bootstrap,
            client_id=client_id,
            request_timeout_ms=request_timeout_ms,
            connect_timeout_ms=connect_timeout_ms,
        )

    def close(self) -> None:
        """Close all connections."""
        self.brokers.close()

    async def _of_each(self, node_ids: Iterable[int], ask: Callable[[int], Awaitable[R]]) -> dict[int, R | Failure]:
        """Ask brokers at the same time; each has its own answer or its own failure."""

        async def one(node_id: int) -> R | Failure:
            try:
                return await ask(node_id)
            except (ClientError, KafkaError) as error:
                return error

        ids = sorted(set(node_ids))
        answers = await asyncio.gather(*(one(node_id) for node_id in ids))
        return dict(zip(ids, answers, strict=True))
