"""Our TopologyTestDriver gives what Kafka Streams' gave: ``describe()``, outputs, repartition topics and changelogs.

Java's answers are kept in tests/golden/streams-4.3.1.json.gz; `make streams-java` asks Kafka Streams itself, over new
random records, and `make record-streams-java` keeps its answers anew.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from tests.unit.streams.java_scenarios import (
    ROOT,
    TOPOLOGIES,
    difference,
    java_digest,
    read_corpus,
    run_ours,
    scenarios,
    steps_for,
    topics_of,
)

corpus = cache(read_corpus)


def answer(name: str, scenario: str) -> dict[str, Any]:
    kept = corpus()["topologies"][name]
    return {"describe": kept["describe"], **kept["scenarios"][scenario]}


def test_the_corpus_is_of_the_kafka_streams_and_of_the_topologies_that_are_here() -> None:
    found = re.search(r"^KAFKA_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    assert corpus()["version"] == found.group(1) == "4.3.1"
    assert corpus()["java"] == java_digest(), "the Java program changed: run `make record-streams-java`"
    assert set(corpus()["topologies"]) == set(TOPOLOGIES)
    assert len(TOPOLOGIES) >= 200


def test_the_corpus_is_of_the_scenarios_that_are_here() -> None:
    numbers = [int(name.split()[1]) for name in corpus()["scenarios"] if name.startswith("seed")]
    assert corpus()["scenarios"] == scenarios(range(min(numbers), max(numbers) + 1), 60)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_topology_does_what_it_does_in_kafka_streams(name: str) -> None:
    topics = topics_of(name)
    assert sorted(topics) == corpus()["topologies"][name]["topics"]
    for scenario, steps in corpus()["scenarios"].items():
        mine = steps_for(topics, steps)
        found = difference(f"{name}, {scenario}", mine, answer(name, scenario), run_ours(name, mine))
        assert found is None, found
