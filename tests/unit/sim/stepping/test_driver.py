"""Commands in, frames out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.sim.options import options_from
from engine.sim.stepping.driver import Driver


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Run:
    """A driver with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        options = options_from(7, seconds=6.0, brokers=3, faults=(), load="heavy", joining=False)
        self.driver = Driver(options, (), self.clock)
        self.driver.frame()

    def do(self, **command: Any) -> dict[str, Any]:
        self.driver.command(command)
        while not self.driver.is_idle:
            self.driver.work(10.0)
        return self.driver.frame()


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.driver.stepper.close()


def test_frames_tell_what_is_new_and_after_going_back_all_of_it_anew(run: Run) -> None:
    first = run.do(do="next", level="election")
    assert first["happenings"][-1]["kind"] == "quorum_leader_elected" and first["generation"] == 0
    second = run.do(do="next", level="decision")
    assert second["happenings"][0]["number"] > first["count"] >= first["messages"][-1][0]
    assert {each["state"] for each in second["picture"]["brokers"]} <= {"running", "starting"}
    back = run.do(do="back", level="election")
    assert back["generation"] == 1 and back["happenings"] == first["happenings"]
    assert back["messages"] == first["messages"] and back["picture"] == first["picture"]
    assert "the same to the last byte" in back["said"]


def test_back_at_the_beginning_says_so(run: Run) -> None:
    run.do(do="next", level="message")
    assert run.do(do="back", level="election")["count"] == 0
    assert run.do(do="back", level="election")["said"] == "this is the beginning"


def test_keys_that_come_faster_than_the_run_are_all_done(run: Run) -> None:
    one_by_one = [run.do(do="next", level="decision")["count"] for _ in range(6)]
    for _ in range(3):
        run.driver.command({"do": "back", "level": "decision"})
    assert run.do(do="pause")["count"] == one_by_one[2]
    for _ in range(2):
        run.driver.command({"do": "next", "level": "decision"})
    assert run.do(do="next", level="decision")["count"] == one_by_one[5]
    run.driver.command({"do": "back", "level": "decision"})
    run.driver.command({"do": "back", "level": "decision"})
    run.driver.command({"do": "next", "level": "decision"})
    assert run.do(do="pause")["count"] == one_by_one[4]


def test_play_moves_with_the_clock_at_its_speed(run: Run) -> None:
    run.driver.command({"do": "speed", "speed": 0.5})
    run.driver.command({"do": "play"})
    run.clock.now_s += 1.0
    run.driver.work(10.0)
    assert run.driver.stepper.at_s == pytest.approx(0.5)
    run.driver.command({"do": "speed", "speed": 2.0})
    run.clock.now_s += 0.25
    run.driver.work(10.0)
    assert run.driver.stepper.at_s == pytest.approx(1.0)
    run.driver.command({"do": "pause"})
    assert run.driver.frame()["mode"] == "paused"


def test_the_run_ends_with_every_promise_held_and_goes_on_if_one_does(run: Run) -> None:
    run.driver.command({"do": "speed", "speed": None})
    frame = run.do(do="play")
    assert frame["ended"] and "every promise held" in frame["said"]
    later = run.do(do="goto_time", at_s=frame["at_s"] + 1)
    assert later["at_s"] == pytest.approx(frame["at_s"] + 1)


def test_going_to_numbers_and_times(run: Run) -> None:
    there = run.do(do="goto_time", at_s=1.0)
    assert there["at_s"] == pytest.approx(1.0)
    assert "still ahead" in run.do(do="goto_number", number=10**9)["said"]
    back = run.do(do="goto_number", number=20)
    assert 20 <= back["count"] <= 24 and back["seen_until_s"] == pytest.approx(1.0)
    assert run.do(do="goto_time", at_s=0.5)["at_s"] == pytest.approx(0.5)


def test_acts_are_answered_with_what_speaks_against_them(run: Run) -> None:
    run.do(do="goto_time", at_s=1.0)

    def act(**what: Any) -> str:
        answer = run.driver.command({"do": "act", "ask": 1, **what})
        assert answer is not None and answer["ask"] == 1
        return str(answer["problem"])

    assert act(kind="kill", brokers=[1]) == ""
    assert act(kind="kill", brokers=[1]) == "broker 1 is down"
    assert act(kind="cut", brokers=[1]) == "cut names 2 brokers"
    assert act(kind="cut", brokers=[2, 2]) == "cut names a broker twice"
    assert act(kind="smash", brokers=[1]) == "there is no act 'smash'"
    assert run.driver.frame()["picture"]["brokers"][0]["state"] == "down"


def test_records_are_read_without_a_trace(run: Run) -> None:
    run.do(do="goto_time", at_s=2.0)
    whole = run.do(do="goto_time", at_s=4.0)
    digest = run.driver.stepper.simulation.digest()
    run.do(do="goto_time", at_s=2.0)

    def read(start: tuple[str, int], positions: dict[str, int] | None = None, **other: Any) -> dict[str, Any]:
        command = {"do": "records", "topic": "safe", "partitions": None, "positions": positions or {}, "start": start}
        answer = run.driver.command({**command, **other, "ask": 1})
        assert answer is not None
        return answer

    first = read(("start", 0))
    offsets = [(each[0], each[1]) for each in first["records"]]
    assert len(offsets) > 20 and offsets == sorted(set(offsets)) and first["caught_up"]
    last = read(("offset", -2), partitions=[0])
    assert [each[:2] for each in last["records"]] == [each[:2] for each in first["records"] if each[0] == 0][-2:]
    assert read(("end", 0))["records"] == []
    middle = first["records"][len(first["records"]) // 2]
    later = read(("timestamp", middle[2]))["records"]
    assert 0 < len(later) < len(offsets) and all(each[2] >= middle[2] for each in later[:1])
    assert "no topic" in read(("start", 0), topic="nothing")["problem"]
    run.do(do="goto_time", at_s=4.0)
    more = read(("start", 0), first["positions"])["records"]
    assert more and not {(each[0], each[1]) for each in more} & set(offsets)
    assert run.driver.stepper.simulation.digest() == digest
    assert run.driver.stepper.count == whole["count"]


def test_a_whole_message_is_decoded_on_demand(run: Run) -> None:
    frame = run.do(do="next", level="election")
    vote = next(each for each in frame["messages"] if each[6] == "Vote" and each[5])
    answer = run.driver.command({"do": "detail", "number": vote[0], "ask": 3})
    assert answer is not None
    assert {"  - topic_name: __cluster_metadata", "        pre_vote: true"} <= set(answer["lines"])
    gone = run.driver.command({"do": "detail", "number": 10**9, "ask": 4})
    assert gone is not None and "gone" in gone["lines"][0]
