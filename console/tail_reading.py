"""Reading records by a :class:`~console.viewmodel.tailing.TailRun` to its end, whoever takes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.gateway import Gateway, Tail, TailBatch
    from console.viewmodel.records import RecordView
    from console.viewmodel.tailing import TailRun

_IDLE_S = 0.25
_AT_ONCE = 500


async def read_to_the_end(
    gateway: Gateway,
    tail: Tail,
    run: TailRun,
    take: Callable[[list[RecordView]], Awaitable[None]],
    looked: Callable[[], None],
) -> None:
    """Give what ``run`` wants to ``take``, and call ``looked`` after each batch and while none comes, until it is over.

    Raises:
        GatewayError: the cluster cannot be read.
    """
    batches = gateway.tail(tail)
    coming: asyncio.Task[TailBatch] | None = None
    try:
        while run.ending is None:
            coming = coming or asyncio.ensure_future(anext(batches))
            done, _ = await asyncio.wait([coming], timeout=_IDLE_S)
            now_ms = time.monotonic() * 1000
            if done:
                batch, coming = coming.result(), None
                # In parts: a whole answer of a broker would hold up a screen.
                for at in range(0, max(1, len(batch.records)), _AT_ONCE):
                    await take(run.on_batch(batch._replace(records=batch.records[at : at + _AT_ONCE]), now_ms))
                    await asyncio.sleep(0)
            run.on_time(now_ms, time.time() * 1000)
            looked()
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(BaseException):
                await coming


async def in_portions(records: Sequence[RecordView], number: int = 200) -> AsyncIterator[Sequence[RecordView]]:
    """The same in parts, between which others have their turn: a screen answers its keys meanwhile."""
    for at in range(0, len(records), number):
        yield records[at : at + number]
        await asyncio.sleep(0)
