"""Kafka's own assignor, asked over generated memberships (tests/integration/java/AssignorGolden.java), and ours."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from engine.connect.runtime.assignor import IncrementalCooperativeAssignor
from engine.connect.runtime.group_protocol import Work, all_work
from engine.connect.runtime.herder import TaskId

GOLDEN = Path(__file__).parents[2] / "golden" / "connect-assignor-4.3.1.jsonl.gz"


def work(written: Any) -> Work:
    return Work(tuple(written[0]), tuple(TaskId(*each) for each in written[1]))


def in_order(given: Work) -> Work:
    return Work(tuple(sorted(given.connectors)), tuple(sorted(given.tasks)))


def test_every_round_of_eighty_groups_comes_out_as_kafkas_assignor_has_it() -> None:
    rounds = 0
    for line in gzip.decompress(GOLDEN.read_bytes()).splitlines():
        group = json.loads(line)
        assignor = IncrementalCooperativeAssignor(group["max_delay"])
        for each in group["rounds"]:
            outcome = assignor.assign(
                work(each["configured"]),
                {member: work(has) for member, has in each["members"].items()},
                last_completed_generation=each["completed"],
                generation=each["generation"],
                now_ms=each["now"],
            )
            for member, (new, old) in each["outcome"].items():
                assert outcome.assigned[member] == work(new)
                assert in_order(outcome.revoked[member]) == work(old)
            assert assignor.delay_ms == each["delay"]
            rounds += 1
    assert rounds == 80 * 14


def run(assignor: IncrementalCooperativeAssignor, configured: Work, members: dict[str, Work], now_ms: float) -> None:
    """Rounds until nobody is told anything new; ``members`` is kept up to date."""
    for generation in range(1, 20):
        outcome = assignor.assign(
            configured, members, last_completed_generation=generation - 1, generation=generation, now_ms=now_ms
        )
        members.update(outcome.all)
        if not any(outcome.assigned.values()) and not any(outcome.revoked.values()):
            return
    raise AssertionError("the group does not come to rest")


def test_work_is_shared_evenly_and_each_piece_has_one_owner() -> None:
    configured = Work(("a", "b"), tuple(TaskId(name, each) for name in "ab" for each in range(4)))
    members = {"one": Work(), "two": Work(), "three": Work()}
    run(IncrementalCooperativeAssignor(0), configured, members, 0)
    assert sorted(len(each.tasks) for each in members.values()) == [2, 3, 3]
    assert in_order(all_work(members.values())) == configured
    assert sum(len(each.tasks) for each in members.values()) == 8


def test_a_lost_members_work_waits_for_the_delay() -> None:
    configured = Work((), tuple(TaskId("a", each) for each in range(4)))
    assignor = IncrementalCooperativeAssignor(10_000)
    first = assignor.assign(
        configured, {"one": Work(), "two": Work()}, last_completed_generation=-1, generation=1, now_ms=0
    )
    left = {"one": first.all["one"]}
    waiting = assignor.assign(configured, left, last_completed_generation=1, generation=2, now_ms=100)
    assert not waiting.assigned["one"] and assignor.delay_ms == 10_000
    over = assignor.assign(configured, left, last_completed_generation=2, generation=3, now_ms=10_101)
    assert in_order(over.all["one"]) == configured and assignor.delay_ms == 0
