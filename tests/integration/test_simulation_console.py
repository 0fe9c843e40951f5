"""``kconsole sim`` in a real terminal (tmux), driven by keys alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import KCONSOLE
from tests.integration.test_console import Terminal

pytestmark = pytest.mark.integration


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*command: str, **size: int) -> Terminal:
        directory = tmp_path / f"t{len(opened)}"
        directory.mkdir()
        opened.append(Terminal(directory, *command, **size))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def runs() -> set[int]:
    """Processes of simulated runs."""
    return {
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if "engine.sim.stepping.process" in (each.info["cmdline"] or [])
    }


def timeline(text: str) -> list[str]:
    """The rows of decisions on the screen, without cursor and frame."""
    rows = re.findall(r"^│▌? +([\d,]+ +\d+\.\d{6} .*?)[▁-█ ]*│$", text, re.MULTILINE)
    return [" ".join(row.split()) for row in rows if "→" not in row.split()[2] and "←" not in row.split()[2]]


def at_rest(text: str) -> bool:
    return "‖ paused" in text


def test_an_election_is_stepped_through_gone_back_to_and_the_same_again(terminals: Callable[..., Terminal]) -> None:
    before = runs()
    terminal = terminals(str(KCONSOLE), "sim", "--seed", "7")
    terminal.wait_for("the simulation", lambda text: "seed 7" in text and at_rest(text))
    terminal.press("N")
    first = terminal.wait_for("an election", lambda text: "★ quorum leader elected" in text and at_rest(text))
    assert "was granted the votes of" in first and "▲ vote granted" in first and "← Vote" in first
    started = runs() - before
    assert len(started) == 1
    terminal.press("n")
    terminal.wait_for("the step after it", lambda text: timeline(text)[-1] != timeline(first)[-1] and at_rest(text))
    terminal.press("b")
    back = terminal.wait_for("the election again", lambda text: "the same to the last byte" in text and at_rest(text))
    assert timeline(back) == timeline(first)
    terminal.press("b", "b", "b")
    terminal.wait_for("the time before", lambda text: "quorum leader elected" not in text and at_rest(text))
    terminal.press("N")
    again = terminal.wait_for("an election", lambda text: "★ quorum leader elected" in text and at_rest(text))
    assert timeline(again) == timeline(first)

    terminal.press("<")
    terminal.wait_for("half the speed", lambda text: "speed 0.5×" in text)
    terminal.press(">", ">", ">")
    terminal.wait_for("another speed", lambda text: "speed 5×" in text)
    terminal.press("Space")
    terminal.wait_for(
        "a run that plays", lambda text: "▶ playing" in text and float(re.findall(r"at ([\d.]+) s", text)[0]) > 1
    )
    terminal.press("Space")
    terminal.wait_for("a pause", at_rest)
    terminal.press("1")
    terminal.wait_for("the brokers", lambda text: "brokers(all)[3]" in text)
    terminal.press(":", "q", "Enter")
    terminal.wait_for("the end", lambda text: "the exit code is 0" in text)
    assert not runs() & started, "the run ends with its console"

    # The same seed in another process: the same election.
    other = terminals(str(KCONSOLE), "sim", "--seed", "7")
    other.wait_for("the simulation", lambda text: "seed 7" in text and at_rest(text))
    other.press("N")
    shown = other.wait_for("an election", lambda text: "★ quorum leader elected" in text and at_rest(text))
    assert timeline(shown) == timeline(first)


def test_a_console_that_is_killed_leaves_no_run_behind(terminals: Callable[..., Terminal]) -> None:
    before = runs()
    terminal = terminals(str(KCONSOLE), "sim", "--seed", "8")
    terminal.wait_for("the simulation", lambda text: "seed 8" in text and at_rest(text))
    terminal.press(">", ">", ">", ">", "Space")
    terminal.wait_for("a run that plays", lambda text: "▶ playing" in text)
    (run,) = runs() - before
    child = psutil.Process(run)
    child.parent().kill()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


def test_without_a_terminal_it_says_what_to_do_instead() -> None:
    done = subprocess.run(
        [KCONSOLE, "sim", "--seed", "7"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr and "python -m engine.sim --seed 7" in done.stderr


def test_a_wrong_scenario_is_refused_with_line_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("seed: 7\nat:\n  - {at: 3, kill: 9}\n")
    done = subprocess.run(
        [KCONSOLE, "sim", "--scenario", str(path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == f"{path}:3:19: kill names broker 9; there are brokers 1 to 3"
