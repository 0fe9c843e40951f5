"""A streams group (Kafka: StreamsGroup, KIP-1071): topology, members, epochs, targets. No timers, no replies.

The group epoch rises with everything that needs another assignment, the assignment epoch when the target assignment was
computed for a group epoch, a member's epoch when the member has come to the target of that epoch. Only records change a
group: see :mod:`engine.core.group.streams_records`; what else is known of it is in the last slots.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from engine.core.group.streams_member import StreamsMember
from engine.core.group.streams_tasks import NOTHING, OwnedTasks, TaskSet
from engine.core.group.streams_topics import ConfiguredTopology
from engine.core.group.streams_topology import StreamsTopology
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail

INITIAL_EPOCH = 1
NOT_VALIDATED = -1
"""The validated topology epoch of a group whose topics are not as its topology needs them."""

_FIRST_COMMIT_VERSION_WITH_MEMBER_EPOCH = 9


class StreamsGroupState(StrEnum):
    """Named as ListGroups and StreamsGroupDescribe name them."""

    EMPTY = "Empty"
    NOT_READY = "NotReady"
    """The topics are not as the topology needs them."""
    ASSIGNING = "Assigning"
    """The target assignment is older than the group epoch."""
    RECONCILING = "Reconciling"
    """Some member has not come to its target yet."""
    STABLE = "Stable"


class StreamsGroup:
    """State of one group. Members are kept in the order in which they joined."""

    __slots__ = (
        "_active_processes",
        "_standby_processes",
        "_warmup_processes",
        "assignment_configs",
        "assignment_epoch",
        "assignment_timestamp_ms",
        "configured",
        "endpoint_epoch",
        "group_epoch",
        "group_id",
        "members",
        "metadata_hash",
        "needs_metadata",
        "shutdown_requested_by",
        "targets",
        "topology",
        "validated_topology_epoch",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.group_epoch = INITIAL_EPOCH
        self.metadata_hash = 0
        self.validated_topology_epoch = 0
        self.assignment_configs: dict[str, str] = {}
        self.assignment_epoch = INITIAL_EPOCH
        # Wall clock; 0 before the first assignment.
        self.assignment_timestamp_ms = 0
        self.topology: StreamsTopology | None = None
        self.members: dict[str, StreamsMember] = {}
        self.targets: dict[str, TaskSet] = {}
        self._active_processes: dict[tuple[str, int], str] = {}
        self._standby_processes: dict[tuple[str, int], set[str]] = {}
        self._warmup_processes: dict[tuple[str, int], set[str]] = {}
        # Soft state.
        self.configured: ConfiguredTopology | None = None
        self.needs_metadata = True
        self.shutdown_requested_by: str | None = None
        self.endpoint_epoch = 0

    # -- questions ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> StreamsGroupState:
        if not self.members:
            return StreamsGroupState.EMPTY
        if self.topology is None or self.topology.epoch != self.validated_topology_epoch:
            return StreamsGroupState.NOT_READY
        if self.group_epoch > self.assignment_epoch:
            return StreamsGroupState.ASSIGNING
        if all(member.is_reconciled_to(self.assignment_epoch) for member in self.members.values()):
            return StreamsGroupState.STABLE
        return StreamsGroupState.RECONCILING

    @property
    def is_empty(self) -> bool:
        return not self.members

    def detail(self) -> Detail:
        """What notes tell of the group."""
        return {"group_epoch": self.group_epoch, "members": len(self.members)}

    def member(self, member_id: str) -> StreamsMember:
        """Raises: KafkaError: UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return found

    def target_of(self, member_id: str) -> TaskSet:
        return self.targets.get(member_id, NOTHING)

    def active_process(self, subtopology_id: str, number: int) -> str | None:
        """The process that may work on a task now."""
        return self._active_processes.get((subtopology_id, number))

    def standby_processes(self, subtopology_id: str, number: int) -> Collection[str]:
        """Processes that may have a standby of a task now."""
        return self._standby_processes.get((subtopology_id, number), ())

    def warmup_processes(self, subtopology_id: str, number: int) -> Collection[str]:
        """The same for warm-ups."""
        return self._warmup_processes.get((subtopology_id, number), ())

    def subscribed_topics(self) -> set[str]:
        """Names of the topics that members read."""
        return set() if self.topology is None or not self.members else set(self.topology.readers)

    def is_subscribed_to(self, topic: str) -> bool:
        return bool(self.members) and self.topology is not None and topic in self.topology.readers

    # -- checks -------------------------------------------------------------------------------------------------

    def validate_offset_commit(
        self, member_id: str, instance_id: str | None, member_epoch: int, *, transactional: bool, api_version: int
    ) -> StreamsMember | None:
        """Check who commits (promises G1, G2).

        Returns the member if its epoch is older than the group knows: then each partition is to be checked with
        :meth:`validate_partition_commit` (KIP-1251); else None.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, or UNSUPPORTED_VERSION for a version that knows no member
                epochs.
        """
        if member_epoch < 0 and not self.members:
            return None
        if transactional and member_epoch == -1 and not member_id and instance_id is None:
            return None
        member = self.member(member_id)
        if not transactional and api_version < _FIRST_COMMIT_VERSION_WITH_MEMBER_EPOCH:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                "OffsetCommit version 9 or above must be used by members using the streams group protocol",
            )
        if member_epoch > member.member_epoch:
            raise _stale(f"epoch {member_epoch} is newer than the member's, {member.member_epoch}")
        return None if member_epoch == member.member_epoch else member

    def validate_partition_commit(self, member: StreamsMember, member_epoch: int, topic: str, partition: int) -> None:
        """An older epoch is as good as the present one for a task that the member has had since then.

        Raises:
            KafkaError: STALE_MEMBER_EPOCH.
        """
        if self.topology is None:
            raise _stale("Topology is not available for offset commit validation.")
        subtopology_id = self.topology.readers.get(topic)
        if subtopology_id is None:
            raise _stale(f"Topic {topic} is not in the topology.")
        assigned_in = member.task_epoch(subtopology_id, partition)
        if assigned_in is None:
            raise _stale(f"Task {subtopology_id}-{partition} is not assigned or pending revocation for member.")
        if member_epoch < assigned_in:
            raise _stale(f"epoch {member_epoch} is older than that of task {subtopology_id}-{partition}, {assigned_in}")

    def validate_offset_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Raises: KafkaError: UNKNOWN_MEMBER_ID or STALE_MEMBER_EPOCH."""
        if member_id is None and member_epoch < 0:
            return  # an administrator
        member = self.member(member_id or "")
        if member_epoch != member.member_epoch:
            raise _stale(f"epoch {member_epoch} is not the member's, {member.member_epoch}")

    def validate_delete(self) -> None:
        """Raises: KafkaError: NON_EMPTY_GROUP unless the group is empty."""
        if self.members:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {self.group_id} is {self.state}")

    # -- changes, made by records only --------------------------------------------------------------------------

    def put_member(self, member: StreamsMember) -> None:
        """Add a member, or replace what is known of it."""
        old = self.members.get(member.member_id)
        if old is not None:
            self._forget_tasks(old)
        self.members[member.member_id] = member
        for owned in (member.assigned, member.pending_revocation):
            for task in _tasks(owned.active):
                self._active_processes[task] = member.process_id
            for task in _tasks(owned.standby):
                self._standby_processes.setdefault(task, set()).add(member.process_id)
            for task in _tasks(owned.warmup):
                self._warmup_processes.setdefault(task, set()).add(member.process_id)

    def drop_member(self, member_id: str) -> None:
        """Forget a member, if it is there."""
        old = self.members.pop(member_id, None)
        if old is not None:
            self._forget_tasks(old)
        if not self.members:
            self.shutdown_requested_by = None

    def _forget_tasks(self, member: StreamsMember) -> None:
        for owned in (member.assigned, member.pending_revocation):
            self._forget(owned, member.process_id)

    def _forget(self, owned: OwnedTasks, process_id: str) -> None:
        for task in _tasks(owned.active):
            if self._active_processes.get(task) == process_id:
                del self._active_processes[task]
        for tasks, processes in ((owned.standby, self._standby_processes), (owned.warmup, self._warmup_processes)):
            for task in _tasks(tasks):
                left = processes.get(task)
                if left is not None:
                    left.discard(process_id)
                    if not left:
                        del processes[task]

    def durable_state(self) -> Mapping[str, object]:
        """What records say of the group, in a form that compares."""
        return {
            "epochs": (
                self.group_epoch,
                self.assignment_epoch,
                self.assignment_timestamp_ms,
                self.metadata_hash,
                self.validated_topology_epoch,
            ),
            "configs": dict(sorted(self.assignment_configs.items())),
            "topology": self.topology,
            "members": dict(sorted(self.members.items())),
            "targets": dict(sorted(self.targets.items())),
            "owners": (
                dict(sorted(self._active_processes.items())),
                dict(sorted(self._standby_processes.items())),
                dict(sorted(self._warmup_processes.items())),
            ),
        }

    def __repr__(self) -> str:
        return f"StreamsGroup({self.group_id!r}, {self.state}, group_epoch={self.group_epoch})"


def _tasks(tasks: Mapping[str, Collection[int]]) -> list[tuple[str, int]]:
    return [(subtopology_id, number) for subtopology_id, numbers in tasks.items() for number in numbers]


def _stale(why: str) -> KafkaError:
    return KafkaError(ErrorCode.STALE_MEMBER_EPOCH, why)
