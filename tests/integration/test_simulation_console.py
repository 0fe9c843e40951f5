"""``kconsole sim`` in a real terminal (tmux), driven by keys alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import KCONSOLE
from tests.integration.terminal import Terminal

pytestmark = pytest.mark.integration


def run_of(*words: str) -> tuple[psutil.Process, psutil.Process]:
    """A console by its command line, and the process of its run."""
    for each in psutil.process_iter(["cmdline"]):
        line = each.info["cmdline"] or []
        if list(words) == line[-len(words) :] and "tmux" not in line[0] and "sh" not in Path(line[0]).name:
            for child in each.children():
                if "engine.sim.stepping.process" in child.cmdline():
                    return each, child
    raise AssertionError(f"no console runs {' '.join(words)}")


def are_gone(*processes: psutil.Process) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=15)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def timeline(text: str) -> list[str]:
    """The rows of decisions on the screen, without cursor and frame."""
    rows = re.findall(r"^│▌? +([\d,]+ +\d+\.\d{6} .*?)[▁-█ ]*│$", text, re.MULTILINE)
    return [" ".join(row.split()) for row in rows if "→" not in row.split()[2] and "←" not in row.split()[2]]


def at_rest(text: str) -> bool:
    return "‖ paused" in text


def test_an_election_is_stepped_through_gone_back_to_and_the_same_again(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals(str(KCONSOLE), "sim", "--seed", "7", "--seconds", "59")
    terminal.wait_for("the simulation", lambda text: "seed 7" in text and at_rest(text))
    terminal.press("N")
    first = terminal.wait_for("an election", lambda text: "★ quorum leader elected" in text and at_rest(text))
    assert "was granted the votes of" in first and "▲ vote granted" in first and "← Vote" in first
    console, run = run_of("sim", "--seed", "7", "--seconds", "59")
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
    assert are_gone(console, run)

    # The same seed in another process: the same election.
    other = terminals(str(KCONSOLE), "sim", "--seed", "7", "--seconds", "59")
    other.wait_for("the simulation", lambda text: "seed 7" in text and at_rest(text))
    other.press("N")
    shown = other.wait_for("an election", lambda text: "★ quorum leader elected" in text and at_rest(text))
    assert timeline(shown) == timeline(first)


def play(terminal: Terminal, seed: str) -> tuple[psutil.Process, psutil.Process]:
    terminal.wait_for("the simulation", lambda text: f"seed {seed}" in text and at_rest(text))
    terminal.press(">", ">", ">", ">", "Space")
    terminal.wait_for("a run that plays", lambda text: "▶ playing" in text)
    return run_of("sim", "--seed", seed)


def test_a_console_that_is_killed_leaves_no_run_behind(terminals: Callable[..., Terminal]) -> None:
    console, run = play(terminals(str(KCONSOLE), "sim", "--seed", "8"), "8")
    console.kill()
    assert are_gone(run)


def test_a_terminal_that_is_closed_while_the_run_plays_ends_both(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, str(KCONSOLE), "sim", "--seed", "9")
    processes = play(terminal, "9")
    terminal.close()
    assert are_gone(*processes)


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
