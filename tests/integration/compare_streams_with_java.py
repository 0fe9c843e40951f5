"""Kafka Streams' TopologyTestDriver and ours, side by side: the same topologies, the same input, the same output.

    compare_streams_with_java.py [--seeds FIRST:LAST] [--length N] [--only WORD] [--record]

Runs every topology of tests/unit/streams/java_twins*.py over the hand-written scenarios and one of random records for
each seed, in one JVM (tests/integration/java/StreamsDriver.java), and compares describe() and every record of every
output, repartition and changelog topic. ``--record`` keeps Java's answers as tests/golden/streams-4.3.1.json.gz,
which `make test` replays without Java. Ends with 1 when something differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.streams.java_scenarios import (  # noqa: E402
    JAVA_SOURCES,
    TOPOLOGIES,
    difference,
    java_digest,
    run_ours,
    scenarios,
    steps_for,
    topics_of,
    write_corpus,
)

LIBS = ROOT / ".cache" / "kafka-4.3.1-streams-test" / "libs"


class Java:
    """The JVM with Kafka's TopologyTestDriver."""

    def __init__(self) -> None:
        if not LIBS.is_dir():
            sys.exit(f"{LIBS} is missing: run `make streams-java`, which fetches it")
        self._classes = TemporaryDirectory(prefix="kconsole-streams-java-")
        subprocess.run(
            ["javac", "-nowarn", "-d", self._classes.name, "-cp", f"{LIBS}/*", *map(str, JAVA_SOURCES)], check=True
        )
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._process = subprocess.Popen(
            ["java", *options, "-cp", f"{self._classes.name}:{LIBS}/*", "StreamsDriver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.head = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the JVM ended with {self._process.wait()}: run it by hand to see why")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, topology: str, steps: list[Any]) -> dict[str, Any]:
        """What Kafka's driver makes of a scenario."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"topology": topology, "steps": steps}).encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the JVM."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._classes.cleanup()


def main() -> int:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description="Kafka Streams' TopologyTestDriver beside ours")
    parser.add_argument("--seeds", default="0:2", help="FIRST:LAST (exclusive) of the random scenarios")
    parser.add_argument("--length", type=int, default=60, help="steps of a random scenario")
    parser.add_argument("--only", default="", help="topologies with this in their name")
    parser.add_argument("--record", action="store_true", help="keep Java's answers as the corpus")
    asked = parser.parse_args()
    first, last = map(int, asked.seeds.split(":"))
    given = scenarios(range(first, last), asked.length)
    java = Java()
    missing = sorted(set(java.head["topologies"]) ^ set(TOPOLOGIES))
    print(f"Kafka Streams {java.head['version']}, {len(TOPOLOGIES)} topologies, {len(given)} scenarios")
    if missing:
        print(f"only on one side: {', '.join(missing)}")
    corpus: dict[str, Any] = {
        "version": java.head["version"],
        "commit": java.head["commit"],
        "java": java_digest(),
        "scenarios": given,
        "topologies": {},
    }
    started, compared, differing = time.monotonic(), 0, []
    for name in TOPOLOGIES:
        if asked.only not in name or name in missing:
            continue
        topics, found = topics_of(name), None
        kept: dict[str, Any] = {"topics": sorted(topics), "scenarios": {}}
        for scenario, every_step in given.items():
            steps = steps_for(topics, every_step)
            theirs, ours = java.run(name, steps), run_ours(name, steps)
            compared += sum(map(len, theirs["outputs"].values()))
            found = found or difference(f"{name}, {scenario}", steps, theirs, ours)
            kept["describe"] = theirs["describe"]
            kept["scenarios"][scenario] = {"outputs": theirs["outputs"]}
            if "error" in theirs:
                kept["scenarios"][scenario]["error"] = theirs["error"]
        corpus["topologies"][name] = kept
        if found:
            differing.append(name)
            print(f"\nDIFFERS {found}\n")
    java.close()
    took = time.monotonic() - started
    print(f"{compared} records of Java's compared in {took:.1f} s; {len(differing)} topologies differ: {differing}")
    if asked.record:
        write_corpus(corpus)
    return 1 if differing or missing else 0


if __name__ == "__main__":
    sys.exit(main())
