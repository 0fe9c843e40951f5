"""Output, changelogs, internal topics to the byte, dropped records and ``describe()`` are Kafka Streams 4.3.1's.

``tests/golden/streams/kafka-streams-4.3.1.txt`` was written by GoldenStreams.java beside it: it ran the topologies of
:mod:`tests.unit.streams.streams_topologies` through kafka-streams-test-utils, with ``statestore.cache.max.bytes=0``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.streams import StreamsError, TopologyTestDriver
from tests.unit.streams.streams_topologies import BUILDERS, S, text, topology

GOLDEN = Path(__file__).parents[2] / "golden" / "streams"
INPUT = (GOLDEN / "input.csv").read_text().splitlines()


def expected() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (GOLDEN / "kafka-streams-4.3.1.txt").read_text().split("\n"):
        if line.startswith("=== "):
            found[line[4:]] = lines = []
        else:
            lines.append(line)
    return found


def settled(lines: list[str]) -> list[str]:
    # The buffer of suppress logs its keys in no order that means anything, and Java sums dropped records on the way.
    result: list[str] = []
    block: list[str] | None = None
    for line in [*lines, "TOPIC"]:
        if block is not None and line.startswith(("TOPIC", "dropped")):
            result += sorted(block)
            block = None
        if block is not None:
            block.append(line)
        elif line.startswith("TOPIC") and "SUPPRESS" in line:
            block = []
        elif line.startswith("dropped") and result[-1].startswith("dropped"):
            result[-1] = line
        else:
            result.append(line)
    return [line for line in result[:-1] if line]


def run(name: str) -> list[str]:
    built = topology(name)
    lines = built.describe().split("\n")
    with TopologyTestDriver(built, {"default.key.serde": S, "default.value.serde": S}) as driver:
        inputs = {topic: driver.create_input_topic(topic, S, S) for topic in "abtu"}
        output = driver.create_output_topic("out", S, S)
        for line in INPUT:
            topic, *rest = line.split(",")
            if topic == "clock":
                driver.advance_wall_clock_time(int(rest[0]))
                continue
            key, value, timestamp = rest
            try:
                inputs[topic].pipe_input(key, None if value == "null" else value, int(timestamp))
            except StreamsError as error:
                if "Unknown topic" not in str(error):
                    raise
            for record in output.read_records():
                lines.append(f"{line} -> {text(record.key)},{text(record.value)},{record.timestamp}")
        for topic in driver.produced_topics():
            if topic == "out":
                continue
            lines.append(f"TOPIC {topic}")
            while (raw := driver.read_raw(topic)) is not None:
                timestamp_text = "" if "SUPPRESS" in topic else str(raw.timestamp)
                lines.append(
                    f"{'null' if raw.key is None else raw.key.hex()} "
                    f"{'null' if raw.value is None else raw.value.hex()} {timestamp_text}"
                )
        lines.append(f"dropped {float(sum(driver.dropped_records.values()))}")
    return lines


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_comes_out_as_of_kafka_streams(name: str) -> None:
    assert settled(run(name)) == settled(expected()[name])
