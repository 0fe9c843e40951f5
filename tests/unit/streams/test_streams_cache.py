"""With a record cache less goes on, and the same is left in the end: in outputs, changelogs and stores."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streams import Consumed, Grouped, Materialized, Serdes, StreamsBuilder, Topology
from engine.streams.records import InputRecord
from engine.streams.task import StreamTask
from tests.unit.streams.streams_topologies import topology
from tests.unit.streams.test_streams_batches import CONFIG, RECORDS, Collected

NAMES = ["groupby", "hopping", "session", "sliding", "suppress", "totable", "ttouter"]


def run(
    built: Topology, number: int, steps: list[tuple[str, InputRecord] | None], cache_max_bytes: int
) -> tuple[Collected, StreamTask]:
    """Process the records; where a step is None, commit."""
    collected = Collected()
    task = StreamTask(
        built, CONFIG, sub_topology=number, partition=0, collector=collected, cache_max_bytes=cache_max_bytes
    )
    task.init(0)
    for step in [*steps, None]:
        if step is None:
            while task.process(0, limit=50):
                pass
            task.prepare_commit()
        else:
            try:
                task.add_records(step[0], 0, [step[1]])
            except KeyError:
                continue
    return collected, task


def last_of_each(records: dict[str, list[Any]]) -> dict[str, dict[Any, Any]]:
    """What somebody who reads these topics as tables has in the end."""
    tables = {topic: {each[0]: each[1] for each in found} for topic, found in records.items()}
    alive = {
        topic: {key: value for key, value in table.items() if value is not None} for topic, table in tables.items()
    }
    return {topic: table for topic, table in alive.items() if table}


@pytest.mark.parametrize("name", NAMES)
@given(records=RECORDS, commits=st.sets(st.integers(0, 25), max_size=3), size=st.sampled_from([700, 1_000_000]))
@settings(max_examples=15, deadline=None)
def test_what_is_left_in_the_end_is_the_same(name: str, records: Any, commits: set[int], size: int) -> None:
    built = topology(name)
    steps: list[tuple[str, InputRecord] | None] = []
    for at, (topic, key, value, time) in enumerate(records):
        if at in commits:
            steps.append(None)
        if value is not None or topic in "tu":
            steps.append((topic, InputRecord(at, time, key and key.encode(), value and value.encode())))
    for number in range(len(built.node_groups())):
        cached, cached_task = run(built, number, steps, size)
        plain, plain_task = run(built, number, steps, 0)
        assert last_of_each(cached.output) == last_of_each(plain.output)
        left, expected = last_of_each(cached.changes), last_of_each(plain.changes)
        for topic in [topic for topic in expected if "SUPPRESS" in topic]:
            # Buffers keep the values before an update as well, and there were more updates without a cache.
            assert left.pop(topic).keys() == expected.pop(topic).keys()
        assert left == expected
        for topic, changes in cached.changes.items():
            assert len(changes) <= len(plain.changes[topic])
        for store in plain_task.stores:
            if hasattr(plain_task.stores[store], "all"):
                assert list(cached_task.stores[store].all()) == list(plain_task.stores[store].all())  # type: ignore[attr-defined]


TEXT = Serdes.string()


def counting(materialized: Materialized) -> Topology:
    builder = StreamsBuilder()
    words = builder.stream("words", Consumed(key_serde=TEXT, value_serde=TEXT))
    words.group_by_key(Grouped(key_serde=TEXT, value_serde=TEXT)).count(materialized).to_stream().to("counts")
    return builder.build()


def words(count: int, keys: int) -> list[tuple[str, InputRecord] | None]:
    return [("words", InputRecord(at, at, b"k%d" % (at % keys), b"v")) for at in range(count)]


def test_a_key_goes_on_once_a_commit_and_in_the_order_of_last_updates() -> None:
    built = counting(Materialized("counts"))
    steps = [*words(9, 3), None, *words(1, 1)]
    collected, _ = run(built, 0, steps, 1_000_000)
    value = Serdes.long().serialize
    changelog = [(key, raw, time) for key, raw, time, _ in collected.changes["test-counts-changelog"]]
    expected = [(b"k0", value(3), 6), (b"k1", value(3), 7), (b"k2", value(3), 8), (b"k0", value(4), 6)]
    assert changelog == expected
    assert [each[:2] for each in collected.output["counts"]] == [(key, raw) for key, raw, _ in expected]


def test_a_full_cache_goes_on_before_the_commit_and_a_store_without_one_at_once() -> None:
    collected, _ = run(counting(Materialized("counts")), 0, words(3_000, 60), 30_000)
    assert 60 < len(collected.output["counts"]) < 3_000
    collected, _ = run(counting(Materialized("counts", caching_enabled=False)), 0, words(300, 3), 1_000_000)
    assert len(collected.output["counts"]) == 300


def test_the_old_value_is_that_of_before_the_first_update() -> None:
    builder = StreamsBuilder()
    table = builder.table("colours", Consumed(key_serde=TEXT, value_serde=TEXT))
    grouped = table.group_by(
        lambda _, value: (value, value), Grouped(name="by-colour", key_serde=TEXT, value_serde=TEXT)
    )
    grouped.count().to_stream().to("counts")
    values = [b"red", None, b"green", b"blue"]
    steps = [value and ("colours", InputRecord(at, at, b"car", value)) for at, value in enumerate(values)]
    collected, _ = run(builder.build(), 0, steps, 1_000_000)
    assert [each.key for each in collected.output["test-by-colour-repartition"]] == [b"red", b"red", b"blue"]


def test_a_held_change_is_still_a_record_of_its_topic() -> None:
    steps: list[tuple[str, InputRecord] | None] = [("a", InputRecord(0, 0, b"a", b"ax"))]
    cached, _ = run(topology("suppress"), 0, steps, 1_000_000)
    plain, _ = run(topology("suppress"), 0, steps, 0)
    assert cached.changes == plain.changes
