"""What the leader of a classic group decides: which member gets which tasks. Pure.

Who counts tasks and who gets them are those of a broker under KIP-1071 (:mod:`engine.core.group.streams_topics`,
:mod:`engine.core.group.streams_assignor`), so both protocols place alike. Rebalances are cooperative (KIP-429): nobody
stops for one, and a task that another member has is handed on only once that one has given it up, in another rebalance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from engine.core.group.group_topics import GroupTopic
from engine.core.group.streams_assignor import AssignedMember, TasksOf, assign
from engine.core.group.streams_tasks import Tasks as TasksBySubtopology
from engine.core.group.streams_topics import ConfiguredTopology, StreamsStatus, configure
from engine.core.group.streams_topology import InternalTopic, topology_from
from engine.model.errors import KafkaError
from engine.model.ids import Uuid
from engine.streams.runtime.classic_protocol import MemberAssignment, Subscription, fingerprint
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, TaskId, Tasks, wrong_partitions
from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

_OTHER_TOPOLOGY = (
    "the group's leader has another topology: a changed topology needs another application.id, "
    "or all workers of the old one stopped"
)


class KnownTopics:
    """Topics and their partitions, of one moment (a ``GroupTopics``)."""

    version = 0

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = dict(counts)

    def by_name(self, name: str) -> GroupTopic | None:
        """One topic."""
        count = self._counts.get(name)
        return None if count is None else GroupTopic(Uuid(bytes(16)), name, count)

    def by_id(self, topic_id: Uuid) -> GroupTopic | None:
        """Nobody asks by id here."""
        return None

    def racks(self, name: str) -> Sequence[Sequence[str]]:
        """Racks are not looked at."""
        return ()

    def names(self) -> Collection[str]:
        """All of them."""
        return self._counts.keys()

    def group_config(self, group_id: str) -> Mapping[str, str]:
        """Configs of groups are for brokers."""
        return {}


class Plan(NamedTuple):
    """How far the topics are. ``to_create``: internal topics that are missing."""

    configured: ConfiguredTopology
    to_create: tuple[InternalTopic, ...]


def required_topics(topology: GroupTopology) -> set[str]:
    """Whose partitions the leader must know."""
    return topology_from(topology).required_topics()


def plan(topology: GroupTopology, counts: Mapping[str, int]) -> Plan:
    """Look at the topics.

    Raises:
        KafkaError: STREAMS_INVALID_TOPOLOGY.
    """
    configured = configure(topology_from(topology), KnownTopics(counts))
    return Plan(configured, configured.to_create)


def assignments(
    topology: GroupTopology,
    counts: Mapping[str, int],
    members: Mapping[str, Subscription],
) -> dict[str, MemberAssignment]:
    """What each member shall have from now on. ``counts`` are partitions by topic."""
    mine = fingerprint(topology)
    others = {member_id for member_id, each in members.items() if each.topology != mine}
    members = {member_id: each for member_id, each in members.items() if member_id not in others}
    refused = {member_id: MemberAssignment(error=_OTHER_TOPOLOGY) for member_id in others}
    owners, has = _owned(members)
    try:
        configured = plan(topology, counts).configured
    except KafkaError as error:
        return refused | {member_id: MemberAssignment(error=str(error)) for member_id in members}
    problem = configured.problem
    if problem is not None:
        status = f"{problem.status.name}: {problem.detail}"
        wrong = problem.status is StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS
        # What runs goes on: a topic may only be away for a moment.
        return refused | {
            member_id: MemberAssignment(error=wrong_partitions(problem.detail))
            if wrong
            else MemberAssignment(tasks, status)
            for member_id, tasks in has.items()
        }
    subtopologies = [
        TasksOf(name, each.task_count, each.is_stateful) for name, each in configured.subtopologies.items()
    ]
    targets = assign(
        {
            member_id: AssignedMember(
                each.process_id, _grouped(has[member_id].active), _grouped(has[member_id].standby)
            )
            for member_id, each in members.items()
        },
        subtopologies,
        max((each.standbys for each in members.values()), default=0),
    )
    given: dict[str, Assignment] = {}
    waits: set[str] = set()
    for member_id, target in targets.items():
        wanted = _flat(target.active)
        active = frozenset(task for task in wanted if owners.get(task, member_id) == member_id)
        if active != wanted:
            waits.add(member_id)
        given[member_id] = Assignment(active, _flat(target.standby))
    routes = tuple(
        {
            "endpoint": list(each.endpoint),
            "active": _partitions(given[member_id].active, configured, counts),
            "standby": _partitions(given[member_id].standby, configured, counts),
        }
        for member_id, each in sorted(members.items())
        if each.endpoint is not None
    )
    delayed = "ASSIGNMENT_DELAYED: others have not given up yet what this member shall have"
    return refused | {
        member_id: MemberAssignment(
            tasks,
            delayed if member_id in waits else "",
            partitions={name: tuple(numbers) for name, numbers in _partitions(tasks.active, configured, counts)},
            routes=routes,
        )
        for member_id, tasks in given.items()
    }


def _owned(members: Mapping[str, Subscription]) -> tuple[dict[TaskId, str], dict[str, Assignment]]:
    """Who has each active task, and what each member really has: of two that claim one, who got it last."""
    owners: dict[TaskId, str] = {}
    for member_id, each in sorted(members.items(), key=lambda item: (item[1].generation, item[0])):
        owners.update(dict.fromkeys(each.has.active, member_id))
    has = {
        member_id: Assignment(
            frozenset(task for task in each.has.active if owners[task] == member_id), each.has.standby
        )
        for member_id, each in members.items()
    }
    return owners, has


def _partitions(tasks: Tasks, configured: ConfiguredTopology, counts: Mapping[str, int]) -> list[tuple[str, list[int]]]:
    """What tasks read, topic by topic, where the topic has such a partition."""
    found: dict[str, list[int]] = {}
    for sub_topology, number in sorted(tasks):
        for name in configured.subtopologies[str(sub_topology)].subtopology.inputs:
            if number < counts.get(name, 0):
                found.setdefault(name, []).append(number)
    return sorted(found.items())


def _grouped(tasks: Tasks) -> TasksBySubtopology:
    found: dict[str, set[int]] = {}
    for sub_topology, number in tasks:
        found.setdefault(str(sub_topology), set()).add(number)
    return {name: frozenset(numbers) for name, numbers in found.items()}


def _flat(tasks: TasksBySubtopology) -> Tasks:
    return frozenset(TaskId(int(name), number) for name, numbers in tasks.items() for number in numbers)


def revokes(has: Assignment, gets: Assignment) -> bool:
    """Whether a member has to give up what others wait for: then it joins again as soon as it has."""
    return bool(has.active - gets.active) and has != NO_TASKS
