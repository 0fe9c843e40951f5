"""Who leads: from the ISR, unclean only where configured, preferred on request and by itself."""

from __future__ import annotations

import pytest
from controller_harness import ControllerHarness

from engine.core.controller import leadership
from engine.core.controller.topic_image import RECOVERED, RECOVERING
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.apis import ApiKey
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest

PREFERRED, UNCLEAN = 0, 1
UNCLEAN_CONFIG = {"unclean.leader.election.enable": "true"}
BALANCING = {"auto.leader.rebalance.enable": "true", "leader.imbalance.check.interval.seconds": "300"}


def three_replicas(configs: dict[str, str] | None = None) -> ControllerHarness:
    h = ControllerHarness()
    h.start(1, 2, 3)
    h.create("t", [1, 2, 3], configs=configs)
    return h


def state(h: ControllerHarness, name: str = "t", number: int = 0) -> tuple[int, tuple[int, ...], int]:
    """Leader, ISR and leader epoch."""
    partition = h.partition(name, number)
    return partition.leader, partition.isr, partition.leader_epoch


# -- from the ISR -----------------------------------------------------------------------------------------------


def test_the_next_in_sync_replica_in_the_order_of_the_replicas_leads() -> None:
    h = three_replicas()
    h.fence(1)
    assert state(h) == (2, (2, 3), 1)
    h.fence(2)
    assert state(h) == (3, (3,), 2)


def test_a_replica_out_of_the_isr_is_passed_over() -> None:
    h = three_replicas()
    h.alter_partition(1, [1, 3])
    h.fence(1)
    assert state(h) == (3, (3,), 1)


def test_a_follower_that_is_fenced_only_leaves_the_isr() -> None:
    h = three_replicas()
    h.fence(2)
    assert state(h) == (1, (1, 3), 0)
    assert h.partition("t").partition_epoch == 1


def test_the_isr_is_never_empty_and_its_last_member_leads_again_when_it_comes_back() -> None:
    h = three_replicas()
    for broker_id in (1, 2, 3):
        h.fence(broker_id)
    assert state(h) == (-1, (3,), 3)
    h.heartbeat(1)
    h.heartbeat(2)
    assert state(h) == (-1, (3,), 3), "brokers 1 and 2 may lack committed records"
    h.heartbeat(3)
    assert state(h) == (3, (3,), 4)


def test_a_change_of_leader_is_told_with_its_cause() -> None:
    h = three_replicas()
    h.fence(1)
    [changed] = [note for note in h.notes if note.kind is NoteKind.LEADER_CHANGED]
    assert (changed.subject, changed.detail["from"], changed.detail["to"]) == ("t-0", 1, 2)
    assert changed.reason == "leader 1→2, epoch 0→1: broker 1 fenced"
    assert changed.detail["unclean"] is False


# -- unclean ----------------------------------------------------------------------------------------------------


def test_an_unclean_election_takes_a_live_replica_alone_and_marks_it_recovering() -> None:
    h = three_replicas(UNCLEAN_CONFIG)
    h.alter_partition(1, [1])
    h.fence(1)
    assert state(h) == (2, (2,), 1)
    assert h.partition("t").leader_recovery_state == RECOVERING
    assert [note.detail["unclean"] for note in h.notes if note.kind is NoteKind.LEADER_CHANGED] == [True]


def test_where_it_is_allowed_an_unclean_leader_is_found_as_soon_as_a_replica_comes_back() -> None:
    h = three_replicas(UNCLEAN_CONFIG)
    for broker_id in (2, 3, 1):
        h.fence(broker_id)
    assert state(h) == (-1, (1,), 1)
    h.heartbeat(3)
    assert state(h) == (3, (3,), 2)


def test_a_member_of_the_isr_is_preferred_to_an_unclean_leader() -> None:
    h = three_replicas(UNCLEAN_CONFIG)
    h.fence(1)
    assert state(h) == (2, (2, 3), 1)
    assert h.partition("t").leader_recovery_state == RECOVERED


def test_an_unclean_election_on_request_is_for_partitions_without_leader() -> None:
    h = three_replicas()
    assert h.elect(UNCLEAN, {"t": [0]}) == {("t", 0): ErrorCode.ELECTION_NOT_NEEDED}
    for broker_id in (1, 2, 3):
        h.fence(broker_id)
    assert h.elect(UNCLEAN, {"t": [0]}) == {("t", 0): ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE}
    h.heartbeat(2)
    assert h.elect(UNCLEAN, {"t": [0]}) == {("t", 0): 0}
    assert state(h) == (2, (2,), 4) and h.partition("t").leader_recovery_state == RECOVERING


# -- preferred --------------------------------------------------------------------------------------------------


def led_by_second() -> ControllerHarness:
    """Broker 1 is back in sync, broker 2 leads still."""
    h = three_replicas()
    h.fence(1)
    h.heartbeat(1)
    assert h.alter_partition(2, [2, 3, 1]).error_code == 0
    assert state(h) == (2, (2, 3, 1), 1)
    return h


def test_the_preferred_leader_is_elected_on_request() -> None:
    h = led_by_second()
    assert h.elect(PREFERRED, {"t": [0]}) == {("t", 0): 0}
    assert state(h) == (1, (2, 3, 1), 2)
    assert h.elect(PREFERRED, {"t": [0]}) == {("t", 0): ErrorCode.ELECTION_NOT_NEEDED}


def test_a_preferred_leader_out_of_the_isr_is_not_elected() -> None:
    h = three_replicas()
    h.fence(1)
    assert h.elect(PREFERRED, {"t": [0]}) == {("t", 0): ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE}
    h.heartbeat(1)
    assert h.elect(PREFERRED, {"t": [0]}) == {("t", 0): ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE}
    assert state(h) == (2, (2, 3), 1)


def test_elections_for_all_tell_only_of_partitions_that_needed_one() -> None:
    h = led_by_second()
    h.create("u", [1, 2], [2, 1])
    assert h.elect(PREFERRED, None) == {("t", 0): 0}
    assert state(h)[0] == 1


def test_elections_of_what_does_not_exist_are_refused_one_by_one() -> None:
    h = led_by_second()
    assert h.elect(PREFERRED, {"ghost": [0], "t": [5, 0]}) == {
        ("ghost", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("t", 5): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("t", 0): 0,
    }


def test_another_kind_of_election_is_refused() -> None:
    response = three_replicas().handle(ApiKey.ELECT_LEADERS, ElectLeadersRequest(election_type=7))
    assert response.error_code == ErrorCode.INVALID_REQUEST


# -- balance ----------------------------------------------------------------------------------------------------


def test_preferred_leaders_are_balanced_at_the_interval() -> None:
    h = ControllerHarness(BALANCING)
    h.start(1, 2)
    h.create("t", [1, 2], [2, 1])
    h.fence(1)
    h.heartbeat(1)
    for number in (0, 1):
        h.alter_partition(2, [2, 1], number=number)
    assert state(h)[0] == 2
    beat_until(h, 301_000 - 1 - h.now_ms, 1, 2)
    assert state(h)[0] == 2
    beat_until(h, 1, 1, 2)
    assert state(h) == (1, (2, 1), 2) and state(h, number=1)[0] == 2
    assert h.machine.next_deadline_ms() <= h.now_ms + 300_000


def test_nothing_is_balanced_where_it_is_switched_off() -> None:
    h = led_by_second()
    beat_until(h, 1_200_000, 1, 2, 3)
    assert state(h)[0] == 2


def test_balancing_leaves_alone_what_cannot_be_improved() -> None:
    h = ControllerHarness(BALANCING)
    h.start(1, 2)
    h.create("t", [1, 2])
    h.fence(1)
    before = len(h.log)
    beat_until(h, 301_000, 2)
    assert state(h) == (2, (2,), 1) and len(h.log) == before


def test_many_partitions_are_balanced_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "MAX_ELECTIONS_PER_TIMER", 2)
    h = ControllerHarness(BALANCING)
    h.start(1, 2)
    h.create("t", *[[1, 2]] * 5)
    h.fence(1)
    h.heartbeat(1)
    for number in range(5):
        h.alter_partition(2, [2, 1], number=number)
    beat_until(h, 301_000 - 1 - h.now_ms, 1, 2)
    h.now_ms = 301_000.0
    rounds = []
    for _ in range(3):
        assert h.machine.next_deadline_ms() <= h.now_ms, "the next round is due at once"
        h.perform(h.machine.on_timer(h.now_ms))
        rounds.append(len(h.last))
    assert rounds == [2, 2, 1]
    assert all(state(h, number=number)[0] == 1 for number in range(5))


def beat_until(h: ControllerHarness, milliseconds: float, *broker_ids: int) -> None:
    """Let time pass while these brokers send heartbeats."""
    end = h.now_ms + milliseconds
    while h.now_ms < end:
        for broker_id in broker_ids:
            h.heartbeat(broker_id)
        h.advance(min(2_000, end - h.now_ms))


def test_leaderless_partitions_are_looked_at_every_five_minutes_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "MAX_ELECTIONS_PER_TIMER", 2)
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", *[[1, 2]] * 3)
    h.fence(2)
    h.fence(1)
    h.heartbeat(2)
    assert [state(h, number=number)[0] for number in range(3)] == [-1, -1, -1]
    h.config = type(h.config).from_properties({**h.config.static, **UNCLEAN_CONFIG})
    h.fail_over()
    beat_until(h, 300_000 - 1, 2)
    assert [state(h, number=number)[0] for number in range(3)] == [-1, -1, -1]
    h.now_ms += 1
    rounds = []
    for _ in range(2):
        h.perform(h.machine.on_timer(h.now_ms))
        rounds.append(len(h.last))
    assert rounds == [2, 1]
    assert [state(h, number=number)[0] for number in range(3)] == [2, 2, 2]
