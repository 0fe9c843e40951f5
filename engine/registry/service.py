"""A registry that runs: its topic, its state, its HTTP."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from engine.client.security.librdkafka import librdkafka_security
from engine.client.security.properties import SecurityError
from engine.registry.config import RegistryConfig
from engine.registry.errors import CannotStart, RegistryFenced
from engine.registry.registry import SchemaRegistry
from engine.registry.server import RegistryServer
from engine.registry.topic_log import TopicLog
from engine.registry.topic_records import Record, ids_record

log = logging.getLogger(__name__)


class RegistryService:
    """From :meth:`start` to :meth:`close`. ``lost`` is done, with the reason, when it must not write any more."""

    def __init__(self, config: RegistryConfig) -> None:
        """Raises: RegistryConfigError: it would stand open."""
        config.check()
        self._config = config
        self.lost: asyncio.Future[RegistryFenced] = asyncio.get_running_loop().create_future()
        self.registry = SchemaRegistry(self._append, self._settled)
        try:
            security = librdkafka_security(config.security)
        except SecurityError as error:
            raise CannotStart(str(error)) from error
        settings: dict[str, Any] = {"bootstrap.servers": config.bootstrap_servers, **security}
        self._log = TopicLog(settings, config.topic, self._apply, self._lose, timeout_s=config.timeout_s)
        self._server = RegistryServer(
            self.registry, config, lost=lambda: str(self.lost.result()) if self.lost.done() else ""
        )

    async def start(self) -> None:
        """Take the address, read the topic, then listen: who cannot listen must fence no other.

        Raises:
            CannotStart: the topic or the address cannot be had.
        """
        try:
            await self._server.bind()
            await self._log.start()
            if self.registry.state.had_ids_told:
                # The log began with an empty record under the same key, which is all that compaction would keep.
                await self._append([ids_record(self.registry.state.highest_ids)])
            await self._server.start()
        except OSError as error:
            await self.close()
            raise CannotStart(
                f"cannot listen on {self._config.host}:{self._config.port}: {error.strerror or error}"
            ) from error
        except BaseException:
            await self.close()
            raise

    @property
    def url(self) -> str:
        """Where clients come (``schema.registry.url``)."""
        return self._server.url

    async def close(self) -> None:
        """Stop listening, let go of the topic."""
        await self._server.close()
        await self._log.close()

    async def _append(self, records: list[Record]) -> None:
        await self._log.append(records)

    async def _settled(self) -> None:
        await self._log.settled()

    def _apply(self, key: bytes, value: bytes | None, written_at_ms: int) -> None:
        try:
            self.registry.state.apply(key, value, written_at_ms)
        except (ValueError, RecursionError) as error:
            # As Confluent's registry: one bad record does not take all schemas away.
            log.warning("%s: a record is skipped: %s", self._config.topic, error)
        except Exception:
            # Those after it must be read all the same.
            log.exception("%s: a record is skipped", self._config.topic)

    def _lose(self, why: RegistryFenced) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
