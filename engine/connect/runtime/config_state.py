"""What connectors and tasks there are and how they shall be, from the records of the config topic. Pure.

Keys and values are Kafka's (``KafkaConfigBackingStore``), JSON without schemas:

============================  ==========================================================================
``connector-<name>``          ``{"properties": {…}}``; a tombstone removes the connector
``task-<name>-<n>``           ``{"properties": {…}}``, in force with the next commit
``commit-<name>``             ``{"tasks": n}``: these are all of its tasks
``target-state-<name>``       ``{"state": …, "state.v2": …}``: STARTED, PAUSED, STOPPED
``tasks-fencing-<name>``      ``{"task-count": n}``: producers of older tasks, n of them, are fenced
``restart-connector-<name>``  ``{"include-tasks": …, "only-failed": …}``
``session-key``               ``{"key": …, "algorithm": …, "creation-timestamp": …}``
``logger-cluster-<name>``     ``{"level": …}``
============================  ==========================================================================
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.connect.runtime.herder import TaskId

log = logging.getLogger(__name__)

TARGET_STATES = ("STARTED", "PAUSED", "STOPPED")
SESSION_KEY = "session-key"
_TARGET, _CONNECTOR, _TASK, _COMMIT = "target-state-", "connector-", "task-", "commit-"
_FENCING, _RESTART, _LOGGER = "tasks-fencing-", "restart-connector-", "logger-cluster-"

Records = list[tuple[str, bytes | None]]


class SessionKey(NamedTuple):
    """What signs requests among workers. Secret."""

    key: bytes
    algorithm: str
    created_ms: int

    def __repr__(self) -> str:
        return f"SessionKey({self.algorithm}, {self.created_ms})"


@dataclass(frozen=True, slots=True)
class Change:
    """What a record changed: ``kind`` is config, removed, tasks, target, restart, session_key, logger or nothing."""

    kind: str
    connector: str = ""
    tasks: tuple[TaskId, ...] = ()
    include_tasks: bool = False
    only_failed: bool = False
    level: str = ""

    def stronger(self, other: Change | None) -> Change:
        """Of two restarts that wait, the one that restarts more (``RestartRequest.compareTo``), or this one."""
        if other is None or self._impact >= other._impact:
            return self
        return other

    @property
    def _impact(self) -> tuple[bool, bool]:
        return not self.only_failed, self.include_tasks


NOTHING = Change("nothing")


@dataclass(slots=True)
class ConfigState:
    """``ClusterConfigState``; :meth:`replay` is the only way in."""

    offset: int = -1
    """The one after the last record."""
    session_key: SessionKey | None = None
    connectors: dict[str, dict[str, str]] = field(default_factory=dict)
    target_states: dict[str, str] = field(default_factory=dict)
    task_counts: dict[str, int] = field(default_factory=dict)
    task_configs: dict[TaskId, dict[str, str]] = field(default_factory=dict)
    task_count_records: dict[str, int] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    """Of task configs, by connector."""
    applied: dict[str, dict[str, str]] = field(default_factory=dict)
    """The connector's configs when its tasks' were made."""
    pending_fencing: set[str] = field(default_factory=set)
    inconsistent: set[str] = field(default_factory=set)
    _deferred: dict[str, dict[TaskId, dict[str, str]]] = field(default_factory=dict)

    def tasks(self, connector: str) -> list[TaskId]:
        """Of a connector; none while its configs are not complete."""
        if connector in self.inconsistent:
            return []
        return [TaskId(connector, each) for each in range(self.task_counts.get(connector, 0))]

    def target(self, connector: str) -> str:
        """STARTED, PAUSED or STOPPED."""
        return self.target_states.get(connector, "STARTED")

    def replay(self, key: str, value: bytes | None, offset: int = -1) -> Change:
        """Take in a record; what cannot be understood is logged and left out."""
        if offset >= 0:
            self.offset = offset + 1
        try:
            read = None if value is None else json.loads(value)
            if read is not None and not isinstance(read, dict):
                raise ValueError("it is no object")
            return self._replay(key, read)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            # Never the value: it may hold secrets.
            log.error("Ignoring the record %s of the config topic: %s: %s", key, type(error).__name__, error)
            return NOTHING

    def _replay(self, key: str, value: dict[str, Any] | None) -> Change:
        if key.startswith(_TARGET):
            return self._target(key.removeprefix(_TARGET), value)
        if key.startswith(_CONNECTOR):
            return self._connector(key.removeprefix(_CONNECTOR), value)
        if key.startswith(_FENCING):
            name = key.removeprefix(_FENCING)
            if value is not None:
                self.task_count_records[name] = int(value["task-count"])
                self.pending_fencing.discard(name)
            return NOTHING
        if key.startswith(_TASK):
            if value is not None:
                name, _, number = key.removeprefix(_TASK).rpartition("-")
                self._deferred.setdefault(name, {})[TaskId(name, int(number))] = _texts(value["properties"])
            return NOTHING
        if key.startswith(_COMMIT):
            return NOTHING if value is None else self._commit(key.removeprefix(_COMMIT), int(value["tasks"]))
        if key.startswith(_RESTART) and value is not None:
            return Change(
                "restart",
                key.removeprefix(_RESTART),
                include_tasks=value.get("include-tasks") is True,
                only_failed=value.get("only-failed") is True,
            )
        if key == SESSION_KEY and value is not None:
            secret = base64.b64decode(value["key"], validate=True)
            self.session_key = SessionKey(secret, value["algorithm"], int(value["creation-timestamp"]))
            return Change("session_key")
        if key.startswith(_LOGGER) and value is not None:
            return Change("logger", key.removeprefix(_LOGGER), level=str(value["level"]))
        return NOTHING

    def _target(self, name: str, value: dict[str, Any] | None) -> Change:
        if value is None:
            self.target_states.pop(name, None)
            if name in self.connectors:
                self.target_states[name] = "STARTED"
            return NOTHING
        state = value.get("state.v2") or value["state"]
        if state not in TARGET_STATES:
            raise ValueError(f"{state} is no target state")
        before, self.target_states[name] = self.target_states.get(name), state
        return Change("target", name) if name in self.connectors and state != before else NOTHING

    def _connector(self, name: str, value: dict[str, Any] | None) -> Change:
        if value is None:
            self._remove(name)
            return Change("removed", name)
        self.connectors[name] = _texts(value["properties"])
        self.target_states.setdefault(name, "STARTED")
        return Change("config", name)

    def _remove(self, name: str) -> None:
        self.connectors.pop(name, None)
        self.task_counts.pop(name, None)
        self._deferred.pop(name, None)
        self.applied.pop(name, None)
        self.inconsistent.discard(name)
        for each in [task for task in self.task_configs if task.connector == name]:
            del self.task_configs[each]

    def _commit(self, name: str, count: int) -> Change:
        config = self.connectors.get(name)
        if config is None:
            # Deleted, and compaction has taken the tombstone.
            self._remove(name)
            return NOTHING
        deferred = self._deferred.pop(name, {})
        changed: tuple[TaskId, ...] = ()
        if all(TaskId(name, each) in deferred for each in range(count)):
            self.task_configs.update(deferred)
            for each in [task for task in self.task_configs if task.connector == name and task.task >= count]:
                del self.task_configs[each]
            changed = tuple(sorted(deferred))
            if deferred:
                self.generations[name] = self.generations.get(name, -1) + 1
            self.inconsistent.discard(name)
            self.applied[name] = dict(config)
        else:
            # Compaction has taken some; the leader has them written again.
            self.inconsistent.add(name)
        self.task_counts[name] = count
        self.pending_fencing.add(name)
        return Change("tasks", name, changed)


def _texts(value: Any) -> dict[str, str]:
    return {str(name): text for name, text in dict(value).items() if isinstance(text, str)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def connector_records(name: str, config: Mapping[str, str | None], target_state: str | None = None) -> Records:
    """A connector is created or changed."""
    first = target_state_records(name, target_state) if target_state is not None else []
    return [*first, (_CONNECTOR + name, _json({"properties": dict(config)}))]


def removal_records(name: str) -> Records:
    """A connector is deleted."""
    return [(_CONNECTOR + name, None), (_TARGET + name, None)]


def task_records(name: str, configs: Sequence[Mapping[str, str]]) -> Records:
    """Its tasks have these configs, in force with the last record."""
    tasks: Records = [
        (f"{_TASK}{name}-{number}", _json({"properties": dict(each)})) for number, each in enumerate(configs)
    ]
    return [*tasks, (_COMMIT + name, _json({"tasks": len(configs)}))]


def target_state_records(name: str, state: str) -> Records:
    """What a connector shall be; workers before KIP-875 take STOPPED for PAUSED."""
    return [(_TARGET + name, _json({"state": "PAUSED" if state == "STOPPED" else state, "state.v2": state}))]


def task_count_records(name: str, count: int) -> Records:
    """Older producers are fenced."""
    return [(_FENCING + name, _json({"task-count": count}))]


def restart_records(name: str, *, include_tasks: bool, only_failed: bool) -> Records:
    """Everybody restarts what they have of a connector."""
    return [(_RESTART + name, _json({"include-tasks": include_tasks, "only-failed": only_failed}))]


def session_key_records(key: SessionKey) -> Records:
    """A new key."""
    value = {
        "key": base64.b64encode(key.key).decode(),
        "algorithm": key.algorithm,
        "creation-timestamp": key.created_ms,
    }
    return [(SESSION_KEY, _json(value))]


def logger_records(name: str, level: str) -> Records:
    """All workers log at this level under this name (KIP-976)."""
    return [(_LOGGER + name, _json({"level": level}))]
