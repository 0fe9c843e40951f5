"""Have Apache Kafka's cleaner go through the scenario: make_golden_cleaner.py KAFKA_LIBS > golden/cleaner-4.3.1.txt."""

from __future__ import annotations

import os
import subprocess
import sys

from cleaner_scenario import DELETE_RETENTION_MS, INDEX_INTERVAL_BYTES, SEGMENT_BYTES, Clean, operations
from log_scenario import NOW_MS, Append


def main() -> None:
    lines = []
    for each in operations():
        if isinstance(each, Append):
            words = ("leader", each.leader_epoch, each.origin, each.transaction_version, each.batch.hex())
            lines.append(" ".join(map(str, words)))
        else:
            lines.append(f"clean {each.now_ms}" if isinstance(each, Clean) else each.name)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "GoldenCleaner.java")
    numbers = map(str, (SEGMENT_BYTES, INDEX_INTERVAL_BYTES, DELETE_RETENTION_MS, NOW_MS))
    command = ["java", "-cp", f"{sys.argv[1]}/*", source, *numbers]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("clean", "file"))))


if __name__ == "__main__":
    main()
