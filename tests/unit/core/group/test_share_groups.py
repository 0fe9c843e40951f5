"""Share groups (KIP-932): members, what they are assigned, and what the share coordinator is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.records import ShareStatesToInitialize
from engine.core.group.share_assignor import SharingMember, assign_shared
from engine.core.group.share_group import ShareGroup, StateTopic
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from tests.unit.core.group.consumer_harness import ConsumerHarness, assigned, topic_id

LIMITS = GroupLimits(
    group_initial_rebalance_delay_ms=0, group_share_assignment_interval_ms=0, group_consumer_assignment_interval_ms=0
)


class ShareHarness(ConsumerHarness):
    """Members of share group ``g``; the share coordinator does what it is asked when :meth:`initialize` is called."""

    def __init__(self, limits: GroupLimits = LIMITS, **counts: int) -> None:
        self.asked: list[ShareStatesToInitialize] = []
        super().__init__(limits, **counts)

    def perform(self, effects: Any) -> None:
        self.asked += effects.send
        super().perform(effects)

    @property
    def share_group(self) -> ShareGroup:
        return self.shard.share_groups["g"]

    def check_law(self) -> None:
        super().check_law()
        live: Any = self.shard.durable_state()["share_groups"]
        assert live == self.replayed().durable_state()["share_groups"]

    def share(self, member_id: str, epoch: int, topics: Sequence[str] | None = None, group: str = "g") -> Any:
        """One ShareGroupHeartbeat; its answer."""
        token = self.token()
        request = ShareGroupHeartbeatRequest(
            group_id=group,
            member_id=member_id,
            member_epoch=epoch,
            subscribed_topic_names=None if topics is None else list(topics),
        )
        context = ClientContext(1, "c", "/127.0.0.1")
        self.perform(self.shard.handle_share_group_heartbeat(context, request, self.now, token))
        return self.replies[token]

    def initialize(self) -> None:
        """The share coordinator has done all that it was asked for."""
        while self.asked:
            each = self.asked.pop(0)
            self.perform(self.shard.on_share_states_initialized(each.group_id, each.topics))

    def enter(self, member_id: str, *topics: str, **more: Any) -> Any:
        answer = self.share(member_id, 0, topics or ("t",))
        assert answer.error_code == ErrorCode.NONE, answer.error_message
        self.initialize()
        return self.share(member_id, answer.member_epoch)


def test_partitions_are_assigned_once_the_share_coordinator_has_them() -> None:
    harness = ShareHarness(t=2)
    answer = harness.share("a", 0, ["t"])
    assert assigned(answer) == set()
    [asked] = harness.asked
    assert asked.topics == {topic_id("t"): StateTopic("t", frozenset({0, 1}))}
    assert asked.state_epoch == harness.share_group.group_epoch
    answer = harness.share("a", answer.member_epoch)
    assert answer.assignment is None and len(harness.asked) == 1, "it is not asked twice"
    harness.initialize()
    answer = harness.share("a", answer.member_epoch)
    assert assigned(answer) == {("t", 0), ("t", 1)}
    assert harness.share("a", answer.member_epoch).assignment is None


def test_what_is_not_initialized_in_time_is_asked_for_again() -> None:
    harness = ShareHarness(t=1)
    epoch = harness.share("a", 0, ["t"]).member_epoch
    harness.now_ms += LIMITS.group_share_initialize_retry_interval_ms - 1
    harness.share("a", epoch)
    assert len(harness.asked) == 1
    harness.now_ms += 1
    harness.share("a", epoch)
    assert len(harness.asked) == 2
    harness.initialize()
    assert not harness.share_group.initializing and topic_id("t") in harness.share_group.initialized


def test_new_partitions_of_a_topic_are_read_too() -> None:
    harness = ShareHarness(t=1)
    epoch = harness.enter("a").member_epoch
    harness.set_topics(t=3)
    epoch = harness.share("a", epoch).member_epoch
    [asked] = harness.asked
    assert asked.topics[topic_id("t")].partitions == {1, 2}
    harness.initialize()
    assert assigned(harness.share("a", epoch)) == {("t", 0), ("t", 1), ("t", 2)}


def test_a_deleted_topic_is_forgotten() -> None:
    harness = ShareHarness(t=1, u=1)
    epoch = harness.enter("a", "t", "u").member_epoch
    harness.set_topics(t=0)
    assert assigned(harness.share("a", epoch)) == {("u", 0)}
    assert list(harness.share_group.initialized) == [topic_id("u")]


def test_members_share_and_leave() -> None:
    harness = ShareHarness(t=1)
    harness.enter("a")
    answer = harness.enter("b")
    assert harness.share_group.state == "Stable"
    [described] = harness.shard.describe_share_groups(["g"])
    assert [each.assignment.topic_partitions[0].partitions for each in described.members] == [[0], [0]]
    assert harness.share("b", -1).error_code == ErrorCode.NONE
    assert harness.share("b", answer.member_epoch).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    harness.now_ms += LIMITS.group_share_session_timeout_ms
    harness.perform(harness.shard.on_timer(harness.now))
    assert harness.share_group.state == "Empty"


def test_an_epoch_of_the_past_but_one_is_fenced() -> None:
    harness = ShareHarness(t=1)
    epoch = harness.enter("a").member_epoch
    assert harness.share("a", epoch - 1).error_code == ErrorCode.NONE, "the answer may have been lost"
    assert harness.share("a", epoch - 2).error_code == ErrorCode.FENCED_MEMBER_EPOCH
    assert harness.share("a", epoch + 1).error_code == ErrorCode.FENCED_MEMBER_EPOCH


def test_a_group_is_of_one_type() -> None:
    harness = ShareHarness(t=1)
    harness.enter("a")
    assert harness.beat("b", 0, topics=("t",), owned=(), rebalance_ms=1).error_code == ErrorCode.GROUP_ID_NOT_FOUND
    ConsumerHarness.enter(harness, "c", group="k")
    assert harness.share("a", 0, ["t"], group="k").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    listed = harness.shard.list_groups([], ["share"])
    assert [(each.group_id, each.group_type, each.protocol_type) for each in listed] == [("g", "share", "share")]


def test_requests_that_make_no_sense() -> None:
    harness = ShareHarness(t=1)
    assert harness.share("", 0, ["t"]).error_code == ErrorCode.INVALID_REQUEST
    assert harness.share("a", 0).error_code == ErrorCode.INVALID_REQUEST
    assert harness.share("a", -2, ["t"]).error_code == ErrorCode.INVALID_REQUEST
    assert harness.share("a", 3).error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert not harness.log


def test_offsets_of_an_empty_group_begin_anew_or_go() -> None:
    harness = ShareHarness(t=1, u=1)
    epoch = harness.enter("a", "t", "u").member_epoch
    topics = {topic_id("t"): StateTopic("t", frozenset({0}))}

    def ask(what: str, *arguments: Any) -> Any:
        token = harness.token()
        harness.perform(getattr(harness.shard, f"handle_{what}_share_offsets")("g", *arguments, token))
        return harness.replies[token]

    refused = ask("alter", topics, harness.now)
    assert isinstance(refused, KafkaError) and refused.code is ErrorCode.NON_EMPTY_GROUP
    harness.share("a", -1)
    before = harness.share_group.group_epoch
    assert ask("alter", topics, harness.now) == before + 1 > epoch
    assert list(harness.share_group.initializing) == [topic_id("t")]
    harness.perform(harness.shard.on_share_states_initialized("g", topics))
    going = ask("delete", [topic_id("t")])
    assert going == topics
    assert harness.share_group.deleting == {topic_id("t"): "t"}
    harness.perform(harness.shard.on_share_states_deleted("g", [topic_id("t")]))
    assert not harness.share_group.deleting and list(harness.share_group.initialized) == [topic_id("u")]


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.sets(st.sampled_from("tuv")), min_size=1),
    st.dictionaries(st.sampled_from("tuv"), st.integers(0, 5)),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_everything_is_read_and_everybody_reads(
    subscriptions: dict[str, set[str]], counts: dict[str, int], again: bool
) -> None:
    partitions = {topic_id(name): range(count) for name, count in counts.items() if count}
    members = {
        member_id: SharingMember(frozenset(topic_id(name) for name in names), {})
        for member_id, names in subscriptions.items()
    }
    targets = assign_shared(members, partitions)
    if again:
        settled = {each: member._replace(assigned=targets[each]) for each, member in members.items()}
        assert assign_shared(settled, partitions) == targets, "nothing changed: nobody moves"
    for topic, numbers in partitions.items():
        readers = [each for each, member in members.items() if topic in member.topic_ids]
        for number in numbers:
            assert not readers or any(number in targets[each].get(topic, ()) for each in readers)
    for member_id, member in members.items():
        assert targets[member_id].keys() <= member.topic_ids
        assert bool(targets[member_id]) == any(topic in partitions for topic in member.topic_ids)
    loads = [sum(map(len, target.values())) for target in targets.values()]
    if len({frozenset(each) for each in subscriptions.values()}) == 1:
        assert max(loads) - min(loads) <= 1
