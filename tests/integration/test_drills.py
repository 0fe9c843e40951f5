"""Two short drills that differ in their promises only, carried out beside each other."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT

pytestmark = pytest.mark.integration

# One of two replicas is down while records are acknowledged; it comes back when the other one is gone.
DRILL = """
about: the replicas of a partition go down one after the other
cluster:
  durability: page-cache
  topics:
    - {{name: orders, partitions: 1, replication_factor: 2,
        configs: {{min.insync.replicas: 1, unclean.leader.election.enable: {unclean}}}}}
load: {{acks: {acks}, rate: 400, clients: 2}}
faults:
  - {{at: 100 ms, kill: follower}}
  - {{at: 700 ms, kill: leader}}
  - {{at: 800 ms, start: follower}}
  - {{at: 900 ms, start: leader}}
expect:
  lost: 0
  acknowledged: ≥ 1
  lost at unclean elections: 0
  lost at clean elections: 0
"""


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any], Path]]:
    """Exit code, report and page of each."""
    directory = tmp_path_factory.mktemp("drills")
    running = {}
    for name, acks, unclean in (("safe", "all", "false"), ("unsafe", "1", "true")):
        file = directory / f"{name}.yaml"
        file.write_text(DRILL.format(acks=acks, unclean=unclean))
        command = [sys.executable, "-m", "console.cli", "drill", str(file), "--json", "--html", str(file) + ".html"]
        running[name] = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=(directory / f"{name}.err").open("w"), text=True
        )
    done = {}
    for name, process in running.items():
        try:
            out, _ = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            for each in running.values():
                each.terminate()
            raise
        said = (directory / f"{name}.err").read_text()
        assert out, f"no report of {name}: {said}"
        done[name] = (process.returncode, json.loads(out), directory / f"{name}.yaml.html")
    return done


def test_a_drill_with_acks_all_loses_nothing_and_ends_with_0(carried_out: Any) -> None:
    code, report, _ = carried_out["safe"]
    assert code == 0, report
    assert report["passed"] and not report["stopped"]
    assert report["records"]["read_back"]
    assert report["records"]["acknowledged"] > 0
    assert report["records"]["lost"] == 0
    assert [act["kind"] for act in report["acts"]] == ["kill", "kill", "start", "start"]
    follower, leader, started, last = (act["brokers"] for act in report["acts"])
    assert follower != leader
    assert (started, last) == (follower, leader)


def test_the_same_with_acks_1_and_unclean_elections_reports_the_loss_and_ends_with_1(carried_out: Any) -> None:
    code, report, _ = carried_out["unsafe"]
    assert code == 1, report
    assert not report["passed"] and not report["stopped"]
    assert report["records"]["read_back"]
    assert report["records"]["lost"] > 0
    assert {each["name"]: each["holds"] for each in report["assertions"]} == {
        "lost": False,
        "acknowledged": True,
        "lost at unclean elections": False,
        "lost at clean elections": True,
    }
    assert report["records"]["lost_at"] == {"unclean": report["records"]["lost"], "clean": 0, "unexplained": 0}
    assert report["records"]["lost_offsets"][0].startswith("0:")


def test_the_page_has_the_timeline_and_needs_nothing_from_elsewhere(carried_out: Any) -> None:
    for _, report, page in carried_out.values():
        text = page.read_text()
        picture = xml.etree.ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
        labels = [each.text for each in picture.iter() if (each.text or "").startswith(("kill", "start"))]
        assert len([label for label in labels if ": broker" in (label or "")]) >= len(report["acts"])
        assert picture.findall(".//rect[@class='killed']")
        assert "http" not in text and "src=" not in text and "url(" not in text
