"""``python -m engine.sim``: run seeds, tell what they did, and for one that fails how to run it again."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from engine.sim.options import FAULTS, Options, options_from
from engine.sim.simulation import Report, SimulationFailed, run_seed

_STORY_LINES = 60


def _run(options: Options) -> tuple[Options, Report | None, str]:
    try:
        return options, run_seed(options), ""
    except SimulationFailed as failure:
        story = "\n".join(failure.story[-_STORY_LINES:])
        return options, None, f"{failure.promise}: {failure.what}\n{story}"
    except Exception as error:
        import traceback

        return options, None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


def _outcomes(chosen: list[Options], jobs: int) -> Iterable[tuple[Options, Report | None, str]]:
    if jobs <= 1 or len(chosen) == 1:
        yield from map(_run, chosen)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=20) as pool:
        yield from pool.imap_unordered(_run, chosen)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if every promise held, 1 otherwise, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m engine.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--seconds", type=float, help="simulated seconds under faults")
    parser.add_argument("--brokers", type=int)
    parser.add_argument("--durability", choices=("fsync", "page-cache"))
    parser.add_argument("--faults", help=f"comma-separated, of {', '.join(FAULTS)}; or none")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    options = parser.parse_args(arguments)
    faults = None
    if options.faults is not None:
        faults = tuple(each for each in options.faults.split(",") if each and each != "none")
        unknown = [each for each in faults if each not in FAULTS]
        if unknown:
            parser.error(f"unknown faults: {', '.join(unknown)}")
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    given: dict[str, Any] = {
        "seconds": options.seconds,
        "brokers": options.brokers,
        "durability": options.durability,
        "faults": faults,
    }
    chosen = [options_from(seed, **given) for seed in seeds]
    began = time.perf_counter()
    faults_done: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    simulated_s, events, failed, done = 0.0, 0, 0, 0
    for each, report, failure in _outcomes(chosen, options.jobs):
        done += 1
        if report is None:
            failed += 1
            print(f"seed {each.seed} FAILED: {failure}\nagain: python -m engine.sim {each.words()}", flush=True)
            if not options.keep_going:
                break
            continue
        simulated_s += report.simulated_s
        events += report.events
        faults_done += report.faults
        operations += report.operations
        if options.seed is not None:
            print(f"seed {each.seed}: digest {report.digest}, {report.events} events")
    took_s = time.perf_counter() - began
    print(f"faults: {_words(faults_done)}")
    print(f"operations: {_words(operations)}")
    print(
        f"{done} seeds, {failed} failed; {simulated_s / 3600:.2f} simulated hours, {events:,} events, "
        f"{done / took_s * 60:.0f} seeds a minute, {simulated_s / took_s:.0f} simulated seconds a second"
    )
    return 1 if failed else 0


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
