"""Runs connectors and tasks, and knows nothing of why (``org.apache.kafka.connect.runtime.Worker``)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.connect import plugins
from engine.connect.connector import Connector
from engine.connect.errors import ConnectError
from engine.connect.plugins import PluginType
from engine.connect.runtime.connector_host import ConnectorHost
from engine.connect.runtime.herder import Status, TaskId
from engine.connect.runtime.offset_store import OffsetStore
from engine.connect.runtime.status_store import StatusStore, TopicUse
from engine.connect.runtime.task_host import TaskHost
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)


class Worker:
    """One process's. Coroutines of its event loop; calls for one connector or task come one after the other."""

    def __init__(self, config: WorkerConfig, worker_id: str, statuses: StatusStore, offsets: OffsetStore) -> None:
        self.config = config
        self.worker_id = worker_id
        self.statuses = statuses
        self.offsets = offsets
        self.connectors: dict[str, ConnectorHost] = {}
        self.tasks: dict[TaskId, TaskHost] = {}
        self.on_reconfigure: Callable[[str], None] = lambda name: None
        """Called when a connector asks for another look at its task configs."""
        self.check_ownership: Callable[[TaskId, int], Any] = _owned
        """A coroutine function that raises ConnectError where a task is another worker's."""
        self.offsets_of: Callable[[str], Awaitable[OffsetStore]] = self._all_offsets
        """A coroutine function: where a connector's offsets are."""

    async def _all_offsets(self, connector: str) -> OffsetStore:
        return self.offsets

    # -- connectors ---------------------------------------------------------------------------------------------

    async def start_connector(self, name: str, props: Mapping[str, str], target: str, generation: int) -> bool:
        """Whether it came up; if not its status tells why."""
        await self.stop_connector(name)
        host = self.connectors[name] = ConnectorHost(self, name, generation, self.config)
        return await host.start(props, target)

    async def stop_connector(self, name: str) -> None:
        """If it runs here."""
        host = self.connectors.pop(name, None)
        if host is not None:
            await host.stop(self._patience_s)

    async def task_configs(self, name: str, props: Mapping[str, str]) -> list[dict[str, str]]:
        """What its tasks shall have.

        Raises:
            ConnectError: the connector fails.
        """
        host = self.connectors.get(name)
        if host is None:
            raise ConnectError(f"Connector {name} does not run here")
        enforced = props.get("tasks.max.enforce", "true").strip().lower() != "false"
        configs = await host.task_configs(int(props.get("tasks.max", "1")), enforced=enforced)
        if "topics" in props or "topics.regex" in props:
            # A sink's tasks read what the connector's configs say.
            for each in configs:
                each.pop("topics", None)
                each.pop("topics.regex", None)
                each.update({key: props[key] for key in ("topics", "topics.regex") if props.get(key)})
        return configs

    # -- tasks --------------------------------------------------------------------------------------------------

    async def start_task(
        self,
        task: TaskId,
        connector: Mapping[str, str],
        configs: Mapping[str, str],
        target: str,
        generation: int,
        *,
        exactly_once: bool = False,
        config_generation: int = 0,
    ) -> None:
        """In a process of its own; what becomes of it its status tells."""
        await self.stop_task(task)
        host = self.tasks[task] = TaskHost(self, task, generation)
        host.config_generation = config_generation
        host.version = _version_of_task(connector)
        try:
            await host.start(
                {
                    "worker": self.config.props,
                    "connector": dict(connector),
                    "configs": dict(configs),
                    "target": target,
                    "exactly_once": exactly_once,
                    "tracks_topics": self.config["topic.tracking.enable"],
                }
            )
        except OSError as error:
            log.error("task %s cannot be started: %s", task, error)
            self.statuses.put_task(task, Status("FAILED", self.worker_id, generation, f"{error}"))

    async def stop_task(self, task: TaskId) -> None:
        """If it runs here."""
        host = self.tasks.get(task)
        if host is not None:
            # Its last offsets are still its own.
            await host.stop(self._patience_s)
            if self.tasks.get(task) is host:
                del self.tasks[task]

    async def stop_tasks(self, tasks: list[TaskId]) -> None:
        """All at the same time."""
        await asyncio.gather(*(self.stop_task(each) for each in tasks))

    def set_target(self, connector: str, state: str) -> None:
        """Tasks of a connector that run here pause or go on."""
        for task, host in self.tasks.items():
            if task.connector == connector:
                host.set_target(state)

    async def stop(self) -> None:
        """Everything."""
        await asyncio.gather(
            *(self.stop_connector(each) for each in list(self.connectors)), self.stop_tasks(list(self.tasks))
        )

    @property
    def _patience_s(self) -> float:
        return float(self.config["task.shutdown.graceful.timeout.ms"]) / 1000

    # -- what hosts say -----------------------------------------------------------------------------------------

    async def read_offsets(self, task: TaskId, partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """For a task."""
        return await self.read_connector_offsets(task.connector, partitions)

    async def read_connector_offsets(
        self, connector: str, partitions: list[dict[str, Any]]
    ) -> list[dict[str, Any] | None]:
        """For a connector."""
        return await (await self.offsets_of(connector)).read(connector, partitions)

    async def write_offsets(self, task: TaskId, offsets: list[Any]) -> None:
        """Of a task."""
        if self.tasks.get(task) is None:
            raise ConnectError(f"task {task} does not run here any more")
        store = await self.offsets_of(task.connector)
        await store.put(task.connector, [(partition, offset) for partition, offset in offsets])

    async def still_mine(self, task: TaskId, generation: int) -> None:
        """Raises ConnectError if it is not."""
        await self.check_ownership(task, generation)

    def task_status(self, host: TaskHost, status: Status) -> None:
        """Of a task that runs here; what one says that was replaced does not count."""
        if self.tasks.get(host.task) is host:
            self.statuses.put_task(host.task, status)

    def task_topic(self, task: TaskId, topic: str) -> None:
        """A task uses a topic."""
        if topic not in self.statuses.topics(task.connector):
            self.statuses.put_topic(TopicUse(topic, task.connector, task.task, time.time_ns() // 1_000_000))

    def connector_status(self, host: ConnectorHost, status: Status) -> None:
        """Of a connector that runs here."""
        if self.connectors.get(host.name) is host:
            self.statuses.put_connector(host.name, status)

    def connector_reconfigures(self, name: str) -> None:
        """A connector asks for another look at its task configs."""
        self.on_reconfigure(name)


def _version_of_task(connector: Mapping[str, str]) -> str | None:
    try:
        kind: type[Connector] = plugins.find(connector["connector.class"], PluginType.SOURCE, PluginType.SINK)
        return kind.task_class().version
    except (ConnectError, KeyError):
        return None


async def _owned(task: TaskId, generation: int) -> None:
    """Where there is one worker, everything is its."""
