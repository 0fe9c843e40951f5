"""What became of acknowledged records; what is said where no disk's power can be cut."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from engine.chaos.__main__ import main
from engine.chaos.ack_ledger import AckLedger, compare
from engine.chaos.power import why_no_power_cuts
from engine.chaos.run import Options, Run


def test_an_acknowledged_record_is_there_only_at_its_offset() -> None:
    ledger = AckLedger()
    for value, offset in (("a", 0), ("b", 1), ("c", 2), ("d", -1), ("e", -1)):
        ledger.acknowledged("t-0", value, offset)
    ledger.acknowledged("t-1", "f", 0)
    acknowledged = ledger.so_far()
    ledger.acknowledged("t-0", "later", 9)
    found = compare(acknowledged, {"t-0": {0: "a", 1: "x", 2: "b", 5: "d"}})
    # b is elsewhere, c is gone, d's answer told no offset, e is nowhere, and nothing of t-1 is there.
    assert (found.checked, [each.partition(" ")[0] for each in found.lost]) == (6, ["b", "c", "e", "f"])
    assert "6 acknowledged records read back, 4 LOST: b at t-0 1, c at t-0 2" in str(found)
    assert str(compare({"t-0": {"a": 0}}, {"t-0": {0: "a"}})) == "1 acknowledged records read back, 0 lost"


def test_power_cuts_that_cannot_be_made_are_a_failure_and_say_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    out = io.StringIO()
    assert Run(Options(0, 1, frozenset(), directory=str(tmp_path), power_cuts=1), out).run() == 2
    assert "could not be done: NOT POSSIBLE HERE: power cuts: " in out.getvalue()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mkfs.ext4" else f"/sbin/{name}")
    assert "`mkfs.ext4`" in why_no_power_cuts()


@pytest.mark.parametrize(
    "arguments",
    [["--lying-disks"], ["--lying-disks", "--kills", "3"], ["--acks", "1", "--kills", "3"]],
    ids=["no cuts", "kills alone", "two controls"],
)
def test_a_control_that_cannot_lose_what_it_should_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
