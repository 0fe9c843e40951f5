"""Bringing a member from the tasks that it has to those that it shall have (Kafka: streams' CurrentAssignmentBuilder).

First a member gives up what it shall not have, in the epoch that it is in; only when it says that it did, the
coordinator lets it into the target's epoch and gives it what is free: an active task that nobody else may still have,
and nothing of which its process still has a copy, for members of a process share their directory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from engine.core.group.streams_member import StreamsMember, TaskState
from engine.core.group.streams_tasks import OWNS_NO_TASKS, OwnedTasks, Tasks, TaskSet, overlap
from engine.model.errors import ErrorCode, KafkaError


class TaskOwners(Protocol):
    """Which processes may have a task now."""

    def active_process(self, subtopology_id: str, number: int) -> str | None: ...

    def standby_processes(self, subtopology_id: str, number: int) -> Collection[str]: ...

    def warmup_processes(self, subtopology_id: str, number: int) -> Collection[str]: ...


def reconcile(
    member: StreamsMember, *, target_epoch: int, target: TaskSet, owners: TaskOwners, reported: TaskSet | None
) -> StreamsMember:
    """The member's next state; the member itself where nothing can go on.

    ``reported`` is what the member says that it has, None if it said nothing.

    Raises:
        KafkaError: FENCED_MEMBER_EPOCH for a state that a later version wrote, unless the member has nothing.
    """
    step = _Step(member, target_epoch, target, owners, reported)
    match member.state:
        case TaskState.STABLE:
            return member if member.member_epoch == target_epoch else step.next_assignment(member.member_epoch)
        case TaskState.UNREVOKED_TASKS:
            if step.still_has(member.pending_revocation):
                return member
            return step.next_assignment(member.member_epoch + 1)
        case TaskState.UNRELEASED_TASKS:
            return step.next_assignment(member.member_epoch)
        case _:
            if reported is None or not reported.is_empty:
                raise KafkaError(
                    ErrorCode.FENCED_MEMBER_EPOCH,
                    "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin.",
                )
            return step.next_assignment(target_epoch)


class _Step:
    __slots__ = ("member", "owners", "reported", "target", "target_epoch")

    def __init__(
        self,
        member: StreamsMember,
        target_epoch: int,
        target: TaskSet,
        owners: TaskOwners,
        reported: TaskSet | None,
    ) -> None:
        self.member = member
        self.target_epoch = target_epoch
        self.target = target
        self.owners = owners
        self.reported = reported

    def still_has(self, revoked: OwnedTasks) -> bool:
        """Whether the member has not said that it gave all of these up; saying nothing is not saying it."""
        told = self.reported
        if told is None:
            return True
        return (
            overlap(told.active, revoked.active)
            or overlap(told.standby, revoked.standby)
            or overlap(told.warmup, revoked.warmup)
        )

    def next_assignment(self, member_epoch: int) -> StreamsMember:
        has, wanted = self.member.assigned, self.target
        active = _Difference(has.active, wanted.active, self._is_active_free)
        standby = _Difference(_numbered(has.standby), wanted.standby, self._is_copy_free)
        warmup = _Difference(_numbered(has.warmup), wanted.warmup, self._is_copy_free)
        revoked = OwnedTasks(active.gone, _plain(standby.gone), _plain(warmup.gone))
        if not revoked.is_empty and self.still_has(revoked):
            return self.member.with_epoch(member_epoch)._replace(
                state=TaskState.UNREVOKED_TASKS,
                assigned=OwnedTasks(active.kept, _plain(standby.kept), _plain(warmup.kept)),
                pending_revocation=revoked,
            )
        waits = active.waits or standby.waits or warmup.waits
        return self.member.with_epoch(self.target_epoch)._replace(
            state=TaskState.UNRELEASED_TASKS if waits else TaskState.STABLE,
            assigned=OwnedTasks(
                active.with_free(self.target_epoch), _plain(standby.with_free(0)), _plain(warmup.with_free(0))
            ),
            pending_revocation=OWNS_NO_TASKS,
        )

    def _is_active_free(self, subtopology_id: str, number: int) -> bool:
        return self.owners.active_process(subtopology_id, number) is None and not self._has_copy(subtopology_id, number)

    def _is_copy_free(self, subtopology_id: str, number: int) -> bool:
        works_here = self.owners.active_process(subtopology_id, number) == self.member.process_id
        return not works_here and not self._has_copy(subtopology_id, number)

    def _has_copy(self, subtopology_id: str, number: int) -> bool:
        process_id = self.member.process_id
        return process_id in self.owners.standby_processes(
            subtopology_id, number
        ) or process_id in self.owners.warmup_processes(subtopology_id, number)


class _Difference:
    """Between what a member has and what it shall have: what it keeps, what goes, what it can get now."""

    __slots__ = ("free", "gone", "kept", "waits")

    def __init__(
        self, has: Mapping[str, Mapping[int, int]], wanted: Tasks, is_free: Callable[[str, int], bool]
    ) -> None:
        self.kept: dict[str, Mapping[int, int]] = {}
        self.gone: dict[str, Mapping[int, int]] = {}
        self.free: dict[str, list[int]] = {}
        self.waits = False
        for each in sorted({*wanted, *has}):
            now, then = has.get(each, {}), wanted.get(each, frozenset())
            kept = {number: epoch for number, epoch in now.items() if number in then}
            gone = {number: epoch for number, epoch in now.items() if number not in then}
            free = [number for number in sorted(then) if number not in kept and is_free(each, number)]
            self.waits = self.waits or len(kept) + len(free) < len(then)
            if kept:
                self.kept[each] = kept
            if gone:
                self.gone[each] = gone
            if free:
                self.free[each] = free

    def with_free(self, epoch: int) -> dict[str, Mapping[int, int]]:
        """All that the member has then."""
        return {
            each: {**self.kept.get(each, {}), **dict.fromkeys(self.free.get(each, ()), epoch)}
            for each in sorted({*self.kept, *self.free})
        }


def _numbered(tasks: Tasks) -> dict[str, Mapping[int, int]]:
    return {each: dict.fromkeys(numbers, 0) for each, numbers in tasks.items()}


def _plain(tasks: Mapping[str, Mapping[int, int]]) -> Tasks:
    return {each: frozenset(numbers) for each, numbers in tasks.items()}
