"""One member of a streams group (Kafka: StreamsGroupMember, KIP-1071): one thread of an application.

Members are values: a change makes another one, and only records put it into a group.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from engine.core.group.streams_tasks import OWNS_NO_TASKS, OwnedTasks

JOIN_MEMBER_EPOCH = 0
LEAVE_MEMBER_EPOCH = -1
LEAVE_STATIC_MEMBER_EPOCH = -2
"""Member epochs of a heartbeat that join and leave (StreamsGroupHeartbeatRequest)."""


class TaskState(IntEnum):
    """How far a member has come on the way to its target assignment; numbers as in the records (Kafka: MemberState)."""

    STABLE = 1
    """It has all of what its epoch gives it."""

    UNREVOKED_TASKS = 2
    """It has been told to give up tasks and has not said yet that it did: it stays in its epoch."""

    UNRELEASED_TASKS = 3
    """It is in the target's epoch, and waits for tasks that others have not given up yet."""

    UNKNOWN = 127
    """A state that a later version wrote."""

    @classmethod
    def from_value(cls, value: int) -> TaskState:
        return cls(value) if value in (1, 2, 3) else cls.UNKNOWN


class Endpoint(NamedTuple):
    """Where the application answers questions about its state (application.server)."""

    host: str
    port: int


class StreamsMember(NamedTuple):
    """A member. ``assigned`` and ``pending_revocation`` never share a task, and together are what it may have.

    Members of one process share its state directory: ``process_id`` tells which they are. ``rebalance_timeout_ms`` in
    milliseconds, -1 before the member said one.
    """

    member_id: str
    member_epoch: int = 0
    previous_member_epoch: int = 0
    state: TaskState = TaskState.STABLE
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    topology_epoch: int = -1
    process_id: str = ""
    user_endpoint: Endpoint | None = None
    client_tags: tuple[tuple[str, str], ...] = ()
    assigned: OwnedTasks = OWNS_NO_TASKS
    pending_revocation: OwnedTasks = OWNS_NO_TASKS

    def is_reconciled_to(self, assignment_epoch: int) -> bool:
        """Whether nothing is left to do for it in the target assignment of this epoch."""
        return self.state is TaskState.STABLE and self.member_epoch == assignment_epoch

    def task_epoch(self, subtopology_id: str, number: int) -> int | None:
        """The epoch in which the member got an active task that it may have; None if it may not."""
        epoch = self.assigned.active.get(subtopology_id, {}).get(number)
        return self.pending_revocation.active.get(subtopology_id, {}).get(number) if epoch is None else epoch

    def with_epoch(self, member_epoch: int) -> StreamsMember:
        """The member in another epoch, that which it was in remembered."""
        return self._replace(member_epoch=member_epoch, previous_member_epoch=self.member_epoch)
