"""The sticky assignor of tasks: each task once, standbys elsewhere, nobody overloaded, few moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.group.streams_assignor import AssignedMember, TasksOf, assign
from engine.core.group.streams_tasks import TaskSet

Task = tuple[str, int]
Group = tuple[dict[str, AssignedMember], list[TasksOf], int]


def tasks_of(tasks: object) -> set[Task]:
    return {(subtopology, number) for subtopology, numbers in tasks.items() for number in numbers}  # type: ignore[attr-defined]


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """Members on processes with former tasks, of which some are not there any more; subtopologies; standbys."""
    counts = draw(st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=3))
    subtopologies = [TasksOf(str(number), *each) for number, each in enumerate(counts)]
    names = [f"m{number}" for number in range(draw(st.integers(1, 6)))]
    known = [(each.subtopology_id, number) for each in subtopologies for number in range(each.task_count + 1)]
    active: dict[str, dict[str, set[int]]] = {name: {} for name in names}
    standby: dict[str, dict[str, set[int]]] = {name: {} for name in names}
    for subtopology_id, number in known:
        owner, copy = draw(st.tuples(st.sampled_from([None, *names]), st.sampled_from([None, *names])))
        if owner is not None:
            active[owner].setdefault(subtopology_id, set()).add(number)
        if copy not in (None, owner):
            standby[copy].setdefault(subtopology_id, set()).add(number)
    members = {
        name: AssignedMember(
            draw(st.sampled_from(["p0", "p1", "p2"])),
            {each: frozenset(numbers) for each, numbers in active[name].items()},
            {each: frozenset(numbers) for each, numbers in standby[name].items()},
        )
        for name in names
    }
    return members, subtopologies, draw(st.integers(0, 2))


def again(members: dict[str, AssignedMember], targets: dict[str, TaskSet]) -> dict[str, AssignedMember]:
    return {
        name: each._replace(active=targets[name].active, standby=targets[name].standby)
        for name, each in members.items()
    }


@given(groups())
def test_each_task_is_active_once_and_its_standbys_are_on_other_processes(group: Group) -> None:
    members, subtopologies, standbys = group
    targets = assign(members, subtopologies, standbys)
    processes = {each.process_id for each in members.values()}
    expected = {(each.subtopology_id, number) for each in subtopologies for number in range(each.task_count)}
    active = [task for each in targets.values() for task in tasks_of(each.active)]
    assert sorted(active) == sorted(expected)
    stateful = {each.subtopology_id for each in subtopologies if each.is_stateful}
    for task in expected:
        places = [
            members[name].process_id
            for name, each in targets.items()
            if task in tasks_of(each.active) | tasks_of(each.standby)
        ]
        assert len(places) == len(set(places)), f"{task} twice on one process"
        copies = min(standbys, len(processes) - 1) if task[0] in stateful else 0
        assert len(places) == 1 + copies


@given(groups())
def test_no_member_has_more_than_its_share_and_one_within_it_loses_nothing(group: Group) -> None:
    members, subtopologies, _ = group
    targets = assign(members, subtopologies, 0)
    tasks = sum(each.task_count for each in subtopologies)
    expected = {(each.subtopology_id, number) for each in subtopologies for number in range(each.task_count)}
    least, most = tasks // len(members), -(-tasks // len(members))
    for name, each in members.items():
        former, now = tasks_of(each.active) & expected, tasks_of(targets[name].active)
        assert len(now) <= most
        if len(former) <= least:
            assert former <= now


@given(groups())
def test_threads_of_one_process_are_balanced_when_nobody_had_anything(group: Group) -> None:
    members, subtopologies, standbys = group
    fresh = {name: each._replace(active={}, standby={}) for name, each in members.items()}
    targets = assign(fresh, subtopologies, standbys)
    for process_id in {each.process_id for each in members.values()}:
        sizes = [
            len(tasks_of(targets[name].active) | tasks_of(targets[name].standby))
            for name, each in members.items()
            if each.process_id == process_id
        ]
        assert max(sizes) - min(sizes) <= 1


@given(groups())
def test_computing_active_tasks_again_comes_to_rest(group: Group) -> None:
    """Not at once: standbys that become active can leave a thread of the same process without any (as in Kafka)."""
    members, subtopologies, _ = group
    targets = assign(members, subtopologies, 0)
    for _ in members:
        before, targets = targets, assign(again(members, targets), subtopologies, 0)
        if targets == before:
            return
    raise AssertionError("tasks keep moving")


@given(groups())
def test_the_order_of_the_members_means_nothing(group: Group) -> None:
    members, subtopologies, standbys = group
    other = dict(reversed(members.items()))
    assert assign(members, subtopologies, standbys) == assign(other, list(reversed(subtopologies)), standbys)
