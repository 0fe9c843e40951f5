"""What no record can hold is refused before it becomes state: else the state would be ahead of the log."""

from __future__ import annotations

from typing import Any

import pytest
from group_harness import GroupHarness, subscription

from engine.core.group.context import GroupLimits
from engine.core.group.records import batch_bytes, group_metadata_record
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.record.builder import NewRecord, build_batch
from engine.wire.record_frames import encode_coordinator_key, encode_coordinator_value

ORDERS = ("orders", 0)
LONGEST = 32_767


def error(h: GroupHarness, token: int) -> ErrorCode:
    return ErrorCode(h.replies[token].error_code)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"group": "g" * (LONGEST + 1)}, ErrorCode.INVALID_GROUP_ID),
        ({"group": "ü" * (LONGEST // 2 + 1)}, ErrorCode.INVALID_GROUP_ID),
        ({"client": "c" * (LONGEST - 36)}, ErrorCode.INVALID_REQUEST),
        ({"instance": "i" * (LONGEST - 36)}, ErrorCode.INVALID_REQUEST),
        ({"protocol_type": "t" * (LONGEST + 1)}, ErrorCode.INVALID_REQUEST),
        ({"protocols": {"range": b"", "n" * (LONGEST + 1): b""}}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_join_with_a_name_that_no_record_can_hold_is_refused(arguments: dict[str, Any], expected: ErrorCode) -> None:
    h = GroupHarness()
    assert error(h, h.join(**arguments)) is expected
    assert not h.shard.groups and h.log == []


def test_the_longest_names_that_fit_are_written_and_loaded() -> None:
    h = GroupHarness()
    names = {"client": "c" * (LONGEST - 37), "group": "g" * LONGEST}
    (member_id,) = h.stable_group(**names)
    h.fail_over()
    assert len(member_id) == LONGEST
    assert h.heartbeat(member_id, 1, group=names["group"]) is ErrorCode.NONE


def test_a_commit_for_a_group_that_no_record_can_name_is_refused() -> None:
    h = GroupHarness()
    assert h.commit({ORDERS: 1}, group="g" * (LONGEST + 1)) == [ErrorCode.INVALID_GROUP_ID]
    assert h.commit({ORDERS: 1}, group="g" * LONGEST) == [ErrorCode.NONE]


@pytest.mark.parametrize(
    ("metadata", "fits"),
    [
        ("1234567890", True),
        ("12345678901", False),
        ("üüüüüüüüüü", True),
        # Java counts UTF-16 units.
        ("🦜" * 5, True),
        ("🦜" * 6, False),
        ("🦜" * 9, False),
    ],
)
def test_the_size_of_offset_metadata_is_that_of_a_java_string(metadata: str, fits: bool) -> None:
    h = GroupHarness(GroupLimits(offset_metadata_max_bytes=10))
    expected = ErrorCode.NONE if fits else ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert h.commit({ORDERS: 1}, metadata=metadata) == [expected]


def test_offset_metadata_that_no_record_can_hold_is_too_large_whatever_the_limit() -> None:
    h = GroupHarness(GroupLimits(offset_metadata_max_bytes=1_000_000))
    assert h.commit({ORDERS: 1}, metadata="m" * (LONGEST + 1)) == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    assert h.commit({ORDERS: 1}, metadata="m" * LONGEST) == [ErrorCode.NONE]


def test_an_assignment_that_does_not_fit_into_a_message_is_refused_and_the_group_goes_on() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100, message_max_bytes=10_000))
    leader, _ = h.join_known()
    follower, _ = h.join_known()
    h.advance(200)
    parked = h.sync(follower, 1)
    refused = h.sync(leader, 1, {leader: b"x" * 5_000, follower: b"y" * 5_000})
    assert error(h, refused) is error(h, parked) is ErrorCode.UNKNOWN_SERVER_ERROR
    group = h.shard.groups["g"]
    assert group.state is GroupState.PREPARING_REBALANCE
    note = next(note for note in reversed(h.notes) if note.kind is NoteKind.GROUP_REBALANCED)
    assert note.reason == "the assignment of generation 1 does not fit into a message"
    tokens = [h.join(leader), h.join(follower)]
    assert [h.replies[token].generation_id for token in tokens] == [2, 2]
    assert error(h, h.sync(leader, 2, {leader: b"x" * 4_000, follower: b"y" * 4_000})) is ErrorCode.NONE
    assert group.state is GroupState.STABLE


def test_a_static_member_that_comes_back_too_large_starts_a_rebalance() -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=0, message_max_bytes=10_000))
    token = h.join(instance="i")
    h.advance(0)
    h.sync(h.replies[token].member_id, 1, instance="i")
    token = h.join(instance="i", protocols={"range": subscription("orders") + b"x" * 10_000})
    assert h.replies[token].generation_id == 2
    refused = h.sync(h.replies[token].member_id, 2, instance="i")
    assert error(h, refused) is ErrorCode.UNKNOWN_SERVER_ERROR
    h.fail_over()
    assert h.shard.groups["g"].generation_id == 1


@pytest.mark.parametrize("size", [0, 1, 3])
def test_the_size_of_a_groups_record_is_not_underestimated(size: int) -> None:
    h = GroupHarness(GroupLimits(group_initial_rebalance_delay_ms=100))
    for number in range(size):
        h.join(group="grüppe" * 100, instance=f"ï{number}" * 200, protocols={"range": b"m" * 1_000})
    if size == 0:
        h.join(group="grüppe" * 100)
    h.advance(1_000)
    (group,) = h.shard.groups.values()
    if size:
        assert group.leader_id is not None
        h.sync(
            group.leader_id,
            1,
            {member_id: b"a" * 5_000 for member_id in group.members},
            group=group.group_id,
            instance=group.members[group.leader_id].group_instance_id,
        )
    record = group_metadata_record(group)
    assert record.value is not None
    value = encode_coordinator_value(record.value, record.value_version)
    exact = len(build_batch([NewRecord(encode_coordinator_key(record.key), value)]))
    assert exact <= batch_bytes(group) <= exact + 200 + 16 * size
