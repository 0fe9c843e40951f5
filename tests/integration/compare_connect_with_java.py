"""Kafka Connect's converters and transforms, and ours, side by side: the same input, the same output.

    compare_connect_with_java.py [--seeds FIRST:LAST] [--record]

Asks one JVM (tests/integration/java/ConnectConversions.java) every case of tests/unit/connect/connect_random_cases.py,
by hand and random, and compares. ``--record`` keeps Java's answers as tests/golden/connect-4.3.1.json.gz, which
`make test` replays without Java. Ends with 1 when something differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.connect.connect_java_cases import (  # noqa: E402
    JAVA_SOURCE,
    answer,
    difference,
    java_digest,
    write_corpus,
)
from tests.unit.connect.connect_random_cases import cases  # noqa: E402

LIBS = ROOT / ".cache" / "kafka-4.3.1" / "libs"


def ask_java(asked: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Kafka's version, and its answers."""
    if not LIBS.is_dir():
        sys.exit(f"{LIBS} is missing: run `make jars`, which fetches it")
    options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC", "-Duser.language=en"]
    ended = subprocess.run(
        ["java", *options, "-Duser.country=US", "-cp", f"{LIBS}/*", str(JAVA_SOURCE)],
        input="".join(f"{json.dumps(each)}\n" for each in asked).encode(),
        capture_output=True,
        timeout=600,
    )
    lines = ended.stdout.decode().split("\n")[:-1]
    if len(lines) != len(asked) + 1:
        sys.exit(f"the JVM ended with {ended.returncode} after {len(lines)} lines: {ended.stderr.decode()[-2000:]}")
    head, *answers = map(json.loads, lines)
    return head["version"], answers


def main() -> int:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description="Kafka Connect's converters and transforms beside ours")
    parser.add_argument("--seeds", default="0:4", help="FIRST:LAST (exclusive) of the random cases")
    parser.add_argument("--record", action="store_true", help="keep Java's answers as the corpus")
    chosen = parser.parse_args()
    first, last = map(int, chosen.seeds.split(":"))
    asked = cases(range(first, last))
    version, answers = ask_java(asked)
    differing = [
        found for case, theirs in zip(asked, answers, strict=True) if (found := difference(case, theirs, answer(case)))
    ]
    for each in differing:
        print(f"DIFFERS {each}\n")
    errors = Counter(each.get("error", "none") for each in answers)
    print(f"Kafka {version}: {len(asked)} cases, {len(differing)} differ; Java's errors: {dict(errors)}")
    if chosen.record:
        write_corpus({"version": version, "java": java_digest(), "cases": asked, "answers": answers})
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
