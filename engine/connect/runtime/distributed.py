"""A worker of a group: configs, offsets and states in topics, work shared by the group (``DistributedHerder``)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from engine.connect.errors import AlreadyExistsError, NotFoundError
from engine.connect.runtime.config_state import (
    connector_records,
    logger_records,
    removal_records,
    restart_records,
    target_state_records,
)
from engine.connect.runtime.distributed_work import DistributedWork
from engine.connect.runtime.herder import (
    ConnectorInfo,
    ConnectorStatus,
    NotLeader,
    RebalanceNeeded,
    TaskId,
)
from engine.connect.runtime.worker_herder import Pairs

# How long a request waits for a round that is due, and how often it looks.
_PATIENCE_S = 10.0
_LOOK_S = 0.02


class DistributedHerder(DistributedWork):
    """Requests that change something wait for a round of the group that is due; the leader answers most of them."""

    def _is_settled(self) -> bool:
        return not self._wants_round and not self.group.member.must_join

    async def _until_settled(self) -> None:
        """Waits for a round of the group that is due: leader and assignment may be others after it.

        Raises:
            RebalanceNeeded: it is due for long.
        """
        until_s = time.monotonic() + _PATIENCE_S
        while not self._is_settled():
            if time.monotonic() > until_s:
                raise RebalanceNeeded("Request cannot be completed because a rebalance is expected")
            await asyncio.sleep(_LOOK_S)

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """While nothing else changes, and no round is due; raises RebalanceNeeded."""
        while True:
            await self._until_settled()
            async with self._changing:
                if self._is_settled():
                    yield
                    return

    async def _as_leader(self, otherwise: str, call: Callable[[], Awaitable[None]]) -> None:
        async with self._change():
            self._lead(otherwise)
            await call()

    async def connectors(self) -> list[str]:
        await self._until_settled()
        return await super().connectors()

    async def info(self, name: str) -> ConnectorInfo:
        await self._until_settled()
        return await super().info(name)

    async def put_config(
        self, name: str, config: Mapping[str, str], *, may_exist: bool, target_state: str | None = None
    ) -> tuple[bool, ConnectorInfo]:
        await self.refuse_errors(config)
        created = False

        async def put() -> None:
            nonlocal created
            created = name not in self.configs.connectors
            if not created and not may_exist:
                raise AlreadyExistsError(f"Connector {name} already exists")
            await self._write(connector_records(name, config, target_state))

        await self._as_leader("Only the leader can set connector configs.", put)
        return created, await super().info(name)

    async def patch_config(self, name: str, patch: Mapping[str, str | None]) -> ConnectorInfo:
        await self._until_settled()
        self._lead("Only the leader can set connector configs.")
        _, info = await self.put_config(name, self.patched(name, patch), may_exist=True)
        return info

    async def delete(self, name: str) -> None:
        async def delete() -> None:
            self.known(name)
            await self._write(removal_records(name))

        await self._as_leader("Only the leader can delete connector configs.", delete)

    async def set_target_state(self, name: str, state: str) -> None:
        if name not in self.configs.connectors:
            raise NotFoundError(f"Unknown connector {name}")
        if state != "STOPPED":
            await self._store.write_unprivileged(target_state_records(name, state))
            return

        async with self._changing:
            self._lead("Only the leader can transition connectors to the STOPPED state.")
            await self._write_stop(name)

    async def restart(self, name: str, *, include_tasks: bool, only_failed: bool) -> ConnectorStatus:
        if include_tasks or only_failed:
            plan: list[ConnectorStatus] = []

            async def restart() -> None:
                plan.append(self.restart_plan(name, include_tasks=include_tasks, only_failed=only_failed))
                await self._write(restart_records(name, include_tasks=include_tasks, only_failed=only_failed))

            await self._as_leader("Only the leader can process restart requests.", restart)
            return plan[0]
        async with self._change():
            if name not in self.configs.connectors:
                raise NotFoundError(f"Unknown connector: {name}")
            self._mine(name, "connector")
            plan_now = self.restart_plan(name, include_tasks=False, only_failed=False)
            await self.worker.stop_connector(name)
            await self._start_connector(name)
            return plan_now

    async def restart_task(self, task: TaskId) -> None:
        async with self._change():
            if task.connector not in self.configs.connectors:
                raise NotFoundError(f"Unknown connector: {task.connector}")
            if task not in self.configs.task_configs:
                raise NotFoundError(f"Unknown task: {task}")
            self._mine(task, "task")
            await self._stop_tasks([task])
            self._start_task_soon(task)

    def _mine(self, item: str | TaskId, what: str) -> None:
        """Raises NotLeader with the URL of who has it, or may know."""
        if item in self.group.work.connectors or item in self.group.work.tasks:
            return
        message = f"Cannot restart {what} since it is not assigned to this member"
        raise NotLeader(self.group.owner_url(item) if self.group.is_leader else self.group.leader_url, message)

    async def alter_offsets(self, name: str, offsets: Pairs | None) -> str:
        async with self._change():
            self._lead("Only the leader can process external offsets modification requests")
            await self._store.refresh()
            return await super().alter_offsets(name, offsets)

    async def reset_active_topics(self, name: str) -> None:
        await super().reset_active_topics(name)
        await self._statuses.flush()

    async def set_cluster_logger_level(self, namespace: str, level: str) -> None:
        await self._store.write_unprivileged(logger_records(namespace, level))
