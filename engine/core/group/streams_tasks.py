"""Tasks of a Kafka Streams application, by subtopology (Kafka: TasksTuple, TasksTupleWithEpochs; KIP-1071).

A task is a subtopology and a number, that of the partitions which it reads. It is active where it works, a standby
where its state is only copied, and a warm-up where its state is copied because it shall work there soon. Kafka 4.3
gives no warm-up tasks; records and messages have room for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

Tasks: TypeAlias = Mapping[str, frozenset[int]]
"""Numbers of tasks by subtopology id; no subtopology is without numbers. Never changed."""

EpochTasks: TypeAlias = Mapping[str, Mapping[int, int]]
"""The same, with the member epoch in which the member got each task (KIP-1251). Never changed."""

NO_TASKS: Tasks = {}


class TaskSet(NamedTuple):
    """What a member shall have, or says that it has."""

    active: Tasks = NO_TASKS
    standby: Tasks = NO_TASKS
    warmup: Tasks = NO_TASKS

    @property
    def is_empty(self) -> bool:
        return not (self.active or self.standby or self.warmup)


class OwnedTasks(NamedTuple):
    """What a member may have."""

    active: Mapping[str, Mapping[int, int]] = {}
    standby: Tasks = NO_TASKS
    warmup: Tasks = NO_TASKS

    @property
    def is_empty(self) -> bool:
        return not (self.active or self.standby or self.warmup)


NOTHING = TaskSet()
OWNS_NO_TASKS = OwnedTasks()


def to_tasks(listed: Iterable[Any] | None) -> Tasks:
    """What a message lists (TaskIds); a subtopology may come twice."""
    gathered: dict[str, set[int]] = {}
    for each in listed or ():
        gathered.setdefault(each.subtopology_id, set()).update(each.partitions)
    return {subtopology_id: frozenset(numbers) for subtopology_id, numbers in gathered.items() if numbers}


def without_epochs(tasks: EpochTasks) -> Tasks:
    """The same without epochs."""
    return {subtopology_id: frozenset(numbers) for subtopology_id, numbers in tasks.items()}


def overlap(tasks: Tasks, others: Mapping[str, Iterable[int]]) -> bool:
    """Whether some task is in both."""
    return any(not numbers.isdisjoint(others.get(each, ())) for each, numbers in tasks.items())
