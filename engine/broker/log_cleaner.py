"""Compacts the logs of this broker, the dirtiest first (log.cleaner.enable). Kafka: LogCleaner, LogCleanerManager.

Each of log.cleaner.threads is a task here; what reads and writes runs in worker threads, a bounded piece at a time,
and what changes a log runs on the event loop between two pieces. A log whose records cannot be compacted is left alone
until the next start, as in Kafka; where a disk fails its directory goes offline.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode, KafkaError
from engine.storage.cleaner import CleanedLog, Cleaning, CleaningStopped, clean
from engine.storage.cleaner_plan import LogToClean, plan
from engine.storage.failure import LogCorrupt, LogDirFailure

if TYPE_CHECKING:
    from engine.broker.replica import Replica
    from engine.broker.replica_manager import ReplicaManager
    from engine.storage.log import Log
    from engine.storage.log_dirs import LogDirs
    from engine.world import World

log = logging.getLogger(__name__)

# More is no limit (log.cleaner.io.max.bytes.per.second is Double.MAX_VALUE by default).
_NO_LIMIT = 1e15


class LogCleaner:
    """Start it once the metadata is known: a topic's cleanup.policy stands there."""

    def __init__(self, world: World, replicas: ReplicaManager, log_dirs: LogDirs) -> None:
        self._world = world
        self._replicas = replicas
        self._log_dirs = log_dirs
        self._threads: dict[int, asyncio.Task[None]] = {}
        # Logs that could not be compacted, and why.
        self.uncleanable: dict[Log, str] = {}
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin, unless log.cleaner.enable is false."""
        if self._replicas.config.log_cleaner_enable:
            self._start_threads()

    def _start_threads(self) -> None:
        # One at least: it sees when there are to be more.
        for number in range(max(self._replicas.config.log_cleaner_threads, 1)):
            if number not in self._threads:
                self._threads[number] = asyncio.get_running_loop().create_task(self._run(number))

    async def _run(self, number: int) -> None:
        while not self._stopping.is_set():
            self._start_threads()
            config = self._replicas.config
            if number < config.log_cleaner_threads:
                try:
                    if await self._clean_dirtiest():
                        continue
                except Exception:
                    log.exception("the log cleaner failed and tries again in %d ms", config.log_cleaner_backoff_ms)
            elif number:
                del self._threads[number]
                return
            await self._pause(max(config.log_cleaner_backoff_ms, 1) / 1000)

    async def _pause(self, pause_s: float) -> None:
        """Wait, not beyond the end."""
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def dirtiest(self) -> tuple[Replica, LogToClean] | None:
        """The log to compact next: one that waited too long, else the one with the largest dirty share
        (LogCleanerManager.grabFilthiestCompactedLog)."""
        now_ms = self._world.clock.now_ms()
        best: tuple[Replica, LogToClean] | None = None
        for replica in list(self._replicas.replicas.values()):
            files = replica.log
            if not files.config.compact or replica.is_offline or files.is_cleaned or files in self.uncleanable:
                continue
            try:
                found = plan(files, now_ms)
            except OSError as error:
                self._replicas.on_disk_failed(replica, error)
                continue
            if found.is_due and (best is None or (found.overdue_ms, found.ratio) > (best[1].overdue_ms, best[1].ratio)):
                best = replica, found
        return best

    async def _clean_dirtiest(self) -> bool:
        found = self.dirtiest()
        if found is None:
            return False
        replica, to_clean = found
        files = replica.log
        config = self._replicas.config
        room = config.log_cleaner_dedupe_buffer_size / config.log_cleaner_threads
        try:
            started_ms = self._world.clock.monotonic_ms()
            cleaning = clean(to_clean, self._world.clock.now_ms(), int(room * config.log_cleaner_io_buffer_load_factor))
            cleaned = await self._drive(cleaning, config.log_cleaner_io_max_bytes_per_second)
            if cleaned is None:
                return not self._stopping.is_set()
            files.first_dirty_offset = cleaned.end_offset
            await self._checkpoint(replica)
        except (LogDirFailure, OSError) as failure:
            if isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE):
                # Descriptors that ran out say nothing about the disk.
                raise
            self._replicas.on_disk_failed(replica, failure)
            return False
        except KafkaError as error:
            # Of the last replica in sync everything else is still worth having.
            if error.code is ErrorCode.CORRUPT_MESSAGE and self._replicas.has_others_in_sync(replica):
                files.found_corrupt(LogCorrupt(files.directory, error))
                return True
            log.error("%s is not compacted any more until the next start: %s", replica.topic_partition, error)
            self.uncleanable[files] = str(error)
            return True
        log.info(
            "compacted %s up to offset %d: %d bytes became %d, %d keys, %.0f ms",
            replica.topic_partition,
            cleaned.end_offset,
            cleaned.bytes_before,
            cleaned.bytes_after,
            cleaned.keys,
            self._world.clock.monotonic_ms() - started_ms,
        )
        return True

    async def _checkpoint(self, replica: Replica) -> None:
        values = {replica.log_dir: self._log_dirs.checkpoint_values()[replica.log_dir]}
        await self._world.disk.run_blocking(lambda: self._log_dirs.checkpoint(values))

    async def _drive(self, cleaning: Cleaning, max_bytes_per_second: float) -> CleanedLog | None:
        """Run the pieces one after another, no faster than log.cleaner.io.max.bytes.per.second."""
        clock = self._world.clock
        try:
            work = next(cleaning)
            while True:
                if self._stopping.is_set():
                    cleaning.throw(CleaningStopped())
                began_ms = clock.monotonic_ms()
                try:
                    done = await self._world.disk.run_blocking(work)
                except Exception as error:
                    work = cleaning.throw(error)
                    continue
                if max_bytes_per_second < _NO_LIMIT:
                    wait_s = done.bytes / max_bytes_per_second - (clock.monotonic_ms() - began_ms) / 1000
                    if wait_s > 0:
                        await self._pause(wait_s)
                work = cleaning.send(done)
        except StopIteration as stop:
            cleaned: CleanedLog | None = stop.value
            return cleaned
        except CleaningStopped:
            return None

    async def stop(self) -> None:
        """End it; the piece of work that is under way is waited for."""
        self._stopping.set()
        await asyncio.gather(*self._threads.values(), return_exceptions=True)
