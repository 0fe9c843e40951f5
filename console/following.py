"""Pictures without end for commands that stay: what is wrong with a cluster never ends them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.gateway import Gateway
    from engine.supervisor.snapshot import ClusterSnapshot

_RETRY_S = 1.0


async def follow(gateway: Gateway, take: Callable[[ClusterSnapshot], None], failed: Callable[[str], None]) -> None:
    """Give every picture to ``take``, and every failure of the whole cluster (a sentence) to ``failed``; for good."""
    from console.gateway import GatewayError

    while True:
        try:
            async for snapshot in gateway.snapshots():
                take(snapshot)
        except GatewayError as error:
            failed(str(error))
        await asyncio.sleep(_RETRY_S)


def until_stopped(gateway: Gateway, work: Callable[[], Awaitable[None]]) -> None:
    """Run work until SIGINT or SIGTERM, then let go of the cluster. What the work raises is raised."""

    async def run() -> None:
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ending.set)
        working = asyncio.ensure_future(work())
        waiting = asyncio.ensure_future(ending.wait())
        try:
            await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, waiting):
                task.cancel()
            await asyncio.gather(working, waiting, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await gateway.close()

    asyncio.run(run())
