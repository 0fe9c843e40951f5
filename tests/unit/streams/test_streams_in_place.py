"""A function that changes its aggregate in place means what one that makes a new one means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streams import (
    Consumed,
    Grouped,
    KTable,
    Materialized,
    Serdes,
    SessionWindows,
    SlidingWindows,
    StreamsBuilder,
    TimeWindows,
    TopologyTestDriver,
)

S, JSON = Serdes.string(), Serdes.json()
READ = Consumed(key_serde=S, value_serde=S)
GROUPED = Grouped(key_serde=S, value_serde=S)
Two = Callable[[Any, Any], Any]


def new_list(values: list[str], more: list[str]) -> list[str]:
    return values + more


def same_list(values: list[str], more: list[str]) -> list[str]:
    values.extend(more)
    return values


def less(values: list[str], value: str) -> list[str]:
    return [each for each in values if each != value]


def less_in_place(values: list[str], value: str) -> list[str]:
    if value in values:
        values.remove(value)
    return values


def stored(key: Any = S) -> Materialized:
    return Materialized("store", key_serde=key, value_serde=JSON)


def timed(windows: Any) -> Callable[[StreamsBuilder, Two, Two], KTable[Any, Any]]:
    def made(builder: StreamsBuilder, join: Two, _: Two) -> KTable[Any, Any]:
        grouped = builder.stream("in", READ).group_by_key(GROUPED).windowed_by(windows)
        return grouped.aggregate(list, lambda k, v, so_far: join(so_far, [v]), stored())

    return made


def sessions(builder: StreamsBuilder, join: Two, _: Two) -> KTable[Any, Any]:
    grouped = (
        builder.stream("in", READ).group_by_key(GROUPED).windowed_by(SessionWindows.of_inactivity_gap_and_grace(5, 20))
    )
    return grouped.aggregate(list, lambda k, v, so_far: join(so_far, [v]), lambda k, a, b: join(a, b), stored())


def untimed(builder: StreamsBuilder, join: Two, _: Two) -> KTable[Any, Any]:
    grouped = builder.stream("in", READ).group_by_key(GROUPED)
    return grouped.aggregate(list, lambda k, v, so_far: join(so_far, [v]), stored())


def regrouped(builder: StreamsBuilder, join: Two, take: Two) -> KTable[Any, Any]:
    grouped = builder.table("in", READ).group_by(lambda k, v: (v, k), GROUPED)
    return grouped.aggregate(
        list, lambda k, v, so_far: join(so_far, [v]), lambda k, v, so_far: take(so_far, v), stored()
    )


TABLES = {
    "hopping": timed(TimeWindows.of_size_and_grace(10, 20).advance_by(3)),
    "sliding": timed(SlidingWindows.of_time_difference_and_grace(5, 30)),
    "sessions": sessions,
    "untimed": untimed,
    "regrouped": regrouped,
}


def run(name: str, join: Two, take: Two, records: list[tuple[str, str, int]]) -> list[Any]:
    builder = StreamsBuilder()
    told: list[Any] = []
    table = TABLES[name](builder, join, take)
    table.filter(lambda k, v: True).to_stream().foreach(lambda k, v: told.append((str(k), str(v))))
    with TopologyTestDriver(builder.build()) as driver:
        topic = driver.create_input_topic("in", S, S)
        for key, value, time in records:
            topic.pipe_input(key, value, timestamp=time)
        changelog = [driver.read_raw("test-store-changelog") for _ in range(driver.queue_size("test-store-changelog"))]
    return [told, changelog]


@pytest.mark.parametrize("name", TABLES)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 30)), max_size=12))
@settings(max_examples=20, deadline=None)
def test_in_place_or_anew_is_the_same(name: str, records: list[tuple[str, str, int]]) -> None:
    assert run(name, same_list, less_in_place, records) == run(name, new_list, less, records)
