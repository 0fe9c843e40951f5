"""How groups get on: rates, where a lag is going, who is stuck; and nothing is told of what was seen too little."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.group_members import MEMBER_COLUMNS, member_rows
from console.viewmodel.groups import OFFSET_COLUMNS, group_rows, offset_rows
from console.viewmodel.history import History, remember
from console.viewmodel.pace import Pace, Paces, going, pace_of_member, stuck_words, together, urgency
from engine.supervisor.snapshot import ClusterSnapshot, GroupOffset, GroupState, MemberState, Source

A = MemberState("a-id", None, "a", "/h", (("t", (0, 1)),))
B = MemberState("b-id", None, "b", "/h", (("t", (2,)),))
BEGAN_MS = 1_000_000

# Second by second: committed offset and log end.
At = Callable[[int], tuple[int, int]]


def pictures(seconds: Iterable[int], *partitions: At, **group: object) -> list[ClusterSnapshot]:
    found = []
    for second in seconds:
        at_ms = BEGAN_MS + second * 1000
        offsets = []
        for number, at in enumerate(partitions):
            committed, end = at(second)
            offsets.append(GroupOffset("t", number, committed, end, max(0, end - committed), None))
        state = GroupState("g", "Stable", members=(A, B), offsets=tuple(offsets), observed_at_ms=at_ms)
        found.append(ClusterSnapshot(at_ms, Source.ATTACHED, groups=(replace(state, **group),)))  # type: ignore[arg-type]
    return found


def paces_of(seconds: Iterable[int], *partitions: At, **group: object) -> dict[int, Pace]:
    paces = Paces()
    for each in pictures(seconds, *partitions, **group):
        paces.take(each)
    return {number: pace for (_, number), pace in paces.of("g").items()}


def words(seconds: Iterable[int], at: At) -> str:
    return going(paces_of(seconds, at)[0])[0]


def falling(second: int) -> tuple[int, int]:
    return 100 * second, 4_000 + 20 * second


def growing(second: int) -> tuple[int, int]:
    return 10 * second, 500 + 40 * second


def stuck(second: int) -> tuple[int, int]:
    return 70, 100 + 5 * second


def test_rates_and_time_to_zero_are_those_of_the_window() -> None:
    pace = paces_of(range(21), falling)[0]
    assert pace.lag == 2_400
    assert (pace.reads_per_s, pace.growth_per_s, pace.to_zero_ms) == (100, -80, 30_000)
    assert going(pace) == ("gone in 30s", "in_sync")
    # What was before the window counts no more: 400 records a second at first, then 100.
    later = paces_of(range(60), lambda s: (400 * min(s, 20) + 100 * max(0, s - 20), 90_000))[0]
    assert later.reads_per_s == pytest.approx(100)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (falling, "gone in 28s"),
        (growing, "grows 30/s"),
        (lambda s: (100 * s, 100 * s), "caught up"),
        (lambda s: (100 * s, 100 * s + 30), "keeps up"),
        (lambda s: (100 * s, 100 * s + 30 + s % 3), "keeps up"),
        (lambda s: (70, 90), "at rest"),
        (stuck, "stuck 22s"),
        # Every five seconds, as consumers do by themselves.
        (lambda s: (100 * (s - s % 5), 100 * s + 5), "keeps up"),
        (lambda s: (100 * (s - s % 5), 120 * s + 500), "grows 20/s"),
        # A single record now and then.
        (lambda s: (s // 15, s // 15), "caught up"),
    ],
)
def test_where_a_lag_goes_is_told_in_words(at: At, said: str) -> None:
    assert words(range(23), at) == said


def test_of_too_few_samples_nothing_is_told() -> None:
    for seconds in (range(1), range(10), (0, 6, 12, 18)):
        pace = paces_of(seconds, growing)[0]
        assert (pace.reads_per_s, pace.growth_per_s, pace.to_zero_ms, pace.stuck_ms) == (None, None, None, None)
        assert going(pace) == ("–", "muted")
    assert words(range(11), growing) == "grows 30/s"
    # A broker that hangs shows the same figures again: that is no sample, and nobody is stuck.
    paces = Paces()
    for each in pictures((0, 6, 12), growing):
        paces.take(each)
    for again in range(60):
        paces.take(replace(each, at_ms=each.at_ms + 1000 * again))
    assert going(paces.of("g")["t", 0]) == ("–", "muted")


def test_stuck_is_who_commits_nothing_while_the_log_grows_and_for_how_long() -> None:
    # It stands from second 5 on; one more record comes at second 20.
    def at(second: int) -> tuple[int, int]:
        return min(second, 5) * 10, 50 + (second >= 20)

    assert words(range(20), at) != "stuck 15s", "there is nothing to read"
    assert words(range(22), at) == "stuck 16s"
    # Longer than the window, it is remembered since when.
    assert words(range(91), stuck) == "stuck 90s"
    assert words(range(100), lambda s: (70 if s < 99 else 71, 100 + 5 * s)) == "–", "it moves, nobody knows how fast"


def test_a_group_that_was_set_back_or_a_log_that_began_anew_starts_from_nothing() -> None:
    assert words(range(24), lambda s: (100 * s if s < 20 else s, 3_000)) == "–"
    assert words(range(24), lambda s: (0, 3_000 + s if s < 20 else 5)) == "–"
    assert words(range(24), lambda s: (70, 100 + 5 * s - 12 * (s == 20))) == "stuck 23s", "an end a little behind"
    paces = Paces()
    for each in pictures(range(20), falling):
        paces.take(each)
    paces.take(ClusterSnapshot(BEGAN_MS + 21_000, Source.ATTACHED))
    assert not paces.of("g"), "a group that is gone is forgotten"


def test_several_partitions_are_at_zero_when_the_last_is() -> None:
    found = paces_of(range(21), falling, growing, stuck)
    assert together([found[0], found[0]]) == Pace(4_800, 200, -160, 30_000)
    mixed = together(found.values())
    assert (mixed.to_zero_ms, mixed.stuck, mixed.growing) == (None, 1, 2)
    assert going(mixed) == ("stuck 20s", "offline")
    assert going(together([found[0], found[1]])) == ("1 grows", "under_replicated")
    assert going(together([found[0], Pace(5)])) == ("–", "muted"), "of one nobody knows"
    assert going(together([])) == going(None) == ("–", "muted")
    by_urgency = sorted(found, key=lambda each: urgency(found[each]))
    assert by_urgency == [0, 1, 2]


def test_rows_of_groups_partitions_and_members_have_it() -> None:
    history = History()
    for each in pictures(range(21), falling, growing, stuck):
        remember(history, each)
    group = each.groups[0]

    def shown(row: object, key: str, columns: object = OFFSET_COLUMNS) -> str:
        return plain(next(column for column in columns if column.key == key).cell(row))  # type: ignore[attr-defined]

    rows = offset_rows(each, "g", history)
    assert [shown(row, "going") for row in rows] == ["gone in 30s", "grows 30/s", "stuck 20s"]
    assert [shown(row, "reads") for row in rows] == ["100", "10", "0.0"]
    assert [shown(row, "lag") for row in rows] == ["2,400 ↘", "1,100 ↗", "130 ■"]
    assert [row.is_healthy for row in rows] == [True, True, False]
    members = member_rows(each, group, history.paces.of("g"))
    assert [shown(row, "going", MEMBER_COLUMNS) for row in members] == ["1 grows", "stuck 20s"]
    assert [row.is_healthy for row in members] == [True, False]
    assert stuck_words(group.members, history.paces.of("g")) == "b stuck 20s in 1 partition"
    assert pace_of_member(A, history.paces.of("g")).reads_per_s == 110
    (row,) = group_rows(each, history)
    assert not row.is_healthy and going(row.pace)[0] == "stuck 20s"
    # Nobody reads: nobody is stuck.
    empty = each.with_facts(groups=(replace(group, members=(), state="Empty"),))
    assert [shown(row, "going") for row in offset_rows(empty, "g", history)] == ["–", "–", "–"]
    assert group_rows(empty, history)[0].is_healthy


def test_share_groups_have_no_pace() -> None:
    assert paces_of(range(21), stuck, group_type="share") == {}
