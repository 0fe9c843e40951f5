"""``python -m engine.sim.check FILE.jsonl …``: judges recorded histories (:mod:`engine.sim.history`) and prints why.

Several files are those of several recorders on one machine: they are merged by their time. Exit status: 0 no anomaly,
1 anomalies, 2 no history.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Sequence

from engine.sim.history import History, HistoryError, from_lines, merge
from engine.sim.history_checker import KEPT_OF_EACH_KIND, check
from engine.sim.history_findings import Promises


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine.sim.check",
        description="Judge recorded histories of Kafka clients: lost, doubled, reordered, skipped records and offsets.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="one JSON object a line; several files are merged")
    parser.add_argument(
        "--unclean", action="append", default=[], metavar="TOPIC", help="this topic allows unclean leader elections"
    )
    parser.add_argument("--allowed", action="store_true", help="show what was allowed, too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 on what was allowed, too")
    parser.add_argument("--keep", type=int, default=KEPT_OF_EACH_KIND, metavar="N", help="show N of each kind")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    options = _parser().parse_args(arguments)
    # A million operations are millions of objects, none of them in a cycle that is given up before the end.
    collects = gc.isenabled()
    gc.disable()
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(path, encoding="utf-8")) for path in options.files]
            history = History.of(merge(map(from_lines, files)) if len(files) > 1 else from_lines(files[0]))
        if not history.operations:
            raise HistoryError("there are no operations to judge")
        verdict = check(history, Promises(frozenset(options.unclean)), keep=options.keep)
    except (OSError, UnicodeDecodeError, HistoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if collects:
            gc.enable()
    sys.stdout.write(verdict.report(with_allowed=options.allowed or options.strict) + "\n")
    return 1 if verdict.anomaly_counts or (options.strict and verdict.allowed_counts) else 0


if __name__ == "__main__":
    sys.exit(main())
