from __future__ import annotations

from typing import Any

import pytest

from engine.drills.drill_file import parse_drill
from engine.drills.losses import Lost
from engine.drills.measurements import Sent, Silence, acknowledged_per_bucket, percentile_ms, silences, together
from engine.drills.report import DoneAct, Findings, as_document, as_text, compare, judge
from engine.supervisor.ledger import Account

MS = 1_000_000
DRILL, _ = parse_drill(
    """
about: one dies
faults: [{at: 1 s, kill: leader}, {at: 3 s, start: leader}]
expect: {unavailable: ≤ 500 ms, lost: 0, duplicated: 0, back in sync within: 2 s, failed: 0, latency p99: 1 s}
""",
    "d",
)


def acked(partition: int, sent_ms: int, acked_ms: int) -> Sent:
    return Sent(partition, sent_ms * MS, acked_ms * MS, True)


def found(**changes: Any) -> Findings:
    findings = Findings(
        began_ns=0,
        ended_ns=6000 * MS,
        acts=(
            DoneAct("kill leader", "kill", (2,), 1.0, 1000 * MS, 1001 * MS),
            DoneAct("start leader", "start", (2,), 3.0, 3000 * MS, 3010 * MS),
        ),
        silences=(Silence(0, 1000 * MS, 1400 * MS, True), Silence(1, 10 * MS, 12 * MS, True)),
        account=Account(100, 100, 0, 0, 0, 0, ()),
        account_gap="",
        failed={},
        latency_ms={"p50": 1.0, "p99": 300.0, "max": 400.0},
        back_in_sync_ns=4000 * MS,
        not_in_sync="",
        acknowledged=(1, 2),
        moments=(),
        states=(),
    )
    return findings._replace(**changes)


def failing(findings: Findings) -> list[str]:
    return [verdict.assertion.name for verdict in judge(DRILL, findings) if not verdict.holds]


def test_a_silence_lasts_from_the_last_acknowledgement_while_records_wait() -> None:
    records = [acked(0, 0, 10), acked(0, 5, 12), acked(0, 11, 500), acked(0, 200, 510)]
    assert max(silences(records, 600 * MS), key=lambda each: each.ms) == Silence(0, 12 * MS, 500 * MS, True)


def test_a_record_that_waits_counts_though_a_later_one_is_acknowledged_before_it() -> None:
    assert [each.ms for each in silences([acked(0, 0, 500), acked(0, 400, 410)], 600 * MS)] == [410.0, 90.0]


def test_no_silence_is_counted_while_nothing_waits() -> None:
    records = [acked(0, 0, 10), acked(0, 900, 910)]
    assert [each.ms for each in silences(records, 1000 * MS)] == [10.0, 10.0]


def test_each_partition_has_silences_of_its_own() -> None:
    records = [acked(0, 0, 10), acked(1, 0, 700), acked(0, 300, 310)]
    assert [(each.partition, each.ms) for each in silences(records, 800 * MS)] == [(0, 10.0), (0, 10.0), (1, 700.0)]


def test_a_record_that_waits_still_or_failed_keeps_its_partition_silent_to_the_end() -> None:
    waits = [acked(0, 0, 10), Sent(0, 20 * MS)]
    failed = [acked(0, 0, 10), Sent(0, 20 * MS, 400 * MS, False)]
    for records in (waits, failed):
        assert silences(records, 900 * MS)[-1] == Silence(0, 20 * MS, 900 * MS, False)


def test_a_record_that_failed_before_the_next_acknowledgement_counts_until_then() -> None:
    records = [acked(0, 0, 10), Sent(0, 20 * MS, 400 * MS, False), acked(0, 390, 450)]
    assert silences(records, 500 * MS)[-1] == Silence(0, 20 * MS, 450 * MS, True)


def test_percentiles_and_buckets_count_acknowledged_records_only() -> None:
    records = [acked(0, 0, each) for each in range(1, 101)] + [Sent(0, 0, 5000 * MS, False)]
    assert percentile_ms(records, 50) == 51.0
    assert percentile_ms(records, 99) == 100.0
    assert percentile_ms([records[-1]], 99) is None
    assert acknowledged_per_bucket(records, 0, 150 * MS, 50 * MS) == [49, 50, 1]


def test_accounts_of_several_producers_are_added_up() -> None:
    one = Account(10, 9, 1, 0, 2, 1, ("0:5 #5",))
    assert together([one, one]) == Account(20, 18, 2, 0, 4, 2, ("0:5 #5", "0:5 #5"))


@pytest.mark.parametrize(
    ("value", "comparator", "holds"),
    [
        (1, "≤", True),
        (2, "≤", False),
        (1, "<", False),
        (1, "≥", True),
        (0, "≥", False),
        (1, ">", False),
        (0, "=", False),
        (1, "=", True),
    ],
)
def test_bounds_mean_what_they_say(value: float, comparator: str, holds: bool) -> None:
    assert compare(value, comparator, 1) is holds


def test_a_drill_whose_measures_are_within_bounds_passes() -> None:
    assert failing(found()) == []
    assert as_document(DRILL, found())["passed"] is True


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"silences": (Silence(0, 0, 501 * MS, True),)}, ["unavailable"]),
        ({"silences": ()}, ["unavailable"]),
        ({"account": Account(100, 100, 3, 0, 0, 0, ("0:1 #1",))}, ["lost"]),
        ({"account": Account(100, 100, 0, 1, 0, 0, ())}, ["duplicated"]),
        ({"account_gap": "drill-0 could not be read back"}, ["lost", "duplicated"]),
        ({"back_in_sync_ns": 5011 * MS}, ["back in sync within"]),
        ({"back_in_sync_ns": None, "not_in_sync": "broker 2 is killed"}, ["back in sync within"]),
        ({"failed": {"_MSG_TIMED_OUT": 2}}, ["failed"]),
        ({"latency_ms": {"p50": 1.0, "p99": 1000.1, "max": 2000.0}}, ["latency p99"]),
        ({"latency_ms": {"p50": None, "p99": None, "max": None}}, ["latency p99"]),
    ],
)
def test_a_measure_out_of_bounds_or_missing_fails_its_assertion_alone(
    changes: dict[str, Any], fails: list[str]
) -> None:
    assert failing(found(**changes)) == fails
    assert as_document(DRILL, found(**changes))["passed"] is False


def test_a_silence_is_laid_to_the_act_before_it_not_to_those_that_end_it() -> None:
    long = found(silences=(Silence(0, 950 * MS, 3500 * MS, True),))
    assert judge(DRILL, long)[0].detail == "drill-0 from 0.95 s, kill leader"


def test_a_drill_that_was_not_carried_out_fails_in_everything() -> None:
    findings = found(stopped="kill leader in line 3: there was no leader within 10 s")
    assert len(failing(findings)) == len(DRILL.assertions)
    assert "the drill was not carried out: kill leader in line 3" in as_text(as_document(DRILL, findings))


def test_the_text_has_the_course_of_things_and_each_assertion_with_its_measure() -> None:
    account = Account(100, 100, 3, 0, 0, 0, ("0:1 #1",))
    text = as_text(as_document(DRILL, found(account=account, lost=Lost(unclean=1, clean=2))))
    assert "    1.000 s  kill leader: broker 2" in text
    assert "    1.000 s    drill-0 acknowledges nothing for 400 ms" in text
    assert "    4.000 s  every replica is in sync" in text
    assert "holds  unavailable          ≤ 500 ms   400 ms  (drill-0 from 1.00 s, kill leader)" in text
    why = "1 at unclean elections, 2 at elections from the ISR; where they should stand: 0:1 #1"
    assert f"FAILS  lost                 = 0        3  ({why})" in text
    assert text.endswith("failed: 1 of 6 do not hold")
