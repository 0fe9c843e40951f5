"""Have Apache Kafka go through the scenario: make_golden_transactions.py LIBS > golden/transactions-4.3.1.txt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Level of transaction.version, producer id and epoch to begin with; then what happens, a second after the other.
SCENARIO = [
    *("new 0 7 -1", "init -1", "add orders 3 0", "end 1 0 -1", "complete", "add orders 3 0", "end 0 0 -1", "complete"),
    *("init -1", "add orders 0 0", "fence", "complete", "init 2"),
    *("new 1 7 -1", "init -1", "add orders 3 0", "add orders 3 0", "end 1 0 -1", "complete", "init 0", "init 0"),
    *("add orders 5 0", "fence", "complete", "init -1"),
    *("new 2 7 -1", "init -1", "add orders 3 2", "end 1 2 -1", "complete", "add orders 3 2", "end 0 2 -1", "complete"),
    *("end 0 2 -1", "complete", "init 3", "add orders 0 0", "end 0 2 -1", "complete"),
    *(
        "new 2 8 32764",
        "init -1",
        "add orders 3 2",
        "end 1 2 -1",
        "complete",
        "add orders 3 2",
        "end 1 2 9",
        "complete",
    ),
    *("add orders 1 2", "end 1 2 -1", "complete"),
    *("new 2 8 32765", "init 32765", "rotate 12 1", "init 0", "add orders 3 2", "end 0 2 -1", "complete"),
    *("new 1 8 32765", "init -1", "rotate 12 0", "add orders 3 0", "end 0 0 -1", "complete"),
]


def main() -> None:
    source = Path(__file__).parent / "golden" / "GoldenTransactions.java"
    command = ["java", "-cp", f"{sys.argv[1]}/*", str(source)]
    done = subprocess.run(command, input="\n".join(SCENARIO), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print(done.stdout, end="")


if __name__ == "__main__":
    main()
