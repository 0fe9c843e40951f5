"""What a worker lets be done to connectors: REST and commands ask this (``org.apache.kafka.connect.runtime.Herder``).

Coroutines of the worker's event loop. Two kinds: of one process (standalone) and of a group (distributed),
where a member that is not the leader raises :class:`NotLeader` with the leader's URL, to which REST forwards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.connect.errors import ConnectError
from engine.connect.runtime.logger_levels import LOGGERS

if TYPE_CHECKING:
    from engine.connect.runtime.config_infos import ConfigInfos
    from engine.connect.runtime.request_signature import RequestSignature


class TaskId(NamedTuple):
    """A task of a connector (``ConnectorTaskId``)."""

    connector: str
    task: int

    def __str__(self) -> str:
        return f"{self.connector}-{self.task}"


TARGET_STATES = {"RUNNING": "STARTED", "PAUSED": "PAUSED", "STOPPED": "STOPPED"}
"""What a connector shall be, by KIP-980's names of states to begin in."""


class NotLeader(ConnectError):
    """Ask the leader (``NotLeaderException``); ``url`` is None while nobody leads."""

    def __init__(self, url: str | None, message: str = "Only the leader can do this") -> None:
        self.url = url
        super().__init__(message)


class RebalanceNeeded(ConnectError):
    """The group is changing: again soon, HTTP 409 (``RebalanceNeededException``)."""


class RequestRefused(ConnectError):
    """Refused with an HTTP status of its own (``ConnectRestException``)."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class BadRequest(RequestRefused):
    """HTTP 400 (``BadRequestException``)."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class StaleConfig(RequestRefused):
    """HTTP 409 (``StaleConfigException``)."""

    def __init__(self, message: str) -> None:
        super().__init__(409, message)


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """``ConnectorInfo``: type is ``source`` or ``sink``."""

    name: str
    config: Mapping[str, str]
    tasks: tuple[TaskId, ...]
    type: str


@dataclass(frozen=True, slots=True)
class Status:
    """State of a connector or task: UNASSIGNED, RUNNING, PAUSED, FAILED, STOPPED, RESTARTING, DESTROYED."""

    state: str
    worker_id: str
    generation: int = 0
    trace: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """A connector's state and its tasks'."""

    name: str
    connector: Status
    tasks: Mapping[int, Status]
    type: str


@dataclass(frozen=True, slots=True)
class ConnectorOffsets:
    """``[(partition, offset or None)]``, as REST shows them."""

    offsets: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = field(default_factory=tuple)


class TaskFigures(NamedTuple):
    """What a task that runs on this worker has done."""

    task: TaskId
    pid: int | None
    records: int
    records_per_s: float


class Herder(ABC):
    """The interface. Raises NotFoundError for connectors and tasks that are not there."""

    @abstractmethod
    def kafka_cluster_id(self) -> str:
        """Of the cluster that the worker works for; asked once, when it starts."""

    @abstractmethod
    async def validate(self, config: Mapping[str, str]) -> ConfigInfos:
        """All that is wrong with a connector's config (:func:`engine.connect.runtime.validation.validated`).

        Raises:
            BadRequest: it names no connector's class, or none that there is.
        """

    @abstractmethod
    async def connectors(self) -> list[str]:
        """Their names."""

    @abstractmethod
    async def info(self, name: str) -> ConnectorInfo:
        """One."""

    @abstractmethod
    async def put_config(
        self, name: str, config: Mapping[str, str], *, may_exist: bool, target_state: str | None = None
    ) -> tuple[bool, ConnectorInfo]:
        """Create or replace; whether created. ``target_state``: STARTED, PAUSED, STOPPED (KIP-980).

        Raises:
            AlreadyExistsError: it is there and may not be. BadRequest: the config has errors, counted and named.
        """

    @abstractmethod
    async def patch_config(self, name: str, patch: Mapping[str, str | None]) -> ConnectorInfo:
        """Merge; None removes (KIP-477)."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """With its tasks; offsets and topics stay."""

    @abstractmethod
    async def status(self, name: str) -> ConnectorStatus:
        """States."""

    @abstractmethod
    async def task_configs(self, name: str) -> list[tuple[TaskId, Mapping[str, str]]]:
        """Each task with its configs."""

    @abstractmethod
    async def set_target_state(self, name: str, state: str) -> None:
        """STARTED (resume), PAUSED, STOPPED."""

    @abstractmethod
    async def restart(self, name: str, *, include_tasks: bool, only_failed: bool) -> ConnectorStatus:
        """Restart (KIP-745); the states that follow from it."""

    @abstractmethod
    async def restart_task(self, task: TaskId) -> None:
        """One task."""

    @abstractmethod
    async def offsets(self, name: str) -> ConnectorOffsets:
        """Source or sink offsets (KIP-875)."""

    @abstractmethod
    async def alter_offsets(
        self, name: str, offsets: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]] | None
    ) -> str:
        """Change them, or reset all (None); the message that Kafka answers.

        Raises:
            BadRequest: the connector is not STOPPED.
        """

    @abstractmethod
    async def active_topics(self, name: str) -> list[str]:
        """Topics that it used since the last reset (KIP-558)."""

    @abstractmethod
    async def reset_active_topics(self, name: str) -> None:
        """Forget them."""

    def check_signature(self, signature: RequestSignature | None) -> bool:
        """Whether a worker of the group sent this; False where requests between workers are not signed.

        Raises:
            RequestRefused: it is not signed as it must be (:mod:`engine.connect.runtime.request_signature`).
        """
        return False

    async def set_cluster_logger_level(self, namespace: str, level: str) -> None:
        """Loggers of this namespace get this level on all workers (KIP-976); here on this one, the only one."""
        LOGGERS.set_level(namespace, level)

    @abstractmethod
    async def task_configs_from_worker(self, name: str, configs: Sequence[Mapping[str, str]]) -> None:
        """Internal: a worker that runs the connector tells the leader its tasks' configs; the signature was checked."""

    @abstractmethod
    async def fence_zombies(self, name: str) -> None:
        """Internal: before tasks of an exactly-once source start (KIP-618)."""

    def figures(self) -> list[TaskFigures]:
        """Of the tasks that run on this worker."""
        return []

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it can answer."""
