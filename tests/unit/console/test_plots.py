"""What plots are drawn from, and their axes."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from console.viewmodel.plots import (
    Subject,
    chosen,
    figure,
    marks_words,
    number_ticks,
    panels_of,
    rows_of,
    time_ticks,
    value_ticks,
    with_lines,
)
from console.viewmodel.trends import GRAINS, SPANS_MS, Point, Trends, segments
from engine.supervisor.snapshot import (
    Act,
    BrokerState,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    Source,
    Stage,
    StageTime,
    WorkloadMember,
    WorkloadState,
)
from themes import builtin_themes

START_MS = 1_790_000_000_000
FIVE, FIFTEEN, SIXTY = SPANS_MS


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    os.environ.pop("TZ", None)
    time.tzset()


def cluster(second: int, **changes: object) -> ClusterSnapshot:
    return ClusterSnapshot(START_MS + second * 1000, Source.EMBEDDED).with_facts(**changes)


def broker(number: int, bytes_in: float | None) -> BrokerState:
    return BrokerState(number, "h", 9092 + number, bytes_in_per_s=bytes_in)


def group(second: int, committed: int, lag: int | None = 7, **changes: object) -> GroupState:
    offsets = (GroupOffset("orders", 0, committed, committed + 7, 7, None),)
    state = GroupState("billing", "Stable", offsets=offsets, total_lag=lag, observed_at_ms=START_MS + second * 1000)
    return replace(state, **changes)  # type: ignore[arg-type]


def test_five_minutes_are_kept_by_the_second_and_an_hour_in_steps_of_fifteen() -> None:
    trends = Trends()
    for second in range(4_000):
        trends.add(("bytes in", ""), START_MS + second * 1000, float(second))
    now_ms = START_MS + 3_999_000
    by_span = {span: trends.points(("bytes in", ""), span, now_ms) for span in SPANS_MS}
    assert [len(points) for points in by_span.values()] == [grain.steps for grain in GRAINS] == [300, 180, 240]
    assert by_span[FIVE][0].value == 3_700 and by_span[FIVE][-1] == Point(now_ms, 3_999)
    # A step has the mean of its seconds.
    assert by_span[FIFTEEN][-2].value == 3_992.0
    # What is older than the span is gone, also when nothing came since.
    assert trends.points(("bytes in", ""), FIVE, now_ms + 299_000) == [Point(now_ms, 3_999)]
    assert trends.points(("bytes in", ""), FIVE, now_ms + 300_000) == []


def test_of_lags_and_highest_latencies_a_step_has_its_peak() -> None:
    trends = Trends()
    for key in (("lag", "g"), ("producer highest latency", "p"), ("producer median latency", "p")):
        for second, value in enumerate((1.0, 9.0, 2.0, 0.0, 3.0)):
            trends.add(key, START_MS + second * 1000, value)
        (point,) = trends.points(key, FIFTEEN, START_MS + 4_000)
        assert point.value == (3.0 if "median" in key[0] else 9.0), key


def test_where_nothing_was_known_there_is_a_gap_in_every_grain() -> None:
    trends = Trends()
    for second in range(120):
        value = None if 40 <= second < 60 else 5.0
        trends.take(cluster(second, brokers=(broker(1, 5.0), broker(2, value))))
    now_ms = START_MS + 119_000
    for span in SPANS_MS:
        parts = segments(trends.points(("broker in", 2), span, now_ms), span)
        assert len(parts) == 2, span
        assert len(segments(trends.points(("broker in", 1), span, now_ms), span)) == 1
    first, second_part = segments(trends.points(("broker in", 2), FIVE, now_ms), FIVE)
    assert (first[-1].at_ms, second_part[0].at_ms) == (START_MS + 39_000, START_MS + 60_000)


def test_a_gap_stays_one_when_older_values_stood_in_its_place() -> None:
    trends = Trends()
    for second in range(4_000):
        if not 3_900 <= second < 3_950:
            trends.add(("bytes in", ""), START_MS + second * 1000, 5.0)
    for span in SPANS_MS:
        assert len(segments(trends.points(("bytes in", ""), span, START_MS + 3_999_000), span)) == 2, span


def test_the_last_value_of_who_is_silent_is_not_what_it_is_now() -> None:
    trends = Trends()
    for second in range(20):
        trends.take(cluster(second, brokers=(broker(1, 5.0), broker(2, 5.0 if second < 15 else None))))
    picture = cluster(19, brokers=(broker(1, 5.0), broker(2, None)))
    panels = {panel.key: panel for panel in panels_of(Subject("cluster"), picture, trends, FIVE)}
    assert [(line.last, line.fresh) for line in panels["in"].lines] == [(5.0, True), (5.0, False)]
    assert [line.fresh for line in panels["out"].lines] == [False, False]


def test_the_axis_begins_with_the_first_value_and_is_a_minute_long_at_least() -> None:
    trends = Trends()
    for seconds, first in ((5, 5 - 60), (70, 0), (400, 100)):
        for second in range(seconds + 1):
            trends.take(cluster(second, brokers=(broker(1, 5.0),)))
        panel = panels_of(Subject("cluster"), cluster(seconds), trends, FIVE)[0]
        assert (panel.first, panel.last) == (START_MS + first * 1000, START_MS + seconds * 1000)
    assert [f"{line.known:.0%}" for line in panel.lines] == ["100%", "0%"]


def test_a_picture_that_comes_late_is_no_gap() -> None:
    points = [Point(START_MS + second * 1000, 1.0) for second in (0, 1, 4, 5, 9)]
    assert [len(part) for part in segments(points, FIVE)] == [4, 1]


def test_what_was_not_observed_lately_is_not_known() -> None:
    trends = Trends()
    for second in range(20):
        # The coordinator is not heard of after the fifth second.
        trends.take(cluster(second, groups=(group(min(second, 5), 100),)))
    points = trends.points(("lag", "billing"), FIVE, START_MS + 19_000)
    assert [point.at_ms - START_MS for point in points] == [second * 1000 for second in range(11)]


def test_how_fast_a_group_reads_is_told_by_ten_seconds_and_begins_anew_after_a_reset() -> None:
    trends = Trends()
    committed = [10 * second for second in range(15)] + [0] + [20 * second for second in range(1, 6)]
    for second, offset in enumerate(committed):
        trends.take(cluster(second, groups=(group(second, offset),)))
    points = {
        (point.at_ms - START_MS) // 1000: point.value
        for point in trends.points(("reads", "billing"), FIVE, START_MS + 20_000)
    }
    assert set(points) == {*range(4, 15), 19, 20}
    assert points[4] == points[14] == 10.0 and points[20] == 20.0
    trends.take(cluster(21, groups=(group(21, 5, group_type="share"),)))
    assert trends.points(("reads", "billing"), FIVE, START_MS + 21_000)[-1].at_ms == START_MS + 20_000


def test_a_clock_that_is_set_back_and_too_many_figures_harm_nobody() -> None:
    trends = Trends(most=2)
    trends.add(("lag", "a"), START_MS, 1.0)
    trends.add(("lag", "a"), START_MS - 100_000, 2.0)
    assert [point.value for point in trends.points(("lag", "a"), FIVE, START_MS - 100_000)] == [2.0]
    for name in "bcd":
        trends.add(("lag", name), START_MS, 1.0)
    assert trends.keys("lag") == ["a", "b"] and trends.left_out == 2


def test_figures_of_what_is_gone_for_an_hour_make_room() -> None:
    trends = Trends()
    trends.take(cluster(0, groups=(group(0, 1),)))
    trends.take(cluster(3_659))
    assert trends.keys("lag") == ["billing"]
    trends.take(cluster(3_660 + 60 - (START_MS // 1000 + 3_660) % 60))
    assert trends.keys("lag") == []


@pytest.mark.parametrize(
    ("highest", "unit", "steps", "labels"),
    [
        (0, "", 3, ("0", "1")),
        (2, "", 5, ("0", "1", "2")),
        (555, "", 3, ("0", "200", "400", "600")),
        (93_800, "B/s", 2, ("0", "50 KiB/s", "100 KiB/s")),
        (41_700, "B/s", 2, ("0", "25 KiB/s", "50 KiB/s")),
        (3_000_000, "B/s", 3, ("0", "1 MiB/s", "2 MiB/s", "3 MiB/s")),
        (900, "B/s", 2, ("0", "512 B/s", "1 KiB/s")),
        (0.4, "B/s", 2, ("0", "1 B/s")),
        (194, "/s", 2, ("0", "100/s", "200/s")),
        (2_400, "ms", 3, ("0", "1 s", "2 s", "3 s")),
        (6.4, "ms", 3, ("0", "2.5 ms", "5 ms", "7.5 ms")),
        (30_000_000, "", 3, ("0", "10,000,000", "20,000,000", "30,000,000")),
    ],
)
def test_axes_have_round_figures_with_units(highest: float, unit: str, steps: int, labels: tuple[str, ...]) -> None:
    ticks = value_ticks(highest, unit, steps)
    assert ticks.labels == labels
    assert ticks.at[0] == 0 and ticks.at[-1] >= highest


def test_the_axis_of_time_has_round_times_that_have_room_and_its_end() -> None:
    at_ms = START_MS - START_MS % 86_400_000 + (14 * 3600 + 3 * 60 + 20) * 1000
    assert time_ticks(at_ms - FIVE, at_ms, 70).labels == ("13:59", "14:00", "14:01", "14:02", "14:03:20")
    assert time_ticks(at_ms - FIVE, at_ms, 30).labels == ("14:00", "14:03:20")
    assert time_ticks(at_ms - SIXTY, at_ms, 70).labels == ("13:15", "13:30", "13:45", "14:03:20")
    assert time_ticks(at_ms - 60_000, at_ms, 50).labels == ("14:02:20", "14:02:40", "14:03:00", "14:03:20")
    ticks = time_ticks(at_ms - SIXTY, at_ms, 150)
    assert ticks.labels[:3] == ("13:05", "13:10", "13:15") and ticks.at[-1] == at_ms
    assert all(later - earlier == 300_000 for earlier, later in zip(ticks.at, ticks.at[1:-1], strict=False))


def test_a_failover_is_plotted_kill_by_kill_and_shows_in_what_goes_over_time() -> None:
    acts = tuple(
        Act(number, "kill", 2, START_MS + number * 1000, stages=(StageTime(Stage.FIRST_PRODUCE, 100.0 * number),))
        for number in (1, 2)
    )
    parts = (WorkloadMember("shop", "producer", "orders", True, 20.0, latency_median_ms=2.0, latency_highest_ms=900.0),)
    picture = cluster(5, acts=acts, workload=WorkloadState(True, parts))
    trends = Trends()
    trends.take(picture)
    by_act, latency = panels_of(Subject("failover"), picture, trends, FIVE)
    produce = by_act.lines[1]
    assert (produce.label, produce.values) == ("first acknowledged produce", [100.0, 200.0])
    assert number_ticks(by_act, 40).labels == ("#1", "#2")
    assert [line.last for line in latency.lines] == [2.0, 900.0]
    assert [mark.words for mark in latency.marks] == ["kill broker 2"] * 2
    assert marks_words([latency]).startswith("│ kill broker 2 ")
    assert figure(latency.lines[1].last, latency.unit) == "900 ms"


def test_a_cluster_that_counts_no_bytes_for_us_says_so_and_has_records() -> None:
    picture = cluster(5).with_facts(source=Source.ATTACHED, brokers=(broker(1, None),))
    panels = {panel.key: panel for panel in panels_of(Subject("cluster"), picture, Trends(), FIVE)}
    assert "only the brokers of an embedded cluster" in panels["bytes"].empty
    assert panels["records"].empty == "nothing is known of this time"


def test_panels_that_have_no_room_give_way_to_that_of_the_selected_line_and_a_filter_leaves_lines_out() -> None:
    panels = panels_of(Subject("cluster"), cluster(5, brokers=(broker(1, 1.0),)), Trends(), FIVE)
    for number, wanted, keys in (
        (1, "", ["bytes"]),
        (1, "in", ["in"]),
        (2, "records", ["bytes", "records"]),
        (2, "out", ["in", "out"]),
        (4, "out", ["bytes", "records", "in", "out"]),
    ):
        assert [panel.key for panel in chosen(panels, number, wanted)] == keys
    (left,) = with_lines(panels, {"records:written"})
    assert [line.label for line in left.lines] == ["written"]


def test_lines_of_a_panel_have_different_colours_in_every_theme() -> None:
    picture = cluster(5, brokers=tuple(broker(number, 1.0) for number in (1, 2, 3, 4)))
    panels = panels_of(Subject("cluster"), picture, Trends(), FIVE)
    for theme in builtin_themes().values():
        rows = rows_of(panels, theme.colours)
        for panel in panels:
            colours = [theme[row.tone] for row in rows if row.line.panel == panel.key]
            assert len(set(colours)) == len(colours), (theme.name, panel.key)
