"""Group commit: one round of fsyncs at a time for every append that waits, in worker threads (flush.messages=1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.broker.replica import Replica
    from engine.world import World

log = logging.getLogger(__name__)

# Of logs that nobody writes, in each round: everybody who waits for a flush waits for a whole round.
_MOST_IN_BACKGROUND = 8


class LogFlusher:
    """Flushes the logs that asked since the last round began, all in one go; appends go on meanwhile. Epochs that began
    are saved in the same way, which needs no flush, a few in each round, and so are logs flushed that nobody writes.
    Each log directory has its own rounds: a disk that hangs keeps no other waiting.

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
        # By log directory: who asked for a flush, and who only to save its epochs.
        self._asked: dict[str, _Asked] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def ask(self, replica: Replica) -> None:
        """Flush this log soon."""
        self._asked_in(replica.log_dir).flushes[replica] = None

    def ask_in_background(self, replica: Replica) -> None:
        """Flush this log after those that are written: all logs of a broker that starts are asked for at once."""
        self._asked_in(replica.log_dir).background[replica] = True

    def ask_to_save_epochs(self, replica: Replica) -> None:
        """Save the epochs that began in this log soon."""
        self._asked_in(replica.log_dir).background.setdefault(replica, False)

    def _asked_in(self, log_dir: str) -> _Asked:
        if log_dir not in self._rounds:
            self._rounds[log_dir] = asyncio.get_running_loop().create_task(self._run(log_dir))
        asked = self._asked.get(log_dir)
        if asked is None:
            asked = self._asked[log_dir] = _Asked()
        return asked

    async def flush(self, replica: Replica) -> None:
        """Flush this log and return when everything that it holds now is on the device, or was cut, or it failed."""
        end_offset = replica.log.log_end_offset
        while replica.log.durable_end_offset < min(end_offset, replica.log.log_end_offset) and not replica.is_offline:
            asked = self._asked_in(replica.log_dir)
            asked.flushes[replica] = None
            # Not for the end of all rounds: under load one follows the other.
            await asyncio.wait((asked.round_done(),))

    async def _run(self, log_dir: str) -> None:
        asked = self._asked[log_dir]
        try:
            while asked.flushes or asked.background:
                await self._round(asked)
        finally:
            del self._rounds[log_dir]
            asked.end_round()

    async def _round(self, asked: _Asked) -> None:
        done, asked.done = asked.done, None
        try:
            replicas = asked.take()
            outcomes = await self._disk.run_blocking(partial(_flush_all, replicas))
            for (replica, is_flush), error in zip(replicas, outcomes, strict=True):
                if replica.is_offline:
                    continue
                if error is not None:
                    self._on_failed(replica, error)
                elif is_flush:
                    self._on_flushed(replica)
        finally:
            if done is not None:
                done.set_result(None)

    async def stop(self) -> None:
        """Wait for the rounds that are under way."""
        for asked in self._asked.values():
            asked.flushes.clear()
            asked.background.clear()
        if self._rounds:
            await asyncio.wait(list(self._rounds.values()))


class _Asked:
    """What is asked of one log directory."""

    __slots__ = ("background", "done", "flushes")

    def __init__(self) -> None:
        self.flushes: dict[Replica, None] = {}
        # What has time: a flush, or only to save the epochs.
        self.background: dict[Replica, bool] = {}
        # Done when the round is that takes what is asked now, if somebody waits for it.
        self.done: asyncio.Future[None] | None = None

    def round_done(self) -> asyncio.Future[None]:
        """Wait for it without cancelling it: others wait, too."""
        if self.done is None:
            self.done = asyncio.get_running_loop().create_future()
        return self.done

    def end_round(self) -> None:
        """No further round comes: nobody waits for it."""
        if self.done is not None:
            self.done.set_result(None)
            self.done = None

    def take(self) -> list[tuple[Replica, bool]]:
        """What the next round does: replicas, and whether they are flushed."""
        flushes, self.flushes = self.flushes, {}
        taken = [(each, True) for each in flushes]
        for replica in list(islice(self.background, _MOST_IN_BACKGROUND)):
            is_flush = self.background.pop(replica)
            # A flush saves the epochs as well.
            if replica not in flushes:
                taken.append((replica, is_flush))
        return taken


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
