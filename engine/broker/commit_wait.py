"""Waiting until what was appended is committed, for appends that the broker makes itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from engine.model.errors import ErrorCode

if TYPE_CHECKING:
    from engine.broker.replica import Replica
    from engine.core.replica.outputs import AppendCommitted


class _Committed:
    """The token of one append (CommitWaiter)."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()

    def on_committed(self, answer: AppendCommitted) -> None:
        if not self.future.done():
            self.future.set_result(answer.error)


def until_committed(replica: Replica, required_offset: int, timeout_ms: float) -> Coroutine[Any, Any, ErrorCode]:
    """Enter the wait for everything before ``required_offset`` now; what is returned gives NONE when it is committed,
    or REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND or NOT_LEADER_OR_FOLLOWER if that is not to be seen here,
    though it may come to be so."""
    waiter = _Committed()
    answer = replica.partition.wait_until_committed(required_offset, waiter)
    if answer is not None:
        waiter.on_committed(answer)
    return _wait(replica, waiter, timeout_ms)


async def _wait(replica: Replica, waiter: _Committed, timeout_ms: float) -> ErrorCode:
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await waiter.future
    except TimeoutError:
        return ErrorCode.REQUEST_TIMED_OUT
    finally:
        if not waiter.future.done() or waiter.future.cancelled():
            replica.partition.forget_waiting(waiter)
