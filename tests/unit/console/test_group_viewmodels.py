"""Groups of all types as rows and words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.viewmodel.cells import Column, plain
from console.viewmodel.group_members import TASK_COLUMNS, member_rows, task_rows
from console.viewmodel.groups import (
    SHARE_OFFSET_COLUMNS,
    assignment_text,
    client_name,
    epochs,
    growth_per_s,
    lag_tone,
    offset_rows,
    outlook,
    readers_text,
    topology_text,
    trend,
)
from console.viewmodel.history import History
from console.viewmodel.text import joined
from engine.supervisor.snapshot import (
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    MemberState,
    PartitionState,
    Source,
    StreamsTasks,
    StreamsTopology,
    Subtopology,
    TopicState,
)

THREAD = "word-count-22ec778a-d14b-4e42-a81f-9d60aa83b800-StreamThread-2-consumer"


def column_text(columns: tuple[Column, ...], key: str, row: object) -> str:
    return plain(next(column for column in columns if column.key == key).cell(row))


def pictured(*groups: GroupState) -> ClusterSnapshot:
    partitions = tuple(PartitionState("lines", number, 1, 0, (1,), (1,)) for number in range(3))
    return ClusterSnapshot(1, Source.ATTACHED, groups=groups, topics=(TopicState("lines", "id", False, partitions),))


def test_the_epochs_of_a_consumer_group_are_told_and_a_target_that_lags() -> None:
    classic = GroupState("g", "Stable")
    assert epochs(classic) == ""
    assert epochs(replace(classic, group_type="consumer", group_epoch=4, assignment_epoch=4)) == "epoch 4"
    assert epochs(replace(classic, group_epoch=5, assignment_epoch=4)) == "epoch 5, targets of 4"


def test_a_member_on_its_way_shows_what_it_has_and_what_it_shall_have() -> None:
    member = MemberState("m", None, "c", "/h", (("t", (0, 1)),), 3, (("t", (0,)), ("u", (2,))), "consumer")
    assert assignment_text(member) == "t[0,1] → t[0] u[2]"
    assert assignment_text(replace(member, target=member.assignment)) == "t[0,1]"
    assert assignment_text(replace(member, target=None)) == "t[0,1]"
    assert assignment_text(replace(member, assignment=())) == "nothing → t[0] u[2]"


def test_lag_has_its_colours() -> None:
    assert [lag_tone(lag) for lag in (None, 0, 5, 500, 50_000)] == [
        "muted",
        "lag_none",
        "lag_low",
        "lag_medium",
        "lag_high",
    ]


def test_a_lag_tells_how_fast_it_grows_and_when_it_will_be_gone() -> None:
    growing = tuple(float(30 * at) for at in range(12))
    assert growth_per_s(growing) == pytest.approx(30) and outlook(330, growing) == "falls behind by 30/s"
    falling = growing[::-1]
    assert growth_per_s(falling) == pytest.approx(-30) and outlook(600, falling) == "caught up in 20s"
    assert growth_per_s((7.0, 8.0, 6.0, 9.0, 7.0)) == 0 and outlook(7, (7.0,) * 9) == ""
    assert growth_per_s((1.0, 90.0)) is None


def test_the_trend_of_a_lag_needs_some_samples_and_ignores_noise() -> None:
    assert trend((1, 2))[0] == ""
    assert trend((100, 101, 100, 99))[0] == "→"
    assert trend((100, 150, 200, 300))[0] == "↗"
    assert trend((300, 200, 100, 10))[0] == "↘"


def test_several_members_of_a_share_group_read_one_partition_and_what_is_done_ahead_is_told() -> None:
    workers = tuple(MemberState(name, None, name, "/10.0.0.1", (("lines", (0,)),)) for name in ("a", "b"))
    offsets = (GroupOffset("lines", 0, 5, 20, 9, None), GroupOffset("lines", 1, 5, 20, None, None))
    group = GroupState("g", "Stable", group_type="share", members=workers, offsets=offsets)
    first, second = offset_rows(pictured(group), "g", History())
    assert readers_text(first) == "a, b@10.0.0.1" and first.is_healthy
    assert column_text(SHARE_OFFSET_COLUMNS, "ahead", first) == "6"
    assert readers_text(second) == "–" and not second.is_healthy
    assert column_text(SHARE_OFFSET_COLUMNS, "ahead", second) == "–", "without a lag nobody knows"
    same = replace(group, members=tuple(replace(each, client_id="w") for each in workers))
    assert readers_text(offset_rows(pictured(same), "g", History())[0]) == "2×w@10.0.0.1"


def test_a_thread_of_kafka_streams_goes_by_its_process_and_number() -> None:
    thread = MemberState("m", None, THREAD, "/h", tasks=StreamsTasks())
    assert client_name(thread) == "22ec778a-StreamThread-2"
    assert client_name(replace(thread, instance_id="static")) == "static"
    assert client_name(replace(thread, tasks=None)) == THREAD, "a name that only looks like it"
    assert client_name(replace(thread, client_id="mine")) == "mine"


def test_tasks_of_a_streams_group_are_there_whether_somebody_has_them_or_not() -> None:
    tasks = StreamsTasks((("0", (0,)),), (("0", (1,)),), ())
    member = MemberState("m", None, THREAD, "/h", (("lines", (0,)),), 3, None, "streams", tasks, tasks)
    topology = StreamsTopology(0, (Subtopology("0", ("lines",), (), (), ("log",)),))
    offsets = (GroupOffset("lines", 0, 1, 8, 7, "m"),)
    group = GroupState("g", "Stable", group_type="streams", members=(member,), offsets=offsets, topology=topology)
    rows = task_rows(pictured(group), group)
    assert [(row.key, row.lag, row.is_healthy) for row in rows] == [
        ("0_0", 7, True),
        ("0_1", None, False),
        ("0_2", None, False),
    ]
    assert column_text(TASK_COLUMNS, "active", rows[1]) == "nobody"
    assert column_text(TASK_COLUMNS, "standby", rows[1]) == "22ec778a-StreamThread-2"
    (row,) = member_rows(pictured(group), group)
    assert row.lag == 7 and assignment_text(member) == "0[0] standby 0[1]"
    ahead = replace(member, target_tasks=StreamsTasks((("0", (0, 2)),), (), ()))
    assert assignment_text(ahead) == "0[0] standby 0[1] → 0[0,2]"
    assert topology_text(group) == "1 subtopology"
    assert topology_text(replace(group, topology=StreamsTopology(2, None))).startswith("not ready")
    assert task_rows(pictured(group), replace(group, topology=None)) == []


def test_what_has_no_room_goes_whole_and_the_least_important_first() -> None:
    parts = [("Stable", 9), ("", 8), ("3 members", 1), ("lag 7", 5)]
    assert joined(parts, 40) == "Stable · 3 members · lag 7"
    assert joined(parts, 20) == "Stable · lag 7"
    assert joined(parts, 3) == "Stable"
