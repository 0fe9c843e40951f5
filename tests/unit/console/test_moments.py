"""Times as people write them, the bar, and what is different between two moments."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from console.viewmodel.difference import differences
from console.viewmodel.moments import Moment, parse_moment, scrub_line, scrub_moment, where_words, window
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, GroupState, PartitionState, Source, TopicState

# 2026-11-24 14:00:00 UTC
END_MS = 1_795_528_800_000
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    os.environ.pop("TZ", None)
    time.tzset()


def moment(at_ms: int, **more: object) -> Moment:
    whole = Moment(at_ms, END_MS - 5 * HOUR_MS, END_MS, at_ms - 200, 3, 12, 1_000, False, END_MS)
    return whole._replace(**more)


@pytest.mark.parametrize(
    ("written", "ago_ms"),
    [
        ("13:58", 120_000),
        ("13:59:59.5", 500),
        ("23:00", 15 * HOUR_MS),
        ("2026-11-24 13:00:01", HOUR_MS - 1_000),
        ("2026-11-24T13:00", HOUR_MS),
        ("-5m", 60_000 + 300_000),
        ("5m ago", 60_000 + 300_000),
        ("+10s", 50_000),
        ("start", 5 * HOUR_MS),
        ("end", 0),
    ],
)
def test_moments_as_people_write_them(written: str, ago_ms: int) -> None:
    here = END_MS - 60_000
    assert END_MS - parse_moment(written, here, END_MS - 5 * HOUR_MS, END_MS) == ago_ms


def test_what_is_no_moment_says_what_is() -> None:
    with pytest.raises(ValueError, match="'soon' is no moment: a time"):
        parse_moment("soon", 0, 0, END_MS)


def words(cells: object) -> str:
    return "".join(span.text for span in cells)  # type: ignore[attr-defined]


def test_the_bar_says_when_this_is_and_how_exact() -> None:
    left, right = where_words(moment(END_MS - 90_000), END_MS)
    assert words(left) == "◀ PAST 13:58:30.000  90s ago  event 3/12" and "~ now" in words(right)
    attached, _ = where_words(moment(END_MS - 90_000, attached=True, picture_at_ms=END_MS - 93_000), END_MS)
    assert words(attached).endswith("picture of 3.0 s before  sampled each 1 s")
    gone, _ = where_words(moment(END_MS - 90_000, gap=True, picture_at_ms=END_MS - HOUR_MS), END_MS)
    assert "nothing recorded for 58m" in words(gone)
    bundle, keys = where_words(moment(END_MS - 90_000, present_ms=None), END_MS + 48 * HOUR_MS)
    assert words(bundle).startswith("◀ RECORD 2026-11-24 13:58:30.000  event") and "~" not in words(keys)


def test_the_bar_shows_as_much_as_must_be_and_a_click_is_a_moment() -> None:
    near = moment(END_MS - 60_000, marked_ms=END_MS - 30_000)
    assert window(near) == (END_MS - 120_000, END_MS)
    assert window(moment(END_MS - 4 * HOUR_MS)) == (END_MS - 5 * HOUR_MS, END_MS)
    line = words(scrub_line(near, 46, [(5, "isr_shrunk", 3), (5, "process_killed", 1), (7, "group_stable", 1)]))
    assert line == "├━━━━━✗━▲━━━━━━━━━━━━●─────────◆──────────┤ 2m"
    with_gap = words(scrub_line(near, 46, [], [(END_MS - 50_000, END_MS - 40_000)]))
    assert with_gap.index("  ") == 25 and with_gap.count(" ") == line.count(" ") + 2
    assert abs(scrub_moment(near, 46, line.index("●")) - near.at_ms) < 3_000
    assert scrub_moment(near, 46, 0) == END_MS - 120_000


def picture() -> ClusterSnapshot:
    partition = PartitionState("orders", 0, 2, 4, (2, 3, 1), (2, 3, 1))
    return ClusterSnapshot(
        END_MS,
        Source.EMBEDDED,
        controller_id=1,
        controller_epoch=3,
        brokers=tuple(BrokerState(each, "h", 9092, reachable=True) for each in (1, 2)),
        topics=(TopicState("orders", "id", False, (partition,), configs={"retention.ms": "1"}),),
        groups=(GroupState("billing", "Stable", total_lag=10),),
    )


def test_two_moments_differ_in_what_happened_between_them() -> None:
    before = picture()
    assert differences(before, before) == []
    topic = before.topics[0]
    led = replace(topic.partitions[0], leader=3, leader_epoch=5, isr=(3, 1))
    after = before.with_facts(
        controller_id=2,
        controller_epoch=4,
        brokers=(before.brokers[0], replace(before.brokers[1], reachable=False)),
        topics=(replace(topic, partitions=(led,), configs={"retention.ms": "2"}), replace(topic, name="new")),
        groups=(GroupState("billing", "Empty", total_lag=500),),
    )
    found = [(each.what, each.subject, each.before, each.after) for each in differences(before, after)]
    assert found == [
        ("broker", "broker 2", "up", "does not answer"),
        ("controller", "the quorum's leader", "1 in epoch 3", "2 in epoch 4"),
        ("topic", "new", "–", "1 partition"),
        ("leader", "orders-0", "2 in epoch 4", "3 in epoch 5"),
        ("isr", "orders-0", "2,3,1", "3,1"),
        ("config", "orders retention.ms", "1", "2"),
        ("group", "billing", "Stable", "Empty"),
        ("lag", "billing", "10", "500"),
    ]
    assert [each.is_healthy for each in differences(before, after)][3:5] == [True, False]
