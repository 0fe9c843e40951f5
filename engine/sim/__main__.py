"""``python -m engine.sim``: run seeds, tell what they did, and for one that fails how to run it again."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable

from engine.sim.options import Options, add_arguments, given_options, options_from
from engine.sim.simulation import Report, SimulationFailed, run_seed
from engine.sim.tally import tally_words

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
    add_arguments(parser)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parsed = parser.parse_args(arguments)
    seeds = [parsed.seed] if parsed.seed is not None else range(parsed.first, parsed.first + parsed.seeds)
    given = given_options(parsed)
    chosen = [options_from(seed, **given) for seed in seeds]
    began = time.perf_counter()
    faults: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    simulated_s, events, done = 0.0, 0, 0
    failed: list[int] = []
    with contextlib.suppress(KeyboardInterrupt):
        for each, report, failure in _outcomes(chosen, parsed.jobs):
            done += 1
            if report is None:
                failed.append(each.seed)
                print(f"seed {each.seed} FAILED: {failure}\nagain: python -m engine.sim {each.words()}")
                print(f"step by step: kconsole sim {each.words()}", flush=True)
                if not parsed.keep_going:
                    break
                continue
            simulated_s += report.simulated_s
            events += report.events
            faults += report.faults
            operations += report.operations
            if parsed.seed is not None:
                print(f"seed {each.seed}: digest {report.digest}, {report.events} events\noptions: {each.words()}")
    took_s = time.perf_counter() - began
    print(f"faults: {tally_words(faults)}")
    print(f"operations: {tally_words(operations)}")
    which = f" ({', '.join(map(str, failed))})" if failed else ""
    print(
        f"{done} seeds, {len(failed)} failed{which}; {simulated_s / 3600:.2f} simulated hours, {events:,} events, "
        f"{sum(faults.values()):,} faults, {done / took_s * 60:.0f} seeds a minute, "
        f"{simulated_s / took_s:.0f} simulated seconds a second"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
