"""``python -m engine.sim.mutants [NAME …] [--seeds N]``: seeds must fail under each known-bad change of the engine."""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

from engine.sim.mutants import groups, logs, quorum, replication, transactions
from engine.sim.mutants.mutant import Mutant
from engine.sim.options import Options, options_from
from engine.sim.simulation import SimulationFailed, run_seed

MUTANTS = logs.MUTANTS + replication.MUTANTS + quorum.MUTANTS + groups.MUTANTS + transactions.MUTANTS
_SECONDS = 20.0


class Found(NamedTuple):
    """The first seed in which a promise broke, and how."""

    options: Options
    promise: str
    what: str


def hunt(mutant: Mutant, seeds: int) -> Found | None:
    """The first of ``seeds`` seeds in which a promise breaks under the mutant; None if they all pass.

    What the simulator itself raises is raised: it proves nothing about the checks.
    """
    undo = mutant.change()
    try:
        for seed in range(seeds):
            options = options_from(
                seed,
                seconds=_SECONDS,
                faults=mutant.faults,
                durability=mutant.durability,
                compacted=mutant.compacted,
                transactions=mutant.transactions,
            )._replace(**mutant.more)
            try:
                run_seed(options)
            except SimulationFailed as failure:
                return Found(options, failure.promise, failure.what)
    finally:
        undo()
    return None


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if every mutant is noticed, 1 if not, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m engine.sim.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these only")
    parser.add_argument("--seeds", type=int, default=200, help="how many each of them is given")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {each.name for each in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}; there are: {', '.join(e.name for e in MUTANTS)}")
    missed = 0
    for mutant in MUTANTS:
        if options.names and mutant.name not in options.names:
            continue
        began = time.perf_counter()
        found = hunt(mutant, options.seeds)
        took_s = time.perf_counter() - began
        promises = ", ".join(mutant.promises)
        if found is None:
            missed += 1
            print(f"MISSED    {mutant.name} ({promises}): {options.seeds} seeds, {took_s:.0f} s", flush=True)
        else:
            what = f"{found.promise}: {found.what}".splitlines()[0]
            print(
                f"seed {found.options.seed:3}  {mutant.name} ({promises}): {what[:120]}  ({took_s:.0f} s)", flush=True
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
