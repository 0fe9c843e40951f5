"""Our converters and transforms give what Kafka Connect's gave: values, bytes, schemas, headers, errors.

Java's answers are kept in tests/golden/connect-4.3.1.json.gz; `make connect-java` asks Kafka Connect itself, over new
random cases, and `make record-connect-java` keeps its answers anew.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.unit.connect.connect_java_cases import (
    ROOT,
    Case,
    answer,
    difference,
    java_digest,
    read_corpus,
)
from tests.unit.connect.connect_random_cases import TRANSFORMS

corpus = cache(read_corpus)


@cache
def answered() -> list[tuple[Case, Case]]:
    return list(zip(corpus()["cases"], corpus()["answers"], strict=True))


def subject(case: Case) -> str:
    """What a case is about."""
    return str(case.get("class", "SimpleHeaderConverter")).rsplit(".", 1)[-1].partition("$")[0]


def test_the_corpus_is_of_the_kafka_connect_that_is_here() -> None:
    found = re.search(r"^KAFKA_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    assert corpus()["version"] == found.group(1) == "4.3.1"
    assert corpus()["java"] == java_digest(), "ConnectConversions.java changed: run `make record-connect-java`"


@pytest.mark.parametrize("name", ["JsonConverter", "StringConverter", "SimpleHeaderConverter", *TRANSFORMS])
def test_it_does_what_it_does_in_kafka_connect(name: str) -> None:
    mine = [each for each in answered() if subject(each[0]) == name]
    assert len(mine) >= 20
    assert any("error" not in theirs for _, theirs in mine)
    for case, theirs in mine:
        assert (found := difference(case, theirs, answer(case))) is None, found


def test_numbers_and_booleans_have_the_bytes_that_they_have_in_kafka_connect() -> None:
    known = {"JsonConverter", "StringConverter"}
    mine = [each for each in answered() if subject(each[0]).endswith("Converter") and subject(each[0]) not in known]
    for case, theirs in mine:
        assert (found := difference(case, theirs, answer(case))) is None, found
