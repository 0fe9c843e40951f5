"""Static members (KIP-345): a place in the group that outlives its holder's process."""

from __future__ import annotations

from group_harness import GroupHarness

from engine.core.group.context import GroupLimits
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind


def error(h: GroupHarness, token: int) -> ErrorCode:
    return ErrorCode(h.replies[token].error_code)


def static_group(h: GroupHarness, **arguments: object) -> tuple[str, str]:
    """A stable group of two static members, i1 (leader) and i2."""
    tokens = [h.join(instance=instance, **arguments) for instance in ("i1", "i2")]  # type: ignore[arg-type]
    h.advance(h.limits.group_initial_rebalance_delay_ms * 2)
    first, second = (h.replies[token].member_id for token in tokens)
    h.sync(first, 1, {first: b"A1", second: b"A2"}, instance="i1")
    h.sync(second, 1, instance="i2")
    assert h.shard.groups["g"].state is GroupState.STABLE
    return first, second


def harness() -> GroupHarness:
    return GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))


def test_a_static_member_joins_in_one_step() -> None:
    h = harness()
    first, _ = static_group(h)
    assert first.startswith("i1-")


def test_a_restarted_static_member_gets_its_place_back_without_a_rebalance() -> None:
    h = harness()
    first, second = static_group(h)
    token = h.join(instance="i2")
    new = h.replies[token].member_id
    assert new != second
    assert h.replies[token].generation_id == 1
    assert h.shard.groups["g"].state is GroupState.STABLE
    assert h.replies[h.sync(new, 1, instance="i2")].assignment == b"A2"
    h.fail_over()
    assert list(h.shard.groups["g"].members) == [first, new]


def test_a_restarted_static_leader_is_told_to_skip_the_assignment() -> None:
    h = harness()
    first, second = static_group(h)
    answer = h.replies[h.join(instance="i1")]
    assert answer.skip_assignment
    assert answer.leader == answer.member_id != first
    assert {each.member_id for each in answer.members} == {answer.member_id, second}


def test_an_old_client_that_restarts_as_leader_is_told_that_it_follows() -> None:
    h = harness()
    first, _ = static_group(h, version=5)
    answer = h.replies[h.join(instance="i1", version=5)]
    assert (answer.leader, answer.skip_assignment, answer.members) == (first, False, [])


def test_the_former_self_is_fenced() -> None:
    h = harness()
    _, second = static_group(h)
    h.join(instance="i2")
    (told,) = [note for note in h.notes if note.kind is NoteKind.MEMBER_FENCED]
    new = h.shard.groups["g"].static_members["i2"]
    assert told.reason == f"{second}: FENCED_INSTANCE_ID: {new} replaced {second} as i2"
    assert h.heartbeat(second, 1, instance="i2") is ErrorCode.FENCED_INSTANCE_ID
    assert h.notes[-1].reason == f"{second}: FENCED_INSTANCE_ID: instance i2 is held by member {new}"
    assert error(h, h.sync(second, 1, instance="i2")) is ErrorCode.FENCED_INSTANCE_ID
    assert error(h, h.join(second, instance="i2")) is ErrorCode.FENCED_INSTANCE_ID
    assert h.leave((second, "i2")) == [ErrorCode.FENCED_INSTANCE_ID]
    committed = h.commit({("orders", 0): 1}, member_id=second, generation=1, instance="i2")
    assert committed == [ErrorCode.FENCED_INSTANCE_ID]


def test_a_static_member_that_restarts_while_its_join_is_parked_takes_over() -> None:
    h = harness()
    first, second = static_group(h)
    parked = h.join(second, instance="i2", protocols={"range": b"changed"})
    assert parked not in h.replies, "the rebalance waits for i1"
    restarted = h.join(instance="i2", protocols={"range": b"changed"})
    assert error(h, parked) is ErrorCode.FENCED_INSTANCE_ID
    assert restarted not in h.replies
    token = h.join(first, instance="i1")
    assert h.replies[restarted].generation_id == h.replies[token].generation_id == 2


def test_a_static_member_may_be_away_for_a_whole_rebalance() -> None:
    h = harness()
    first, second = static_group(h, session_ms=600_000, rebalance_ms=20_000)
    token = h.join(first, instance="i1", session_ms=600_000, rebalance_ms=20_000)
    h.advance(20_000)
    assert h.replies[token].generation_id == 2
    assert list(h.shard.groups["g"].members) == [first, second]
    assert {each.member_id for each in h.replies[token].members} == {first, second}


def test_a_group_whose_static_members_are_all_away_lasts_as_long_as_their_sessions() -> None:
    h = harness()
    first, second = static_group(h, session_ms=60_000, rebalance_ms=10_000)
    # A pending dynamic member starts a rebalance and never returns.
    new, token = h.join_known(session_ms=10_000, rebalance_ms=10_000)
    assert h.leave((new, None)) == [ErrorCode.NONE]
    assert error(h, token) is ErrorCode.UNKNOWN_MEMBER_ID
    h.advance(30_000)
    group = h.shard.groups["g"]
    assert (group.state, list(group.members)) == (GroupState.PREPARING_REBALANCE, [first, second])
    h.advance(60_000)
    assert group.state is GroupState.EMPTY


def test_an_administrator_removes_a_static_member_by_its_instance_id() -> None:
    h = harness()
    first, _ = static_group(h)
    assert h.leave(("", "i2"), ("", "i9")) == [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID]
    assert list(h.shard.groups["g"].members) == [first]
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE


def test_a_replacement_that_changes_the_protocol_starts_a_rebalance() -> None:
    h = harness()
    tokens = [
        h.join(instance="i1", protocols={"range": b"", "robin": b""}),
        h.join(instance="i2", protocols={"range": b"", "robin": b""}),
    ]
    h.advance(200)
    first, second = (h.replies[token].member_id for token in tokens)
    h.sync(first, 1, {first: b"A1"}, instance="i1")
    h.sync(second, 1, instance="i2")
    token = h.join(instance="i2", protocols={"robin": b""})
    assert token not in h.replies
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE


def test_a_replacement_during_sync_starts_a_rebalance() -> None:
    h = harness()
    tokens = [h.join(instance=instance) for instance in ("i1", "i2")]
    h.advance(200)
    second = h.replies[tokens[1]].member_id
    waiting = h.sync(second, 1, instance="i2")
    h.join(instance="i2")
    assert error(h, waiting) is ErrorCode.FENCED_INSTANCE_ID
    assert h.shard.groups["g"].state is GroupState.PREPARING_REBALANCE
