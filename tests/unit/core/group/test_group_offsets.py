"""Commits, fetches, deletions and expiry of offsets."""

from __future__ import annotations

from typing import Any

import pytest
from group_harness import GroupHarness, subscription

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_commit_value import OffsetCommitValue
from engine.wire.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup

ORDERS = ("orders", 0)
OK = [ErrorCode.NONE]
HOUR_MS = 3_600_000
RETENTION_MS = 7 * 24 * HOUR_MS


def delete_offsets(h: GroupHarness, *partitions: tuple[str, int], group: str = "g") -> Any:
    token = h.token()
    request = OffsetDeleteRequest(
        group_id=group,
        topics=[
            OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=partition)])
            for topic, partition in partitions
        ],
    )
    h.perform(h.shard.handle_offset_delete(request, token))
    return h.replies[token]


def delete_groups(h: GroupHarness, *group_ids: str) -> list[ErrorCode]:
    token = h.token()
    h.perform(h.shard.handle_delete_groups(list(group_ids), token))
    return [ErrorCode(each.error_code) for each in h.replies[token]]


def test_a_commit_is_fetched_again_also_after_a_failover() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group()
    assert h.commit({ORDERS: 42}, member_id=member_id, generation=1) == OK
    assert h.fetch(ORDERS) == {ORDERS: 42}
    h.fail_over()
    assert h.fetch(ORDERS, ("orders", 1)) == {ORDERS: 42, ("orders", 1): -1}
    assert h.fetch() == {ORDERS: 42}


def test_a_client_without_membership_makes_a_simple_group() -> None:
    h = GroupHarness()
    assert h.commit({ORDERS: 7}) == OK
    group = h.shard.groups["g"]
    assert (group.state, group.protocol_type) == (GroupState.EMPTY, None)
    assert [note.kind for note in h.notes] == [NoteKind.GROUP_CREATED]


def test_a_group_that_is_not_there_has_no_offsets_and_no_error() -> None:
    h = GroupHarness()
    assert h.fetch(ORDERS) == {ORDERS: -1}
    assert h.fetch() == {}


@pytest.mark.parametrize(("version", "expected"), [(8, "ILLEGAL_GENERATION"), (9, "GROUP_ID_NOT_FOUND")])
def test_a_members_commit_to_a_group_that_is_gone_is_refused(version: int, expected: str) -> None:
    h = GroupHarness()
    assert h.commit({ORDERS: 7}, member_id="m", generation=3, version=version) == [ErrorCode[expected]]
    assert h.log == []


def test_only_members_of_the_current_generation_commit() -> None:
    h = GroupHarness()
    leader, follower = h.stable_group(2)
    generation = h.shard.groups["g"].generation_id
    assert h.commit({ORDERS: 1}, member_id=leader, generation=generation - 1) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit({ORDERS: 1}, member_id="ghost", generation=generation) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit({ORDERS: 1}) == [ErrorCode.UNKNOWN_MEMBER_ID], "no bystander may commit for a group with members"
    # While the others rejoin, the old generation may still commit what it has done (G6)...
    h.join_known()
    assert h.commit({ORDERS: 5}, member_id=leader, generation=generation) == OK
    h.join(leader)
    h.join(follower)
    # ...but not once the next one is being assigned (G1).
    assert h.commit({ORDERS: 6}, member_id=leader, generation=generation) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit({ORDERS: 6}, member_id=leader, generation=generation + 1) == [ErrorCode.REBALANCE_IN_PROGRESS]
    assert h.fetch(ORDERS) == {ORDERS: 5}


def test_a_commit_keeps_the_members_session() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(session_ms=10_000)
    for offset in range(5):
        h.advance(9_000)
        assert h.commit({ORDERS: offset}, member_id=member_id, generation=1) == OK


def test_metadata_above_the_limit_is_refused_by_itself() -> None:
    h = GroupHarness(GroupLimits(offset_metadata_max_bytes=10))
    assert h.commit({ORDERS: 1}, metadata="12345678901") == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    assert h.log == []
    assert "g" not in h.shard.groups
    assert h.commit({ORDERS: 1}, metadata="1234567890") == OK


def test_offsets_of_an_earlier_topic_of_the_same_name_are_not_told() -> None:
    h = GroupHarness()
    first, second = b"1" * 16, b"2" * 16
    h.commit({ORDERS: 9}, topic_id=first)
    assert h.fetch(ORDERS, topic_id=first) == {ORDERS: 9}
    assert h.fetch(ORDERS, topic_id=second) == {ORDERS: -1}
    assert h.fetch(ORDERS) == {ORDERS: 9}


def test_offsets_of_deleted_partitions_are_forgotten() -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1, ("orders", 1): 2, ("other", 0): 3})
    h.perform(h.shard.on_partitions_deleted([TopicPartition("orders", 0), TopicPartition("orders", 1)]))
    assert h.fetch() == {("other", 0): 3}


def test_offsets_of_an_empty_group_expire_a_retention_after_it_emptied() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group()
    h.commit({ORDERS: 1}, member_id=member_id, generation=1)
    h.advance(9_000)
    h.leave((member_id, None))
    h.advance(RETENTION_MS - 10)
    assert h.fetch(ORDERS) == {ORDERS: 1}
    h.advance(h.limits.offsets_retention_check_interval_ms)
    assert h.fetch(ORDERS) == {ORDERS: -1}
    assert "g" not in h.shard.groups
    assert h.notes[-1].kind is NoteKind.GROUP_DELETED
    h.fail_over()
    assert "g" not in h.shard.groups


def test_offsets_of_a_simple_group_expire_a_retention_after_each_commit() -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1})
    h.advance(24 * HOUR_MS)
    h.commit({("orders", 1): 2})
    h.advance(RETENTION_MS - 24 * HOUR_MS + h.limits.offsets_retention_check_interval_ms)
    assert h.fetch() == {("orders", 1): 2}
    h.advance(25 * HOUR_MS)
    assert "g" not in h.shard.groups


def test_a_stable_consumer_group_loses_only_offsets_of_topics_it_no_longer_reads() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(
        protocols={"range": subscription("orders")}, session_ms=1_800_000, rebalance_ms=1_800_000
    )
    h.commit({ORDERS: 1, ("old", 0): 2}, member_id=member_id, generation=1)
    for _ in range(RETENTION_MS // 1_000_000 + 2):
        h.advance(1_000_000)
        assert h.heartbeat(member_id, 1) is ErrorCode.NONE
    assert h.fetch() == {ORDERS: 1}


def test_a_group_of_unknown_kind_keeps_its_offsets_while_it_has_members() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(
        protocols={"default": b"?"}, protocol_type="connect", session_ms=1_800_000, rebalance_ms=1_800_000
    )
    h.commit({ORDERS: 1}, member_id=member_id, generation=1)
    for _ in range(RETENTION_MS // 1_000_000 + 2):
        h.advance(1_000_000)
        h.heartbeat(member_id, 1)
    assert h.fetch(ORDERS) == {ORDERS: 1}


def test_a_retention_that_the_client_set_overrides_the_brokers() -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1}, retention_ms=HOUR_MS, version=4)
    h.advance(HOUR_MS - 1)
    assert h.fetch(ORDERS) == {ORDERS: 1}
    h.advance(h.limits.offsets_retention_check_interval_ms + 1)
    assert h.fetch(ORDERS) == {ORDERS: -1}


def test_an_empty_group_is_deleted_with_its_offsets() -> None:
    h = GroupHarness()
    h.commit({ORDERS: 1, ("other", 3): 2}, group="a")
    h.stable_group(group="b")
    assert delete_groups(h, "a", "b", "c") == [ErrorCode.NONE, ErrorCode.NON_EMPTY_GROUP, ErrorCode.GROUP_ID_NOT_FOUND]
    assert h.fetch(group="a") == {}
    h.fail_over()
    assert sorted(h.shard.groups) == ["b"]


def test_offsets_are_deleted_only_where_nobody_reads() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(protocols={"range": subscription("orders")})
    h.commit({ORDERS: 1, ("old", 0): 2}, member_id=member_id, generation=1)
    answer = delete_offsets(h, ORDERS, ("old", 0), ("old", 9))
    assert [topic.partitions[0].error_code for topic in answer.topics] == [
        ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
        ErrorCode.NONE,
        ErrorCode.NONE,
    ]
    assert h.fetch() == {ORDERS: 1}
    assert delete_offsets(h, ORDERS, group="none").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    h.stable_group(group="workers", protocols={"default": b""}, protocol_type="connect")
    assert delete_offsets(h, ORDERS, group="workers").error_code == ErrorCode.NON_EMPTY_GROUP


def replay_transactional(h: GroupHarness, offset: int, *, at: int, producer_id: int = 77) -> None:
    key = OffsetCommitKey(group="g", topic="orders", partition=0)
    h.shard.replay(key, OffsetCommitValue(offset=offset), record_offset=at, producer_id=producer_id)


def test_offsets_of_an_open_transaction_count_only_when_it_commits() -> None:
    h = GroupHarness()
    h.shard.replay(
        OffsetCommitKey(group="g", topic="orders", partition=0), OffsetCommitValue(offset=1), record_offset=0
    )
    replay_transactional(h, 5, at=1)
    token = h.token()
    request = OffsetFetchRequestGroup(group_id="g", topics=None)
    (answer,) = h.shard.handle_offset_fetch(request, True, token).reply
    response: Any = answer.response
    assert response.topics[0].partitions[0].error_code == ErrorCode.UNSTABLE_OFFSET_COMMIT
    (answer,) = h.shard.handle_offset_fetch(request, False, token).reply
    response = answer.response
    assert response.topics[0].partitions[0].committed_offset == 1
    h.shard.replay_end_transaction_marker(77, committed=True)
    stored = h.shard.offsets.committed.get("g", "orders", 0)
    assert stored is not None and stored.committed_offset == 5
    replay_transactional(h, 9, at=3)
    h.shard.replay_end_transaction_marker(77, committed=False)
    stored = h.shard.offsets.committed.get("g", "orders", 0)
    assert stored is not None and stored.committed_offset == 5


def test_a_plain_commit_after_a_transactional_one_wins() -> None:
    h = GroupHarness()
    replay_transactional(h, 5, at=1)
    h.shard.replay(
        OffsetCommitKey(group="g", topic="orders", partition=0), OffsetCommitValue(offset=8), record_offset=2
    )
    h.shard.replay_end_transaction_marker(77, committed=True)
    stored = h.shard.offsets.committed.get("g", "orders", 0)
    assert stored is not None and stored.committed_offset == 8


def test_groups_are_described_with_members_and_assignments_while_stable() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(client="app", protocols={"range": b"meta"})
    context = ClientContext(6, "admin", "/::1")
    stable, missing = h.shard.describe_groups(context, ["g", "nope"])
    assert (stable.group_state, stable.protocol_type, stable.protocol_data) == ("Stable", "consumer", "range")
    (member,) = stable.members
    assert (member.client_id, member.client_host, member.member_metadata) == ("app", "/127.0.0.1", b"meta")
    assert member.member_assignment == member_id.encode()
    assert (missing.group_state, missing.error_code) == ("Dead", ErrorCode.GROUP_ID_NOT_FOUND)
    assert h.shard.describe_groups(context._replace(api_version=5), ["nope"])[0].error_code == ErrorCode.NONE
    h.join_known(protocols={"range": b"other"})
    (rebalancing,) = h.shard.describe_groups(context, ["g"])
    assert rebalancing.group_state == "PreparingRebalance"
    assert [each.member_metadata for each in rebalancing.members] == [b"", b""]


def test_groups_are_listed_by_state_and_type() -> None:
    h = GroupHarness()
    h.stable_group(group="stable")
    h.commit({ORDERS: 1}, group="simple")
    listed = h.shard.list_groups([], [])
    assert [(each.group_id, each.group_state, each.protocol_type, each.group_type) for each in listed] == [
        ("simple", "Empty", "", "classic"),
        ("stable", "Stable", "consumer", "classic"),
    ]
    assert [each.group_id for each in h.shard.list_groups(["STABLE"], [])] == ["stable"]
    assert [each.group_id for each in h.shard.list_groups([], ["classic"])] == ["simple", "stable"]
    assert h.shard.list_groups([], ["consumer"]) == []


def test_records_of_other_coordinators_are_skipped() -> None:
    h = GroupHarness()
    h.shard.replay(object(), None)
    assert not h.shard.groups


def test_a_commit_that_this_broker_wrote_is_later_than_a_transactional_one_that_it_loaded() -> None:
    h = GroupHarness()
    replay_transactional(h, 5, at=100)
    h.shard.handle_offset_commit(*commit_of(8), h.now, h.token())
    h.shard.replay_end_transaction_marker(77, committed=True)
    stored = h.shard.offsets.committed.get("g", "orders", 0)
    assert stored is not None and stored.committed_offset == 8


def commit_of(offset: int) -> tuple[ClientContext, OffsetCommitRequest]:
    partitions = [OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)]
    topics = [OffsetCommitRequestTopic(name="orders", partitions=partitions)]
    return ClientContext(9, "c", "/::1"), OffsetCommitRequest(group_id="g", topics=topics)


def test_a_retention_beyond_all_time_is_kept_in_a_record_that_can_be_written() -> None:
    h = GroupHarness()
    for retention_ms in (2**63 - 1, -(2**63), -2):
        h.commit({ORDERS: 1}, retention_ms=retention_ms, version=4)
    h.commit({ORDERS: 7}, retention_ms=2**63 - 1, version=4)
    h.advance(10 * RETENTION_MS)
    h.fail_over()
    assert h.fetch(ORDERS) == {ORDERS: 7}


def test_an_offset_with_an_open_transaction_does_not_expire_and_keeps_its_group() -> None:
    h = GroupHarness()
    h.shard.handle_offset_commit(*commit_of(1), h.now, h.token())
    replay_transactional(h, 5, at=1)
    h.now_ms += 2 * RETENTION_MS
    assert h.shard.on_timer(h.now).append == []
    h.shard.replay_end_transaction_marker(77, committed=False)
    h.now_ms += h.limits.offsets_retention_check_interval_ms
    assert [record.value for record in h.shard.on_timer(h.now).append] == [None, None]
    assert not h.shard.groups


def test_deleting_a_group_ends_its_open_transactions_offsets_too() -> None:
    h = GroupHarness()
    replay_transactional(h, 5, at=1)
    h.shard.handle_delete_groups(["g"], h.token())
    h.shard.replay_end_transaction_marker(77, committed=True)
    assert h.shard.offsets.committed.get("g", "orders", 0) is None
