from typing import Any

from engine.supervisor.snapshot import Stage
from engine.supervisor.stopwatch import Stopwatch

T0 = 1_000_000_000


def at(ms: float) -> int:
    return T0 + int(ms * 1e6)


def fenced(ms: float, broker: int = 1) -> dict[str, Any]:
    return {"type": "note", "kind": "broker_fenced", "mono_ns": at(ms), "detail": {"broker_id": broker}}


def changed(ms: float, partition: int, to: int, was: int = 1) -> dict[str, Any]:
    detail = {"topic": "t", "partition": partition, "from": was, "to": to}
    return {"type": "note", "kind": "leader_changed", "mono_ns": at(ms), "detail": detail}


def applied(ms: float, broker: int, *leaders: tuple[int, int]) -> dict[str, Any]:
    changes = [{"topic": "t", "partition": number, "leader": leader, "leader_epoch": 5} for number, leader in leaders]
    return {"type": "metadata_applied", "broker": broker, "mono_ns": at(ms), "offset": 9, "changes": changes}


def stopwatch(*, led: int = 2, probed: bool = True) -> Stopwatch:
    return Stopwatch(7, 1, T0, [("t", number) for number in range(led)], [3, 2], probed=probed)


def named(watch: Stopwatch) -> list[tuple[str, float, int]]:
    return [(stage.stage.name, stage.after_ms, stage.who) for stage in watch.stages()]


def test_a_failover_is_told_in_order_with_each_survivors_own_time() -> None:
    watch = stopwatch()
    facts = [
        fenced(100),
        changed(101, 0, 2),
        changed(102, 1, 3),
        applied(110, 2, (0, 2), (1, 3)),
        applied(112, 3, (0, 2)),
        applied(115, 3, (1, 3)),
        {"type": "probe_first_produce", "act_id": 7, "mono_ns": at(120)},
        {"type": "probe_first_fetch", "act_id": 7, "mono_ns": at(125.5)},
    ]
    assert [watch.on_fact(fact) for fact in facts] == [True, False, True, True, False, True, True, True]
    assert named(watch) == [
        ("KILLED", 0.0, -1),
        ("FENCED", 100.0, -1),
        ("LEADERS_COMMITTED", 102.0, -1),
        ("SEEN_BY_SURVIVORS", 110.0, 2),
        ("SEEN_BY_SURVIVORS", 115.0, 3),
        ("FIRST_PRODUCE", 120.0, -1),
        ("FIRST_FETCH", 125.5, -1),
    ]
    assert watch.complete


def test_the_last_partitions_first_new_leader_is_the_commit_even_if_only_a_follower_told() -> None:
    watch = stopwatch()
    for fact in (fenced(10), applied(20, 2, (0, 2)), changed(15, 0, 2), applied(30, 3, (0, 2), (1, 3))):
        watch.on_fact(fact)
    commit = next(stage for stage in watch.stages() if stage.stage is Stage.LEADERS_COMMITTED)
    assert (commit.after_ms, commit.detail) == (30.0, "2 partitions")


def test_a_controllers_note_that_comes_late_does_not_put_the_fencing_behind_what_follows_from_it() -> None:
    watch = stopwatch()
    for fact in (applied(20, 3, (0, 2), (1, 3)), applied(21, 2, (0, 2), (1, 3)), fenced(22)):
        watch.on_fact(fact)
    assert named(watch)[1:] == [
        ("FENCED", 20.0, -1),
        ("LEADERS_COMMITTED", 20.0, -1),
        ("SEEN_BY_SURVIVORS", 20.0, 3),
        ("SEEN_BY_SURVIVORS", 21.0, 2),
    ]


def test_what_was_before_the_kill_of_others_or_of_another_act_does_not_count() -> None:
    watch = stopwatch(led=1)
    for fact in (
        fenced(-1),
        fenced(5, broker=2),
        changed(5, 0, 3, was=2),
        changed(5, 9, 3),
        applied(-5, 2, (0, 2)),
        applied(5, 2, (0, 1)),
        {"type": "probe_first_produce", "act_id": 6, "mono_ns": at(5)},
        {"type": "counters", "mono_ns": at(6)},
    ):
        assert not watch.on_fact(fact)
    assert named(watch) == [("KILLED", 0.0, -1)]


def test_a_partition_left_without_leader_is_said_and_taken_back_when_one_comes() -> None:
    watch = stopwatch(led=1)
    watch.on_fact(changed(5, 0, -1))
    assert watch.stages()[1].detail == "1 partition, 1 without leader"
    watch.on_fact(applied(9, 2, (0, 2)))
    assert watch.stages()[1].detail == "1 partition"


def test_a_victim_that_led_nothing_is_done_when_it_is_fenced_and_clients_were_served() -> None:
    watch = stopwatch(led=0)
    watch.on_fact(fenced(5))
    assert not watch.complete
    watch.on_fact({"type": "probe_first_produce", "act_id": 7, "mono_ns": at(6)})
    watch.on_fact({"type": "probe_first_fetch", "act_id": 7, "mono_ns": at(7)})
    assert watch.complete


def test_without_a_probe_the_clients_stages_are_not_waited_for() -> None:
    watch = stopwatch(led=1, probed=False)
    watch.on_fact(fenced(5))
    watch.on_fact(applied(6, 2, (0, 2)))
    assert not watch.complete
    watch.on_fact(applied(7, 3, (0, 2)))
    assert watch.complete


def test_the_election_of_another_controller_is_a_stage_with_its_epoch() -> None:
    def active(ms: float, controller: int, how: str) -> dict[str, Any]:
        detail = {"controller_id": controller, "epoch": 5}
        return {"type": "note", "kind": "controller_activated", "mono_ns": at(ms), "reason": how, "detail": detail}

    watch = stopwatch(led=0, probed=False)
    how = "epoch 5: /controller was made by session 0x2f"
    assert not watch.on_fact(active(-1, 1, "before the kill"))
    assert not watch.on_fact(active(1, 1, "it is no other one"))
    assert watch.on_fact(active(90, 3, how))
    assert not watch.on_fact(active(95, 2, "and once more"))
    assert watch.on_fact(fenced(100))
    assert named(watch)[1] == ("CONTROLLER_ELECTED", 90.0, 3)
    assert watch.stages()[1].detail == "epoch 5"
    assert watch.complete
