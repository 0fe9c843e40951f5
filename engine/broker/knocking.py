"""Whether a process is still there whose connection dropped: one that dies closes its sockets within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.world import World

# How often it is knocked, and how long a knock may take.
KNOCK_INTERVAL_MS = 5
_TIMEOUT_MS = 400


async def knock(world: World, host: str, port: int) -> str:
    """Connect once and hang up: why the listener refuses, "" if it took the connection.

    Raises: TimeoutError: no answer at all, which says little: the network may be slow. Sessions decide then.
    """
    try:
        transport, _ = await world.network.connect(host, port, asyncio.Protocol, timeout_ms=_TIMEOUT_MS)
    except TimeoutError:
        raise
    except OSError as error:
        return str(error)
    transport.close()
    return ""


async def find_refusal(world: World, address: tuple[str, int], grace_ms: float, is_moot: Callable[[], bool]) -> str:
    """Why the listener refuses connections, "" if it did not within ``grace_ms``, or nobody wants to know any more."""
    for _ in range(max(1, int(grace_ms / KNOCK_INTERVAL_MS))):
        if is_moot():
            return ""
        try:
            why = await knock(world, *address)
        except TimeoutError:
            return ""
        if why:
            return why
        await asyncio.sleep(KNOCK_INTERVAL_MS / 1000)
    return ""
