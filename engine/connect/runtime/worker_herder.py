"""What both herders have in common: answers from configs and states, validation, offsets (``AbstractHerder``)."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from engine.client.errors import ClientError
from engine.connect.connector import Connector, SinkConnector, SourceConnector, TopicPartition
from engine.connect.errors import ConnectError, NotFoundError
from engine.connect.runtime.config_infos import ConfigInfos
from engine.connect.runtime.config_state import ConfigState
from engine.connect.runtime.herder import (
    BadRequest,
    ConnectorInfo,
    ConnectorOffsets,
    ConnectorStatus,
    Herder,
    RequestRefused,
    Status,
    TaskFigures,
    TaskId,
)
from engine.connect.runtime.offset_store import OffsetStore
from engine.connect.runtime.sink_offsets import OFFSET, PARTITION, TOPIC, SinkOffsets, parsed
from engine.connect.runtime.status_store import StatusStore
from engine.connect.runtime.submitted_records import partition_key
from engine.connect.runtime.validation import connector_class, validated
from engine.connect.runtime.worker import Worker
from engine.connect.runtime.worker_config import WorkerConfig
from engine.model.errors import KafkaError

log = logging.getLogger(__name__)

Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]


class WorkerHerder(Herder):
    """Over a worker, its stores, and :attr:`configs`."""

    def __init__(self, config: WorkerConfig, statuses: StatusStore, offsets: OffsetStore) -> None:
        self.config = config
        self.configs = ConfigState()
        self.statuses = statuses
        self.offsets_store = offsets
        self.worker = Worker(config, "", statuses, offsets)
        self.failure: BaseException | None = None
        """Why the worker cannot go on."""
        self.failed = asyncio.Event()
        self._cluster_id = ""
        self._ready = False

    @abstractmethod
    async def start(self, url: str) -> None:
        """Begin. ``url`` is REST's, under which others ask this worker.

        Raises:
            ConnectError: the worker cannot begin.
        """

    @abstractmethod
    async def stop(self) -> None:
        """End everything, offsets committed."""

    def _named(self, url: str) -> None:
        self.worker.worker_id = urlsplit(url).netloc

    async def ask_cluster(self) -> None:
        """Which cluster it is.

        Raises:
            ConnectError: it cannot be reached.
        """
        admin = self.config.admin()
        try:
            self._cluster_id = (await admin.describe_cluster(timeout_ms=30_000)).cluster_id
        except (ClientError, KafkaError) as error:
            raise ConnectError(
                f"Failed to connect to and describe Kafka cluster at {','.join(self.config['bootstrap.servers'])}: "
                f"{error}. Check worker's broker connection and security properties."
            ) from error
        finally:
            admin.close()

    # -- reading ------------------------------------------------------------------------------------------------

    def kafka_cluster_id(self) -> str:
        return self._cluster_id

    def is_ready(self) -> bool:
        return self._ready

    async def validate(self, config: Mapping[str, str]) -> ConfigInfos:
        return await asyncio.to_thread(validated, config, self.config)

    async def refuse_errors(self, config: Mapping[str, str]) -> None:
        """Raises BadRequest where a config has errors."""
        infos = await self.validate(config)
        if infos.errors:
            raise BadRequest(infos.summary())

    async def connectors(self) -> list[str]:
        return list(self.configs.connectors)

    def known(self, name: str) -> dict[str, str]:
        """A connector's config.

        Raises:
            NotFoundError: there is none.
        """
        found = self.configs.connectors.get(name)
        if found is None:
            raise NotFoundError(f"Connector {name} not found")
        return found

    def _type(self, config: Mapping[str, str]) -> str:
        try:
            kind = connector_class(config)
        except RequestRefused:
            return "unknown"
        return "source" if issubclass(kind, SourceConnector) else "sink"

    def is_source(self, name: str) -> bool:
        """Of a connector that is there."""
        return self._type(self.known(name)) == "source"

    async def info(self, name: str) -> ConnectorInfo:
        config = self.known(name)
        return ConnectorInfo(name, dict(config), tuple(self.configs.tasks(name)), self._type(config))

    async def status(self, name: str) -> ConnectorStatus:
        connector = self.statuses.connector(name)
        if connector is None:
            raise NotFoundError(f"No status found for connector {name}")
        kind = self._type(self.configs.connectors.get(name, {}))
        return ConnectorStatus(name, connector, self.statuses.tasks(name), kind)

    async def task_configs(self, name: str) -> list[tuple[TaskId, Mapping[str, str]]]:
        self.known(name)
        return [(task, dict(self.configs.task_configs[task])) for task in self.configs.tasks(name)]

    async def active_topics(self, name: str) -> list[str]:
        return self.statuses.topics(name)

    async def reset_active_topics(self, name: str) -> None:
        self.statuses.reset_topics(name)
        for task, host in self.worker.tasks.items():
            if task.connector == name:
                host.forget_topics()

    def patched(self, name: str, patch: Mapping[str, str | None]) -> dict[str, str]:
        """A connector's config with a patch.

        Raises:
            NotFoundError: there is no such connector.
        """
        found: dict[str, str | None] = {**self.known(name), **patch}
        return {key: value for key, value in found.items() if value is not None}

    def restart_plan(self, name: str, *, include_tasks: bool, only_failed: bool) -> ConnectorStatus:
        """Which parts of a connector restart: those in the state RESTARTING.

        Raises:
            NotFoundError: there is no such connector, or nobody knows its state.
        """
        if name not in self.configs.connectors:
            raise NotFoundError(f"Unknown connector: {name}")
        connector = self.statuses.connector(name)
        if connector is None:
            raise NotFoundError(f"Status for connector {name} not found")

        def planned(status: Status) -> Status:
            if only_failed and status.state != "FAILED":
                return status
            return Status("RESTARTING", status.worker_id, status.generation, status.trace, status.version)

        tasks = {
            number: planned(status) if include_tasks else status for number, status in self.statuses.tasks(name).items()
        }
        return ConnectorStatus(name, planned(connector), tasks, self._type(self.known(name)))

    def figures(self) -> list[TaskFigures]:
        return [
            TaskFigures(task, host.pid, host.records, host.records_per_s)
            for task, host in sorted(self.worker.tasks.items())
            if host.is_running
        ]

    # -- offsets (KIP-875) --------------------------------------------------------------------------------------

    async def offsets(self, name: str) -> ConnectorOffsets:
        config = self.config.transformer.resolve(self.known(name))
        if self.is_source(name):
            index = await (await self.worker.offsets_of(name)).index()
            return ConnectorOffsets(tuple(index.all(name)))
        admin = self.config.admin(config)
        try:
            found = await SinkOffsets(admin, name, self._group_of(name, config)).read()
        finally:
            admin.close()
        return ConnectorOffsets(
            tuple(
                ({TOPIC: topic, PARTITION: partition}, {OFFSET: offset})
                for (topic, partition), offset in sorted(found.items())
            )
        )

    def _group_of(self, name: str, config: Mapping[str, str]) -> str:
        return self.config.client_props("consumer", config).get("group.id") or f"connect-{name}"

    async def alter_offsets(self, name: str, offsets: Pairs | None) -> str:
        self.known(name)
        if self.configs.target(name) != "STOPPED" or self.configs.task_counts.get(name, 0):
            raise BadRequest(
                "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for "
                f"the specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
            )
        config = self.config.transformer.resolve(self.known(name))
        kind = connector_class(config)
        if issubclass(kind, SourceConnector):
            looked = await self._alter_source(name, kind(), config, offsets)
        else:
            looked = await self._alter_sink(name, kind(), config, offsets)
        how = "reset" if offsets is None else "altered"
        if looked:
            return f"The offsets for this connector have been {how} successfully"
        return (
            f"The Connect framework-managed offsets for this connector have been {how} successfully. However, if this "
            f"connector manages offsets externally, they will need to be manually {how} in the system that the "
            "connector uses."
        )

    async def _alter_source(
        self, name: str, connector: SourceConnector, config: Mapping[str, str], offsets: Pairs | None
    ) -> bool:
        store = await self.worker.offsets_of(name)
        wanted: list[tuple[dict[str, Any], dict[str, Any] | None]]
        if offsets is None:
            wanted = [(partition, None) for partition, _ in (await store.index()).all(name)]
        else:
            if any(not isinstance(partition, Mapping) for partition, _ in offsets):
                raise BadRequest("The partition for a source connector offset cannot be null or missing")
            latest = {
                partition_key(partition): (dict(partition), None if offset is None else dict(offset))
                for partition, offset in offsets
            }
            wanted = list(latest.values())
        told = {_as_key(partition): offset for partition, offset in wanted}
        looked: bool = await asyncio.to_thread(connector.alter_offsets, config, told)
        if wanted:
            await self.before_offsets_change(name)
            await store.put(name, wanted)
        return looked

    async def before_offsets_change(self, name: str) -> None:
        """Where zombies could write offsets, they are fenced first."""

    async def _alter_sink(
        self, name: str, connector: Connector, config: Mapping[str, str], offsets: Pairs | None
    ) -> bool:
        assert isinstance(connector, SinkConnector)
        admin = self.config.admin(config)
        try:
            group = SinkOffsets(admin, name, self._group_of(name, config))
            wanted: dict[TopicPartition, int | None]
            wanted = dict.fromkeys(await group.read()) if offsets is None else parsed(offsets)
            looked: bool = await asyncio.to_thread(connector.alter_offsets, config, wanted)
            if offsets is None:
                await group.reset()
            else:
                await group.alter(wanted)
        finally:
            admin.close()
        return looked


def _as_key(value: Any) -> Any:
    """A source partition as a key: its items; what is nested in it likewise."""
    if isinstance(value, Mapping):
        return tuple((name, _as_key(each)) for name, each in value.items())
    return tuple(map(_as_key, value)) if isinstance(value, list) else value
