"""States and source offsets in topics of Kafka, in the formats of Java's workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from engine.connect.runtime.herder import Status, TaskId
from engine.connect.runtime.kafka_log import KafkaLog, TopicPlan, plan_of
from engine.connect.runtime.offset_store import OffsetIndex, OffsetStore, Raw
from engine.connect.runtime.status_store import StatusStore, TopicUse
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)

_TASK, _CONNECTOR, _TOPIC = "status-task-", "status-connector-", "status-topic-"
_OF = ":connector-"
_FINAL = ("DESTROYED",)
# Longer than the transaction of a task that was killed may stay open.
_TRANSACTION_S = 90.0


class KafkaStatusStore(StatusStore):
    """``KafkaStatusBackingStore``: what is put is there at once here, and soon elsewhere."""

    def __init__(self, config: WorkerConfig, client_id: str) -> None:
        super().__init__()
        # What was written last here, by key, until it is read back: what is read before that is older.
        self._written: dict[str, bytes | None] = {}
        self._log = KafkaLog(config, plan_of(config, "status"), self._replay, client_id=f"{client_id}-statuses")

    async def start(self) -> None:
        """Read all of the topic; raises ConnectError."""
        await self._log.start()

    async def stop(self) -> None:
        """Write what is left."""
        await self._log.flush()
        await self._log.stop()

    async def flush(self) -> None:
        """What was put is in the topic."""
        await self._log.flush()

    async def refresh(self) -> None:
        """What others have put is here."""
        await self._log.read_to_end()

    def put_connector(self, name: str, status: Status | None) -> None:
        super().put_connector(name, status)
        self._write(_CONNECTOR + name, _status(status))

    def put_task(self, task: TaskId, status: Status | None) -> None:
        super().put_task(task, status)
        self._write(f"{_TASK}{task}", _status(status))

    def put_connector_safely(self, name: str, status: Status) -> None:
        """Unless somebody of a later generation has said something (``putSafe``)."""
        if _may_replace(self.connector(name), status):
            self.put_connector(name, status)

    def put_task_safely(self, task: TaskId, status: Status) -> None:
        """Unless somebody of a later generation has said something."""
        if _may_replace(self.task(task), status):
            self.put_task(task, status)

    def put_topic(self, use: TopicUse) -> None:
        super().put_topic(use)
        value = {
            "topic": {
                "name": use.topic,
                "connector": use.connector,
                "task": use.task,
                "discoverTimestamp": use.discovered_ms,
            }
        }
        self._write(f"{_TOPIC}{use.topic}{_OF}{use.connector}", value)

    def reset_topics(self, connector: str) -> None:
        for each in self.topics(connector):
            self._write(f"{_TOPIC}{each}{_OF}{connector}", None)
        super().reset_topics(connector)

    def _write(self, key: str, value: dict[str, Any] | None) -> None:
        data = None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
        self._written[key] = data
        self._log.write_soon(key.encode(), data, lambda: self._forget(key))

    def _forget(self, key: str) -> None:
        self._written.pop(key, None)

    def _replay(self, messages: Sequence[Any]) -> None:
        for message in messages:
            try:
                key = (message.key() or b"").decode()
                if key in self._written:
                    if message.value() == self._written[key]:
                        del self._written[key]
                    continue
                self._take(key, None if message.value() is None else json.loads(message.value()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("ignoring a record of the status topic: %s: %s", type(error).__name__, error)

    def _take(self, key: str, value: Any) -> None:
        if key.startswith(_CONNECTOR):
            super().put_connector(key.removeprefix(_CONNECTOR), _read(value))
        elif key.startswith(_TASK):
            name, _, number = key.removeprefix(_TASK).rpartition("-")
            super().put_task(TaskId(name, int(number)), _read(value))
        elif key.startswith(_TOPIC):
            topic, _, connector = key.removeprefix(_TOPIC).partition(_OF)
            if value is None:
                self._topics.get(connector, {}).pop(topic, None)
            else:
                told = value["topic"]
                super().put_topic(
                    TopicUse(told["name"], told["connector"], int(told["task"]), int(told["discoverTimestamp"]))
                )


def _status(status: Status | None) -> dict[str, Any] | None:
    if status is None or status.state in _FINAL:
        return None
    return {
        "state": status.state,
        "trace": status.trace,
        "worker_id": status.worker_id,
        "generation": status.generation,
        **({"version": status.version} if status.version is not None else {}),
    }


def _read(value: Any) -> Status | None:
    if value is None:
        return None
    return Status(
        value["state"], value["worker_id"], int(value["generation"]), value.get("trace"), value.get("version")
    )


def _may_replace(now: Status | None, new: Status) -> bool:
    return now is None or now.worker_id == new.worker_id or now.generation <= new.generation


class KafkaOffsetStore(OffsetStore):
    """``KafkaOffsetBackingStore``; under exactly-once it sees committed offsets alone."""

    def __init__(self, config: WorkerConfig, client_id: str, topic: str | None = None) -> None:
        """``topic``: a connector's own, instead of the worker's."""
        plan = plan_of(config, "offset")
        if topic is not None:
            plan = TopicPlan("offsets.storage.topic", topic, plan.partitions, plan.replication_factor, plan.configs)
        self._index = OffsetIndex()
        self._log = KafkaLog(
            config, plan, self._replay, client_id=f"{client_id}-offsets", read_committed=config.exactly_once
        )

    async def start(self) -> None:
        await self._log.start()

    async def stop(self) -> None:
        await self._log.stop()

    async def index(self) -> OffsetIndex:
        await self._log.read_to_end(_TRANSACTION_S)
        return self._index

    async def put(self, connector: str, offsets: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
        # Which keys a source partition has had is known well enough without reading to the end first.
        records: dict[bytes, bytes | None] = {}
        for partition, offset in offsets:
            records |= self._index.raw(connector, partition, offset)
        await self.write(records)

    async def write(self, records: Raw) -> None:
        await self._log.write(list(records.items()))

    def _replay(self, messages: Sequence[Any]) -> None:
        for message in messages:
            self._index.replay(message.key(), message.value())
