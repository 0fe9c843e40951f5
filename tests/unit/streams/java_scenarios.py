"""Scenarios for topologies, what our TopologyTestDriver makes of them, and the corpus of what Kafka's made of them.

A step is ``["in", topic, key, value, timestamp, headers]`` or ``["advance", ms]`` (of the wall clock). An output record
is ``[step, key, value, timestamp, headers]``. Bytes are texts of ISO 8859-1: each character is a byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from engine.streams import ErrorHandlers, Serdes, TopologyTestDriver
from engine.streams.error_handlers import go_on
from tests.unit.streams import java_twins, java_twins_mixed, java_twins_timed, java_twins_versions
from tests.unit.streams.java_twin_kit import TOPOLOGIES, build

ROOT = Path(__file__).resolve().parents[3]
JAVA_SOURCES = [
    ROOT / "tests" / "integration" / "java" / f"{name}.java"
    for name in ("StreamsDriver", "StreamsTopologies", "StreamsVersions")
]
CORPUS = ROOT / "tests" / "golden" / "streams-4.3.1.json.gz"

Step = list[Any]


# Importing them is what puts them into TOPOLOGIES.
__all__ = ["TOPOLOGIES", "java_twins", "java_twins_mixed", "java_twins_timed", "java_twins_versions"]


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode("latin-1")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def record(
    topic: str, key: str | None, value: str | None, timestamp: int, headers: list[list[str]] | None = None
) -> Step:
    """A step that pipes a record."""
    return ["in", topic, key, value, timestamp, headers or []]


def _hand_written() -> dict[str, list[Step]]:
    left = "left"
    return {
        # In order, with a tombstone, a key that comes back, and a quiet end that closes every window.
        "in order": [
            record(left, "a", "1", 0),
            record(left, "b", "2", 3),
            record("right", "a", "4", 5),
            record(left, "a", "3", 9),
            record("third", "a", "7", 9),
            record(left, "b", None, 12),
            record("right", "b", "5", 14),
            record(left, "b", "8", 20),
            ["advance", 1500],
            record("right", "a", None, 25),
            record(left, "c", "6", 27),
            record(left, "z", "10", 400),
            record("right", "z", "11", 401),
            ["advance", 1500],
            record(left, "z", "12", 800),
        ],
        # The same time for everything, then a step back at the limits of windows and grace, then records too late.
        "equal and late": [
            record(left, "a", "2", 30),
            record(left, "a", "2", 30, [["trace", "x"], ["trace", "y"]]),
            record("right", "a", "3", 30),
            record("right", "a", "4", 30),
            record(left, "a", "5", 20),
            record(left, "a", "6", 19),
            record("right", "a", "7", 15),
            record(left, "a", "8", 10),
            record(left, "b", "9", 40, [["", ""]]),
            record(left, "a", "10", 29),
            record("right", "b", "12", 50),
            record("right", "b", "13", 51),
            record(left, "b", "14", 61),
            record(left, "b", "14", 60),
            record(left, "a", "16", 5),
            ["advance", 2000],
            record(left, None, "17", 62),
            record("right", None, "18", 62),
            record(left, "a", None, 62),
            record(left, "a", None, 45),
            record("right", "zz", "20", 300),
            record(left, "zz", "21", 301),
        ],
    }


def generated(seed: int, length: int) -> list[Step]:
    """Random steps: one hot key, times out of order and equal, jumps that close windows, nulls, headers."""
    rng = random.Random(seed)
    steps: list[Step] = []
    time = rng.choice([0, 0, 5, 1000])
    while len(steps) < length:
        dice = rng.random()
        if dice < 0.06:
            steps.append(["advance", rng.choice([5, 20, 55, 1000, 1001, 3000])])
            continue
        if dice < 0.12:
            time += rng.choice([30, 60, 150])
        else:
            time += rng.choice([0, 0, 1, 1, 2, 3, 5])
        late = rng.choice([0] * 12 + [1, 3, 8, 10, 11, 15, 20, 25, 26, 35, 70])
        key = rng.choice(["a"] * 8 + ["b", "b", "b", "c", "c", "d", "d", "e", "long key", "\u00c3\u00a9", None])
        value = rng.choice([str(rng.randrange(20))] * 9 + [None])
        headers = [["h", str(rng.randrange(9))]] if rng.random() < 0.15 else []
        topic = rng.choice(["left"] * 10 + ["right"] * 8 + ["third"] * 2)
        steps.append(record(topic, key, value, max(0, time - late), headers))
    return steps


def scenarios(seeds: range, length: int) -> dict[str, list[Step]]:
    """The hand-written scenarios and one for each seed, by name."""
    return {**_hand_written(), **{f"seed {seed}": generated(seed, length) for seed in seeds}}


def steps_for(topics: set[str], steps: list[Step]) -> list[Step]:
    """The steps that a topology which reads ``topics`` can take: a test driver refuses records of other topics."""
    return [step for step in steps if step[0] == "advance" or step[1] in topics]


def topics_of(name: str) -> set[str]:
    """The input topics of a topology."""
    if name == "pattern":
        return {"left", "right"}
    described = build(name).describe()
    return {
        topic for topic in ("left", "right", "third") if f"[{topic}]" in described or f"[left, {topic}]" in described
    } | ({"left"} if "[left, right]" in described else set())


def run_ours(name: str, steps: list[Step]) -> dict[str, Any]:
    """What our driver makes of a scenario: ``describe``, ``outputs`` and, when it failed, the ``error``'s step."""
    topology = build(name)
    answer: dict[str, Any] = {"describe": topology.describe(), "outputs": {}}
    config = {"application.id": "app", "default.key.serde": Serdes.string(), "default.value.serde": Serdes.string()}
    handlers = ErrorHandlers(deserialization=go_on, processing=go_on) if name.endswith("_continue") else None
    driver = TopologyTestDriver(topology, config, handlers=handlers)
    outputs = answer["outputs"]
    for number, step in enumerate(steps):
        try:
            if step[0] == "advance":
                driver.advance_wall_clock_time(step[1])
            else:
                _, topic, key, value, timestamp, headers = step
                made = tuple((header, _bytes(text)) for header, text in headers)
                driver.pipe_raw(topic, _bytes(key), _bytes(value), timestamp, made)
        except Exception as error:
            answer["error"], answer["message"] = number, repr(error)
            return answer
        for topic in driver.produced_topics():
            while (raw := driver.read_raw(topic)) is not None:
                headers = [[header, _text(data)] for header, data in raw.headers]
                outputs.setdefault(topic, []).append([number, _text(raw.key), _text(raw.value), raw.timestamp, headers])
    driver.close()
    return answer


def _settled(rows: list[list[Any]]) -> list[list[Any]]:
    # A suppression's changelog: Kafka leaves the time to the producer, and logs the keys of one commit in the order of
    # a hash set, which means nothing.
    return sorted(([step, key, value, None, headers] for step, key, value, _, headers in rows), key=lambda row: row[:2])


def difference(name: str, steps: list[Step], java: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first difference, told with what led to it; None when there is none."""
    if java["describe"] != ours["describe"]:
        return f"{name}: describe() of Java:\n{java['describe']}\nours:\n{ours['describe']}"
    if java.get("error") != ours.get("error"):
        said = [(each.get("error"), each.get("message")) for each in (java, ours)]
        return f"{name}: step of failure: Java {said[0]}, ours {said[1]}"
    theirs_all, ours_all = java["outputs"], ours["outputs"]
    worst: tuple[int, str] | None = None
    for topic in sorted(theirs_all.keys() | ours_all.keys()):
        theirs, mine = theirs_all.get(topic, []), ours_all.get(topic, [])
        if theirs and theirs[0][3] is None:
            theirs, mine = _settled(theirs), _settled(mine)
        for index in range(max(len(theirs), len(mine))):
            one = theirs[index] if index < len(theirs) else None
            other = mine[index] if index < len(mine) else None
            if one != other:
                step = min(row[0] for row in (one, other) if row is not None)
                if worst is None or step < worst[0]:
                    shown = "\n".join(f"  {number}: {each}" for number, each in enumerate(steps[: step + 1]))
                    worst = step, f"{name}: {topic}[{index}]: Java {one}, ours {other}; steps:\n{shown}"
                break
    return None if worst is None else worst[1]


def java_digest() -> str:
    """What tells whether the corpus was made by the Java program that is there."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in JAVA_SOURCES)).hexdigest()


def write_corpus(corpus: dict[str, Any]) -> None:
    """Keep the corpus: the same bytes for the same content."""
    text = json.dumps(corpus, separators=(",", ":"), sort_keys=True)
    CORPUS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read_corpus() -> dict[str, Any]:
    """``version``, ``commit``, ``java``, ``scenarios``, and by topology ``describe`` and, by scenario, the answer."""
    corpus: dict[str, Any] = json.loads(gzip.decompress(CORPUS.read_bytes()))
    return corpus
