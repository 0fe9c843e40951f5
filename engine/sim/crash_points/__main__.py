"""``python -m engine.sim.crash_points``: cut the power at every operation of many scripts, and tell what was found."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
from typing import NamedTuple

from engine.sim.crash_points.campaign import Campaign, PointFailed, Script, Tally
from engine.sim.crash_points.quorum_script import QuorumScript
from engine.sim.crash_points.script import BrokerScript
from engine.sim.tally import tally_words


class _Task(NamedTuple):
    script: str
    seed: int
    steps: int
    lying: frozenset[str]
    only: int | None

    def words(self) -> str:
        """The options that do it again."""
        return f"--script {self.script} --seed {self.seed} --steps {self.steps}"


_SCRIPTS: dict[str, type[BrokerScript] | type[QuorumScript]] = {"broker": BrokerScript, "quorum": QuorumScript}


def campaign(script: str, seed: int, *, lying: frozenset[str] = frozenset(), only: int | None = None) -> Campaign:
    """The crash points of one seed of a script, ``"broker"`` or ``"quorum"``."""
    made: Script = _SCRIPTS[script](seed)
    return Campaign(made, lying=lying, only=only)


def _run(task: _Task) -> tuple[_Task, Tally, str]:
    logging.disable(logging.CRITICAL)
    cutting = campaign(task.script, task.seed, lying=task.lying, only=task.only)
    try:
        return task, cutting.run(task.steps), ""
    except PointFailed as failure:
        return task, cutting.tally, str(failure)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if every start found what was promised, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m engine.sim.crash_points", description=__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="how many seeds of each script, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--script", choices=sorted(_SCRIPTS), help="this one only")
    parser.add_argument("--only", type=int, help="cut at this operation of the disk only")
    parser.add_argument("--steps", type=int, default=60, help="how many steps a script has")
    parser.add_argument("--lying", default="", help="controls: sync or sync_dir does nothing, or both: sync,sync_dir")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parsed = parser.parse_args(arguments)
    seeds = [parsed.seed] if parsed.seed is not None else range(parsed.first, parsed.first + parsed.seeds)
    lying = frozenset(each for each in parsed.lying.split(",") if each)
    names = [parsed.script] if parsed.script else sorted(_SCRIPTS)
    tasks = [_Task(name, seed, parsed.steps, lying, parsed.only) for name in names for seed in seeds]
    began = time.perf_counter()
    total, failed = Tally.empty(), 0
    with multiprocessing.get_context("fork").Pool(max(1, parsed.jobs)) as pool:
        for task, tally, failure in pool.imap_unordered(_run, tasks):
            total.add(tally)
            if failure:
                failed += 1
                print(f"FAILED {failure}\nagain: python -m engine.sim.crash_points {task.words()}", flush=True)
    print(f"points by operation: {tally_words(total.points)}")
    print(f"points by what the disk was about to do: {tally_words(total.by_disk_operation)}")
    print(f"seeds {seeds[0]} to {seeds[-1]} of {' and '.join(names)}, {parsed.steps} steps each")
    print(
        f"{sum(total.points.values()):,} crash points, {sum(total.states.values()):,} starts judged "
        f"({tally_words(total.states)}), {len(total.distinct_states):,} distinct disks, "
        f"{failed} of {len(tasks)} scripts failed; {time.perf_counter() - began:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
