"""Have Apache Kafka go through the scenario: make_golden_log.py .cache/kafka-4.3.1/libs > golden/log-4.3.1.txt."""

from __future__ import annotations

import os
import subprocess
import sys

from log_scenario import INDEX_INTERVAL_BYTES, NOW_MS, SEGMENT_BYTES, Append, operations


def main() -> None:
    lines = []
    for each in operations():
        if isinstance(each, Append):
            words = ("leader", each.leader_epoch, each.origin, each.transaction_version, each.batch.hex())
            lines.append(" ".join(map(str, words)))
        else:
            lines.append(f"{each.name} {each.offset}")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "GoldenLog.java")
    command = ["java", "-cp", f"{sys.argv[1]}/*", source, str(SEGMENT_BYTES), str(INDEX_INTERVAL_BYTES), str(NOW_MS)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    kinds = ("leader", "high_watermark", "truncate", "roll", "file")
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(kinds)))


if __name__ == "__main__":
    main()
