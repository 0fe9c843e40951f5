"""Channels to all brokers of a cluster that is known by some bootstrap addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.client.channel import Address, Channel
from engine.client.connection import Connection
from engine.client.errors import ClientError, ConnectionLost, NotReady, RequestTimedOut, UnsupportedApi
from engine.wire.codec import EncodeError

if TYPE_CHECKING:
    from engine.wire.message import Message
    from engine.world import World

# A broker that has not answered for so long is asked in parallel with the next one.
_HEDGE_S = 0.3


class BrokerPool:
    """One channel and one time-out a broker: what one of them does not answer delays no other.

    Addresses of brokers come from metadata (:meth:`learn`); until then, and when all of them are gone, the bootstrap
    addresses serve.
    """

    def __init__(
        self,
        world: World,
        bootstrap: Iterable[Address],
        *,
        client_id: str,
        request_timeout_ms: float = 5_000,
        connect_timeout_ms: float = 2_000,
    ) -> None:
        self.world = world
        self.bootstrap = tuple(bootstrap)
        assert self.bootstrap, "at least one bootstrap address is needed"
        self.nodes: dict[int, Address] = {}
        self.request_timeout_ms = request_timeout_ms
        self._client_id = client_id
        self._connect_timeout_ms = connect_timeout_ms
        self._channels: dict[Address, Channel] = {}
        # Failures in a row, by address: who answered last is asked first.
        self._failures: dict[Address, int] = {}
        self._preferred: Address | None = None
        self._lost_callbacks: list[Callable[[Address], None]] = []
        self._closed = False

    def on_lost(self, callback: Callable[[Address], None]) -> None:
        """Call ``callback(address)`` whenever an established connection ends that this side did not close."""
        self._lost_callbacks.append(callback)

    def _lost(self, address: Address) -> None:
        for callback in tuple(self._lost_callbacks):
            callback(address)

    def learn(self, nodes: Mapping[int, Address]) -> None:
        """Take the brokers' advertised addresses; channels to addresses that nobody has any more are closed."""
        self.nodes = dict(nodes)
        wanted = {*self.nodes.values(), *self.bootstrap}
        for address in [each for each in self._channels if each not in wanted]:
            self._channels.pop(address).close()
            self._failures.pop(address, None)

    def close(self) -> None:
        """Close all channels; nothing can be sent any more."""
        self._closed = True
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def is_connected(self, node_id: int) -> bool:
        """Whether there is a live connection to the broker now."""
        address = self.nodes.get(node_id)
        channel = self._channels.get(address) if address else None
        return channel is not None and channel.connected

    def _channel(self, address: Address) -> Channel:
        if self._closed:
            raise ConnectionLost("the client is closed")
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = Channel(
                self.world,
                lambda: address,
                self._client_id,
                negotiate=True,
                connect_timeout_ms=self._connect_timeout_ms,
            )
            channel.on_lost(self._lost)
        return channel

    async def send(
        self,
        node_id: int,
        request: Message,
        *,
        timeout_ms: float | None = None,
        max_version: int | None = None,
    ) -> Any:
        """Send to one broker; opening the connection counts towards the time.

        Raises:
            ConnectionLost, RequestTimedOut: no answer; after a time-out the connection is dropped.
            UnsupportedApi: the broker does not serve it (in a version up to ``max_version``).
        """
        address = self.nodes.get(node_id)
        if address is None:
            raise ConnectionLost(f"broker {node_id} is not in the cluster's metadata")
        return await self._send_to(address, request, timeout_ms or self.request_timeout_ms, max_version)

    async def _send_to(self, address: Address, request: Message, timeout_ms: float, max_version: int | None) -> Any:
        channel = self._channel(address)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                connection = await channel.connection()
                version = connection.version_for(request.API_KEY)
                if max_version is not None:
                    version = min(version, max_version)
                try:
                    answering = connection.post(request, version=version, timeout_ms=0)
                except EncodeError as error:
                    # The broker is older than what is asked of it.
                    raise UnsupportedApi(f"{address[0]}:{address[1]}: {error}") from error
                answer = await answering
        except TimeoutError:
            # Its answers may never come (a stopped process, a half-open connection): begin anew next time.
            self._failures[address] = self._failures.get(address, 0) + 1
            channel.drop()
            raise RequestTimedOut(
                f"{address[0]}:{address[1]} did not answer {type(request).__name__} within {timeout_ms:.0f} ms"
            ) from None
        except (ConnectionLost, RequestTimedOut):
            self._failures[address] = self._failures.get(address, 0) + 1
            raise
        self._failures.pop(address, None)
        return answer

    def _candidates(self) -> list[Address]:
        known = sorted(set(self.nodes.values()))
        known += [each for each in self.bootstrap if each not in known]
        return sorted(known, key=lambda each: (self._failures.get(each, 0), each != self._preferred))

    async def send_any(
        self,
        request: Message,
        *,
        timeout_ms: float | None = None,
        max_version: int | None = None,
        idempotent: bool = True,
        doubt: Callable[[Any], str] | None = None,
    ) -> Any:
        """Send to whichever broker answers: one after the other, the next one already while the last is slow.

        A request that is not ``idempotent`` is sent to one broker only: the first that can be connected to.
        ``doubt`` says of an answer why it is none; then the next broker is asked.

        Raises:
            ClientError: no broker answers; the last one's error.
        """
        limit_ms = timeout_ms or self.request_timeout_ms
        if not idempotent:
            connection = await self._any_connection(limit_ms)
            return await self._send_to(connection.address, request, limit_ms, max_version)

        async def ask(address: Address) -> Any:
            answer = await self._send_to(address, request, limit_ms, max_version)
            if doubt is not None and (reason := doubt(answer)):
                self._failures[address] = self._failures.get(address, 0) + 1
                raise NotReady(f"{address[0]}:{address[1]} {reason}")
            return answer

        return await self._hedged(ask)

    async def _any_connection(self, timeout_ms: float) -> Connection:
        async def connect(address: Address) -> Connection:
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    return await self._channel(address).connection()
            except (TimeoutError, ClientError) as error:
                self._failures[address] = self._failures.get(address, 0) + 1
                if isinstance(error, ClientError):
                    raise
                raise RequestTimedOut(f"no connection to {address[0]}:{address[1]}") from None

        connection: Connection = await self._hedged(connect)
        return connection

    async def _hedged(self, attempt: Any) -> Any:
        waiting = self._candidates()
        running: dict[asyncio.Task[Any], Address] = {}
        last: ClientError = ConnectionLost("no broker is known")
        try:
            while waiting or running:
                if waiting:
                    address = waiting.pop(0)
                    running[asyncio.ensure_future(attempt(address))] = address
                done, _ = await asyncio.wait(
                    running, timeout=_HEDGE_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    address = running.pop(task)
                    error = task.exception()
                    if error is None:
                        self._preferred = address
                        return task.result()
                    if not isinstance(error, ClientError):
                        raise error
                    last = error
        finally:
            for task in running:
                task.cancel()
        raise last
