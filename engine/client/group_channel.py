"""The coordinator of one group as a member speaks to it: found, found again, and asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from engine.client.broker_pool import BrokerPool
from engine.client.channel import Address, Channel
from engine.client.errors import ClientError, ConnectionLost, RequestTimedOut, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.metadata_request import MetadataRequest

if TYPE_CHECKING:
    from engine.wire.message import Message
    from engine.world import World

MOVED = frozenset(
    (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
)
"""Look for the coordinator again."""


class GroupChannel:
    """Requests to the coordinator of one group. All methods belong to one event loop."""

    def __init__(
        self, world: World, bootstrap: list[Address], group_id: str, client_id: str, request_timeout_ms: float
    ) -> None:
        self.group_id = group_id
        self._pool = BrokerPool(world, bootstrap, client_id=client_id)
        self._address: Address | None = None
        self._channel = Channel(world, lambda: self._address, client_id, negotiate=True)
        self._timeout_ms = request_timeout_ms

    def close(self) -> None:
        """Close all connections."""
        self._channel.close()
        self._pool.close()

    async def send(self, request: Message, *, max_version: int | None = None, timeout_ms: float | None = None) -> Any:
        """Ask the coordinator once.

        Raises:
            ClientError: it is not known, or did not answer; the next call looks for it again.
            UnsupportedApi: it does not serve the request at all.
            KafkaError: the group may not be asked for.
        """
        try:
            async with asyncio.timeout((timeout_ms or self._timeout_ms) / 1000):
                if self._address is None:
                    self._address = await self._find()
                connection = await self._channel.connection()
                version = connection.version_for(request.API_KEY)
                if max_version is not None:
                    version = min(version, max_version)
                return await connection.post(request, version=version, timeout_ms=0)
        except UnsupportedApi:
            raise
        except TimeoutError:
            self.forget()
            self._channel.drop()
            raise RequestTimedOut(
                f"the coordinator of {self.group_id} did not answer {type(request).__name__}"
            ) from None
        except ClientError:
            self.forget()
            raise

    def forget(self) -> None:
        """Look for the coordinator anew before the next request."""
        self._address = None

    def hang_up(self) -> None:
        """Close the connection: the broker answers on it only after what it was asked last."""
        self._channel.drop()

    async def _find(self) -> Address:
        metadata = await self._pool.send_any(MetadataRequest(topics=[], allow_auto_topic_creation=False))
        if metadata.brokers:
            self._pool.learn({each.node_id: (each.host, each.port) for each in metadata.brokers})
        answer = await self._pool.send_any(FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group_id]))
        found = answer.coordinators[0]
        if found.error_code:
            code = ErrorCode(found.error_code)
            if code in MOVED or code.retriable:
                raise ConnectionLost(f"the group {self.group_id} has no coordinator now: {code.name}")
            raise KafkaError(code, f"group {self.group_id}: {found.error_message or code.name}")
        return found.host, found.port
