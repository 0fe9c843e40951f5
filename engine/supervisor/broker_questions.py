"""Questions to one broker over its standard input, and its answers among its facts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.supervisor.broker_process import ChildProcess

_PATIENCE_S = 3.0
# The pipe holds 64 KiB: a broker that hangs must not make its supervisor wait for room in it.
_MOST_OPEN = 16


class CommandError(Exception):
    """A command cannot be done now; the message says why."""


class Questions:
    """Those of one broker."""

    def __init__(self, broker_id: int) -> None:
        self._broker_id = broker_id
        self._number = 0
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, child: ChildProcess, question: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Raises: CommandError: no answer comes, or too many are waited for already."""
        if len(self._open) >= _MOST_OPEN:
            raise CommandError(f"broker {self._broker_id} does not answer")
        self._number += 1
        number, future = self._number, asyncio.get_running_loop().create_future()
        self._open[number] = future
        child.send({"id": number, "question": question, **arguments})
        try:
            async with asyncio.timeout(_PATIENCE_S):
                # One that is given up stays open until it is answered: it still stands in the pipe.
                return dict(await asyncio.shield(future))
        except TimeoutError:
            raise CommandError(f"broker {self._broker_id} did not answer within {_PATIENCE_S:.0f} s") from None
        except asyncio.CancelledError:
            if future.cancelled():
                raise CommandError(f"broker {self._broker_id} ended before it answered") from None
            raise

    def answered(self, fact: dict[str, Any]) -> None:
        """An ``answer`` fact."""
        future = self._open.pop(fact.get("id", 0), None)
        if future is not None and not future.done():
            future.set_result(fact["answer"])

    def forget(self) -> None:
        """The incarnation that was asked is gone."""
        for future in self._open.values():
            future.cancel()
        self._open.clear()
