"""Groups with members of both protocols: on the way up, in between, and on the way down (KIP-848)."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from engine.core.group.consumer_protocol import read_assignment
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.wire import codec
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from engine.wire.messages.consumer_protocol_assignment import TopicPartition as AssignedPartition
from engine.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from engine.wire.messages.consumer_protocol_subscription import TopicPartition as OwnedPartition
from tests.unit.core.group.consumer_harness import NO_DELAYS, Consumer, ConsumerHarness, Partition, error, topic_id

T = {("t", number) for number in range(6)}


def subscription(*topics: str, owned: set[Partition] | None = None) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for topic, number in sorted(owned or ()):
        by_topic.setdefault(topic, []).append(number)
    message = ConsumerProtocolSubscription(
        topics=list(topics),
        owned_partitions=[OwnedPartition(topic=topic, partitions=numbers) for topic, numbers in by_topic.items()],
    )
    return pack(">h", 1) + codec.encode(message, 1)


def assignment(*numbers: int, user_data: bytes | None = None) -> bytes:
    parts = [AssignedPartition(topic="t", partitions=list(numbers))] if numbers else []
    return pack(">h", 1) + codec.encode(ConsumerProtocolAssignment(assigned_partitions=parts, user_data=user_data), 1)


def partitions(data: bytes) -> set[Partition]:
    return {(each.topic, number) for each in read_assignment(data).assigned_partitions for number in each.partitions}


class ClassicConsumer:
    """A client of the classic protocol: joins when it is told to, gives up first (cooperative)."""

    def __init__(self, h: ConsumerHarness, **more: Any) -> None:
        self.h = h
        self.more = more
        self.member_id = ""
        self.generation = -1
        self.owned: set[Partition] = set()
        self.rejoins = 0

    def enter(self) -> None:
        self.rejoins += 1
        protocols = {"cooperative-sticky": subscription("t", owned=self.owned)}
        token = self.h.join(self.member_id, protocols=protocols, rebalance_ms=60_000, **self.more)
        answer = self.h.replies[token]
        if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            self.enter()
            return
        assert answer.error_code == ErrorCode.NONE, ErrorCode(answer.error_code)
        self.member_id, self.generation = answer.member_id, answer.generation_id
        assert answer.protocol_name == "cooperative-sticky"
        instance = self.more.get("instance")
        synced = self.h.replies[
            self.h.sync(self.member_id, self.generation, protocol_name="cooperative-sticky", instance=instance)
        ]
        if synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
            return
        assert synced.error_code == ErrorCode.NONE, ErrorCode(synced.error_code)
        self.owned = partitions(synced.assignment)

    def beat(self) -> None:
        code = self.h.heartbeat(self.member_id, self.generation, instance=self.more.get("instance"))
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self.enter()
        elif code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION):
            self.member_id, self.owned = "", set()
            self.enter()
        else:
            assert code is ErrorCode.NONE, code


def classic_group(h: ConsumerHarness, *shares: tuple[int, ...]) -> list[ClassicConsumer]:
    """A stable classic group whose members have these partitions."""
    members = [ClassicConsumer(h) for _ in shares]
    tokens = {}
    for each in members:
        protocols = {"cooperative-sticky": subscription("t")}
        each.member_id, tokens[each.member_id] = h.join_known(protocols=protocols)
    h.advance(1)
    group = h.shard.groups["g"]
    while group.state is GroupState.PREPARING_REBALANCE:
        for each in members:
            if group.members[each.member_id].awaiting_join is None:
                h.join(each.member_id, protocols={"cooperative-sticky": subscription("t")})
    shared = {each.member_id: assignment(*share) for each, share in zip(members, shares, strict=True)}
    for each in sorted(members, key=lambda one: one.member_id != group.leader_id):
        each.generation = group.generation_id
        token = h.sync(each.member_id, each.generation, shared, protocol_name="cooperative-sticky")
        if token in h.replies:
            each.owned = partitions(h.replies[token].assignment)
    for each in members:
        token = h.sync(each.member_id, each.generation, protocol_name="cooperative-sticky")
        each.owned = partitions(h.replies[token].assignment)
    assert group.state is GroupState.STABLE
    return members


def settle(*members: Any) -> None:
    for _ in range(8):
        for each in members:
            each.beat()
        owned = [partition for each in members for partition in each.owned]
        assert len(owned) == len(set(owned)), "two owners (G1)"


def test_a_classic_group_goes_up_and_down_while_its_members_work() -> None:
    h = ConsumerHarness(t=6)
    a, b = classic_group(h, (0, 1, 2), (3, 4, 5))
    generation = a.generation
    h.commit({("t", 0): 7}, member_id=a.member_id, generation=generation)
    new = Consumer(h, "new")
    new.beat()
    assert not h.shard.groups and h.group.group_epoch == generation + 1
    assert new.owned == set() and {member.classic is None for member in h.group.members.values()} == {True, False}
    settle(a, b, new)
    assert {len(each.owned) for each in (a, b, new)} == {2}
    told = {each.member_id: each.member_type for each in h.describe().members}
    assert told == {a.member_id: 0, b.member_id: 0, "new": 1}
    assert h.fetch() == {("t", 0): 7}, "offsets stay"
    h.fail_over()
    settle(a, b, new)
    # Down again.
    new.leave()
    group = h.shard.groups["g"]
    assert not h.shard.consumer_groups and group.state is GroupState.PREPARING_REBALANCE
    h.fail_over()
    assert h.shard.groups["g"].state is GroupState.STABLE, "as it was written"
    assert {member.member_id for member in h.shard.groups["g"].members.values()} == {a.member_id, b.member_id}


def test_members_that_wait_for_a_generation_are_told_to_join_again() -> None:
    h = ConsumerHarness(t=6)
    first, second = classic_group(h, (0, 1, 2), (3, 4, 5))
    waiting = h.join(first.member_id, protocols={"cooperative-sticky": subscription("t", owned=first.owned)})
    assert waiting not in h.replies
    Consumer(h, "new").beat()
    assert error(h.replies[waiting]) is ErrorCode.REBALANCE_IN_PROGRESS
    assert set(h.group.members) == {first.member_id, second.member_id, "new"}


def test_what_a_classic_member_must_give_up_is_with_nobody_else_before_it_did() -> None:
    h = ConsumerHarness(t=6)
    (a,) = classic_group(h, (0, 1, 2, 3, 4, 5))
    new = Consumer(h, "new")
    for _ in range(3):
        new.beat()
    assert new.owned == set() and a.owned == T
    assert h.heartbeat(a.member_id, a.generation) is ErrorCode.REBALANCE_IN_PROGRESS
    a.enter()
    assert len(a.owned) == 3
    new.beat()
    assert new.owned == set(), "a has not said that it gave them up"
    a.beat()
    new.beat()
    assert new.owned == T - a.owned
    assert h.heartbeat(a.member_id, a.generation) is ErrorCode.NONE


def test_classic_members_that_do_not_come_back_are_out() -> None:
    h = ConsumerHarness(t=6)
    (a,) = classic_group(h, (0, 1, 2, 3, 4, 5))
    new = Consumer(h, "new")
    new.beat()
    for _ in range(13):
        h.advance(5_000)
        new.beat()
        # It lives, and does not join.
        h.heartbeat(a.member_id, a.generation)
    assert list(h.group.members) == ["new"]
    settle(new)
    assert new.owned == T


def test_a_classic_member_joins_a_consumer_group_and_syncs() -> None:
    h = ConsumerHarness(t=6)
    new, old = Consumer(h, "new"), ClassicConsumer(h)
    new.beat()
    old.enter()
    settle(new, old)
    assert len(new.owned) == len(old.owned) == 3
    member = old.member_id
    assert h.heartbeat(member, old.generation + 1) is ErrorCode.ILLEGAL_GENERATION
    assert h.heartbeat("new", new.epoch) is ErrorCode.UNKNOWN_MEMBER_ID, "that one speaks another protocol"
    wrong = h.replies[h.sync(member, old.generation, protocol_name="range")]
    assert error(wrong) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    number = min(old.owned)[1]

    def commit(epoch: int) -> ErrorCode:
        more: Any = {"member_id": member, "generation": epoch, "topic_id": topic_id("t"), "version": 8}
        return h.commit({("t", number): 1}, **more)[0]

    assert commit(old.generation) is ErrorCode.NONE
    assert commit(old.generation + 1) is ErrorCode.ILLEGAL_GENERATION
    refused = h.replies[h.join(protocols={"x": subscription("t")}, protocol_type="connect")]
    assert error(refused) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    refused = h.replies[h.join(protocols={"range": subscription("t")})]
    assert error(refused) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "the other classic member does not know range"
    assert h.leave((member, None)) == [ErrorCode.NONE]
    settle(new)
    assert new.owned == T


def test_the_last_static_member_that_joins_with_the_classic_protocol_takes_the_group_down() -> None:
    h = ConsumerHarness(t=6)
    one, two = Consumer(h, "one", instance="1"), ClassicConsumer(h, instance="2")
    one.beat()
    two.enter()
    settle(one, two)
    before = set(one.owned)
    again = ClassicConsumer(h, instance="1")
    again.enter()
    group = h.shard.groups["g"]
    assert not h.shard.consumer_groups and group.state is GroupState.STABLE
    assert again.owned == before, "it has the place, and the partitions"
    assert error(h.beat("one", one.epoch, instance="1")) is ErrorCode.GROUP_ID_NOT_FOUND
    h.fail_over()
    settle(two)


def test_the_first_static_member_that_joins_with_the_consumer_protocol_takes_the_group_up() -> None:
    h = ConsumerHarness(t=6)
    protocols = {"cooperative-sticky": subscription("t")}
    token = h.join(instance="1", protocols=protocols)
    h.advance(1)
    member = h.replies[token].member_id
    mine = {member: assignment(0, 1, 2, 3, 4, 5)}
    h.sync(member, 1, mine, instance="1", protocol_name="cooperative-sticky")
    again = Consumer(h, "again", instance="1")
    again.beat()
    assert again.owned == T and list(h.group.members) == ["again"]
    assert h.heartbeat(member, 1, instance="1") is ErrorCode.FENCED_INSTANCE_ID


@pytest.mark.parametrize(
    ("policy", "up", "down"),
    [("disabled", False, False), ("UPGRADE", True, False), ("downgrade", False, True), ("Bidirectional", True, True)],
)
def test_the_migration_policy_decides_for_groups_with_members(policy: str, up: bool, down: bool) -> None:
    limits = NO_DELAYS._replace(group_consumer_migration_policy=policy)
    h = ConsumerHarness(limits, t=6)
    classic_group(h, (0, 1, 2), (3, 4, 5))
    refused = h.beat("new", 0, topics=["t"], owned=(), rebalance_ms=1_000)
    assert error(refused) is (ErrorCode.NONE if up else ErrorCode.GROUP_ID_NOT_FOUND)
    assert ("g" in h.shard.consumer_groups) is up

    h = ConsumerHarness(limits, t=6)
    new = Consumer(h, "new")
    new.beat()
    if policy == "disabled":
        token = h.join(protocols={"cooperative-sticky": subscription("t")})
        assert error(h.replies[token]) is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        return
    old = ClassicConsumer(h)
    old.enter()
    new.leave()
    assert ("g" in h.shard.groups) is down


def test_groups_that_cannot_be_converted_stay_what_they_are() -> None:
    h = ConsumerHarness(t=6)
    h.stable_group(protocol_type="connect", protocols={"default": b"x"})
    for why in ("does not use the consumer embedded protocol",):
        refused = h.beat("new", 0, topics=["t"], owned=(), rebalance_ms=1_000)
        assert error(refused) is ErrorCode.GROUP_ID_NOT_FOUND and why in refused.error_message
    h = ConsumerHarness(t=6)
    h.stable_group()  # assignments that are no assignments
    refused = h.beat("new", 0, topics=["t"], owned=(), rebalance_ms=1_000)
    assert error(refused) is ErrorCode.GROUP_ID_NOT_FOUND and "malformed" in refused.error_message
    h = ConsumerHarness(t=6)
    member, token = h.join_known(protocols={"mine": subscription("t")})
    h.advance(1)
    h.sync(member, h.replies[token].generation_id, {member: assignment(0, user_data=b"!")}, protocol_name="mine")
    refused = h.beat("new", 0, topics=["t"], owned=(), rebalance_ms=1_000)
    assert error(refused) is ErrorCode.GROUP_ID_NOT_FOUND and "custom assignor" in refused.error_message
    assert h.shard.groups["g"].state is GroupState.STABLE


def test_empty_groups_become_what_their_next_member_makes_of_them() -> None:
    h = ConsumerHarness(NO_DELAYS._replace(group_consumer_migration_policy="disabled"), t=6)
    new = Consumer(h, "new")
    new.beat()
    h.commit({("t", 0): 7}, member_id="new", generation=new.epoch, topic_id=topic_id("t"))
    new.leave()
    refused = h.join("unknown")
    assert error(h.replies[refused]) is ErrorCode.UNKNOWN_MEMBER_ID and "g" in h.shard.consumer_groups
    old = h.stable_group()
    assert not h.shard.consumer_groups and h.fetch() == {("t", 0): 7}
    h.fail_over()
    assert h.leave((old[0], None)) == [ErrorCode.NONE]
    Consumer(h, "newer").beat()
    assert not h.shard.groups and h.fetch() == {("t", 0): 7}
