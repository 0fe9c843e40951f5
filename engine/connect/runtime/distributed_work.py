"""A worker of a group at work: what rounds of the group and records of the config topic make it do."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence

from engine.client.errors import AuthenticationFailed, UnsupportedApi
from engine.connect.errors import ConnectError, NotFoundError
from engine.connect.runtime import leader_client
from engine.connect.runtime.config_state import (
    Change,
    Records,
    SessionKey,
    session_key_records,
    target_state_records,
    task_count_records,
    task_records,
)
from engine.connect.runtime.config_store import ConfigStore, FencedFromConfigTopic
from engine.connect.runtime.connector_offsets import OffsetStores
from engine.connect.runtime.group_protocol import Work
from engine.connect.runtime.group_work import GroupWork
from engine.connect.runtime.herder import (
    BadRequest,
    NotLeader,
    RequestRefused,
    Status,
    TaskId,
)
from engine.connect.runtime.kafka_stores import KafkaOffsetStore, KafkaStatusStore
from engine.connect.runtime.logger_levels import LOGGERS
from engine.connect.runtime.offset_store import OffsetStore
from engine.connect.runtime.request_signature import RequestSignature, check_signature
from engine.connect.runtime.worker_config import WorkerConfig
from engine.connect.runtime.worker_herder import WorkerHerder
from engine.connect.runtime.zombie_fencing import fence_producers
from engine.model.errors import KafkaError

log = logging.getLogger(__name__)

_RETRY_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_TICK_S = 1.0
_KEY_BYTES = 64


class DistributedWork(WorkerHerder):
    """Lives in the group and does what it asks for; :mod:`engine.connect.runtime.distributed` answers requests over it.

    One task lives the membership and does what changes ask for; whatever else changes something has the lock
    ``_changing`` meanwhile.
    """

    def __init__(self, config: WorkerConfig) -> None:
        client_id = config["client.id"] or f"connect-{config['group.id']}"
        self._statuses = KafkaStatusStore(config, client_id)
        super().__init__(config, self._statuses, KafkaOffsetStore(config, client_id))
        self._client_id = client_id
        self._store = ConfigStore(config, self.configs, self._changed, client_id)
        self._offset_stores = OffsetStores(config, self.offsets_store, client_id)
        self._group: GroupWork | None = None
        self._changing = asyncio.Lock()
        self._writing_tasks = asyncio.Lock()
        self._living: asyncio.Task[None] | None = None
        self._stopping = False
        self._reconfiguring: dict[str, asyncio.Task[None]] = {}
        self._starting: dict[TaskId, asyncio.Task[None]] = {}
        self._fencing: dict[str, asyncio.Task[None]] = {}
        self._wants_round = False
        self._changed_connectors: set[str] = set()
        self._changed_targets: set[str] = set()
        self._changed_tasks: set[str] = set()
        self._restarts: dict[str, Change] = {}
        self._key_until_s: float | None = None
        self._fenced = False
        self.worker.on_reconfigure = self._reconfigure_soon
        self.worker.check_ownership = self._check_ownership
        self.worker.offsets_of = self._offsets_of

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self, url: str) -> None:
        self._named(url)
        await self.ask_cluster()
        await self._store.start()
        await self._statuses.start()
        await self.offsets_store.start()
        self._group = GroupWork(self.config, self, url, self._client_id)
        self._living = asyncio.get_running_loop().create_task(self._live())

    async def stop(self) -> None:
        self._stopping, self._ready = True, False
        beside = [*self._reconfiguring.values(), *self._starting.values()]
        if self._living is not None:
            beside.append(self._living)
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        running = Work(tuple(self.worker.connectors), tuple(self.worker.tasks))
        await self.stop_work(running)
        if self._group is not None:
            await self._group.leave()
        await self._store.stop()
        await self._statuses.stop()
        await self.offsets_store.stop()
        await self._offset_stores.stop()

    @property
    def group(self) -> GroupWork:
        """The membership; there is one after the start."""
        if self._group is None:
            raise RequestRefused(503, "This worker is still starting up")
        return self._group

    async def _live(self) -> None:
        group = self.group
        try:
            while not self._stopping:
                group.wake.clear()
                async with self._changing:
                    settled = await group.step()
                    if settled:
                        self._ready = True
                        settled = await self._work_off()
                if settled:
                    await self._wait()
        except (KafkaError, AuthenticationFailed, UnsupportedApi, ConnectError) as error:
            log.error("the worker cannot go on: %s", error, exc_info=error.__cause__)
            self.failure = error
            self._ready = False
            self.failed.set()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the worker cannot go on")
            self.failure = error
            self._ready = False
            self.failed.set()

    async def _wait(self) -> None:
        waits = [each for each in (self.group.wait_s(), self._key_left_s()) if each is not None]
        try:
            # A tick now and then, to see whether the coordinator is still heard.
            async with asyncio.timeout(min([_TICK_S, *waits])):
                await self.group.wake.wait()
        except TimeoutError:
            pass

    async def _work_off(self) -> bool:
        """What changes ask for; whether that is all."""
        if self._fenced and self.group.is_leader:
            try:
                await self._store.claim()
            except ConnectError as error:
                log.warning("%s", error)
                await asyncio.sleep(_RETRY_S[0])
                return False
        self._fenced = False
        await self._rotate_key()
        restarts, self._restarts = self._restarts, {}
        for change in restarts.values():
            await self._restart_here(change)
        if self._wants_round:
            self._wants_round = False
            self.group.request_round()
        connectors, self._changed_connectors = self._changed_connectors, set()
        targets, self._changed_targets = self._changed_targets, set()
        tasks, self._changed_tasks = self._changed_tasks, set()
        for name in sorted(connectors & set(self.group.work.connectors)):
            await self.worker.stop_connector(name)
            if name in self.configs.connectors:
                await self._start_connector(name)
        for name in sorted(targets):
            await self._set_target_here(name)
        if tasks:
            stop = [each for each in self.group.work.tasks if each.connector in tasks]
            await self._stop_tasks(stop)
            self.group.restart_tasks(set(stop))
        return not self.group.member.must_join

    def _changed(self, change: Change, existed: bool) -> None:
        """A record of the config topic."""
        name = change.connector
        match change.kind:
            case "removed":
                self._wants_round = True
            case "config":
                self._changed_connectors.add(name)
                self._wants_round = self._wants_round or not existed
            case "tasks":
                self._wants_round = True
                self._changed_tasks.add(name)
            case "target":
                self._changed_targets.add(name)
            case "restart":
                self._restarts[name] = change.stronger(self._restarts.get(name))
            case "session_key":
                self._track_key()
            case "logger":
                LOGGERS.set_level(name, change.level)
        if self._group is not None:
            self._group.wake.set()

    # -- the group's wishes (WorkOwner) ----------------------------------------------------------------------------

    async def refresh_configs(self) -> None:
        """Read configs to their end; raises ConnectError."""
        await self._store.refresh()

    async def start_work(self, work: Work) -> None:
        """Start these."""
        await asyncio.gather(*(self._start_connector(each) for each in work.connectors))
        for each in work.tasks:
            self._start_task_soon(each)

    async def stop_work(self, work: Work) -> None:
        """Stop these; their states are written when this returns."""
        await asyncio.gather(
            self._stop_tasks(list(work.tasks)), *(self._stop_connector(each) for each in work.connectors)
        )
        gone = {*work.connectors, *(each.connector for each in work.tasks)} - set(self.configs.connectors)
        for each in sorted(gone):
            self.statuses.reset_topics(each)
        await self._statuses.flush()

    async def follows_now(self) -> None:
        """A round made another worker the leader."""
        self._store.relinquish()

    async def leads_now(self) -> None:
        """A round made this worker the leader: states of what was deleted go, configs are this worker's to write."""
        for name in [each for each in self._statuses.connector_names() if each not in self.configs.connectors]:
            self.statuses.put_connector(name, None)
        there = {task for name in self.configs.connectors for task in self.configs.tasks(name)}
        for task in [each for each in self._statuses.task_ids() if each not in there]:
            self.statuses.put_task(task, None)
        try:
            await self._store.claim()
        except ConnectError as error:
            self._fenced = True
            log.error("Unable to claim write privileges for config topic after being elected leader: %s", error)
        self._track_key()

    async def _stop_connector(self, name: str) -> None:
        if name in self.worker.connectors:
            await self.worker.stop_connector(name)
            self._statuses.put_connector_safely(name, self._unassigned())

    async def _stop_tasks(self, tasks: Sequence[TaskId]) -> None:
        for each in tasks:
            starting = self._starting.pop(each, None)
            if starting is not None:
                starting.cancel()
        here = [each for each in tasks if each in self.worker.tasks]
        await self.worker.stop_tasks(here)
        for each in here:
            self._statuses.put_task_safely(each, self._unassigned())

    def _unassigned(self) -> Status:
        return Status("UNASSIGNED", self.worker.worker_id, self.group.generation)

    async def _start_connector(self, name: str) -> None:
        props = self.configs.connectors.get(name)
        if props is None:
            return  # deleted meanwhile; a round is on its way
        target = self.configs.target(name)
        if await self.worker.start_connector(name, props, target, self.group.generation) and target == "STARTED":
            self._reconfigure_soon(name)

    def _start_task_soon(self, task: TaskId) -> None:
        before = self._starting.pop(task, None)
        if before is not None:
            before.cancel()
        starting = self._starting[task] = asyncio.get_running_loop().create_task(self._start_task(task))
        starting.add_done_callback(lambda _: self._starting.pop(task) if self._starting.get(task) is starting else None)

    async def _start_task(self, task: TaskId) -> None:
        name, generation = task.connector, self.group.generation
        try:
            props, configs = self.configs.connectors.get(name), self.configs.task_configs.get(task)
            if props is None or configs is None:
                return
            exactly_once = self.config.exactly_once and self.is_source(name)
            config_generation = self.configs.generations.get(name, 0)
            if exactly_once:
                await self._fence_by_leader(name)
                if config_generation != self.configs.generations.get(name, 0):
                    return  # a round is on its way that starts it again
            await self.worker.start_task(
                task,
                props,
                configs,
                self.configs.target(name),
                generation,
                exactly_once=exactly_once,
                config_generation=config_generation,
            )
        except ConnectError as error:
            log.error("task %s cannot be started: %s", task, error)
            trace = f"Failed to start task {task}: {error}"
            self._statuses.put_task_safely(task, Status("FAILED", self.worker.worker_id, generation, trace))

    async def _set_target_here(self, name: str) -> None:
        if name not in self.configs.connectors:
            return
        state = self.configs.target(name)
        self.worker.set_target(name, state)
        host = self.worker.connectors.get(name)
        if host is not None and await host.set_target(state) and state == "STARTED":
            self._reconfigure_soon(name)

    async def _restart_here(self, change: Change) -> None:
        name = change.connector
        try:
            plan = self.restart_plan(name, include_tasks=change.include_tasks, only_failed=change.only_failed)
        except NotFoundError as error:
            log.info("nothing restarts: %s", error)
            return
        mine = self.group.work
        tasks = [
            TaskId(name, number)
            for number, status in plan.tasks.items()
            if status.state == "RESTARTING" and TaskId(name, number) in mine.tasks
        ]
        await self._stop_tasks(tasks)
        for each in tasks:
            self.statuses.put_task(each, self._restarting())
        if plan.connector.state == "RESTARTING" and name in mine.connectors:
            await self.worker.stop_connector(name)
            self.statuses.put_connector(name, self._restarting())
            await self._start_connector(name)
        for each in tasks:
            self._start_task_soon(each)

    def _restarting(self) -> Status:
        return Status("RESTARTING", self.worker.worker_id, self.group.generation)

    # -- task configs -------------------------------------------------------------------------------------------------

    def _reconfigure_soon(self, name: str) -> None:
        before = self._reconfiguring.pop(name, None)
        if before is not None:
            before.cancel()
        task = self._reconfiguring[name] = asyncio.get_running_loop().create_task(self._reconfigure(name))
        task.add_done_callback(
            lambda _: self._reconfiguring.pop(name) if self._reconfiguring.get(name) is task else None
        )

    async def _reconfigure(self, name: str) -> None:
        """Ask a connector that runs here for its task configs, and have them written if they are others.

        Tried until it works: the leader may be away, or the brokers.
        """
        attempt = 0
        while self.configs.target(name) == "STARTED" and (host := self.worker.connectors.get(name)) is not None:
            config = self.configs.connectors.get(name)
            if config is None:
                return
            try:
                configs = await self.worker.task_configs(name, config)
            except Exception as error:
                host.failed(error)
                return
            try:
                now = [self.configs.task_configs.get(each) for each in self.configs.tasks(name)]
                if configs != now or self.configs.applied.get(name) != config:
                    await self._publish(name, configs)
                return
            except ConnectError as error:
                log.warning("task configs of %s: %s; again", name, error)
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1

    async def _publish(self, name: str, configs: list[dict[str, str]]) -> None:
        if self.group.is_leader:
            await self._write_task_configs(name, configs)
            return
        url = self.group.leader_url
        if url is None:
            raise ConnectError("there is no leader now")
        await leader_client.put_task_configs(url, name, configs, self._key(), self._algorithm())

    async def _write_task_configs(self, name: str, configs: Sequence[Mapping[str, str]]) -> None:
        async with self._writing_tasks:
            if configs and self.configs.target(name) == "STOPPED":
                raise BadRequest(f"Cannot submit non-empty set of task configs for stopped connector {name}")
            await self._write(task_records(name, configs))

    async def _write_stop(self, name: str) -> None:
        """No tasks, and then STOPPED; nobody's task configs come between the two.

        Running without tasks is a sound state, stopped with tasks is not.
        """
        async with self._writing_tasks:
            await self._write(task_records(name, []))
            await self._store.write_unprivileged(target_state_records(name, "STOPPED"))

    async def _write(self, records: Records) -> None:
        try:
            await self._store.write(records)
        except FencedFromConfigTopic as error:
            self._fenced = True
            self.group.wake.set()
            raise ConnectError(
                "Failed to write to config topic; this may be due to a transient error and the request can be safely "
                f"retried: {error}"
            ) from error

    async def task_configs_from_worker(self, name: str, configs: Sequence[Mapping[str, str]]) -> None:
        self._lead("Only the leader may write task configurations.")
        self.known(name)
        await self._write_task_configs(name, configs)

    # -- exactly once -------------------------------------------------------------------------------------------------

    async def _fence_by_leader(self, name: str) -> None:
        for delay_s in (*_RETRY_S, None):
            try:
                if self.group.is_leader:
                    await self.fence_zombies(name)
                else:
                    url = self.group.leader_url
                    if url is None:
                        raise ConnectError("there is no leader now")
                    await leader_client.fence_zombies(url, name, self._key(), self._algorithm())
                return
            except ConnectError as error:
                if delay_s is None:
                    raise ConnectError(f"Failed to perform round of zombie fencing: {error}") from error
                log.info("fencing for %s: %s; again", name, error)
            await asyncio.sleep(delay_s)

    async def fence_zombies(self, name: str) -> None:
        self._lead("Only the leader may perform zombie fencing.")
        self.known(name)
        if not self.is_source(name):
            raise BadRequest(f"Connector {name} is not a source connector")
        running = self._fencing.get(name)
        if running is None:
            running = self._fencing[name] = asyncio.get_running_loop().create_task(self._fence(name))
            running.add_done_callback(lambda _: self._fencing.pop(name, None))
        await asyncio.shield(running)

    async def _fence(self, name: str) -> None:
        await self._store.refresh()
        if name not in self.configs.pending_fencing:
            return
        count, before = self.configs.task_counts.get(name, 0), self.configs.task_count_records.get(name)
        generation = self.configs.generations.get(name, 0)
        # One after one: the new one's producer fences the old one's.
        if before is not None and not (before == 1 and count == 1):
            resolved = self.config.transformer.resolve(self.known(name))
            await fence_producers(self.config, resolved, name, before)
            await self._store.refresh()
            if generation < self.configs.generations.get(name, 0):
                raise RequestRefused(
                    409, "Fencing failed because new task configurations were generated for the connector"
                )
        await self._write(task_count_records(name, count))

    async def _check_ownership(self, task: TaskId, config_generation: int) -> None:
        await self._store.refresh()
        if self.configs.generations.get(task.connector, 0) != config_generation:
            raise ConnectError(
                f"Cannot start source task {task} with exactly-once support as the connector has already generated a "
                "new set of task configs"
            )
        if task not in self.group.work.tasks:
            raise ConnectError(f"Cannot start source task {task} as it has already been revoked from this worker")

    async def before_offsets_change(self, name: str) -> None:
        if self.config.exactly_once:
            await self.fence_zombies(name)

    async def _offsets_of(self, connector: str) -> OffsetStore:
        config = self.configs.connectors.get(connector, {})
        topic = config.get("offsets.storage.topic")
        return await self._offset_stores.of(self.config.transformer.resolve({"": topic})[""] if topic else None)

    # -- the session key ------------------------------------------------------------------------------------------

    def _signs(self) -> bool:
        return self.group.version >= 2

    def _key(self) -> bytes | None:
        if not self._signs():
            return None
        if self.configs.session_key is None:
            raise ConnectError("there is no session key yet")
        return self.configs.session_key.key

    def _algorithm(self) -> str:
        return str(self.config["inter.worker.signature.algorithm"])

    def check_signature(self, signature: RequestSignature | None) -> bool:
        if not self._signs():
            return False
        key = self.configs.session_key
        check_signature(
            signature, None if key is None else key.key, self.config["inter.worker.verification.algorithms"]
        )
        return True

    def _track_key(self) -> None:
        key, ttl_ms = self.configs.session_key, self.config["inter.worker.key.ttl.ms"]
        self._key_until_s = None if key is None or ttl_ms <= 0 else (key.created_ms + ttl_ms) / 1000

    def _key_left_s(self) -> float | None:
        if not self._group or not self.group.is_leader or self._key_until_s is None:
            return None
        return max(0.0, self._key_until_s - time.time())

    async def _rotate_key(self) -> None:
        if not self.group.is_leader or not self._signs():
            return
        known = self.configs.session_key
        if known is not None and (self._key_until_s is None or time.time() < self._key_until_s):
            return
        bits = self.config["inter.worker.key.size"]
        secret = os.urandom(_KEY_BYTES if bits is None else max(1, bits // 8))
        algorithm = self.config["inter.worker.key.generation.algorithm"]
        try:
            await self._write(session_key_records(SessionKey(secret, algorithm, time.time_ns() // 1_000_000)))
        except ConnectError as error:
            log.info("Failed to write new session key to config topic: %s", error)

    def _lead(self, otherwise: str) -> None:
        if not self.group.is_leader:
            raise NotLeader(self.group.leader_url, otherwise)
