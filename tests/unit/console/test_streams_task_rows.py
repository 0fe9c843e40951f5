"""Workers and tasks of an application over streams: what brokers tell and what workers tell, put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.counter_rates import CounterRates
from console.viewmodel.groups import find_group
from console.viewmodel.streams_told import KeptWorkers, worker_told
from console.viewmodel.streams_workers import (
    NO_ENDPOINT,
    STREAMS_TASK_COLUMNS,
    WORKER_COLUMNS,
    StreamsTaskRow,
    WorkerRow,
    application_words,
    holders_of,
    streams_task_rows,
    worker_rows,
)
from console.viewmodel.task_moves import TaskMoves
from engine.supervisor.snapshot import StreamsTasks
from tests.console.sample_snapshots import newer_groups, sample_cluster
from tests.console.sample_streams import AFTER, APPLICATION, BEFORE, ENDPOINTS, PROCESSES, status, with_workers


def cells(row: WorkerRow | StreamsTaskRow) -> dict[str, str]:
    columns = WORKER_COLUMNS if isinstance(row, WorkerRow) else STREAMS_TASK_COLUMNS
    return {column.key: plain(column.cell(row)).strip() for column in columns}


def asked(*silent: int, at_ms: float = 10_000.0) -> KeptWorkers:
    """Workers of :data:`AFTER`, asked twice in 5 s; the second time some were silent."""
    kept = KeptWorkers()
    for seconds in (0, 5):
        answers: dict[str, Any] = {
            endpoint: worker_told(endpoint, status(number, seconds))
            if number not in silent or not seconds
            else f"{endpoint} did not answer"
            for number, endpoint in enumerate(ENDPOINTS[:2])
        }
        kept.take(answers, at_ms + seconds * 1_000)
    return kept


def test_workers_show_what_they_tell_and_keep_it_while_they_are_silent() -> None:
    group = find_group(with_workers(newer_groups(sample_cluster())), APPLICATION)
    assert group is not None
    first, second = worker_rows(group, asked(), 15_000.0)
    assert cells(first) == {
        "worker": "4f2c9a01",
        "pid": "41200",
        "state": "● running",
        "tasks": "3",
        "rate": "350/s",
        "restore": "done",
        "endpoint": "127.0.0.1:7001",
        "host": "workstation",
        "said": "",
    }
    assert cells(second) | {"worker": "", "endpoint": "", "host": ""} == {
        "worker": "",
        "pid": "41201",
        "state": "◑ rebalancing",
        "tasks": "3 +1",
        "rate": "260/s",
        "restore": "43,500",
        "endpoint": "",
        "host": "",
        "said": "its stores are being restored",
    }
    _, silent = worker_rows(group, asked(1), 22_000.0)
    assert (cells(silent)["state"], cells(silent)["pid"], cells(silent)["rate"]) == ("○ no answer", "41201", "–")
    assert silent.age_ms == 12_000 and not silent.is_healthy


def test_a_worker_without_an_endpoint_says_so_and_one_that_took_anothers_is_not_mistaken_for_it() -> None:
    snapshot = newer_groups(sample_cluster())
    group = find_group(snapshot, APPLICATION)
    assert group is not None
    (java,) = worker_rows(group, KeptWorkers(), 0.0)
    assert (java.name, java.problem, cells(java)["state"], java.is_healthy) == (
        "22ec778a",
        NO_ENDPOINT,
        "not asked",
        True,
    )
    assert len(java.members) == 2
    kept = KeptWorkers()
    kept.take({ENDPOINTS[0]: worker_told(ENDPOINTS[0], status(1, 0))}, 0.0)
    group = find_group(with_workers(snapshot), APPLICATION)
    assert group is not None
    first = worker_rows(group, kept, 0.0)[0]
    assert first.told is None and "another worker's" in first.problem


def test_tasks_tell_their_restore_their_lag_and_whom_they_came_from() -> None:
    snapshot = newer_groups(sample_cluster())
    moves = TaskMoves()
    moves.take(with_workers(snapshot, BEFORE))
    # While the group rebalances nobody has it: it is still the one of who had it last.
    nobody = with_workers(snapshot, (BEFORE[0], BEFORE[1])).with_facts(at_ms=snapshot.at_ms + 1_000)
    moves.take(nobody)
    moved = with_workers(snapshot).with_facts(at_ms=snapshot.at_ms + 3_000)
    moves.take(moved)
    later = moved.with_facts(at_ms=snapshot.at_ms + 8_000)
    group = find_group(later, APPLICATION)
    assert group is not None
    rows = {row.key: row for row in streams_task_rows(later, group, asked(), moves.of(APPLICATION), 15_000.0)}
    assert list(rows) == ["0_0", "0_1", "0_2", "1_0", "1_1", "1_1 standby member-1", "1_2"]
    assert cells(rows["1_2"]) | {"reads": ""} == {
        "task": "1_2",
        "role": "active",
        "phase": "restoring",
        "worker": "9b03d7ee",
        "lag": "6",
        "moved": "⇠ c81e55fa 5s",
        "restore": "██▍░ 43,500",
        "rate": "0/s",
        "reads": "",
    }
    assert not rows["1_2"].is_healthy
    assert (cells(rows["0_0"])["moved"], cells(rows["0_0"])["lag"], cells(rows["0_0"])["rate"]) == ("", "5", "90/s")
    assert cells(rows["1_1 standby member-1"])["lag"] == "–"
    tasks = list(rows.values())
    words = dict(application_words(worker_rows(group, asked(), 15_000.0), tasks, group))
    assert words["6/6 tasks"] and words["43,500 to restore"] and words["610/s"]
    assert holders_of(group, "1") == {0: "9b03d7ee", 1: "4f2c9a01", 2: "9b03d7ee"}


def test_a_mark_of_a_move_goes_after_a_while_and_with_the_application() -> None:
    snapshot = newer_groups(sample_cluster())
    moves = TaskMoves()
    moves.take(with_workers(snapshot, BEFORE))
    moves.take(with_workers(snapshot))
    late = with_workers(snapshot).with_facts(at_ms=snapshot.at_ms + 200_000)
    group = find_group(late, APPLICATION)
    assert group is not None
    rows = streams_task_rows(late, group, KeptWorkers(), moves.of(APPLICATION), 0.0)
    assert {cells(row)["moved"] for row in rows} == {""} and any(row.move for row in rows)
    moves.take(snapshot.with_facts(groups=()))
    moves.take(with_workers(snapshot, AFTER))
    assert not moves.of(APPLICATION)


def test_what_is_no_status_is_refused() -> None:
    for document in ([], {"process_id": "a"}, {"process_id": "a", "tasks": [{}]}, {"tasks": 7, "process_id": "a"}, "x"):
        with pytest.raises(ValueError, match=r"127\.0\.0\.1:1 answers is no worker's status"):
            worker_told("127.0.0.1:1", document)
    assert worker_told("x:1", status(0, 0)).process_id == PROCESSES[0]


def test_rates_are_summed_over_workers_and_begin_anew_with_another_incarnation() -> None:
    rates = CounterRates()
    for seconds in range(4):
        rates.take("a", 1, seconds * 1_000.0, {"n": 100 * seconds})
        rates.take("b", 1, seconds * 1_000.0, {"n": 50 * seconds})
        rates.keep(seconds * 1_000.0)
    assert (rates.of("n"), rates.of("n", "b"), rates.total("n"), rates.past("n")[-1]) == (150.0, 50.0, 450, 150.0)
    rates.keep(3_100.0)
    assert len(rates.past("n")) == 3
    rates.take("b", 2, 4_000.0, {"n": 3})
    assert (rates.of("n"), rates.total("n")) == (100.0, 303)
    # A task that left takes what it counted with it: no rate below zero.
    rates.take("a", 1, 4_000.0, {"n": 10})
    assert rates.of("n") is None
    rates.take("a", 1, 5_000.0, {"n": 20})
    assert rates.of("n") == 10.0
    rates.keep(20_000.0)
    assert rates.total("n") is None


def test_a_worker_that_was_started_again_stands_beside_the_one_that_is_not_given_up_yet() -> None:
    snapshot = with_workers(newer_groups(sample_cluster()))
    group = find_group(snapshot, APPLICATION)
    assert group is not None
    first, second = group.members
    empty = StreamsTasks()
    for endpoint in ("127.0.0.1:7009", ENDPOINTS[1]):
        again = replace(second, member_id="member-9", user_endpoint=endpoint, tasks=empty)
        both = replace(group, members=(first, second, again))
        kept = KeptWorkers()
        told = worker_told(endpoint, {**status(1, 0), "member_id": "member-9", "pid": 7, "tasks": []})
        kept.take({ENDPOINTS[1]: "127.0.0.1:7002 cannot be reached", endpoint: told}, 0.0)
        _, *rows = worker_rows(both, kept, 0.0)
        assert len({row.key for row in rows}) == 2 and {row.name for row in rows} == {"9b03d7ee"}
        (old,) = (row for row in rows if row.members == (second,))
        (new,) = (row for row in rows if row.members == (again,))
        assert (cells(old)["state"], cells(old)["pid"]) == ("○ no answer", "–")
        assert (cells(new)["state"], cells(new)["pid"]) == ("◑ rebalancing", "7")
    moves = TaskMoves()
    moves.take(snapshot)
    taken = replace(again, tasks=second.tasks, user_endpoint="127.0.0.1:7009")
    groups = tuple(
        replace(each, members=(first, taken)) if each.group_id == APPLICATION else each for each in snapshot.groups
    )
    later = snapshot.with_facts(groups=groups)
    moves.take(later)
    group = find_group(later, APPLICATION)
    assert group is not None
    rows = streams_task_rows(later, group, KeptWorkers(), moves.of(APPLICATION), 0.0)
    assert [cells(row)["moved"] for row in rows] == ["", "", "⇠ restart now", "⇠ restart now", "", "", "⇠ restart now"]
