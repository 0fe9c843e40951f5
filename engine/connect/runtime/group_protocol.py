"""What workers say inside JoinGroup and SyncGroup: Connect's embedded protocol, versions 0 to 2. Pure.

Bytes are Kafka's (``ConnectProtocol``, ``IncrementalCooperativeConnectProtocol``). Version 2 differs from 1 in its
number alone: it says that requests between workers are signed (KIP-507).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.connect.errors import ConnectError
from engine.connect.runtime.herder import TaskId

PROTOCOL_TYPE = "connect"
SESSIONED, COMPATIBLE, EAGER = "sessioned", "compatible", "default"
VERSIONS = {SESSIONED: 2, COMPATIBLE: 1, EAGER: 0}

NO_ERROR, CONFIG_MISMATCH = 0, 1
_CONNECTOR_ITSELF = -1


class ProtocolError(ConnectError):
    """Bytes that are no such message."""


@dataclass(frozen=True, slots=True)
class Work:
    """Connectors and tasks."""

    connectors: tuple[str, ...] = ()
    tasks: tuple[TaskId, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.connectors or self.tasks)

    def without(self, other: Work) -> Work:
        """What is here and not there."""
        return Work(
            tuple(each for each in self.connectors if each not in other.connectors),
            tuple(each for each in self.tasks if each not in other.tasks),
        )

    def union(self, other: Work) -> Work:
        """What is here or there, in order."""
        return Work(
            tuple(dict.fromkeys((*self.connectors, *other.connectors))),
            tuple(dict.fromkeys((*self.tasks, *other.tasks))),
        )


NO_WORK = Work()


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the leader says to one worker (``ExtendedAssignment``): new work, work to give up, ms until another round.

    ``offset`` is that of the configs from which the leader made it.
    """

    error: int
    leader: str
    leader_url: str
    offset: int
    work: Work = NO_WORK
    revoked: Work = NO_WORK
    delay_ms: int = 0
    version: int = 2

    @property
    def failed(self) -> bool:
        """Whether the leader could not make one."""
        return self.error != NO_ERROR


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself (``ExtendedWorkerState``)."""

    url: str
    offset: int
    assignment: Assignment | None = field(default=None)


def encode_state(state: WorkerState, version: int) -> bytes:
    """A worker's metadata."""
    head = struct.pack(">h", version) + _text(state.url) + struct.pack(">q", state.offset)
    if version == 0:
        return head
    return head + _bytes(None if state.assignment is None else encode_assignment(state.assignment, version))


def decode_state(data: bytes) -> WorkerState:
    """Metadata of a worker, of any version.

    Raises:
        ProtocolError: it is none.
    """
    reader = _Reader(data)
    version = reader.version()
    url, offset = reader.text(), reader.number(">q")
    allocation = reader.bytes() if version > 0 and reader.left else None
    return WorkerState(url, offset, None if allocation is None else decode_assignment(allocation))


def encode_assignment(assignment: Assignment, version: int) -> bytes:
    """An assignment."""
    return b"".join(
        (
            struct.pack(">hh", version, assignment.error),
            _text(assignment.leader),
            _text(assignment.leader_url),
            struct.pack(">q", assignment.offset),
            _work(assignment.work),
            *((_work(assignment.revoked), struct.pack(">i", assignment.delay_ms)) if version > 0 else ()),
        )
    )


def decode_assignment(data: bytes) -> Assignment:
    """An assignment, of any version.

    Raises:
        ProtocolError: it is none.
    """
    reader = _Reader(data)
    version = reader.version()
    error = reader.number(">h")
    leader, url, offset = reader.text(), reader.text(), reader.number(">q")
    work = reader.work() if reader.left else NO_WORK
    revoked = reader.work() if version > 0 and reader.left else NO_WORK
    delay = reader.number(">i") if version > 0 and reader.left else 0
    return Assignment(error, leader, url, offset, work, revoked, delay, version)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def _bytes(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def _work(work: Work) -> bytes:
    by_connector: dict[str, list[int]] = {each: [_CONNECTOR_ITSELF] for each in work.connectors}
    for task in work.tasks:
        by_connector.setdefault(task.connector, []).append(task.task)
    parts = [struct.pack(">i", len(by_connector))]
    for name, tasks in by_connector.items():
        parts += [_text(name), struct.pack(f">i{len(tasks)}i", len(tasks), *tasks)]
    return b"".join(parts)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise ProtocolError(f"a message of Connect's group protocol ends in the middle, at byte {len(self._data)}")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, form: str) -> int:
        (found,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(found)

    def version(self) -> int:
        version = self.number(">h")
        if version < 0:
            raise ProtocolError(f"there is no version {version} of Connect's group protocol")
        return version

    def text(self) -> str:
        try:
            return self.take(self.number(">h")).decode()
        except UnicodeDecodeError:
            raise ProtocolError("a text of Connect's group protocol is not UTF-8") from None

    def bytes(self) -> bytes | None:
        count = self.number(">i")
        return None if count < 0 else self.take(count)

    def work(self) -> Work:
        connectors: list[str] = []
        tasks: list[TaskId] = []
        for _ in range(self.number(">i")):
            name = self.text()
            for _ in range(self.number(">i")):
                number = self.number(">i")
                if number == _CONNECTOR_ITSELF:
                    connectors.append(name)
                else:
                    tasks.append(TaskId(name, number))
        return Work(tuple(connectors), tuple(tasks))


def all_work(works: Iterable[Work]) -> Work:
    """Of several."""
    found = NO_WORK
    for each in works:
        found = found.union(each)
    return found
