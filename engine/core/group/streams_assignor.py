"""The sticky assignor of tasks (Kafka 4.3: StickyTaskAssignor, ProcessState).

An active task stays with the member that had it, or goes to one that had a standby of it, as long as these have no more
than their share; what is left goes to the processes with the fewest tasks per member. Standbys are given out in the
same way, at most one of a task to a process, for members of a process share its state directory. Ties go by id.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.core.group.streams_tasks import Tasks, TaskSet

Task = tuple[str, int]
"""Subtopology id and number."""


class AssignedMember(NamedTuple):
    """A member as the assignor sees it: its process, and its last target."""

    process_id: str
    active: Tasks
    standby: Tasks


class TasksOf(NamedTuple):
    """A subtopology as the assignor sees it."""

    subtopology_id: str
    task_count: int
    is_stateful: bool


def assign(
    members: Mapping[str, AssignedMember], subtopologies: Iterable[TasksOf], standby_count: int
) -> dict[str, TaskSet]:
    """Targets of all members. ``standby_count`` is num.standby.replicas; where there are not enough processes for that
    many standbys, there are fewer."""
    if not members:
        return {}
    work = _Assignment(members, list(subtopologies), standby_count)
    work.assign_active()
    if standby_count > 0:
        work.assign_standby()
    return {member_id: work.target_of(member_id) for member_id in members}


class _Process:
    __slots__ = ("counts", "process_id", "task_count", "tasks")

    def __init__(self, process_id: str) -> None:
        self.process_id = process_id
        self.counts: dict[str, int] = {}
        self.tasks: set[Task] = set()
        self.task_count = 0

    @property
    def load(self) -> float:
        return self.task_count / len(self.counts)

    def least_loaded(self) -> str:
        return min(self.counts, key=lambda member_id: (self.counts[member_id], member_id))


class _Share:
    """How many tasks a member may have: so many as leave none without; smaller for the rest once some are full."""

    __slots__ = ("_members", "_tasks", "each")

    def __init__(self, tasks: int, members: int) -> None:
        self._tasks = tasks
        self._members = members
        self.each = self._computed()

    def _computed(self) -> int:
        return -(-self._tasks // self._members) if self._members else 0

    def on_count(self, count: int) -> None:
        """A member has so many tasks now."""
        if count == self.each:
            self._members -= 1
            self._tasks -= count
            self.each = self._computed()


class _Assignment:
    def __init__(self, members: Mapping[str, AssignedMember], subtopologies: list[TasksOf], standby_count: int) -> None:
        self._subtopologies = sorted(subtopologies)
        self._standby_count = standby_count
        active = sum(each.task_count for each in subtopologies)
        stateful = sum(each.task_count for each in subtopologies if each.is_stateful)
        self._active_share = _Share(active, len(members))
        self._total_share = _Share(active + stateful * standby_count, len(members))
        self._processes: dict[str, _Process] = {}
        self._process_of: dict[str, _Process] = {}
        self._had_active: dict[Task, str] = {}
        self._had_standby: dict[Task, list[str]] = {}
        self._active: dict[str, dict[str, set[int]]] = {}
        self._standby: dict[str, dict[str, set[int]]] = {}
        for member_id, member in sorted(members.items()):
            process = self._processes.setdefault(member.process_id, _Process(member.process_id))
            process.counts[member_id] = 0
            self._process_of[member_id] = process
            for task in _tasks(member.active):
                self._had_active[task] = member_id
            for task in _tasks(member.standby):
                self._had_standby.setdefault(task, []).append(member_id)

    def target_of(self, member_id: str) -> TaskSet:
        return TaskSet(_frozen(self._active.get(member_id)), _frozen(self._standby.get(member_id)))

    # -- active -------------------------------------------------------------------------------------------------

    def assign_active(self) -> None:
        tasks = [(each.subtopology_id, number) for each in self._subtopologies for number in range(each.task_count)]
        left = []
        # Number by number, so that every member keeps some of each subtopology.
        for task in sorted(tasks, key=_by_number):
            member_id = self._had_active.get(task)
            if member_id is None or not self._has_room(member_id, self._active_share):
                left.append(task)
            else:
                self._give_active(task, member_id)
        still_left = []
        for task in left:
            member_id = self._least_loaded_standby(task, None)
            if member_id is None or not self._has_room(member_id, self._active_share):
                still_left.append(task)
            else:
                self._give_active(task, member_id)
        by_load = self._by_load()
        for task in sorted(still_left):
            _, process_id = heapq.heappop(by_load)
            process = self._processes[process_id]
            self._give_active(task, process.least_loaded())
            heapq.heappush(by_load, (process.load, process_id))

    def _give_active(self, task: Task, member_id: str) -> None:
        count = self._give(task, member_id, self._active)
        self._active_share.on_count(count)
        self._total_share.on_count(count)

    # -- standby ------------------------------------------------------------------------------------------------

    def assign_standby(self) -> None:
        tasks = [
            (each.subtopology_id, number)
            for each in self._subtopologies
            if each.is_stateful
            for number in range(each.task_count)
        ]
        left = []
        for task in sorted(tasks, key=_by_number, reverse=True):
            given = 0
            while given < self._standby_count:
                member_id = self._sticky_standby(task)
                if member_id is None:
                    break
                self._give_standby(task, member_id)
                given += 1
            left.append((task, self._standby_count - given))
        by_load = self._by_load()
        for task, count in sorted(left, reverse=True):
            for _ in range(count):
                if not self._give_to_least_loaded(task, by_load):
                    break

    def _sticky_standby(self, task: Task) -> str | None:
        """Who had the task and may have a standby of it."""
        had = self._had_active.get(task)
        if had is not None and task not in self._process_of[had].tasks and self._has_room(had, self._total_share):
            return had
        found = self._least_loaded_standby(task, task)
        return found if found is not None and self._has_room(found, self._total_share) else None

    def _give_to_least_loaded(self, task: Task, by_load: list[tuple[float, str]]) -> bool:
        passed = []
        found = None
        while by_load and found is None:
            entry = heapq.heappop(by_load)
            process = self._processes[entry[1]]
            if task in process.tasks:
                passed.append(entry)
            else:
                found = process
        if found is not None:
            self._give_standby(task, found.least_loaded())
            heapq.heappush(by_load, (found.load, found.process_id))
        for entry in passed:
            heapq.heappush(by_load, entry)
        return found is not None

    def _give_standby(self, task: Task, member_id: str) -> None:
        self._total_share.on_count(self._give(task, member_id, self._standby))

    # -- both ---------------------------------------------------------------------------------------------------

    def _give(self, task: Task, member_id: str, to: dict[str, dict[str, set[int]]]) -> int:
        process = self._process_of[member_id]
        process.tasks.add(task)
        process.task_count += 1
        process.counts[member_id] += 1
        to.setdefault(member_id, {}).setdefault(task[0], set()).add(task[1])
        return process.counts[member_id]

    def _by_load(self) -> list[tuple[float, str]]:
        entries = [(process.load, process_id) for process_id, process in self._processes.items()]
        heapq.heapify(entries)
        return entries

    def _has_room(self, member_id: str, share: _Share) -> bool:
        return self._process_of[member_id].counts[member_id] < share.each

    def _least_loaded_standby(self, task: Task, unless_with: Task | None) -> str | None:
        """Of the members that had a standby of the task the one with the least to do; none if the first one's process
        has ``unless_with``."""
        members = self._had_standby.get(task)
        if not members:
            return None
        first = self._process_of[members[0]]
        if unless_with is not None and unless_with in first.tasks:
            return None
        best, load, count = members[0], first.load, first.counts[members[0]]
        for member_id in members[1:]:
            process = self._process_of[member_id]
            if unless_with is not None and unless_with in process.tasks:
                continue
            if process.load < load and process.counts[member_id] < count:
                best, load, count = member_id, process.load, process.counts[member_id]
        return best


def _by_number(task: Task) -> tuple[int, str]:
    return task[1], task[0]


def _tasks(tasks: Tasks) -> list[Task]:
    return [(subtopology_id, number) for subtopology_id, numbers in tasks.items() for number in sorted(numbers)]


def _frozen(tasks: Mapping[str, set[int]] | None) -> Tasks:
    return {subtopology_id: frozenset(numbers) for subtopology_id, numbers in sorted((tasks or {}).items())}
