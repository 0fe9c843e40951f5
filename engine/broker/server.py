"""The listening sockets of a broker and the upkeep of its connections."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from engine.broker.connection import ServerConnection

if TYPE_CHECKING:
    from engine.broker.router import Router
    from engine.world import Listener, World

log = logging.getLogger(__name__)


class Server:
    """Accepts connections on the broker's listeners (SocketServer)."""

    def __init__(self, world: World, router: Router, *, max_frame_bytes: int, idle_ms: int) -> None:
        """``max_frame_bytes`` is socket.request.max.bytes, ``idle_ms`` connections.max.idle.ms."""
        self._world = world
        self._router = router
        self._max_frame_bytes = max_frame_bytes
        self._idle_ms = idle_ms
        self._listeners: list[Listener] = []
        self._reaper: asyncio.Task[None] | None = None

    async def listen(self, name: str, host: str, port: int, *, is_controller: bool) -> tuple[str, int]:
        """Open one listener and return its address. Requests on a broker's listener wait for :meth:`answer_clients`.

        Raises ``OSError`` (address in use) naming the address.
        """
        router, max_frame_bytes = self._router, self._max_frame_bytes

        def connection() -> ServerConnection:
            return ServerConnection(router, name, is_controller, max_frame_bytes)

        try:
            listener = await self._world.network.listen(host, port, connection)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {name}://{host}:{port}: {error.strerror or error}") from error
        self._listeners.append(listener)
        if self._reaper is None and self._idle_ms > 0:
            self._reaper = asyncio.ensure_future(self._reap_idle())
        log.info("listening on %s://%s:%d", name, *listener.address)
        return listener.address

    def answer_clients(self) -> None:
        """The broker knows what it leads: requests that wait are answered, and all that come."""
        self._router.answers_clients = True
        for connection in sorted(self._router.connections, key=lambda each: each.connection_id):
            connection.release()

    async def _reap_idle(self) -> None:
        pause_ms = min(self._idle_ms, 60_000)
        while True:
            await asyncio.sleep(pause_ms / 1000)
            oldest_ms = self._world.clock.monotonic_ms() - self._idle_ms
            for connection in sorted(self._router.connections, key=lambda each: each.connection_id):
                if connection.last_active_ms < oldest_ms and not connection.is_busy:
                    connection.close()

    async def stop_accepting(self) -> None:
        """Close the listening sockets; open connections go on."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            await listener.close()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def close_connections(self) -> None:
        """Close every open connection after the answers that are already made."""
        for connection in sorted(self._router.connections, key=lambda each: each.connection_id):
            connection.close()
