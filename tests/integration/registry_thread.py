"""A schema registry in a thread of the test's own, to be stopped and started again at the same address."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from engine.registry.config import RegistryConfig
from engine.registry.service import RegistryService


class RegistryThread:
    """Runs from the start of a ``with`` to its end."""

    def __init__(self, config: RegistryConfig) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="registry", daemon=True)
        self._thread.start()
        self.service: RegistryService = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        self.url = self.service.url

    async def _start(self) -> RegistryService:
        service = RegistryService(self._config)
        await service.start()
        return service

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> RegistryThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def lost(self, timeout_s: float) -> str:
        """Why it must not write any more; waits for that."""

        async def wait() -> str:
            return str(await asyncio.wait_for(asyncio.shield(self.service.lost), timeout_s))

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(timeout_s + 5)

    def stop(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self.service.close(), self._loop).result(30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
