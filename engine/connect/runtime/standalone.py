"""A worker alone: configs and states in memory, source offsets in a file (``StandaloneHerder``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from engine.connect.errors import AlreadyExistsError, ConnectError, NotFoundError
from engine.connect.runtime.config_state import (
    Records,
    connector_records,
    removal_records,
    target_state_records,
    task_records,
)
from engine.connect.runtime.herder import ConnectorInfo, ConnectorStatus, TaskId
from engine.connect.runtime.offset_store import FileOffsetStore
from engine.connect.runtime.status_store import StatusStore
from engine.connect.runtime.worker_config import WorkerConfig
from engine.connect.runtime.worker_herder import Pairs, WorkerHerder

log = logging.getLogger(__name__)


class StandaloneHerder(WorkerHerder):
    """The only one. What changes something waits for what changes something else."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config, StatusStore(), FileOffsetStore(config["offset.storage.file.filename"]))
        self._changing = asyncio.Lock()
        self._reconfiguring: set[asyncio.Task[None]] = set()
        self.worker.on_reconfigure = self._reconfigure_soon

    async def start(self, url: str) -> None:
        self._named(url)
        await self.ask_cluster()
        await self.offsets_store.start()
        self._ready = True

    async def stop(self) -> None:
        self._ready = False
        async with self._changing:
            await self.worker.stop()
        await self.offsets_store.stop()

    def _write(self, records: Records) -> None:
        for key, value in records:
            self.configs.replay(key, value)

    # -- changes ------------------------------------------------------------------------------------------------

    async def put_config(
        self, name: str, config: Mapping[str, str], *, may_exist: bool, target_state: str | None = None
    ) -> tuple[bool, ConnectorInfo]:
        await self.refuse_errors(config)
        async with self._changing:
            exists = name in self.configs.connectors
            if exists and not may_exist:
                raise AlreadyExistsError(f"Connector {name} already exists")
            await self.worker.stop_connector(name)
            self._write(connector_records(name, config, target_state))
            if await self._start_connector(name):
                await self._update_tasks(name)
            return not exists, await self.info(name)

    async def patch_config(self, name: str, patch: Mapping[str, str | None]) -> ConnectorInfo:
        _, info = await self.put_config(name, self.patched(name, patch), may_exist=True)
        return info

    async def delete(self, name: str) -> None:
        async with self._changing:
            self.known(name)
            await self._remove_tasks(name)
            await self.worker.stop_connector(name)
            self._write(removal_records(name))
            self.statuses.put_connector(name, None)
            self.statuses.reset_topics(name)

    async def set_target_state(self, name: str, state: str) -> None:
        async with self._changing:
            if name not in self.configs.connectors:
                raise NotFoundError(f"Unknown connector {name}")
            if state == "STOPPED":
                await self._remove_tasks(name)
            self._write(target_state_records(name, state))
            self.worker.set_target(name, state)
            host = self.worker.connectors.get(name)
            if host is not None and await host.set_target(state) and state == "STARTED":
                await self._update_tasks(name)

    async def restart(self, name: str, *, include_tasks: bool, only_failed: bool) -> ConnectorStatus:
        async with self._changing:
            plan = self.restart_plan(name, include_tasks=include_tasks, only_failed=only_failed)
            tasks = [TaskId(name, each) for each, status in plan.tasks.items() if status.state == "RESTARTING"]
            await self.worker.stop_tasks(tasks)
            for each in tasks:
                self.statuses.put_task(each, plan.tasks[each.task])
            if plan.connector.state == "RESTARTING":
                await self.worker.stop_connector(name)
                self.statuses.put_connector(name, plan.connector)
                started = await self._start_connector(name)
                if started and not tasks:
                    await self._update_tasks(name)
            for each in tasks:
                await self._start_task(each)
            return plan

    async def restart_task(self, task: TaskId) -> None:
        async with self._changing:
            self.known(task.connector)
            if task not in self.configs.tasks(task.connector):
                raise NotFoundError(f"Task {task} not found")
            await self.worker.stop_task(task)
            await self._start_task(task)

    async def alter_offsets(self, name: str, offsets: Pairs | None) -> str:
        async with self._changing:
            return await super().alter_offsets(name, offsets)

    async def task_configs_from_worker(self, name: str, configs: Sequence[Mapping[str, str]]) -> None:
        raise ConnectError("Kafka Connect in standalone mode does not support externally setting task configurations.")

    async def fence_zombies(self, name: str) -> None:
        raise ConnectError("Kafka Connect in standalone mode does not support exactly-once source connectors.")

    # -- parts of changes -----------------------------------------------------------------------------------------

    async def _start_connector(self, name: str) -> bool:
        return await self.worker.start_connector(name, self.configs.connectors[name], self.configs.target(name), 0)

    async def _start_task(self, task: TaskId) -> None:
        name = task.connector
        await self.worker.start_task(
            task, self.configs.connectors[name], self.configs.task_configs[task], self.configs.target(name), 0
        )

    async def _remove_tasks(self, name: str) -> None:
        tasks = self.configs.tasks(name)
        await self.worker.stop_tasks(tasks)
        self._write(task_records(name, []))
        for each in tasks:
            self.statuses.put_task(each, None)

    async def _update_tasks(self, name: str) -> None:
        """Tasks as the connector wants them now."""
        if self.configs.target(name) != "STARTED" or name not in self.worker.connectors:
            return
        try:
            configs = await self.worker.task_configs(name, self.configs.connectors[name])
        except Exception as error:
            host = self.worker.connectors.get(name)
            if host is not None:
                host.failed(error)
            return
        now = [self.configs.task_configs[each] for each in self.configs.tasks(name)]
        if configs == now and self.configs.applied.get(name) == self.configs.connectors[name]:
            return
        await self._remove_tasks(name)
        self._write(task_records(name, configs))
        for each in self.configs.tasks(name):
            await self._start_task(each)

    def _reconfigure_soon(self, name: str) -> None:
        async def reconfigure() -> None:
            async with self._changing:
                if name in self.configs.connectors:
                    await self._update_tasks(name)

        task = asyncio.get_running_loop().create_task(reconfigure())
        self._reconfiguring.add(task)
        task.add_done_callback(self._reconfiguring.discard)
