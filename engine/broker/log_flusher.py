"""Group commit: one round of fsyncs at a time for every append that waits, in worker threads (flush.messages=1)."""

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
    are saved in the same way, which needs no flush. Each log directory has its own rounds: a disk that hangs keeps no
    other waiting.

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
        # By log directory: what is asked of each replica, a flush or only to save its epochs.
        self._asked: dict[str, dict[Replica, bool]] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def ask(self, replica: Replica) -> None:
        """Flush this log soon."""
        self._asked_in(replica.log_dir)[replica] = True

    def ask_to_save_epochs(self, replica: Replica) -> None:
        """Save the epochs that began in this log soon."""
        self._asked_in(replica.log_dir).setdefault(replica, False)

    def _asked_in(self, log_dir: str) -> dict[Replica, bool]:
        if log_dir not in self._rounds:
            self._rounds[log_dir] = asyncio.get_running_loop().create_task(self._run(log_dir))
        return self._asked.setdefault(log_dir, {})

    async def flush(self, replica: Replica) -> None:
        """Flush this log and return when everything that it holds now is on the device, or was cut, or it failed."""
        end_offset = replica.log.log_end_offset
        while replica.log.durable_end_offset < min(end_offset, replica.log.log_end_offset) and not replica.is_offline:
            self.ask(replica)
            await asyncio.wait((self._rounds[replica.log_dir],))

    async def _run(self, log_dir: str) -> None:
        try:
            while asking := self._asked.pop(log_dir, None):
                asked = list(asking.items())
                outcomes = await self._disk.run_blocking(partial(_flush_all, asked))
                for (replica, is_flush), error in zip(asked, outcomes, strict=True):
                    if replica.is_offline:
                        continue
                    if error is not None:
                        self._on_failed(replica, error)
                    elif is_flush:
                        self._on_flushed(replica)
        finally:
            del self._rounds[log_dir]

    async def stop(self) -> None:
        """Wait for the rounds that are under way."""
        self._asked.clear()
        if self._rounds:
            await asyncio.wait(list(self._rounds.values()))


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
