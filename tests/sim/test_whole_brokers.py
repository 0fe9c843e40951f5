"""Whole brokers under virtual time: the same seed is the same run, found seeds stay right, and loss is noticed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.sim.options import FAULTS, options_from
from engine.sim.simulation import SimulationFailed, run_seed

ROOT = Path(__file__).resolve().parents[2]
# Short runs, many of them: what needs longer is for `make sim`.
CI_SECONDS = 5.0
FIXED_SEEDS, FRESH_SEEDS, SEEDS_A_TEST = 300, 50, 25


def fresh_seed() -> int:
    """The first of those that nobody has run yet: others with each change of the engine, the same on every machine."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "engine").rglob("*.py")):
        digest.update(path.read_bytes())
    return 1_000_000 + int.from_bytes(digest.digest()[:4], "big")


CHUNKS = [
    *(pytest.param(first, id=f"fixed {first}") for first in range(0, FIXED_SEEDS, SEEDS_A_TEST)),
    *(pytest.param(fresh_seed() + at, id=f"fresh {at}") for at in range(0, FRESH_SEEDS, SEEDS_A_TEST)),
]


def regressions() -> list[tuple[list[str], str]]:
    """Options and the why of each kept seed."""
    kept = []
    for line in (Path(__file__).parent / "regressions.txt").read_text().splitlines():
        options, _, why = line.partition("#")
        if options.strip():
            kept.append((options.split(), why.strip()))
    return kept


def command(*options: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.sim", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


EVERY_FAULT = (
    *("--seed", "6", "--seconds", "25", "--brokers", "3", "--durability", "fsync", "--load", "heavy"),
    *("--faults", ",".join(FAULTS), "--fault-interval", "0.3", "--joining", "yes"),
)


@pytest.mark.parametrize("options", [("--seed", "5", "--seconds", "10"), EVERY_FAULT], ids=["a few faults", "all"])
def test_a_seed_is_the_same_run_whatever_the_hash_seed(options: tuple[str, ...]) -> None:
    outputs = {command(*options, hash_seed=each).stdout.splitlines()[0] for each in ("1", "77")}
    assert len(outputs) == 1, outputs
    assert "digest" in outputs.pop()


@pytest.mark.parametrize(("options", "why"), regressions(), ids=[" ".join(options) for options, _ in regressions()])
def test_a_seed_that_found_something_once_passes(options: list[str], why: str) -> None:
    done = command(*options)
    assert done.returncode == 0, f"{why}\n{done.stdout}\n{done.stderr}"


# Nothing but computing: on a busy machine it takes long, and what hangs is seen in virtual time.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", CHUNKS)
def test_every_promise_holds(first: int) -> None:
    failed = []
    for seed in range(first, first + SEEDS_A_TEST):
        options = options_from(seed, seconds=CI_SECONDS, load="heavy")
        try:
            run_seed(options)
        except SimulationFailed as failure:
            failed.append(f"{failure.promise}: {failure.what}\nagain: python -m engine.sim {options.words()}")
    assert not failed, "\n".join(failed)


def test_power_lost_everywhere_without_fsync_is_noticed() -> None:
    """The check can fail: page-cache durability does not promise anything about power."""
    lost = []
    for seed in range(30):
        options = options_from(seed, seconds=10, durability="page-cache", faults=("power-all", "power"))
        try:
            run_seed(options._replace(fault_interval_s=1.0))
        except SimulationFailed as failure:
            lost.append(failure.promise)
            if len(lost) >= 2:
                break
    assert lost and set(lost) <= {"R1", "R2", "R3", "R5", "R9", "T1", "G3", "G6", "R7", "L3"}, lost


def test_a_run_that_fails_says_how_to_run_it_again() -> None:
    done = command("--seed", "0", "--seconds", "10", "--durability", "page-cache", "--faults", "power-all,power")
    if done.returncode:
        assert "again: python -m engine.sim --seed 0" in done.stdout
    assert "simulated" in done.stdout.splitlines()[-1]
