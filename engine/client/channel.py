"""A channel to a destination that may move: connected when first used, again after a loss, with back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.client.connection import Connection
from engine.client.errors import AuthenticationFailed, ConnectionLost, RequestTimedOut

if TYPE_CHECKING:
    from engine.wire.message import Message
    from engine.world import World

Address = tuple[str, int]

# Who was refused is not let in a moment later: brokers write each attempt down, and some lock users out.
_REFUSED_FOR_MS = 5_000


class Channel:
    """Requests to whatever ``resolve`` names now: a fixed broker, the active controller, a coordinator.

    Back-off follows reconnect.backoff.ms and reconnect.backoff.max.ms. The first attempt after a connection was lost is
    made at once: a restarted or moved destination is found without delay, a dead one costs one refused connect.
    """

    def __init__(
        self,
        world: World,
        resolve: Callable[[], Address | None],
        client_id: str,
        *,
        negotiate: bool = False,
        connect_timeout_ms: float = 3000,
        backoff_ms: float = 50,
        backoff_max_ms: float = 1000,
    ) -> None:
        self._world = world
        self._resolve = resolve
        self._client_id = client_id
        self._negotiate = negotiate
        self._connect_timeout_ms = connect_timeout_ms
        self._backoff_ms = backoff_ms
        self._backoff_max_ms = backoff_max_ms
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._opening_to: Address | None = None
        self._failures = 0
        self._not_before_ms = 0.0
        self._refused = ""
        self._lost_callbacks: list[Callable[[Address], None]] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a live connection now."""
        return self._connection is not None and not self._connection.closed

    def on_lost(self, callback: Callable[[Address], None]) -> None:
        """Call ``callback(address)`` each time an established connection ends, unless this side closed it."""
        self._lost_callbacks.append(callback)

    async def connection(self) -> Connection:
        """The live connection to the present destination, opened if need be.

        Raises:
            ConnectionLost: there is no destination now, or it cannot be reached, or the back-off has not passed.
            RequestTimedOut: the connect timed out.
            AuthenticationFailed: the other side does not let this client in, now or seconds ago.
        """
        if self._closed:
            raise ConnectionLost("the channel is closed")
        address = self._resolve()
        if address is None:
            raise ConnectionLost("the destination is not known")
        current = self._connection
        if current is not None:
            if not current.closed and current.address == address:
                return current
            if not current.closed:
                self._drop(current)
            self._connection = None
        if self._opening is None:
            wait_ms = self._not_before_ms - self._world.clock.monotonic_ms()
            if wait_ms > 0 and self._refused:
                raise AuthenticationFailed(self._refused)
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / 1000)
                return await self.connection()
            self._opening_to = address
            self._opening = asyncio.ensure_future(self._open(address))
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if opening.cancelled() and waiter is not None and not waiter.cancelling():
                raise ConnectionLost("the channel was closed, or leads elsewhere now") from None
            raise

    async def _open(self, address: Address) -> Connection:
        return await Connection.open(
            self._world,
            address[0],
            address[1],
            client_id=self._client_id,
            timeout_ms=self._connect_timeout_ms,
            negotiate=self._negotiate,
        )

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        if task is self._opening:
            self._opening = None
        if task.cancelled():
            return
        error = task.exception()
        self._refused = str(error) if isinstance(error, AuthenticationFailed) else ""
        if self._refused:
            self._not_before_ms = self._world.clock.monotonic_ms() + _REFUSED_FOR_MS
            return
        if error is not None:
            self._failures += 1
            pause_ms = min(self._backoff_ms * 2 ** min(self._failures - 1, 10), self._backoff_max_ms)
            jitter = 0.8 + 0.4 * self._world.random.random()
            self._not_before_ms = self._world.clock.monotonic_ms() + pause_ms * jitter
            return
        connection = task.result()
        if self._closed:
            connection.close()
            return
        self._failures = 0
        self._not_before_ms = 0.0
        self._connection = connection
        connection.on_lost(lambda: self._lost(connection))

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        for callback in tuple(self._lost_callbacks):
            callback(connection.address)

    def _drop(self, connection: Connection) -> None:
        self._connection = None
        connection.close()

    async def send(self, request: Message, *, version: int | None = None, timeout_ms: float = 30_000) -> Any:
        """Send over the live connection, opening it if need be. Raises what :meth:`Connection.send` raises.

        A connection that did not answer in time is given up (NetworkClient does the same): the other side may be gone
        without a word, and would never answer the next request either.
        """
        connection = self._connection
        if connection is None or connection.closed or connection.address != self._resolve():
            connection = await self.connection()
        try:
            return await connection.post(request, version=version, timeout_ms=timeout_ms)
        except RequestTimedOut:
            if connection is self._connection:
                self._drop(connection)
            raise

    def drop(self) -> None:
        """Close the present connection, if any; the next request opens another."""
        if self._connection is not None:
            self._drop(self._connection)

    def reset_backoff(self) -> None:
        """Try again at once: there is news about the destination."""
        self._failures = 0
        self._not_before_ms = 0.0

    def on_moved(self) -> None:
        """The destination may be another one now. If so, nobody waits for the old one any more: requests under way fail
        with :class:`ConnectionLost`, and the next ones go to the new one at once."""
        self.reset_backoff()
        address = self._resolve()
        if address is None:
            return
        if self._opening is not None and self._opening_to != address:
            self._opening.cancel()
            self._opening = None
        if self._connection is not None and self._connection.address != address:
            self._drop(self._connection)

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._drop(self._connection)
