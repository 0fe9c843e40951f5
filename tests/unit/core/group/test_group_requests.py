"""What each request is told in each situation, version by version (Kafka: GroupMetadataManagerTest, classic groups)."""

from __future__ import annotations

import pytest
from group_harness import GroupHarness, subscription

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind

ORDERS = ("orders", 0)
OK = ErrorCode.NONE


def error(h: GroupHarness, token: int) -> ErrorCode:
    return ErrorCode(h.replies[token].error_code)


def pair(h: GroupHarness) -> tuple[str, str]:
    """A group of two in CompletingRebalance, generation 1: leader and follower."""
    leader, _ = h.join_known()
    follower, _ = h.join_known()
    h.advance(h.limits.group_initial_rebalance_delay_ms * 2)
    assert h.shard.groups["g"].state is GroupState.COMPLETING_REBALANCE
    return leader, follower


def harness() -> GroupHarness:
    return GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))


# -- JoinGroup --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(10))
def test_only_from_version_four_on_a_dynamic_member_is_first_told_its_id(version: int) -> None:
    h = harness()
    token = h.join(version=version)
    if version < 4:
        assert token not in h.replies
        assert len(h.shard.groups["g"].members) == 1
    else:
        assert error(h, token) is ErrorCode.MEMBER_ID_REQUIRED
        assert not h.shard.groups["g"].members


def test_without_a_rebalance_timeout_the_session_timeout_counts() -> None:
    """Version 0 has none; the codec reads it as -1."""
    h = harness()
    h.join(version=0, session_ms=7_000, rebalance_ms=-1)
    (member,) = h.shard.groups["g"].members.values()
    assert member.rebalance_timeout_ms == 7_000


def test_a_leader_that_asks_again_during_sync_is_told_the_members_again() -> None:
    h = harness()
    leader, follower = pair(h)
    again = h.replies[h.join(leader)]
    assert (again.generation_id, again.leader) == (1, leader)
    assert [member.member_id for member in again.members] == [leader, follower]
    assert h.replies[h.join(follower)].members == []
    assert h.shard.groups["g"].state is GroupState.COMPLETING_REBALANCE


def test_a_member_with_new_metadata_during_sync_starts_a_rebalance() -> None:
    h = harness()
    leader, follower = pair(h)
    token = h.join(follower, protocols={"range": subscription("other")})
    assert token not in h.replies
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE
    assert error(h, h.sync(leader, 1, {leader: b"L"})) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_leader_that_does_not_rejoin_loses_the_lead_to_one_who_did() -> None:
    h = harness()
    leader, follower = pair(h)
    h.sync(leader, 1, {})
    h.sync(follower, 1)
    h.join_known(rebalance_ms=60_000)
    token = h.join(follower)
    for _ in range(20):
        h.advance(3_000)
        h.heartbeat(leader, 1)
    answer = h.replies[token]
    assert (answer.generation_id, answer.leader) == (2, follower)
    assert leader not in h.shard.groups["g"].members


def test_pending_members_do_not_count_towards_the_maximum() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=0, group_max_size=1))
    first, second = (h.replies[h.join()].member_id for _ in range(2))
    token = h.join(first)
    assert error(h, h.join(second)) is ErrorCode.GROUP_MAX_SIZE_REACHED
    # The group does not wait for whom it has turned away.
    h.advance(0)
    assert error(h, token) is OK
    assert not h.shard.groups["g"].pending_join_members
    assert error(h, h.join(second)) is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_a_pending_member_cannot_become_static() -> None:
    h = harness()
    member_id = h.replies[h.join()].member_id
    assert error(h, h.join(member_id, instance="i")) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_group_in_its_initial_delay_that_loses_its_only_member_becomes_empty() -> None:
    h = harness()
    member_id, token = h.join_known()
    assert h.leave((member_id, None)) == [OK]
    assert error(h, token) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE
    h.advance(100)
    assert (h.shard.groups["g"].state, h.shard.groups["g"].generation_id) == (GroupState.EMPTY, 1)


# -- SyncGroup, Heartbeat ---------------------------------------------------------------------------------------


def test_members_of_an_empty_group_are_unknown() -> None:
    h = harness()
    leader, follower = pair(h)
    h.leave((leader, None), (follower, None))
    assert h.shard.groups["g"].state is GroupState.EMPTY
    assert error(h, h.sync(leader, 2)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.heartbeat(leader, 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert error(h, h.join(leader)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.commit({ORDERS: 1}, member_id=leader, generation=2) == [ErrorCode.UNKNOWN_MEMBER_ID]


def test_heartbeats_are_taken_while_the_assignment_is_waited_for() -> None:
    h = harness()
    leader, follower = pair(h)
    for _ in range(4):
        h.advance(9_000)
        assert [h.heartbeat(leader, 1), h.heartbeat(follower, 1)] == [OK, OK]
    assert h.heartbeat(leader, 0) is h.heartbeat(leader, 2) is ErrorCode.ILLEGAL_GENERATION
    assert h.heartbeat("ghost", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.heartbeat(leader, 1, instance="i") is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_id_that_was_only_handed_out_has_no_heartbeat() -> None:
    h = harness()
    assert h.heartbeat(h.replies[h.join()].member_id, 0) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_parked_sync_starts_the_session_anew_when_it_is_answered() -> None:
    h = harness()
    leader, follower = pair(h)
    parked = h.sync(follower, 1)
    for _ in range(3):
        h.advance(9_000)
        h.heartbeat(leader, 1)
    h.sync(leader, 1, {follower: b"F"})
    assert h.replies[parked].assignment == b"F"
    h.advance(9_999)
    assert h.heartbeat(follower, 1) is OK


def test_protocols_are_compared_only_where_they_are_named() -> None:
    """Versions 0-4 name none."""
    h = harness()
    leader, follower = pair(h)
    assert error(h, h.sync(leader, 1, {}, protocol_type=None, protocol_name=None)) is OK
    assert error(h, h.sync(follower, 1, protocol_type="consumer", protocol_name=None)) is OK
    refused = h.sync(follower, 1, protocol_type=None, protocol_name="robin")
    assert error(h, refused) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


# -- LeaveGroup -------------------------------------------------------------------------------------------------


def test_several_members_leave_at_once_and_each_is_told_its_own_error() -> None:
    h = harness()
    tokens = [h.join(instance="i1"), h.join(instance="i2"), h.join_known()[1]]
    h.advance(200)
    first, second, third = (h.replies[token].member_id for token in tokens)
    h.sync(first, 1, {}, instance="i1")
    pending = h.replies[h.join()].member_id
    rebalances = sum(note.kind is NoteKind.GROUP_REBALANCED for note in h.notes)
    assert h.leave(
        ("", "i1"),
        ("", None),
        ("ghost", None),
        (second, "i1"),
        (second, "i2"),
        (second, "i2"),
        (third, None),
        (pending, None),
    ) == [
        OK,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
        # Its place is empty by now: the first one took it along.
        ErrorCode.UNKNOWN_MEMBER_ID,
        OK,
        ErrorCode.UNKNOWN_MEMBER_ID,
        OK,
        OK,
    ]
    assert h.shard.groups["g"].state is GroupState.EMPTY
    assert sum(note.kind is NoteKind.GROUP_REBALANCED for note in h.notes) == rebalances + 1


def test_a_static_member_leaves_by_its_member_id_too() -> None:
    h = harness()
    token = h.join(instance="i1")
    h.advance(200)
    assert h.leave((h.replies[token].member_id, None)) == [OK]
    assert not h.shard.groups["g"].static_members


def test_who_leaves_with_a_parked_sync_is_answered() -> None:
    h = harness()
    _, follower = pair(h)
    parked = h.sync(follower, 1)
    h.leave((follower, None))
    assert error(h, parked) is ErrorCode.UNKNOWN_MEMBER_ID


# -- static members ---------------------------------------------------------------------------------------------


def test_a_static_follower_that_comes_back_under_its_member_id_moves_nothing() -> None:
    h = harness()
    tokens = [h.join(instance="i1"), h.join(instance="i2")]
    h.advance(200)
    first, second = (h.replies[token].member_id for token in tokens)
    h.sync(first, 1, {second: b"A2"}, instance="i1")
    answer = h.replies[h.join(second, instance="i2")]
    assert (answer.member_id, answer.generation_id, answer.skip_assignment) == (second, 1, False)
    assert h.replies[h.sync(second, 1, instance="i2")].assignment == b"A2"
    assert h.shard.groups["g"].state is GroupState.STABLE


@pytest.mark.parametrize(("version", "skips"), [(8, False), (9, True)])
def test_only_from_version_nine_on_a_restarted_leader_may_skip_the_assignment(version: int, skips: bool) -> None:
    h = harness()
    token = h.join(instance="i1", version=version)
    h.advance(200)
    first = h.replies[token].member_id
    h.sync(first, 1, {first: b"A"}, instance="i1")
    answer = h.replies[h.join(instance="i1", version=version)]
    assert answer.skip_assignment is skips
    assert answer.leader == (answer.member_id if skips else first)
    assert len(answer.members) == skips
    # What is told to be kept is still there.
    assert h.replies[h.sync(answer.member_id, 1, instance="i1")].assignment == b"A"


def test_a_restarted_static_member_keeps_its_new_timeouts() -> None:
    h = harness()
    token = h.join(instance="i1", session_ms=10_000)
    h.advance(200)
    h.sync(h.replies[token].member_id, 1, instance="i1")
    member_id = h.replies[h.join(instance="i1", session_ms=30_000)].member_id
    h.advance(29_999)
    assert h.heartbeat(member_id, 1, instance="i1") is OK


def test_the_former_selfs_session_does_not_end_its_successors() -> None:
    h = harness()
    token = h.join(instance="i1", session_ms=10_000)
    h.advance(200)
    h.sync(h.replies[token].member_id, 1, instance="i1")
    h.advance(9_000)
    member_id = h.replies[h.join(instance="i1", session_ms=10_000)].member_id
    h.advance(9_000)
    assert h.heartbeat(member_id, 1, instance="i1") is OK


# -- OffsetCommit -----------------------------------------------------------------------------------------------


def test_without_a_generation_anyone_commits_to_an_empty_group() -> None:
    h = harness()
    member_id = h.replies[h.join()].member_id
    assert h.commit({ORDERS: 1}) == [OK]
    assert h.commit({ORDERS: 2}, member_id=member_id) == [OK]
    assert h.commit({ORDERS: 3}, instance="i") == [OK]


def test_without_a_generation_nobody_commits_to_a_group_with_members() -> None:
    h = harness()
    leader, _ = pair(h)
    h.sync(leader, 1, {})
    assert h.commit({ORDERS: 1}) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit({ORDERS: 1}, instance="i") == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit({ORDERS: 1}, member_id="ghost") == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit({ORDERS: 1}, member_id=leader) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit({ORDERS: 1}, member_id=leader, generation=1, instance="i") == [ErrorCode.UNKNOWN_MEMBER_ID]


def test_metadata_that_is_too_large_does_not_keep_the_other_partitions_from_being_committed() -> None:
    h = GroupHarness(GroupLimits(offset_metadata_max_bytes=3))
    assert h.commit({ORDERS: 1}, metadata="none") == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    assert h.commit({ORDERS: 1}, metadata=None) == [OK]


# -- DescribeGroups, ListGroups, DeleteGroups --------------------------------------------------------------------


@pytest.mark.parametrize("version", range(7))
def test_a_group_that_is_not_there_is_dead_and_from_version_six_on_not_found(version: int) -> None:
    h = harness()
    (answer,) = h.shard.describe_groups(ClientContext(version, "admin", "/::1"), ["nope"])
    assert answer.group_state == "Dead"
    assert answer.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version == 6 else OK)
    assert answer.error_message == ("Group nope not found." if version == 6 else None)


def test_members_are_described_in_every_state() -> None:
    h = harness()
    context = ClientContext(6, "admin", "/::1")
    leader, follower = pair(h)

    def described() -> tuple[str, str, list[bytes]]:
        (answer,) = h.shard.describe_groups(context, ["g"])
        assert answer.protocol_type == "consumer"
        return answer.group_state, answer.protocol_data, [each.member_assignment for each in answer.members]

    assert described() == ("CompletingRebalance", "", [b"", b""])
    h.sync(leader, 1, {leader: b"L", follower: b"F"})
    assert described() == ("Stable", "range", [b"L", b"F"])
    h.join(leader)
    assert described() == ("PreparingRebalance", "", [b"L", b"F"])
    h.leave((leader, None), (follower, None))
    assert described() == ("Empty", "", [])


def test_filters_that_name_nothing_known_let_nothing_pass() -> None:
    h = harness()
    pair(h)
    assert h.shard.list_groups(["NoSuchState"], []) == []
    assert h.shard.list_groups([], ["NoSuchType"]) == []
    assert [each.group_id for each in h.shard.list_groups(["completingrebalance", "dead"], ["CLASSIC", "share"])] == [
        "g"
    ]


@pytest.mark.parametrize("state", ["preparing", "completing", "stable"])
def test_only_an_empty_group_is_deleted(state: str) -> None:
    h = harness()
    if state == "preparing":
        h.join_known()
    else:
        leader, _ = pair(h)
        if state == "stable":
            h.sync(leader, 1, {})
    token = h.token()
    h.perform(h.shard.handle_delete_groups(["g"], token))
    assert [each.error_code for each in h.replies[token]] == [ErrorCode.NON_EMPTY_GROUP]


def test_a_member_that_is_about_to_join_a_deleted_group_is_unknown() -> None:
    h = harness()
    member_id = h.replies[h.join()].member_id
    token = h.token()
    h.perform(h.shard.handle_delete_groups(["g", "g"], token))
    assert [each.error_code for each in h.replies[token]] == [OK, ErrorCode.GROUP_ID_NOT_FOUND]
    assert error(h, h.join(member_id)) is ErrorCode.UNKNOWN_MEMBER_ID
    h.advance(10_000)
    assert NoteKind.MEMBER_EXPIRED not in [note.kind for note in h.notes]
