"""Group commit: one fsync at a time for every append that waits, in a worker thread (flush.messages=1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.broker.replica import Replica
    from engine.world import World

log = logging.getLogger(__name__)


class LogFlusher:
    """Flushes the logs that asked since the last round began, all in one go; appends go on meanwhile. Epochs that began
    are saved in the same way, which needs no flush.

    ``on_flushed(replica)`` is called on the loop once the replica's log is on the device as far as it then reached;
    ``on_failed(replica, error)`` if the device failed: what was written may be lost, so it is never tried again (L4).
    """

    def __init__(
        self,
        world: World,
        *,
        on_flushed: Callable[[Replica], None],
        on_failed: Callable[[Replica, BaseException], None],
    ) -> None:
        self._disk = world.disk
        self._on_flushed = on_flushed
        self._on_failed = on_failed
        # What is asked of each: a flush, or only to save its epochs.
        self._asked: dict[Replica, bool] = {}
        self._round: asyncio.Task[None] | None = None
        self._done: asyncio.Future[None] | None = None

    def ask(self, replica: Replica) -> None:
        """Flush this log soon."""
        self._asked[replica] = True
        self._start()

    def ask_to_save_epochs(self, replica: Replica) -> None:
        """Save the epochs that began in this log soon."""
        self._asked.setdefault(replica, False)
        self._start()

    def _start(self) -> None:
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._run())

    async def flush(self, replica: Replica) -> None:
        """Flush this log and return when everything that it holds now is on the device, or was cut, or it failed."""
        end_offset = replica.log.log_end_offset
        while replica.log.durable_end_offset < min(end_offset, replica.log.log_end_offset) and not replica.is_offline:
            self.ask(replica)
            assert self._round is not None
            await asyncio.wait((self._round,))

    async def _run(self) -> None:
        try:
            while self._asked:
                asked, self._asked = list(self._asked.items()), {}
                outcomes = await self._disk.run_blocking(partial(_flush_all, asked))
                for (replica, is_flush), error in zip(asked, outcomes, strict=True):
                    if replica.is_offline:
                        continue
                    if error is not None:
                        self._on_failed(replica, error)
                    elif is_flush:
                        self._on_flushed(replica)
        finally:
            self._round = None

    async def stop(self) -> None:
        """Wait for the round that is under way."""
        self._asked.clear()
        if self._round is not None:
            await asyncio.wait((self._round,))


def _flush_all(asked: list[tuple[Replica, bool]]) -> list[BaseException | None]:
    return [_flush(replica, is_flush) for replica, is_flush in asked]


def _flush(replica: Replica, is_flush: bool) -> BaseException | None:
    try:
        if is_flush:
            replica.log.flush()
        else:
            replica.log.save_epochs()
    except Exception as error:
        return error
    return None
