"""Random pairs of Avro schemas, judged by us and by Avro's own library: ``make avro-java``, ``make record-avro-java``.

What they differ in is printed; ``--record`` keeps what Java says, for tests that have no Java.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.registry.errors import InvalidSchema  # noqa: E402  the path comes first
from engine.registry.schema import parse_schema  # noqa: E402
from tests.unit.registry.avro_pairs import pair  # noqa: E402

LIBS = ROOT / ".cache" / "avro-1.12.2" / "libs"
GOLDEN = ROOT / "tests" / "golden" / "avro-1.12.2.json.gz"


def ask_java(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Java's answer to each pair."""
    source = Path(__file__).with_name("java") / "AvroJudge.java"
    lines = "".join(json.dumps({"old": old, "new": new}) + "\n" for old, new in pairs)
    options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{LIBS}/*"]
    done = subprocess.run(["java", *options, str(source)], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ask_ourselves(old: str, new: str) -> dict[str, Any]:
    """The same of ours."""
    try:
        before, after = parse_schema("AVRO", old, is_new=True), parse_schema("AVRO", new, is_new=True)
    except InvalidSchema:
        return {"error": "InvalidSchema"}
    return {
        "old": before.canonical,
        "new": after.canonical,
        "backward": not after.problems_reading(before),
        "forward": not before.problems_reading(after),
    }


def differs(ours: dict[str, Any], javas: dict[str, Any]) -> bool:
    """Whether two answers are not the same; of what is no schema only that it is none."""
    return ("error" in ours) != ("error" in javas) or ("error" not in ours and ours != javas)


def main() -> int:
    """Compare, and record if asked; 1 if anything differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0:400", help="FIRST:LAST")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(":"))
    pairs = [(json.dumps(old), json.dumps(new)) for old, new in map(pair, range(first, last))]
    answers = ask_java(pairs)
    found = 0
    for seed, (old, new), javas in zip(range(first, last), pairs, answers, strict=True):
        ours = ask_ourselves(old, new)
        if differs(ours, javas):
            found += 1
            print(f"seed {seed}\n  old  {old}\n  new  {new}\n  java {javas}\n  ours {ours}")
    sure = sum("error" not in each for each in answers)
    print(f"{len(answers)} pairs, {sure} of two schemas, {found} on which Java and we differ")
    if options.record:
        text = json.dumps([{"pair": each, "java": answer} for each, answer in zip(pairs, answers, strict=True)])
        GOLDEN.write_bytes(gzip.compress(text.encode(), mtime=0))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
