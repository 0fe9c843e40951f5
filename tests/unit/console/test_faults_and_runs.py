"""What a fault would do, told before; forms of faults; runs side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.comparing import comparison
from console.viewmodel.faults import duration_ms, fault_preview, wish_of
from engine.supervisor.fault_kinds import KINDS, FaultWish, WishError
from engine.supervisor.snapshot import Act, Ledger, Source, Stage, StageTime
from tests.console.sample_snapshots import START_MS, finished_act, sample_cluster

FORM = {
    "kind": "slow fsync",
    "broker": "2",
    "other": "others",
    "by": "200 ms",
    "times": "3",
    "for": "10 s",
    "acks": "1",
    "min_isr": "3",
}


def preview(wish: FaultWish) -> str:
    return " ".join(plain(line) for line in fault_preview(sample_cluster(START_MS, Source.EMBEDDED), wish))


def test_a_form_asks_for_what_its_kind_takes_and_nothing_else() -> None:
    assert wish_of({**FORM, "times": "?", "other": "?"}, (1, 2, 3)) == FaultWish(
        "slow fsync", 2, "", 200.0, 0, 10_000.0, "1", 3
    )
    loop = wish_of({**FORM, "kind": "crash loop", "by": "?"}, (1, 2, 3))
    assert (loop.times, loop.by_ms, loop.for_ms) == (3, 0, 0), "it ends by itself"
    assert wish_of({**FORM, "kind": "rolling restart", "broker": "?"}, (1, 2, 3)).broker_id == 1
    for changes, wrong in (
        ({"by": "soon"}, "by is how much longer it takes: 200 ms, or 2 s"),
        ({"for": "a while"}, "for is how long it lasts"),
        ({"broker": "9"}, "there is no broker 9"),
    ):
        with pytest.raises(WishError, match=wrong):
            wish_of({**FORM, **changes}, (1, 2, 3))
    assert [duration_ms(each) for each in ("5", "1.5 s", "2min", "x")] == [5000, 1500, 120_000, None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_would_do_is_told_and_how_it_ends(kind: str) -> None:
    said = preview(FaultWish(kind, 2, "others" if kind in ("cut", "delay") else "", 200, 3, 9_000))
    assert ("leader" in said or "Nothing is lost" in said) and said.endswith("the stopwatch and the ledger.")
    assert "It heals by itself after 9 s." in said


def test_a_fault_that_takes_a_broker_down_tells_what_its_loss_does() -> None:
    said = preview(FaultWish("disk full", 2))
    assert "8 partitions elect another leader" in said and "KafkaStorageException" in said
    assert "It lasts until you heal it" in said
    assert "no leader moves" in preview(FaultWish("cut", 2, "clients"))


def run(act_id: int, acks: str, produce_ms: float, lost: int) -> Act:
    act = finished_act(act_id, 2, START_MS)
    stages = tuple(
        StageTime(Stage.FIRST_PRODUCE, produce_ms) if each.stage is Stage.FIRST_PRODUCE else each for each in act.stages
    )
    ledger = Ledger(acks, 100, 100, lost, 0, 0, True, slowest_ms=produce_ms + 1)
    settings = {"acks": acks, "min.insync.replicas": "2"}
    return replace(act, stages=stages, ledger=ledger, settings=settings)


def test_two_runs_stand_side_by_side_with_their_difference() -> None:
    lines = [plain(line).split() for line in comparison([run(1, "all", 241.0, 0), run(2, "1", 1_241.0, 7)])]
    assert ["acks", "all", "1"] in lines
    assert ["min.insync.replicas", "2", "2"] in lines
    assert ["first", "acknowledged", "produce", "241", "ms", "1.24", "s", "+1.00", "s"] in lines
    assert ["fenced", "88", "ms", "88", "ms", "same"] in lines
    assert ["lost", "0", "7", "+7"] in lines
    assert not any(line[:1] == ["healed"] for line in lines), "what none of them went through is left out"


def test_a_run_without_ledger_has_no_figures_and_no_difference() -> None:
    lines = [plain(line).split() for line in comparison([run(1, "all", 1, 0), replace(run(2, "1", 2, 0), ledger=None)])]
    assert ["lost", "0", "–"] in lines
