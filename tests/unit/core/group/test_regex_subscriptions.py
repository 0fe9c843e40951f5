"""Subscriptions by regular expression: resolved by the coordinator, again when topics come (KIP-848)."""

from __future__ import annotations

from engine.core.group.context import GroupLimits
from engine.model.errors import ErrorCode
from tests.unit.core.group.consumer_harness import NO_DELAYS, Consumer, ConsumerHarness, assigned, error


def enter(h: ConsumerHarness, member_id: str, regex: str, **more: object) -> None:
    answer = h.beat(member_id, 0, regex=regex, owned=(), rebalance_ms=60_000, **more)  # type: ignore[arg-type]
    assert error(answer) is ErrorCode.NONE, answer.error_message


def test_an_expression_is_resolved_after_the_heartbeat_that_brings_it() -> None:
    h = ConsumerHarness(**{"orders-a": 1, "orders-b": 1, "other": 1})
    enter(h, "a", "orders-.*")
    assert h.group.resolved_regexes == {}
    h.advance(5)
    assert h.group.resolved_regexes["orders-.*"].topics == {"orders-a", "orders-b"}
    answer = h.beat("a", h.group.members["a"].member_epoch)
    assert assigned(answer) == {("orders-a", 0), ("orders-b", 0)}
    told = h.describe().members[0]
    assert told.subscribed_topic_regex == "orders-.*" and told.subscribed_topic_names == []


def test_new_topics_are_found_but_not_more_often_than_every_ten_seconds() -> None:
    h = ConsumerHarness(**{"orders-a": 1})
    enter(h, "a", "orders-.*")
    h.advance(5)
    h.set_topics(**{"orders-b": 1})
    member = h.group.members["a"].member_epoch
    member = h.beat("a", member).member_epoch
    h.advance(5_000)
    member = h.beat("a", member).member_epoch
    h.advance(5)
    assert h.group.resolved_regexes["orders-.*"].topics == {"orders-a"}
    h.advance(5_000)
    member = h.beat("a", member).member_epoch
    h.advance(5)
    answer = h.beat("a", member)
    assert assigned(answer) == {("orders-a", 0), ("orders-b", 0)}


def test_an_expression_is_matched_again_after_the_refresh_interval() -> None:
    h = ConsumerHarness(NO_DELAYS._replace(group_consumer_regex_refresh_interval_ms=20_000), **{"orders-a": 1})
    enter(h, "a", "orders-.*")
    h.advance(5)
    before = h.group.resolved_regexes["orders-.*"].timestamp_ms
    for _ in range(3):
        h.advance(10_000)
        h.beat("a", h.group.members["a"].member_epoch)
    h.advance(5)
    assert h.group.resolved_regexes["orders-.*"].timestamp_ms > before
    assert h.group.group_epoch == 2, "nothing changed, nobody moves"


def test_a_wrong_expression_is_refused() -> None:
    h = ConsumerHarness(t=1)
    answer = h.beat("a", 0, regex="(", owned=(), rebalance_ms=1_000)
    assert error(answer) is ErrorCode.INVALID_REGULAR_EXPRESSION and "missing closing )" in answer.error_message
    assert not h.log


def test_members_of_one_expression_share_and_its_end_is_written_when_the_last_one_goes() -> None:
    h = ConsumerHarness(**{"orders-a": 4, "other": 1})
    a, b = (Consumer(h, name, (), regex="orders-.*") for name in "ab")
    a.topics = b.topics = None  # type: ignore[assignment]
    for _ in range(6):
        for each in (a, b):
            each.beat()
            h.advance(5)
    assert len(a.owned) == len(b.owned) == 2
    a.leave()
    assert "orders-.*" in h.group.resolved_regexes
    b.beat()
    answer = h.beat("b", b.epoch, topics=["other"], regex="", owned=b.owned)
    assert error(answer) is ErrorCode.NONE
    assert h.group.resolved_regexes == {} and h.group.regex_subscribers == {}
    h.fail_over()
    assert h.group.resolved_regexes == {}


def test_names_and_an_expression_together() -> None:
    h = ConsumerHarness(**{"orders-a": 1, "other": 1})
    answer = h.beat("a", 0, topics=["other"], regex="orders-.*", owned=(), rebalance_ms=1_000)
    assert assigned(answer) == {("other", 0)}
    h.advance(5)
    assert assigned(h.beat("a", answer.member_epoch)) == {("orders-a", 0), ("other", 0)}


def test_many_topics_and_a_hostile_expression_are_matched_in_pieces() -> None:
    """Each piece is one input of the shard: heartbeats and commits of others go between."""
    topics = {f"topic-{number:05}-{'a' * 100}": 1 for number in range(2_000)}
    h = ConsumerHarness(GroupLimits(group_consumer_assignment_interval_ms=0), **topics)
    enter(h, "a", "(.*a){20}b")
    pieces = 0
    while "(.*a){20}b" not in h.group.resolved_regexes:
        deadline = h.shard.next_deadline_ms()
        assert deadline is not None and deadline <= h.now_ms + 2
        h.now_ms = deadline
        h.perform(h.shard.on_timer(h.now))
        pieces += 1
    assert pieces > 5
    assert h.group.resolved_regexes["(.*a){20}b"].topics == frozenset()


def test_another_coordinator_resolves_what_the_last_one_did_not_come_to() -> None:
    h = ConsumerHarness(**{"orders-a": 1})
    enter(h, "a", "orders-.*")
    h.fail_over()
    assert h.group.resolved_regexes == {}
    answer = h.beat("a", h.group.members["a"].member_epoch)
    h.advance(5)
    assert assigned(h.beat("a", answer.member_epoch)) == {("orders-a", 0)}
