"""What a broker does from time to time: ISR checks, retention, checkpoints, removal of deleted files.

Kafka: the schedulers of LogManager and ReplicaManager.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.broker.replica_manager import ReplicaManager
    from engine.storage.log_dirs import LogDirs
    from engine.world import World

log = logging.getLogger(__name__)

# Deleted files are looked for this often; they go after file.delete.delay.ms.
_REMOVAL_INTERVAL_MS = 5_000
# log.flush.scheduler.interval.ms is as good as never unless it is set.
_NEVER_MS = 1 << 40


class Upkeep:
    """Periodic work; each kind in a task of its own, so that a slow one delays no other."""

    def __init__(self, world: World, replicas: ReplicaManager, log_dirs: LogDirs) -> None:
        self._world = world
        self._replicas = replicas
        self._log_dirs = log_dirs
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Start all of it."""
        config = self._replicas.config
        self._every(config.replica_lag_time_max_ms / 2, self._check_isrs)
        self._every(config.log_retention_check_interval_ms, self._enforce_retention)
        self._every(config.replica_high_watermark_checkpoint_interval_ms, self._checkpoint)
        self._every(_REMOVAL_INTERVAL_MS, self._remove_deleted)
        if config.log_flush_scheduler_interval_ms < _NEVER_MS:
            self._every(config.log_flush_scheduler_interval_ms, self._flush_old)

    def _every(self, interval_ms: float, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._repeat(interval_ms, work)))

    async def _repeat(self, interval_ms: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                async with asyncio.timeout(interval_ms / 1000):
                    await self._stopping.wait()
                return
            except TimeoutError:
                pass
            try:
                await work()
            except Exception:
                log.exception("upkeep failed and is tried again in %.0f ms", interval_ms)

    async def _check_isrs(self) -> None:
        self._replicas.check_isrs()

    async def _enforce_retention(self) -> None:
        self._replicas.enforce_retention()

    async def _flush_old(self) -> None:
        self._replicas.flush_old()

    async def _checkpoint(self) -> None:
        values = self._log_dirs.checkpoint_values()
        await self._world.disk.run_blocking(lambda: self._log_dirs.checkpoint(values))

    async def _remove_deleted(self) -> None:
        now_ms = self._world.clock.now_ms()
        await self._world.disk.run_blocking(lambda: self._log_dirs.remove_deleted(now_ms))

    async def stop(self) -> None:
        """End it; what is under way in a worker thread is waited for."""
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
