"""A connector itself, which shares work among tasks: it runs in a thread of the worker (``WorkerConnector``)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from engine.connect import plugins
from engine.connect.connector import Connector, ConnectorContext, OffsetStorageReader, SourceConnector
from engine.connect.errors import ConnectError
from engine.connect.plugins import PluginType
from engine.connect.runtime.config_providers import restored
from engine.connect.runtime.herder import Status
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)
_ASK_S = 100.0


class ConnectorOwner(Protocol):
    """Who runs connectors."""

    worker_id: str

    async def read_connector_offsets(
        self, connector: str, partitions: list[dict[str, Any]]
    ) -> list[dict[str, Any] | None]:
        """Source offsets."""

    def connector_status(self, host: ConnectorHost, status: Status) -> None:
        """A connector is in another state."""

    def connector_reconfigures(self, name: str) -> None:
        """Its task configs may be others now."""


class _Reader(OffsetStorageReader):
    def __init__(self, ask: Callable[[list[dict[str, Any]]], list[dict[str, Any] | None]]) -> None:
        self._ask = ask

    def offset(self, partition: Mapping[str, Any]) -> dict[str, Any] | None:
        return self.offsets([partition])[0]

    def offsets(self, partitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        return self._ask([dict(each) for each in partitions])


class _Context(ConnectorContext):
    def __init__(self, host: ConnectorHost, loop: asyncio.AbstractEventLoop, is_source: bool) -> None:
        self._host, self._loop, self._is_source = host, loop, is_source

    def request_task_reconfiguration(self) -> None:
        self._loop.call_soon_threadsafe(self._host.reconfigures)

    def raise_error(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self._host.failed, error)

    def offset_storage_reader(self) -> OffsetStorageReader:
        if not self._is_source:
            return super().offset_storage_reader()

        def ask(partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
            asking = asyncio.run_coroutine_threadsafe(self._host.read_offsets(partitions), self._loop)
            return asking.result(_ASK_S)

        return _Reader(ask)


class ConnectorHost:
    """One connector. Its methods are called by a thread of its own, one at a time."""

    def __init__(self, owner: ConnectorOwner, name: str, generation: int, config: WorkerConfig) -> None:
        self.name = name
        self.status: Status | None = None
        self.connector: Connector | None = None
        self._owner = owner
        self._generation = generation
        self._config = config
        self._given: Mapping[str, str] = {}
        self._resolved: dict[str, str] = {}
        self._thread = concurrent.futures.ThreadPoolExecutor(1, f"connector-{name}")
        self._started = False
        self._closed = False

    async def _call(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def start(self, props: Mapping[str, str], target: str) -> bool:
        """Start it unless it shall be paused or stopped; whether that worked."""
        loop = asyncio.get_running_loop()
        self._given = dict(props)

        def start() -> None:
            self._resolved = self._config.transformer.resolve(props)
            kind: type[Connector] = plugins.find(props["connector.class"], PluginType.SOURCE, PluginType.SINK)
            self.connector = kind()
            self.connector.initialize(_Context(self, loop, issubclass(kind, SourceConnector)))

        try:
            await self._call(start)
        except Exception as error:
            self.failed(error)
            return False
        return await self.set_target(target)

    async def set_target(self, state: str) -> bool:
        """STARTED, PAUSED or STOPPED; whether that worked."""
        try:
            if state == "STARTED" and not self._started:
                connector = self._needed()
                await self._call(lambda: connector.start(self._resolved))
                self._started = True
            elif state != "STARTED" and self._started:
                connector = self._needed()
                self._started = False
                await self._call(connector.stop)
        except Exception as error:
            self.failed(error)
            return False
        self._set({"STARTED": "RUNNING"}.get(state, state))
        return True

    def _needed(self) -> Connector:
        if self.connector is None:
            raise ConnectError(f"Connector {self.name} did not come up: restart it")
        return self.connector

    async def task_configs(self, max_tasks: int, *, enforced: bool) -> list[dict[str, str]]:
        """Configs of its tasks, as they are kept: with references, and the class of the task.

        Raises:
            ConnectError: it makes too many, or fails.
        """
        connector = self._needed()

        def ask() -> list[dict[str, str]]:
            configs = connector.task_configs(max_tasks)
            return [
                {
                    **{name: str(value) for name, value in each.items() if value is not None},
                    "task.class": _task_class(type(connector)),
                }
                for each in configs
            ]

        configs: list[dict[str, str]] = await self._call(ask)
        if enforced and len(configs) > max_tasks:
            raise ConnectError(
                f"The connector {self.name} has generated {len(configs)} tasks, which is greater than {max_tasks}, the "
                "maximum number of tasks it is configured to create (tasks.max)"
            )
        return restored(configs, self._given, self._resolved)

    async def stop(self, timeout_s: float) -> None:
        """For good."""
        self._closed = True
        connector = self.connector
        if connector is not None and self._started:
            self._started = False
            try:
                async with asyncio.timeout(timeout_s):
                    await self._call(connector.stop)
            except TimeoutError:
                log.error("Graceful stop of connector %s failed.", self.name)
            except Exception:
                log.exception("Connector %s did not stop in order", self.name)
        self._thread.shutdown(wait=False)

    # -- the context's, on the event loop ----------------------------------------------------------------------

    def reconfigures(self) -> None:
        """The connector asks for another look at its task configs."""
        if not self._closed:
            self._owner.connector_reconfigures(self.name)

    def failed(self, error: BaseException) -> None:
        """The connector failed."""
        log.error("Connector %s failed", self.name, exc_info=error)
        self._set("FAILED", "".join(traceback.format_exception(error)))

    async def read_offsets(self, partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """What the connector asks of offsets."""
        return await self._owner.read_connector_offsets(self.name, partitions)

    def _set(self, state: str, trace: str | None = None) -> None:
        if not self._closed:
            version = None if self.connector is None else self.connector.version
            self.status = Status(state, self._owner.worker_id, self._generation, trace, version)
            self._owner.connector_status(self, self.status)


def _task_class(connector: type[Connector]) -> str:
    """What tasks are, by Java's name where Kafka has the connector too: Java workers of a group look for it."""
    task = connector.task_class()
    package, _, _ = plugins.listed_name(f"{connector.__module__}.{connector.__qualname__}").rpartition(".")
    if package.startswith("org.apache.kafka."):
        return f"{package}.{task.__qualname__}"
    return f"{task.__module__}.{task.__qualname__}"
