"""What a connection that ends leaves of the requests that came with its last bytes."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from engine.broker.connection import ServerConnection


class OneHandler:
    """A router whose only handler waits for ever."""

    def __init__(self) -> None:
        self.bytes_received = 0
        self.watch = None
        self.happened: list[str] = []

    def dispatch(self, connection: ServerConnection, frame: memoryview) -> tuple[Any, bool]:
        return self._handle(), False

    async def _handle(self) -> None:
        self.happened.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.happened.append("called off")
            raise

    def connection_closed(self, connection: ServerConnection) -> None:
        pass


async def test_a_request_that_came_with_the_end_of_its_connection_begins_and_is_called_off() -> None:
    router: Any = OneHandler()
    connection = ServerConnection(router, "PLAINTEXT", False, 1000)
    with warnings.catch_warnings():
        # "coroutine was never awaited"
        warnings.simplefilter("error")
        connection.data_received(b"\x00\x00\x00\x04four")
        connection.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
    assert router.happened == ["begun", "called off"]
