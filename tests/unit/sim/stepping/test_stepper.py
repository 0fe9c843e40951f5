"""A run that is stopped anywhere, taken back and changed: always the run of its seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sim.options import Options, options_from
from engine.sim.simulation import run_seed
from engine.sim.stepping.acts import Act, Planned
from engine.sim.stepping.decoding import decode_crossing
from engine.sim.stepping.happenings import Level
from engine.sim.stepping.stepper import Goal, Stepper, Stop

ROOT = Path(__file__).resolve().parents[4]


def calm(seed: int = 7, seconds: float = 4.0) -> Options:
    return options_from(seed, seconds=seconds, brokers=3, faults=(), load="heavy", joining=False)


def never() -> bool:
    return False


@pytest.fixture
def steppers() -> Iterator[list[Stepper]]:
    made: list[Stepper] = []
    yield made
    for each in made:
        each.close()


def stepper(made: list[Stepper], options: Options | None = None, planned: list[Planned] | None = None) -> Stepper:
    made.append(Stepper(options or calm(), planned or ()))
    return made[-1]


def story(run: Stepper) -> list[tuple[object, ...]]:
    return [(each.number, each.at_s, each.kind, each.source, each.subject, each.reason) for each in run.happenings]


def wire(run: Stepper) -> list[tuple[object, ...]]:
    return [(each.number, each.at_s, each.source, each.target, each.api, bytes(each.frame)) for each in run.crossings]


def test_a_run_that_is_stopped_at_every_message_is_the_run_that_is_not(steppers: list[Stepper]) -> None:
    options = calm(seconds=1.5)._replace(faults=("kill", "cut"), fault_interval_s=0.5)
    whole = run_seed(options)
    run = stepper(steppers, options)
    stops = 0
    while not run.ended:
        assert run.advance(Goal(Level.MESSAGE), never) is Stop.REACHED
        stops += 1
    assert stops > 100
    assert (run.simulation.digest(), run.loop.events) == (whole.digest, whole.events)
    assert run.happenings[-1].kind == "run_ended"


def test_the_same_seed_shows_the_same_election_twice(steppers: list[Stepper]) -> None:
    first, second = stepper(steppers), stepper(steppers)
    for run in (first, second):
        run.advance(Goal(Level.ELECTION), never)
    assert first.happenings[-1].kind == "quorum_leader_elected"
    assert story(first) == story(second)
    assert wire(first) == wire(second)
    kinds = [each.kind for each in first.happenings]
    assert kinds[0] == "election_started" and {"vote_granted", "candidacy_started"} <= set(kinds)
    votes = [each for each in first.happenings if each.kind == "vote_granted"]
    assert all("its log reaches 0 (epoch 0), this one's 0 (epoch 0)" in each.reason for each in votes)


def test_what_happened_follows_from_the_message_that_came_before_it(steppers: list[Stepper]) -> None:
    run = stepper(steppers)
    run.advance(Goal(Level.ELECTION), never)
    messages = {each.number: each for each in run.crossings}
    elected = run.happenings[-1]
    cause = messages[elected.after]
    assert (cause.api, cause.is_request) == ("Vote", False)
    answer = decode_crossing(cause).message
    assert answer is not None and answer.topics[0].partitions[0].vote_granted  # type: ignore[attr-defined]
    question = messages[cause.answers]
    assert question.is_request and (question.source, question.target) == (cause.target, cause.source)
    assert cause.took_s == pytest.approx(cause.at_s - question.at_s)


def test_back_is_the_same_event_again_and_so_is_what_follows(steppers: list[Stepper]) -> None:
    run = stepper(steppers)
    run.advance(Goal(Level.ELECTION), never)
    place, there = run.loop.events, story(run)
    run.advance(Goal(at_s=run.start_s + 2.0), never)
    later, crossed, at = story(run), wire(run), run.simulation.digest()
    assert run.step_before(Level.ELECTION) == place
    run.go_back()
    assert story(run) == [] and run.count == 0
    run.advance(Goal(callbacks=place), never)
    assert run.is_the_same() is True
    assert story(run) == there
    run.advance(Goal(at_s=run.start_s + 2.0), never)
    assert (story(run), wire(run), run.simulation.digest()) == (later, crossed, at)


def test_a_step_back_is_to_the_step_before_whatever_its_level(steppers: list[Stepper]) -> None:
    run = stepper(steppers)
    numbers = []
    for _ in range(12):
        run.advance(Goal(Level.BROKER_MESSAGE), never)
        numbers.append(run.count)
    for wanted in reversed(numbers[:-1]):
        place = run.step_before(Level.BROKER_MESSAGE)
        run.go_back()
        run.advance(Goal(callbacks=place), never)
        assert run.count == wanted
    assert run.steps.place_of(numbers[0]) == run.loop.events
    assert run.steps.place_of(numbers[5]) is None


def test_acts_are_repeated_by_a_replay_at_their_place(steppers: list[Stepper]) -> None:
    run = stepper(steppers)
    run.advance(Goal(at_s=run.start_s + 1.0), never)
    assert run.act(Act("kill", (1,))) == ("", 0)
    run.advance(Goal(Level.ELECTION), never)
    assert run.act(Act("pause", (2,))) == ("", 0)
    run.advance(Goal(at_s=run.start_s + 3.0), never)
    after, place = story(run), run.loop.events
    assert [each.subject for each in run.happenings if each.kind == "your_act"] == ["kill 1", "pause 2"]
    run.go_back()
    assert run.advance(Goal(at_s=run.start_s + 3.0), never) is Stop.REACHED
    assert (story(run), run.loop.events) == (after, place)


def test_another_act_in_the_past_drops_those_behind_it(steppers: list[Stepper]) -> None:
    run = stepper(steppers, planned=[Planned(Act("kill", (3,)), None, 2.5, "scenario")])
    run.advance(Goal(at_s=run.start_s + 1.0), never)
    run.act(Act("kill", (1,)))
    run.advance(Goal(at_s=run.start_s + 2.0), never)
    run.act(Act("start", (1,)))
    run.go_back()
    run.advance(Goal(at_s=run.start_s + 1.5), never)
    assert run.act(Act("pause", (2,))) == ("", 1), "the start is of a future that does not come any more"
    assert [each.act.words() for each in run.acts_ahead] == ["kill 3"], "the scenario's stays"
    run.advance(Goal(at_s=run.start_s + 2.6), never)
    acts = [(each.kind, each.subject) for each in run.happenings if each.kind.endswith("_act")]
    assert acts == [("your_act", "kill 1"), ("your_act", "pause 2"), ("scenario_act", "kill 3")]


def test_an_act_that_cannot_be_done_changes_nothing(steppers: list[Stepper]) -> None:
    run = stepper(steppers)
    run.advance(Goal(at_s=run.start_s + 1.0), never)
    before = run.count
    for act in (Act("resume", (1,)), Act("start", (1,)), Act("kill", (9,))):
        problem, _ = run.act(act)
        assert problem
    assert run.count == before and run.acts_ahead == []


def test_every_kind_of_act_can_be_done_and_undone(steppers: list[Stepper]) -> None:
    run = stepper(steppers, calm(seconds=60))
    at_s = 1.0
    for act in (
        Act("isolate", (1,)),
        Act("cut_one_way", (2, 3)),
        Act("heal"),
        Act("reset", (2, 3)),
        Act("clock", (1,), 5000.0),
        Act("slow_disk", (2,), 0.05),
        Act("power", (3,)),
        Act("start", (3,)),
        Act("stop", (2,)),
        Act("start", (2,)),
        Act("cut", (1, 2)),
        Act("pause", (1,)),
        Act("resume", (1,)),
        Act("heal"),
    ):
        at_s += 2.0
        run.advance(Goal(at_s=run.start_s + at_s), never)
        assert run.act(act)[0] == "", act
    run.advance(Goal(at_s=run.start_s + at_s + 10), never)
    assert not run.broken
    assert [machine.serves for machine in run.cluster.machines.values()] == [True] * 3


_TOLD = """
import json, sys
from engine.sim.options import options_from
from engine.sim.stepping.acts import Act
from engine.sim.stepping.happenings import Level
from engine.sim.stepping.stepper import Goal, Stepper
run = Stepper(options_from(7, seconds=4.0, brokers=3, load="heavy", joining=False))
run.advance(Goal(at_s=run.start_s + 1.0), lambda: False)
run.act(Act("kill", (1,)))
run.advance(Goal(at_s=run.start_s + 3.0), lambda: False)
print(json.dumps([run.simulation.digest(), run.count, [list(each[:8]) for each in run.happenings]]))
"""


def test_two_processes_with_other_hash_seeds_tell_the_same_story() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _TOLD],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            timeout=100,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "77")
    ]
    assert told[0] == told[1]
    assert len(json.loads(told[0])[2]) > 20
