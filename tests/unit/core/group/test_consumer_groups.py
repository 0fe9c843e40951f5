"""Consumer groups (KIP-848): epochs, reconciliation, fencing, static members, expiry, offsets."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.group.consumer_group import ConsumerGroupState
from engine.core.group.context import ClientContext
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from tests.unit.core.group.consumer_harness import NO_DELAYS, Consumer, ConsumerHarness, assigned, error, topic_id

T = {("t", number) for number in range(6)}


def all_of(*members: Any) -> None:
    """Heartbeats until nothing moves any more."""
    for _ in range(6):
        for each in members:
            each.beat()


# -- joining and reconciling --------------------------------------------------------------------------------------


def test_the_first_member_gets_everything_at_once() -> None:
    h = ConsumerHarness(t=6)
    answer = h.enter("a")
    assert assigned(answer) == T and answer.member_epoch == 2 and answer.heartbeat_interval_ms == 5_000
    assert h.group.state is ConsumerGroupState.STABLE
    kinds = [note.kind for note in h.notes]
    assert kinds == [NoteKind.GROUP_CREATED, NoteKind.MEMBER_JOINED, NoteKind.GROUP_REBALANCED, NoteKind.GROUP_STABLE]


def test_a_partition_goes_to_another_member_only_when_it_was_given_up() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    assert assigned(h.enter("b")) == set(), "all six are with a"
    assert h.group.state is ConsumerGroupState.RECONCILING
    told = h.beat("a", 2)
    assert assigned(told) == {("t", 0), ("t", 1), ("t", 2)} and told.member_epoch == 2, "it stays in its epoch"
    assert assigned(h.beat("b", 3)) is None
    assert h.beat("a", 2).member_epoch == 2, "saying nothing is not giving up"
    assert h.beat("a", 2, owned=T).member_epoch == 2
    done = h.beat("a", 2, owned=[("t", 0), ("t", 1), ("t", 2)])
    assert done.member_epoch == 3
    assert assigned(h.beat("b", 3)) == {("t", 3), ("t", 4), ("t", 5)}
    assert h.group.state is ConsumerGroupState.STABLE


def test_a_member_that_does_not_give_up_in_time_is_out() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    b = Consumer(h, "b")
    for _ in range(7):
        b.beat()
        answer = h.beat("a", 2)
        h.advance(10_000)
    assert error(answer) is ErrorCode.UNKNOWN_MEMBER_ID and "a" not in h.group.members
    b.beat()
    assert b.owned == T and b.epoch == 4 and not b.errors


def test_a_silent_member_expires_and_the_others_get_its_partitions() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    h.advance(30_000)
    h.enter("b")
    h.advance(20_000)
    assert list(h.group.members) == ["b"]
    assert assigned(h.beat("b", 3)) == T
    assert error(h.beat("a", 2)) is ErrorCode.UNKNOWN_MEMBER_ID
    h.advance(50_000)
    assert h.group.state is ConsumerGroupState.EMPTY


def test_targets_are_computed_once_in_the_assignment_interval() -> None:
    h = ConsumerHarness(NO_DELAYS._replace(group_consumer_assignment_interval_ms=1_000), t=6)
    h.enter("a")
    answer = h.enter("b")
    assert answer.member_epoch == 2 and assigned(answer) == set()
    assert h.group.state is ConsumerGroupState.ASSIGNING and h.group.assignment_epoch == 2
    h.advance(1_000)
    h.beat("b", 2)
    assert h.group.assignment_epoch == h.group.group_epoch == 3


def test_configs_of_a_group_count_within_the_brokers_bounds() -> None:
    h = ConsumerHarness(t=1)
    h.configs["g"] = {"consumer.heartbeat.interval.ms": "7000", "consumer.session.timeout.ms": "50000"}
    assert h.enter("a").heartbeat_interval_ms == 7_000
    h.advance(49_000)
    assert "a" in h.group.members
    h.advance(2_000)
    assert h.group.is_empty
    h.configs["g"] = {"consumer.heartbeat.interval.ms": "1"}
    assert h.enter("a").heartbeat_interval_ms == 5_000


def test_new_partitions_and_deleted_topics_make_another_target() -> None:
    h = ConsumerHarness(t=2, u=1)
    h.enter("a", "t", "u")
    h.set_topics(other=3)
    h.beat("a", 2)
    assert h.group.group_epoch == 2, "not one of its topics"
    h.set_topics(t=4)
    answer = h.beat("a", 2)
    assert answer.member_epoch == 3 and assigned(answer) == {("t", 0), ("t", 1), ("t", 2), ("t", 3), ("u", 0)}
    h.set_topics(u=0)
    h.beat("a", 3)
    answer = h.beat("a", 3, owned=[("t", number) for number in range(4)])
    assert answer.member_epoch == 4 and h.group.members["a"].pending_revocation == {}


def test_a_member_that_unsubscribes_gives_up_before_there_is_another_target() -> None:
    h = ConsumerHarness(NO_DELAYS._replace(group_consumer_assignment_interval_ms=10_000), t=1, u=1)
    h.enter("a", "t", "u")
    answer = h.beat("a", 2, topics=["t"], owned=[("t", 0), ("u", 0)])
    assert assigned(answer) == {("t", 0)} and answer.member_epoch == 2
    assert h.group.assignment_epoch == 2 and h.group.group_epoch == 3


def test_the_assignor_that_most_members_ask_for_is_taken() -> None:
    h = ConsumerHarness(t=4, u=4)
    h.enter("a", "t", "u", assignor="range")
    assert h.describe().assignor_name == "range"
    one = Consumer(h, "b", ("t", "u"), assignor="uniform")
    h.beat("a", -1)
    all_of(one)
    assert h.describe().assignor_name == "uniform"
    refused = h.beat("c", 0, topics=["t"], owned=(), rebalance_ms=1, assignor="mine")
    assert error(refused) is ErrorCode.UNSUPPORTED_ASSIGNOR and "uniform, range" in refused.error_message


@pytest.mark.parametrize(
    "wrong",
    [
        {"member_id": ""},
        {"member_id": "a", "rebalance_ms": -1},
        {"member_id": "a", "owned": [("t", 0)]},
        {"member_id": "a", "owned": None},
        {"member_id": "a", "topics": None},
        {"member_id": "a", "epoch": -3},
        {"member_id": "a", "epoch": -2},
        {"member_id": "a", "instance": " "},
        {"member_id": "a", "rack": ""},
        {"member_id": "a", "group": ""},
        {"member_id": "m" * 40_000},
        {"member_id": "a", "topics": ["x" * 2_000_000]},
    ],
)
def test_wrong_requests_are_refused_and_leave_no_trace(wrong: dict[str, Any]) -> None:
    h = ConsumerHarness(t=1)
    right: dict[str, Any] = {"epoch": 0, "topics": ["t"], "owned": (), "rebalance_ms": 1_000}
    assert error(h.beat(**{**right, **wrong})) is ErrorCode.INVALID_REQUEST
    assert not h.log and not h.shard.consumer_groups


def test_a_full_group_takes_nobody_new() -> None:
    h = ConsumerHarness(NO_DELAYS._replace(group_consumer_max_size=1), t=1)
    h.enter("a")
    answer = h.beat("b", 0, topics=["t"], owned=(), rebalance_ms=1_000)
    assert error(answer) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert error(h.beat("a", 2)) is ErrorCode.NONE


# -- fencing ------------------------------------------------------------------------------------------------------


def test_epochs_that_are_not_the_members_fence() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    for epoch in (1, 3):
        assert error(h.beat("a", epoch)) is ErrorCode.FENCED_MEMBER_EPOCH
    assert error(h.beat("nobody", 2)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert error(h.beat("a", 2, group="other")) is ErrorCode.GROUP_ID_NOT_FOUND
    assert error(h.beat("a", -1, group="other")) is ErrorCode.GROUP_ID_NOT_FOUND
    assert error(h.beat("nobody", -1)) is ErrorCode.UNKNOWN_MEMBER_ID
    # One that was fenced, or lost the answer, begins again with what it had.
    assert assigned(h.enter("a")) == T


def test_the_former_epoch_is_taken_when_the_answer_may_have_been_lost() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    h.enter("b")
    h.beat("a", 2)
    owned = [("t", 0), ("t", 1), ("t", 2)]
    assert h.beat("a", 2, owned=owned).member_epoch == 3
    assert h.beat("a", 2, owned=owned).member_epoch == 3
    assert error(h.beat("a", 2)) is ErrorCode.FENCED_MEMBER_EPOCH
    assert error(h.beat("a", 2, owned=T)) is ErrorCode.FENCED_MEMBER_EPOCH


# -- static members -----------------------------------------------------------------------------------------------


def test_a_static_member_that_left_for_a_while_gets_its_partitions_back() -> None:
    h = ConsumerHarness(t=6)
    a, b = Consumer(h, "a", instance="1"), Consumer(h, "b", instance="2")
    all_of(a, b)
    before, epoch = set(a.owned), h.group.group_epoch
    a.leave(-2)
    all_of(b)
    assert h.group.group_epoch == epoch and len(b.owned) == 3, "nobody gets them meanwhile"
    again = Consumer(h, "c", instance="1")
    again.beat()
    assert again.owned == before and h.group.group_epoch == epoch
    assert error(h.beat("a", 3, instance="1")) is ErrorCode.FENCED_INSTANCE_ID
    assert set(h.group.members) == {"b", "c"}


def test_a_static_member_that_stays_away_loses_its_place_when_its_session_ends() -> None:
    h = ConsumerHarness(t=6)
    a, b = Consumer(h, "a", instance="1"), Consumer(h, "b")
    all_of(a, b)
    a.leave(-2)
    for _ in range(5):
        h.advance(10_000)
        b.beat()
    all_of(b)
    assert b.owned == T and not h.group.static_members


def test_two_clients_with_one_instance_id_do_not_both_enter() -> None:
    h = ConsumerHarness(t=2)
    h.enter("a", instance="1")
    refused = h.beat("b", 0, topics=["t"], owned=(), rebalance_ms=1_000, instance="1")
    assert error(refused) is ErrorCode.UNRELEASED_INSTANCE_ID
    assert error(h.beat("a", 2, instance="1")) is ErrorCode.NONE
    assert error(h.beat("a", 2, instance="other")) is ErrorCode.UNKNOWN_MEMBER_ID


def test_an_administrator_removes_members_of_the_consumer_protocol() -> None:
    h = ConsumerHarness(t=2)
    h.enter("a", instance="1")
    h.enter("b")
    codes = h.leave(("", "1"), ("b", None), ("c", None), ("x", "1"))
    none, unknown, fenced = ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID
    assert codes == [none, none, unknown, fenced]
    assert h.group.state is ConsumerGroupState.EMPTY


# -- failover -----------------------------------------------------------------------------------------------------


def test_another_coordinator_goes_on_where_this_one_was() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a")
    h.enter("b")
    h.beat("a", 2)
    h.fail_over()
    assert h.beat("a", 2, owned=[("t", 0), ("t", 1), ("t", 2)]).member_epoch == 3
    h.fail_over()
    assert assigned(h.beat("b", 3)) == {("t", 3), ("t", 4), ("t", 5)}
    h.fail_over()
    h.advance(46_000)
    assert h.group.is_empty, "sessions begin anew, and end"


def test_what_kafka_before_4_1_wrote_of_topics_is_taken_away() -> None:
    from engine.wire.messages.consumer_group_partition_metadata_key import ConsumerGroupPartitionMetadataKey
    from engine.wire.messages.consumer_group_partition_metadata_value import ConsumerGroupPartitionMetadataValue
    from engine.wire.record_frames import encode_coordinator_key, encode_coordinator_value

    h = ConsumerHarness(t=1)
    h.enter("a")
    key, value = ConsumerGroupPartitionMetadataKey(group_id="g"), ConsumerGroupPartitionMetadataValue()
    h.log.append((encode_coordinator_key(key), encode_coordinator_value(value, 0), -1))
    h.fail_over()
    h.beat("a", 2)
    assert h.log[-1][:2] == (encode_coordinator_key(key), None)


# -- offsets ------------------------------------------------------------------------------------------------------


def test_commits_need_the_epoch_in_which_the_partition_was_given() -> None:
    h = ConsumerHarness(t=6)
    a, b = Consumer(h, "a"), Consumer(h, "b")
    a.beat()
    all_of(a, b)
    assert a.epoch == b.epoch == 3

    def commit(member: str, epoch: int, partition: int, version: int = 10) -> ErrorCode:
        offsets = {("t", partition): 7}
        (code,) = h.commit(offsets, member_id=member, generation=epoch, version=version, topic_id=topic_id("t"))
        return code

    mine, other = min(a.owned)[1], min(b.owned)[1]
    assert commit("a", 3, mine) is ErrorCode.NONE
    assert commit("a", 2, mine) is ErrorCode.NONE, "it has had that one since epoch 2 (KIP-1251)"
    assert commit("a", 2, other) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit("b", 2, other) is ErrorCode.STALE_MEMBER_EPOCH, "b got it in epoch 3"
    assert commit("a", 4, mine) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit("", -1, mine) is ErrorCode.UNKNOWN_MEMBER_ID
    assert commit("a", 3, mine, version=8) is ErrorCode.UNSUPPORTED_VERSION


def test_fetches_of_members_need_their_epoch() -> None:
    h = ConsumerHarness(t=1)
    h.enter("a")
    h.commit({("t", 0): 5}, member_id="a", generation=2, topic_id=topic_id("t"))

    def fetch(member_id: str | None, epoch: int) -> Any:
        token = h.token()
        topics = [OffsetFetchRequestTopics(name="t", partition_indexes=[0])]
        request = OffsetFetchRequestGroup(group_id="g", member_id=member_id, member_epoch=epoch, topics=topics)
        h.perform(h.shard.handle_offset_fetch(request, False, token))
        return h.replies[token]

    assert fetch("a", 2).topics[0].partitions[0].committed_offset == 5
    assert fetch(None, -1).topics[0].partitions[0].committed_offset == 5
    assert error(fetch("a", 1)) is ErrorCode.STALE_MEMBER_EPOCH
    assert error(fetch("b", 2)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_offsets_of_a_consumer_group_expire_and_so_does_the_group() -> None:
    limits = NO_DELAYS._replace(offsets_retention_ms=3_600_000)
    h = ConsumerHarness(limits, t=1, u=1)
    h.enter("a", "t", "u")
    h.commit({("t", 0): 5, ("u", 0): 6}, member_id="a", generation=2, topic_id=topic_id("t"))
    h.beat("a", 2, topics=["t"])
    for _ in range(200):
        h.advance(30_000)
        h.beat("a", h.group.members["a"].member_epoch, owned=[("t", 0)])
    assert h.fetch() == {("t", 0): 5}, "nobody subscribes to the other"
    h.advance(3 * 3_600_000)
    assert not h.shard.consumer_groups and h.fetch() == {}
    assert h.notes[-1].kind is NoteKind.GROUP_DELETED


def test_a_simple_group_becomes_a_consumer_group_and_keeps_its_offsets() -> None:
    h = ConsumerHarness(t=1)
    h.commit({("t", 0): 5})
    h.enter("a")
    assert not h.shard.groups and h.fetch() == {("t", 0): 5}
    h.fail_over()
    assert h.fetch() == {("t", 0): 5} and "a" in h.group.members


# -- administration -----------------------------------------------------------------------------------------------


def test_groups_of_both_types_are_listed_and_described() -> None:
    h = ConsumerHarness(t=6)
    h.enter("a", rack="r")
    h.enter("b", instance="i")
    h.stable_group(group="old")
    listed = [(each.group_id, each.group_type, each.group_state) for each in h.shard.list_groups([], [])]
    assert listed == [("g", "consumer", "Reconciling"), ("old", "classic", "Stable")]
    assert [each.group_id for each in h.shard.list_groups([], ["consumer"])] == ["g"]
    assert [each.group_id for each in h.shard.list_groups(["stable"], [])] == ["old"]
    told = h.describe()
    assert (told.group_epoch, told.assignment_epoch, told.assignor_name) == (3, 3, "uniform")
    one, two = told.members
    assert [part.partitions for part in one.assignment.topic_partitions] == [[0, 1, 2, 3, 4, 5]]
    assert [part.partitions for part in one.target_assignment.topic_partitions] == [[0, 1, 2]]
    assert two.instance_id == "i" and two.assignment.topic_partitions == [] and two.member_type == 1
    assert error(h.describe("old")) is ErrorCode.GROUP_ID_NOT_FOUND
    (classic,) = h.shard.describe_groups(ClientContext(6, "c", "/h"), ["g"])
    assert classic.error_code == ErrorCode.GROUP_ID_NOT_FOUND and classic.group_state == "Dead"


def test_an_empty_consumer_group_is_deleted_and_one_with_members_is_not() -> None:
    h = ConsumerHarness(t=1)
    h.enter("a")
    h.commit({("t", 0): 5}, member_id="a", generation=2, topic_id=topic_id("t"))

    def delete() -> ErrorCode:
        token = h.token()
        h.perform(h.shard.handle_delete_groups(["g"], token))
        return ErrorCode(h.replies[token][0].error_code)

    assert delete() is ErrorCode.NON_EMPTY_GROUP
    h.beat("a", -1)
    assert delete() is ErrorCode.NONE
    assert not h.shard.consumer_groups and h.fetch() == {}
    assert delete() is ErrorCode.GROUP_ID_NOT_FOUND
    h.fail_over()
    assert not h.shard.consumer_groups and not h.shard.groups
