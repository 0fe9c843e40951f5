"""Moving replicas between brokers (KIP-455): start, complete, cancel, list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from controller_harness import ELR, ControllerHarness

from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.list_partition_reassignments_request import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)

Ongoing = dict[tuple[str, int], tuple[list[int], list[int], list[int]]]


def six_brokers(*assignments: Sequence[int]) -> ControllerHarness:
    h = ControllerHarness()
    h.start(1, 2, 3, 4, 5, 6)
    h.create("t", *(assignments or ([1, 2, 3],)))
    return h


def reassign(
    h: ControllerHarness,
    replicas: Sequence[int] | None,
    *,
    name: str = "t",
    number: int = 0,
    factor_may_change: bool = True,
) -> int:
    """Start a reassignment, or cancel it with None; the error code."""
    wanted = ReassignablePartition(partition_index=number, replicas=None if replicas is None else list(replicas))
    request = AlterPartitionReassignmentsRequest(
        topics=[ReassignableTopic(name=name, partitions=[wanted])], allow_replication_factor_change=factor_may_change
    )
    response = h.handle(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request)
    assert response.error_code == 0
    return response.responses[0].partitions[0].error_code  # type: ignore[no-any-return]


def ongoing(h: ControllerHarness, wanted: dict[str, list[int]] | None = None) -> Ongoing:
    """Replicas, those that are added, those that are removed, by partition."""
    topics = None
    if wanted is not None:
        topics = [ListPartitionReassignmentsTopics(name=each, partition_indexes=at) for each, at in wanted.items()]
    response = h.handle(ApiKey.LIST_PARTITION_REASSIGNMENTS, ListPartitionReassignmentsRequest(topics=topics))
    return {
        (topic.name, each.partition_index): (
            list(each.replicas),
            list(each.adding_replicas),
            list(each.removing_replicas),
        )
        for topic in response.topics
        for each in topic.partitions
    }


def test_new_replicas_are_added_first_and_old_ones_removed_when_the_new_are_in_sync() -> None:
    h = six_brokers()
    assert reassign(h, [4, 5, 6]) == 0
    assert ongoing(h) == {("t", 0): ([4, 5, 6, 1, 2, 3], [4, 5, 6], [1, 2, 3])}
    partition = h.partition("t")
    assert (partition.leader, partition.isr, partition.leader_epoch) == (1, (1, 2, 3), 0)
    assert h.alter_partition(1, [1, 2, 3, 4, 5]).error_code == 0
    assert ongoing(h), "replica 6 is not in sync"
    answer = h.alter_partition(1, [1, 2, 3, 4, 5, 6])
    assert answer.error_code == ErrorCode.NEW_LEADER_ELECTED, "the one that asked leads no more"
    partition = h.partition("t")
    assert (partition.replicas, partition.isr, partition.leader) == ((4, 5, 6), (4, 5, 6), 4)
    assert partition.leader_epoch == 1 and not partition.is_reassigning
    assert not ongoing(h)


def test_a_leader_that_stays_hears_that_its_change_was_taken() -> None:
    h = six_brokers()
    reassign(h, [1, 2, 4])
    answer = h.alter_partition(1, [1, 2, 3, 4])
    assert (answer.error_code, list(answer.isr), answer.leader_id) == (0, [1, 2, 4], 1)
    assert answer.leader_epoch == 1, "a replica that was taken away must not go on fetching as a member"
    assert h.partition("t").replicas == (1, 2, 4)


def test_a_replacement_does_not_wait_for_replicas_that_were_out_of_sync_before() -> None:
    """Kafka 4.3: where as many are added as removed, only the added ones must be in sync."""
    h = six_brokers()
    h.alter_partition(1, [1, 3])
    reassign(h, [1, 2, 4])
    answer = h.alter_partition(1, [1, 3, 4])
    assert (answer.error_code, list(answer.isr)) == (0, [1, 4])
    assert h.partition("t").replicas == (1, 2, 4) and not ongoing(h)


def test_fewer_replicas_are_reached_only_when_all_that_stay_are_in_sync() -> None:
    h = six_brokers([1, 2, 3, 4])
    h.alter_partition(1, [1, 2])
    assert reassign(h, [2, 3, 5]) == 0
    h.alter_partition(1, [1, 2, 5])
    assert ongoing(h), "replica 3 stays and is not in sync"
    answer = h.alter_partition(1, [1, 2, 5, 3])
    assert answer.error_code == ErrorCode.NEW_LEADER_ELECTED
    assert (h.partition("t").replicas, h.partition("t").leader) == ((2, 3, 5), 2)


def test_removing_only_is_done_at_once() -> None:
    h = six_brokers()
    assert reassign(h, [2, 3]) == 0
    partition = h.partition("t")
    assert (partition.replicas, partition.isr, partition.leader) == ((2, 3), (2, 3), 2)


def test_another_order_is_another_preferred_leader_and_no_more() -> None:
    h = six_brokers()
    assert reassign(h, [3, 2, 1]) == 0
    partition = h.partition("t")
    assert (partition.replicas, partition.leader, partition.leader_epoch) == ((3, 2, 1), 1, 0)
    assert reassign(h, [3, 2, 1]) == 0 and not h.last


def test_a_reassignment_is_cancelled() -> None:
    h = six_brokers()
    reassign(h, [1, 2, 4])
    h.create("u", [1])
    h.alter_partition(1, [1, 2, 3])
    assert reassign(h, None) == 0
    partition = h.partition("t")
    assert (partition.replicas, partition.isr, partition.leader) == ((1, 2, 3), (1, 2, 3), 1)
    assert partition.leader_epoch == 1
    assert reassign(h, None) == ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def test_a_cancellation_that_would_leave_nobody_in_sync_is_refused_unless_unclean_elections_are_allowed() -> None:
    h = six_brokers()
    h.create("u", [1, 2, 3], configs={"unclean.leader.election.enable": "true"})
    for name in ("t", "u"):
        reassign(h, [4, 5, 6], name=name)
        h.alter_partition(1, [1, 4], name=name)
    h.fence(1)
    assert h.partition("t").isr == h.partition("u").isr == (4,)
    assert reassign(h, None) == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert ongoing(h, {"t": [0]})
    assert reassign(h, None, name="u") == 0
    partition = h.partition("u")
    assert partition.replicas == (1, 2, 3) and partition.leader in (2, 3) and not partition.is_reassigning


def test_a_reassignment_back_ends_the_first_one() -> None:
    h = six_brokers()
    reassign(h, [4, 5, 6])
    h.alter_partition(1, [1, 2, 3, 4])
    assert reassign(h, [1, 2, 3]) == 0
    partition = h.partition("t")
    assert (partition.replicas, partition.isr, partition.is_reassigning) == ((1, 2, 3), (1, 2, 3), False)


def test_a_reassignment_replaces_an_unfinished_one() -> None:
    h = six_brokers()
    reassign(h, [1, 2, 4])
    assert reassign(h, [1, 2, 5]) == 0
    assert ongoing(h) == {("t", 0): ([1, 2, 5, 3, 4], [5], [3, 4])}


@pytest.mark.parametrize(
    ("replicas", "error"),
    [
        ([], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1, 9], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1, 1, 2], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1, 2], ErrorCode.INVALID_REPLICATION_FACTOR),
        ([1, 2, 3, 4], ErrorCode.INVALID_REPLICATION_FACTOR),
    ],
)
def test_a_reassignment_is_refused(replicas: list[int], error: ErrorCode) -> None:
    h = six_brokers()
    assert reassign(h, replicas, factor_may_change=False) == error
    assert not h.last


def test_the_replication_factor_that_may_not_change_is_that_of_the_unfinished_reassignment() -> None:
    h = six_brokers()
    reassign(h, [4, 5])
    assert reassign(h, [4, 5, 6], factor_may_change=False) == ErrorCode.INVALID_REPLICATION_FACTOR
    assert reassign(h, [4, 6], factor_may_change=False) == 0


def test_what_does_not_exist_cannot_be_moved() -> None:
    h = six_brokers()
    assert reassign(h, [1], name="ghost") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert reassign(h, [1], number=4) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ongoing(h, {"ghost": [0], "t": [0, 9]}) == {}


def test_a_leader_that_dies_during_a_reassignment_is_replaced_and_the_reassignment_goes_on() -> None:
    h = six_brokers()
    reassign(h, [4, 5, 6])
    h.alter_partition(1, [1, 2, 3, 4])
    h.fence(1)
    partition = h.partition("t")
    assert partition.is_reassigning and partition.leader == 4, "the target's replicas come first"
    assert h.alter_partition(4, [4, 5, 6, 2, 3]).error_code == 0
    assert h.partition("t").replicas == (4, 5, 6)


def test_a_last_known_leader_that_was_moved_away_does_not_lead_again() -> None:
    h = six_brokers()
    h.update_feature(ELR, 1)
    h.create("u", [3], configs={"unclean.leader.election.enable": "true"})
    reassign(h, [4, 5], name="u")
    h.alter_partition(3, [3, 4], name="u")
    h.fence(3)
    assert (h.partition("u").leader, h.partition("u").isr) == (4, (4,))
    assert reassign(h, None, name="u") == 0
    partition = h.partition("u")
    assert (partition.replicas, partition.leader, partition.isr) == ((3,), -1, (3,))
    assert partition.last_known_elr == (4,)
    h.advance(1)
    h.machine.on_broker_connection_lost(3, h.broker(3).broker_epoch, h.now_ms)
    h.register(3)
    partition = h.partition("u")
    assert (partition.leader, partition.isr) == (-1, ()), "broker 4 has no replica any more"


def test_a_replica_that_was_taken_away_is_no_longer_eligible() -> None:
    h = six_brokers()
    h.update_feature(ELR, 1)
    h.create("u", [2, 3], configs={"min.insync.replicas": "2"})
    reassign(h, [3, 1], name="u")
    h.fence(3)
    assert h.alter_partition(2, [2, 1], name="u").error_code == ErrorCode.NEW_LEADER_ELECTED
    partition = h.partition("u")
    assert (partition.replicas, partition.leader, partition.isr, partition.elr) == ((3, 1), 1, (1,), (3,))
    reassign(h, [2, 1], name="u")
    h.fence(1)
    assert h.partition("u").leader == -1, "broker 2 has a new log, with nothing in it"
