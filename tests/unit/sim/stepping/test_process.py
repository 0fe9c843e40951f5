"""The process of a run: lines in, lines out, and gone with its input."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from engine.sim.options import options_from
from engine.sim.stepping.acts import Act, Planned
from engine.sim.stepping.process import options_as_data, planned_as_data

OPTIONS = options_from(7, seconds=4.0, brokers=3, faults=(), load="heavy", joining=False)


def tell(*lines: dict[str, Any]) -> list[dict[str, Any]]:
    """All frames of a run that is told everything at once."""
    done = subprocess.run(
        [sys.executable, "-m", "engine.sim.stepping.process"],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_comes_with_the_first_line_is_heard() -> None:
    planned = Planned(Act("kill", (1,)), None, 1.0, "scenario")
    first = {"options": options_as_data(OPTIONS), "planned": [planned_as_data(planned)]}
    frames = tell(first, {"do": "speed", "speed": None}, {"do": "detail", "number": 1, "ask": 5})
    assert [frame["type"] for frame in frames][:2] == ["frame", "detail"]
    assert frames[0]["count"] == 0 and frames[0]["ahead"] == [[1.0, "kill 1", "scenario"]]
    assert frames[1]["ask"] == 5


def test_no_input_is_no_run() -> None:
    assert tell() == []
