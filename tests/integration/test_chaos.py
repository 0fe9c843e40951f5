"""``python -m engine.chaos`` for a few seconds: nothing is lost, and where something must be, the checker says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(150)]


def chaos(directory: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output. A run is ended by SIGTERM, so that it takes its brokers and mounts along."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.chaos", "--dir", str(directory / "chaos"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=130)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=15)
        raise AssertionError(f"it does not end: {output[-8000:]}") from None
    return process.returncode, output


def test_nothing_acknowledged_is_lost_under_all_faults_at_once(tmp_path: Path) -> None:
    status, output = chaos(tmp_path, "--seconds", "12", "--seed", "4")
    assert status == 0, output[-8000:]
    found = re.match(r"chaos ok: 0 anomalies; ([\d,]+) records acknowledged", output.splitlines()[-1])
    assert found and int(found[1].replace(",", "")) > 500, output[-8000:]
    # It was put to the test: faults of processes and of the network, and everything was read to its end.
    for needed in (r"^  (kill|pause|restart) .*\d$", r"^  (partition|hold|duplicate|reset|delay).*\d$"):
        assert re.search(needed, output, re.MULTILINE), output[-8000:]
    assert "no final read" not in output


@pytest.mark.parametrize("control", [("--acks", "1"), ("--unclean",)], ids=lambda each: each[0].strip("-"))
def test_the_checker_reports_loss_where_nothing_was_promised(tmp_path: Path, control: tuple[str, ...]) -> None:
    status, output = chaos(tmp_path, *control, "--seconds", "6", "--seed", "1")
    assert status == 0, output[-8000:]
    found = re.match(r"chaos ok: the checker reports (\d+) records lost or replaced", output.splitlines()[-1])
    assert found and int(found[1]) > 0, output[-8000:]


def test_nothing_is_lost_when_leaders_controllers_and_the_leader_of_zookeeper_are_killed(tmp_path: Path) -> None:
    kills = ("--leader-kills", "2", "--controller-kills", "1", "--zookeeper-kills", "1")
    status, output = chaos(tmp_path, "--zookeeper", "3", *kills, "--seed", "3")
    assert status == 0, output[-8000:]
    *_, told, verdict = output.splitlines()
    assert told == (
        "SIGKILLs: 2 of leaders, 1 of the controller, 1 of ZooKeeper's leader; acknowledged records lost: 0"
    )
    assert re.match(r"chaos ok: 0 anomalies; [\d,]+ records acknowledged", verdict), output[-8000:]
    found = re.search(r"([\d,]+) acknowledged records read back, 0 lost", output)
    assert found and int(found[1].replace(",", "")) > 500, output[-8000:]
