"""Joining, syncing, heartbeats and leaving, request by request."""

from __future__ import annotations

import pytest
from group_harness import GroupHarness, subscription

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol


def error(h: GroupHarness, token: int) -> ErrorCode:
    return ErrorCode(h.replies[token].error_code)


def test_a_new_dynamic_member_is_first_told_its_member_id() -> None:
    h = GroupHarness()
    token = h.join(client="app")
    assert error(h, token) is ErrorCode.MEMBER_ID_REQUIRED
    assert h.replies[token].member_id == "app-00000000-0000-0000-0000-000000000001"
    assert h.shard.groups["g"].state is GroupState.EMPTY


def test_before_version_four_a_new_member_joins_at_once() -> None:
    h = GroupHarness()
    token = h.join(version=3)
    h.advance(0)
    assert error(h, token) is ErrorCode.NONE
    assert h.replies[token].generation_id == 1


def test_the_group_is_written_down_when_it_is_created() -> None:
    h = GroupHarness()
    h.join()
    assert len(h.log) == 1
    h.fail_over()
    assert h.shard.groups["g"].is_empty


def test_a_member_id_that_was_handed_out_is_unknown_after_a_failover() -> None:
    h = GroupHarness()
    member_id = h.replies[h.join()].member_id
    h.fail_over()
    assert error(h, h.join(member_id)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_pending_member_id_expires_with_its_session() -> None:
    h = GroupHarness()
    member_id = h.replies[h.join(session_ms=10_000)].member_id
    h.advance(10_000)
    assert error(h, h.join(member_id)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert NoteKind.MEMBER_EXPIRED in [note.kind for note in h.notes]


def test_a_member_of_no_group_is_unknown() -> None:
    h = GroupHarness()
    assert error(h, h.join("ghost")) is ErrorCode.UNKNOWN_MEMBER_ID
    assert error(h, h.sync("ghost", 1)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.heartbeat("ghost", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.leave(("ghost", None)) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.log == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"group": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_ms": 5_999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"protocols": {}}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": ""}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
    ],
)
def test_a_senseless_join_is_refused_and_creates_nothing(arguments: dict, expected: ErrorCode) -> None:
    h = GroupHarness()
    assert error(h, h.join(**arguments)) is expected
    assert not h.shard.groups
    assert h.log == []


def test_the_first_generation_waits_for_the_initial_rebalance_delay() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=3_000))
    _, first = h.join_known()
    h.advance(2_000)
    _, second = h.join_known()
    h.advance(999)
    assert first not in h.replies
    # Someone came during the delay, so it runs once more.
    h.advance(1)
    assert first not in h.replies
    h.advance(3_000)
    assert h.replies[first].generation_id == h.replies[second].generation_id == 1


def test_the_initial_delay_never_exceeds_the_rebalance_timeout() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=3_000))
    _, first = h.join_known(rebalance_ms=7_000)
    for _ in range(3):
        h.advance(2_000)
        h.join_known(rebalance_ms=7_000)
    assert first not in h.replies
    h.advance(1_000)
    assert h.replies[first].generation_id == 1


def test_only_the_leader_sees_the_members_and_their_metadata() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    leader, first = h.join_known(protocols={"range": b"one"})
    other, second = h.join_known(protocols={"range": b"two"})
    h.advance(200)
    assert h.replies[first].leader == h.replies[second].leader == leader
    assert {each.member_id: each.metadata for each in h.replies[first].members} == {leader: b"one", other: b"two"}
    assert h.replies[second].members == []
    assert h.replies[second].protocol_type == "consumer"
    assert h.replies[second].protocol_name == "range"


def test_the_protocol_that_all_support_and_most_prefer_wins() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    tokens = [
        h.join_known(protocols={"sticky": b"", "range": b"", "robin": b""})[1],
        h.join_known(protocols={"range": b"", "robin": b""})[1],
        h.join_known(protocols={"robin": b"", "range": b""})[1],
        h.join_known(protocols={"robin": b"", "range": b""})[1],
    ]
    h.advance(300)
    assert {h.replies[token].protocol_name for token in tokens} == {"range"}


def test_a_member_with_no_protocol_in_common_is_refused() -> None:
    h = GroupHarness()
    h.stable_group()
    assert error(h, h.join(protocols={"other": b""})) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert error(h, h.join(protocol_type="connect")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert h.shard.groups["g"].state is GroupState.STABLE


def test_followers_wait_in_sync_until_the_leader_has_assigned() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    leader, _ = h.join_known()
    other, _ = h.join_known()
    h.advance(200)
    waiting = h.sync(other, 1)
    assert waiting not in h.replies
    leading = h.sync(leader, 1, {leader: b"L", other: b"O"})
    assert h.replies[leading].assignment == b"L"
    assert h.replies[waiting].assignment == b"O"
    assert h.replies[waiting].protocol_name == "range"
    assert h.shard.groups["g"].state is GroupState.STABLE
    # Whoever asks again gets the same.
    assert h.replies[h.sync(other, 1)].assignment == b"O"


def test_a_member_that_the_leader_forgot_gets_an_empty_assignment() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    leader, _ = h.join_known()
    other, _ = h.join_known()
    h.advance(200)
    h.sync(leader, 1, {leader: b"L", "who": b"?"})
    assert h.replies[h.sync(other, 1)].assignment == b""


def test_sync_checks_generation_and_protocol() -> None:
    h = GroupHarness()
    member_id, _ = h.join_known()
    h.advance(0)
    assert error(h, h.sync(member_id, 2)) is ErrorCode.ILLEGAL_GENERATION
    assert error(h, h.sync(member_id, 1, protocol_type="connect")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert error(h, h.sync(member_id, 1, protocol_name="robin")) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert error(h, h.sync(member_id, 1, {member_id: b"x"})) is ErrorCode.NONE


def test_a_second_sync_of_the_same_member_releases_the_first() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    leader, _ = h.join_known()
    other, _ = h.join_known()
    h.advance(200)
    first = h.sync(other, 1)
    second = h.sync(other, 1)
    assert error(h, first) is ErrorCode.REBALANCE_IN_PROGRESS
    h.sync(leader, 1, {other: b"O"})
    assert h.replies[second].assignment == b"O"


def test_a_second_join_of_the_same_member_releases_the_first() -> None:
    h = GroupHarness()
    first_member, second_member = h.stable_group(2)
    first = h.join(first_member)
    again = h.join(first_member)
    assert error(h, first) is ErrorCode.REBALANCE_IN_PROGRESS
    h.join(second_member)
    assert h.replies[again].generation_id == h.shard.groups["g"].generation_id


def test_a_new_member_sends_the_others_back_to_join() -> None:
    h = GroupHarness()
    (old,) = h.stable_group()
    generation = h.shard.groups["g"].generation_id
    _, waiting = h.join_known()
    assert h.heartbeat(old, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert error(h, h.sync(old, generation)) is ErrorCode.REBALANCE_IN_PROGRESS
    rejoined = h.join(old)
    assert h.replies[rejoined].generation_id == h.replies[waiting].generation_id == generation + 1
    assert h.replies[rejoined].leader == old


def test_those_who_do_not_rejoin_within_the_rebalance_timeout_are_out() -> None:
    h = GroupHarness()
    (old,) = h.stable_group(session_ms=100_000, rebalance_ms=30_000)
    new, waiting = h.join_known(session_ms=100_000, rebalance_ms=30_000)
    h.advance(29_999)
    assert waiting not in h.replies
    h.advance(1)
    assert h.replies[waiting].leader == new
    assert list(h.shard.groups["g"].members) == [new]
    assert error(h, h.join(old)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_rejoins_unchanged_moves_nothing_unless_it_leads() -> None:
    h = GroupHarness()
    leader, follower = h.stable_group(2)
    generation = h.shard.groups["g"].generation_id
    token = h.join(follower)
    assert (h.replies[token].generation_id, h.replies[token].members) == (generation, [])
    assert h.shard.groups["g"].state is GroupState.STABLE
    h.join(leader)
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE


def test_a_member_with_new_metadata_starts_a_rebalance() -> None:
    h = GroupHarness()
    _, follower = h.stable_group(2)
    h.join(follower, protocols={"range": subscription("orders", "payments")}, reason="subscription changed")
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE
    note = next(note for note in reversed(h.notes) if note.kind is NoteKind.GROUP_REBALANCED)
    assert note.reason == f"updating metadata of member {follower} during Stable; client reason: subscription changed"


def test_a_rebalance_during_sync_sends_those_who_wait_back_to_join() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    _leader, _ = h.join_known()
    other, _ = h.join_known()
    h.advance(200)
    waiting = h.sync(other, 1)
    h.join_known()
    assert error(h, waiting) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_session_without_heartbeats_ends() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(session_ms=10_000)
    generation = h.shard.groups["g"].generation_id
    for _ in range(5):
        h.advance(9_999)
        assert h.heartbeat(member_id, generation) is ErrorCode.NONE
    h.advance(10_000)
    assert h.heartbeat(member_id, generation) is ErrorCode.UNKNOWN_MEMBER_ID
    assert h.shard.groups["g"].is_empty
    kinds = [note.kind for note in h.notes]
    gone = [NoteKind.MEMBER_EXPIRED, NoteKind.GROUP_REBALANCED, NoteKind.GROUP_EMPTIED]
    assert kinds[-4:] == [*gone, NoteKind.MEMBER_FENCED], "who asks as a member is told that it is none"
    expired, fenced = h.notes[-4], h.notes[-1]
    assert expired.reason == (
        f"{member_id}: no heartbeat within its session timeout of 10000 ms: the last one was 10000 ms ago"
    )
    assert (expired.detail["silent_ms"], expired.detail["member_id"]) == (10_000, member_id)
    assert fenced.detail == {"member_id": member_id, "error": "UNKNOWN_MEMBER_ID"}


def test_a_parked_request_is_as_good_as_heartbeats() -> None:
    h = GroupHarness()
    first, second = h.stable_group(2, session_ms=10_000, rebalance_ms=60_000)
    parked = h.join(first, rebalance_ms=60_000, session_ms=10_000)
    generation = h.shard.groups["g"].generation_id
    for _ in range(5):
        h.advance(9_000)
        h.heartbeat(second, generation)
    assert parked not in h.replies
    assert first in h.shard.groups["g"].members


def test_a_new_members_parked_join_does_not_wait_for_ever() -> None:
    h = GroupHarness()
    (old,) = h.stable_group(session_ms=1_000_000, rebalance_ms=1_000_000)
    new, parked = h.join_known(session_ms=1_000_000, rebalance_ms=1_000_000)
    h.advance(5 * 60 * 1000)
    assert error(h, parked) is ErrorCode.UNKNOWN_MEMBER_ID
    assert list(h.shard.groups["g"].members) == [old]
    assert new not in h.shard.groups["g"].members


def test_members_that_never_sync_are_out_after_the_rebalance_timeout() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    leader, _ = h.join_known(session_ms=100_000, rebalance_ms=20_000)
    lost, _ = h.join_known(session_ms=100_000, rebalance_ms=20_000)
    h.advance(200)
    h.sync(leader, 1, {leader: b"L"})
    h.advance(20_000)
    group = h.shard.groups["g"]
    assert group.state is GroupState.PREPARING_REBALANCE
    assert lost not in group.members


def test_leaving_starts_a_rebalance_at_once() -> None:
    h = GroupHarness()
    leader, follower = h.stable_group(2)
    assert h.leave((follower, None), reason="the consumer is closing") == [ErrorCode.NONE]
    note = next(note for note in h.notes if note.kind is NoteKind.MEMBER_LEFT)
    assert note.reason == f"{follower}; reason: the consumer is closing"
    token = h.join(leader)
    assert error(h, token) is ErrorCode.NONE


def test_the_last_member_that_leaves_empties_the_group() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group()
    h.leave((member_id, None))
    group = h.shard.groups["g"]
    assert (group.state, group.generation_id, group.protocol_name) == (GroupState.EMPTY, 2, None)
    h.fail_over()
    assert h.shard.groups["g"].is_empty


def test_a_pending_member_can_leave_and_does_not_hold_the_others_up() -> None:
    h = GroupHarness()
    first, second = h.stable_group(2)
    pending = h.replies[h.join()].member_id
    token = h.join(first)
    h.join(second)
    assert token not in h.replies, "the pending member is waited for"
    assert h.leave((pending, None)) == [ErrorCode.NONE]
    assert error(h, token) is ErrorCode.NONE


def test_a_group_takes_no_more_members_than_its_maximum() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=0, group_max_size=2))
    first, second = h.stable_group(2)
    assert error(h, h.join()) is ErrorCode.GROUP_MAX_SIZE_REACHED
    token = h.join(first)
    h.join(second)
    assert error(h, token) is ErrorCode.NONE


def test_members_above_a_lowered_maximum_are_shed_after_loading() -> None:
    h = GroupHarness()
    members = h.stable_group(3)
    h.limits = GroupLimits(group_initial_rebalance_delay_ms=0, group_max_size=2)
    h.fail_over()
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE
    tokens = [h.join(member_id) for member_id in members]
    assert error(h, tokens[2]) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert [error(h, token) for token in tokens[:2]] == [ErrorCode.NONE, ErrorCode.NONE]
    assert list(h.shard.groups["g"].members) == members[:2]


def test_sessions_start_anew_on_the_next_coordinator() -> None:
    h = GroupHarness()
    (member_id,) = h.stable_group(session_ms=10_000)
    h.advance(9_000)
    h.fail_over()
    h.advance(9_000)
    assert h.heartbeat(member_id, 1) is ErrorCode.NONE
    assert h.shard.groups["g"].members[member_id].assignment == member_id.encode()
    h.advance(10_000)
    assert h.shard.groups["g"].is_empty


def test_parked_requests_are_sent_to_the_next_coordinator() -> None:
    h = GroupHarness()
    first, _ = h.stable_group(2)
    parked = h.join(first)
    h.fail_over()
    assert error(h, parked) is ErrorCode.NOT_COORDINATOR
    assert h.shard.groups["g"].state is GroupState.STABLE


def test_two_protocols_of_one_name_count_once() -> None:
    h = GroupHarness()
    request = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        member_id="",
        protocol_type="consumer",
        protocols=[
            JoinGroupRequestProtocol(name="range", metadata=b"1"),
            JoinGroupRequestProtocol(name="robin", metadata=b"3"),
            JoinGroupRequestProtocol(name="range", metadata=b"2"),
        ],
    )
    token = h.token()
    h.perform(h.shard.handle_join_group(ClientContext(3, "c", "/::1"), request, h.now, token))
    h.advance(0)
    assert error(h, token) is ErrorCode.NONE
    (member,) = h.shard.groups["g"].members.values()
    assert member.protocols == (("range", b"1"), ("robin", b"3"))
