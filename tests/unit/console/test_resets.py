"""Rules by which a group's offsets are set anew: what is read, what is planned, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import main
from console.viewmodel.cells import plain
from console.viewmodel.resets import (
    LogFacts,
    PlannedOffset,
    ResetError,
    ResetPlan,
    ResetWish,
    Rule,
    check_wish,
    export_lines,
    partitions_of,
    plan_cells,
    plan_reset,
    read_datetime_ms,
    read_duration_ms,
    read_offsets_file,
    read_scope,
    refusal,
    reset_command,
    summary,
    time_of,
)

T0, T1, T2 = ("t", 0), ("t", 1), ("t", 2)
# Of t-2 nothing is committed.
FACTS = LogFacts(
    committed={T0: 50, T1: 5},
    starts={T0: 10, T1: 20, T2: 0},
    ends={T0: 100, T1: 90, T2: 7},
    at_time={T0: 60, T1: None, T2: 3},
    followed={T0: 400, T1: 33},
)


def planned(rule: Rule, value: str = "", **wish: Any) -> dict[int, int]:
    plan = plan_reset(ResetWish("g", rule, value, **wish), [T0, T1, T2], FACTS)
    return {each.partition: each.after for each in plan.offsets}


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (Rule.EARLIEST, "", {0: 10, 1: 20, 2: 0}),
        (Rule.LATEST, "", {0: 100, 1: 90, 2: 7}),
        # As committed, even before the log's start; where nothing is, the end.
        (Rule.CURRENT, "", {0: 50, 1: 5, 2: 7}),
        (Rule.OFFSET, "15", {0: 15, 1: 20, 2: 7}),
        (Rule.DATETIME, "2026-01-01T00:00:00.000", {0: 60, 1: 90, 2: 3}),
        (Rule.DURATION, "PT1H", {0: 60, 1: 90, 2: 3}),
        (Rule.GROUP, "other", {0: 100, 1: 33, 2: 7}),
    ],
)
def test_each_rule_has_its_offsets(rule: Rule, value: str, expected: dict[int, int]) -> None:
    assert planned(rule, value) == expected


def test_shifts_and_files_stay_within_the_log() -> None:
    shift = ResetWish("g", Rule.SHIFT, "-45")
    plan = plan_reset(shift, [T0, T1], FACTS)
    assert [(each.after, each.note) for each in plan.offsets] == [
        (10, "5 is before the start"),
        (20, "-40 is before the start"),
    ]
    with pytest.raises(ResetError, match="t-2 cannot be shifted: g has no committed offset there"):
        plan_reset(shift, [T2], FACTS)
    offsets = {T0: 77, T1: 91, T2: 0}
    assert planned(Rule.FILE, "f.csv", offsets=offsets) == {0: 77, 1: 90, 2: 0}


def test_a_plan_tells_lag_before_and_after() -> None:
    plan = plan_reset(ResetWish("g", Rule.EARLIEST), [T0, T1, T2], FACTS)
    # Committed before the log's start: what is gone cannot be read, and is no lag.
    assert [(each.lag_before, each.lag_after) for each in plan.offsets] == [(50, 90), (70, 70), (None, 7)]
    assert summary(plan) == "3 of 3 partitions change, lag 120 → 167, 1 had no offset"
    head, first, *_, last = [plain(line).split() for line in plan_cells(plan)]
    assert head == ["PARTITION", "BEFORE", "AFTER", "CHANGE", "LAG", "LAG", "AFTER"]
    assert first == ["t-0", "50", "10", "-40", "50", "90"] and last == ["t-2", "–", "0", "–", "–", "7"]
    assert export_lines(plan) == ["t,0,10", "t,1,20", "t,2,0"]
    kept = ResetPlan(plan.wish, (PlannedOffset("t", 0, 10, 10, 0, 20),))
    assert summary(kept) == "0 of 1 partition change, lag 10 → 10"


def test_partitions_are_those_of_the_scope_or_of_what_is_committed() -> None:
    existing = {"t": range(3), "u": range(1)}

    def found(rule: Rule = Rule.EARLIEST, **wish: Any) -> list[tuple[str, int]]:
        return partitions_of(ResetWish("g", rule, "o", **wish), FACTS.committed, {T1: 3}, existing)

    assert found() == [T0, T1]
    assert found(scope=("t:2", "u")) == [T2, ("u", 0)]
    assert found(scope=("t:2", "t")) == [T0, T1, T2]
    assert found(Rule.GROUP) == [T1]
    assert found(Rule.FILE, offsets={T2: 1}) == [T2]
    with pytest.raises(ResetError, match="t-7 does not exist"):
        found(scope=("t:7",))
    with pytest.raises(ResetError, match="there is no topic v"):
        found(scope=("v",))
    with pytest.raises(ResetError, match="group g has no committed offset"):
        partitions_of(ResetWish("g", Rule.LATEST), {}, {}, existing)


def test_times_are_read_as_kafka_reads_them() -> None:
    assert read_datetime_ms("1970-01-02T00:00:00.001") == 86_400_001
    assert read_datetime_ms("1970-01-01T02:00:00.000+02:00") == read_datetime_ms("1970-01-01T00:00:00Z") == 0
    for wrong in ("1970-01-01", "yesterday", "1970-13-01T00:00:00"):
        with pytest.raises(ResetError, match="is no time"):
            read_datetime_ms(wrong)
    assert read_duration_ms("P2DT3H4M5.5S") == ((2 * 24 + 3) * 60 + 4) * 60_000 + 5_500
    assert read_duration_ms("pt-30m") == read_duration_ms("-PT30M") == -1_800_000
    for wrong in ("P", "PT", "P1DT", "1H", "P1Y", ""):
        with pytest.raises(ResetError, match="is no duration"):
            read_duration_ms(wrong)
    assert time_of(ResetWish("g", Rule.DURATION, "PT1S"), 5_000) == 4_000
    assert time_of(ResetWish("g", Rule.LATEST), 5_000) is None


def test_files_are_those_that_kafka_exports() -> None:
    assert read_offsets_file("t,0,5\nt,1,6\n", "g") == {T0: 5, T1: 6}
    assert read_offsets_file("g,t,0,5\nother,t,1,6\n", "g") == {T0: 5}
    assert read_offsets_file('"t",0,5\n', "g") == {T0: 5}
    for content in ("t,0,5\nt,0\n", "topic,partition,offset\nt,0,5\n", "t,0,-1\n"):
        with pytest.raises(ResetError, match=r"line \d is '.*': it has to be topic,partition,offset"):
            read_offsets_file(content, "g")
    with pytest.raises(ResetError, match="no offset of group g"):
        read_offsets_file("other,t,1,6\n", "g")


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (ResetWish("", Rule.LATEST), "name a group"),
        (ResetWish("g", Rule.LATEST, "3"), "takes no value"),
        (ResetWish("g", Rule.OFFSET), "to-offset needs a value: an offset"),
        (ResetWish("g", Rule.OFFSET, "-1"), "shift-by goes back"),
        (ResetWish("g", Rule.OFFSET, str(1 << 64)), "64 bits"),
        (ResetWish("g", Rule.SHIFT, "some"), "'some' is no number of records"),
        (ResetWish("g", Rule.GROUP, "g"), "cannot follow itself"),
        (ResetWish("g", Rule.DURATION, "1h"), "is no duration"),
        (ResetWish("g", Rule.FILE, "f", ("t",)), "leave the topics out"),
        (ResetWish("g", Rule.LATEST, "", ("t:x",)), "'t:x' is no scope"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish: ResetWish, reason: str) -> None:
    with pytest.raises(ResetError, match=reason):
        check_wish(wish)


def test_a_group_with_members_is_refused_as_kafka_refuses_it() -> None:
    assert refusal("g", "consumer", "Empty", []) == refusal("g", "classic", "Dead", []) == ""
    said = refusal("g", "consumer", "Stable", ["a@h", "b@h", "c@h", "d@h"])
    assert said == (
        "offsets can only be reset while the group is inactive, and g is Stable with 4 members: "
        "stop a@h, b@h, c@h and 1 more"
    )
    assert "kafka-share-groups.sh" in refusal("g", "share", "Empty", [])


def test_the_command_is_that_of_kafkas_tool() -> None:
    def command(rule: Rule, value: str = "", scope: tuple[str, ...] = ()) -> str:
        return reset_command("h:1,h:2", ResetWish("g", rule, value, scope)).replace(
            "kafka-consumer-groups.sh --bootstrap-server h:1 --reset-offsets", "$"
        )

    assert command(Rule.EARLIEST) == "$ --group g --all-topics --to-earliest --execute"
    assert command(Rule.SHIFT, "-5", ("t:0,1", "u")) == "$ --group g --topic t:0,1 --topic u --shift-by -5 --execute"
    assert command(Rule.DATETIME, "2026-11-26T08:00:00+01:00").endswith(
        "--to-datetime 2026-11-26T07:00:00.000Z --execute"
    )
    assert command(Rule.FILE, "a b.csv") == "$ --group g --from-file 'a b.csv' --execute"
    assert command(Rule.GROUP, "o") == (
        "$ --group o --all-topics --to-current --export --dry-run > offsets.csv; "
        "$ --group g --from-file offsets.csv --execute"
    )
    assert read_scope(("t:1,0", "t:2")) == {"t": (0, 1, 2)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to-earliest"], "say what is meant: --all-topics, or --topic T"),
        (["--all-topics"], "give one of --to-earliest, --to-latest"),
        (["--all-topics", "--to-earliest", "--shift-by", "1"], "give one of --to-earliest, --to-latest"),
        (["--all-topics", "--topic", "t", "--to-earliest"], "exclude each other"),
        (["--all-topics", "--to-offset", "-1"], "an offset is not negative"),
        (["--all-topics", "--to-latest", "--export", "--execute"], "--export only prints the plan"),
        (["--topic", "t", "--from-file", __file__], "line 1 is"),
    ],
)
def test_wrong_use_of_the_command_is_told_before_anybody_is_asked(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["groups", "reset", "g", *words, "--bootstrap-servers", "127.0.0.1:1"])
    assert result.exit_code == 2
    assert said in result.stderr
