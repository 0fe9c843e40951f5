"""Offsets that are committed in a producer's transaction (TxnOffsetCommit, KIP-98, KIP-447)."""

from __future__ import annotations

import random

import pytest
from group_harness import GroupHarness

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from engine.wire.messages.txn_offset_commit_request import TxnOffsetCommitRequest

ORDERS = ("orders", 0)
OK = [ErrorCode.NONE]


def is_unstable(h: GroupHarness, *, fetches_all: bool = False) -> bool:
    topics = None if fetches_all else [OffsetFetchRequestTopics(name="orders", partition_indexes=[0])]
    (reply,) = h.shard.handle_offset_fetch(OffsetFetchRequestGroup("g", topics=topics), True, h.token()).reply
    codes = {ErrorCode(each.error_code) for topic in reply.response.topics for each in topic.partitions}  # type: ignore[attr-defined]
    assert codes <= {ErrorCode.NONE, ErrorCode.UNSTABLE_OFFSET_COMMIT}
    return ErrorCode.UNSTABLE_OFFSET_COMMIT in codes


@pytest.mark.parametrize("fails_over", [False, True])
def test_offsets_count_from_the_commit_marker_on(fails_over: bool) -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1})
    assert h.commit_in_transaction({ORDERS: 5}) == OK
    if fails_over:
        h.fail_over()
    assert h.fetch(ORDERS) == {ORDERS: 1}
    assert is_unstable(h) and is_unstable(h, fetches_all=True)
    h.end_transaction(77, committed=True)
    assert h.fetch(ORDERS) == {ORDERS: 5}
    assert not is_unstable(h)
    h.fail_over()
    assert h.fetch(ORDERS) == {ORDERS: 5}


def test_offsets_of_an_aborted_transaction_never_count() -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1})
    h.commit_in_transaction({ORDERS: 5})
    h.end_transaction(77, committed=False)
    assert h.fetch(ORDERS) == {ORDERS: 1}
    assert not is_unstable(h)


def test_each_producer_ends_its_own_transaction_only() -> None:
    h = GroupHarness()
    h.commit_in_transaction({ORDERS: 5}, producer_id=1)
    h.commit_in_transaction({ORDERS: 6}, producer_id=2)
    h.end_transaction(2, committed=False)
    assert is_unstable(h)
    h.end_transaction(1, committed=True)
    assert h.fetch(ORDERS) == {ORDERS: 5}
    assert not is_unstable(h)


def test_the_last_offset_of_a_transaction_is_the_one_that_counts() -> None:
    h = GroupHarness()
    h.commit_in_transaction({ORDERS: 5, ("orders", 1): 1})
    h.commit_in_transaction({ORDERS: 9})
    h.end_transaction(77, committed=True)
    assert h.fetch() == {ORDERS: 9, ("orders", 1): 1}


def test_a_plain_commit_inside_the_transactions_span_wins() -> None:
    h = GroupHarness()
    h.commit_in_transaction({ORDERS: 5})
    h.commit({ORDERS: 8})
    h.end_transaction(77, committed=True)
    assert h.fetch(ORDERS) == {ORDERS: 8}


def test_a_commit_without_a_group_makes_a_simple_one() -> None:
    h = GroupHarness()
    assert h.commit_in_transaction({ORDERS: 5}) == OK
    group = h.shard.groups["g"]
    assert (group.state, group.protocol_type) == (GroupState.EMPTY, None)
    assert [note.kind for note in h.notes] == [NoteKind.GROUP_CREATED]
    assert h.commit_in_transaction({ORDERS: 5}, group="h", generation=1) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit_in_transaction({ORDERS: 5}, group="\u00e4" * 20_000) == [ErrorCode.INVALID_GROUP_ID]
    assert list(h.shard.groups) == ["g"]


def test_a_member_of_the_past_is_fenced_and_a_producer_that_names_none_is_not() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group()
    assert h.commit_in_transaction({ORDERS: 1}, member_id=member_id, generation=1) == OK
    assert h.commit_in_transaction({ORDERS: 2}, member_id=member_id, generation=0) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit_in_transaction({ORDERS: 2}, member_id="other", generation=1) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit_in_transaction({ORDERS: 2}, member_id=member_id, generation=1, instance="i") == [
        ErrorCode.UNKNOWN_MEMBER_ID
    ]
    # Producers before KIP-447 name no member.
    assert h.commit_in_transaction({ORDERS: 3}) == OK
    h.end_transaction(77, committed=True)
    assert h.fetch(ORDERS) == {ORDERS: 3}


def test_a_static_member_that_was_replaced_is_fenced() -> None:
    h = GroupHarness()
    h.join(instance="i")
    h.advance(10)
    held = h.shard.groups["g"].static_members["i"]
    assert h.commit_in_transaction({ORDERS: 1}, member_id=held, generation=1, instance="i") == OK
    assert h.commit_in_transaction({ORDERS: 2}, member_id="old", generation=1, instance="i") == [
        ErrorCode.FENCED_INSTANCE_ID
    ]


def test_a_group_that_waits_for_its_assignment_takes_transactional_commits() -> None:
    h = GroupHarness()
    member_id, _ = h.join_known()
    h.advance(10)
    assert h.shard.groups["g"].state is GroupState.COMPLETING_REBALANCE
    assert h.commit({ORDERS: 1}, member_id=member_id, generation=1) == [ErrorCode.REBALANCE_IN_PROGRESS]
    assert h.commit_in_transaction({ORDERS: 1}, member_id=member_id, generation=1) == OK


def test_metadata_that_is_too_large_refuses_its_partition_only() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=0, offset_metadata_max_bytes=3))
    assert h.commit_in_transaction({ORDERS: 5}, metadata="long") == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    assert not h.shard.groups, "nothing was written"
    assert h.commit_in_transaction({ORDERS: 5}, metadata="abc") == OK


def test_a_request_has_no_effect_before_it_is_in_the_log() -> None:
    h = GroupHarness()
    request = TxnOffsetCommitRequest(group_id="g", transactional_id="x", producer_id=77)
    h.shard.handle_txn_offset_commit(ClientContext(5, "c", "/::1"), request, h.now, h.token())
    assert not h.shard.groups and not h.shard.offsets.pending_by_producer


def test_deleting_an_offset_deletes_it_out_of_open_transactions() -> None:
    h = GroupHarness()
    h.commit_in_transaction({ORDERS: 5, ("orders", 1): 6})
    partitions = [OffsetDeleteRequestPartition(0)]
    request = OffsetDeleteRequest("g", topics=[OffsetDeleteRequestTopic("orders", partitions)])
    h.perform(h.shard.handle_offset_delete(request, h.token()))
    assert not is_unstable(h)
    h.end_transaction(77, committed=True)
    assert h.fetch() == {("orders", 1): 6}


def test_deleting_a_topic_deletes_its_offsets_out_of_open_transactions() -> None:
    h = GroupHarness()
    h.commit_in_transaction({ORDERS: 5})
    h.perform(h.shard.on_partitions_deleted([TopicPartition(*ORDERS)]))
    h.end_transaction(77, committed=True)
    assert h.fetch() == {}


@pytest.mark.parametrize("seed", range(20))
def test_replay_equals_live_whatever_happens_in_whatever_order(seed: int) -> None:
    """The harness checks the law after every step; here the steps are drawn."""
    rng = random.Random(seed)
    h = GroupHarness()
    for step in range(120):
        partition = ("orders", rng.randrange(3))
        group = rng.choice("gh")
        producer_id = rng.randrange(3)
        match rng.randrange(7):
            case 0 | 1:
                assert h.commit_in_transaction({partition: step}, producer_id=producer_id, group=group) == OK
            case 2:
                assert h.commit({partition: step}, group=group) == OK
            case 3 | 4:
                h.end_transaction(producer_id, committed=rng.random() < 0.7)
            case 5:
                h.perform(h.shard.handle_delete_groups([group], h.token()))
            case 6 if rng.random() < 0.3:
                h.perform(h.shard.on_partitions_deleted([TopicPartition(*partition)]))
            case _:
                h.fail_over()
