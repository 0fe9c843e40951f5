"""Micro-batches and single records give the same output, changelogs and dropped records, whatever the input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streams.global_task import GlobalTask
from engine.streams.records import ChangelogRecord, InputRecord, OutputRecord
from engine.streams.task import StreamTask
from engine.streams.topology import Topology
from tests.unit.streams.streams_topologies import S, topology

CONFIG = {"application.id": "test", "default.key.serde": S, "default.value.serde": S}


class Collected:
    def __init__(self) -> None:
        self.output: dict[str, list[OutputRecord]] = {}
        self.changes: dict[str, list[ChangelogRecord]] = {}

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        self.output.setdefault(topic, []).extend(records)

    def log_changes(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        self.changes.setdefault(topic, []).extend(records)

    def partitions_of(self, topic: str) -> int:
        return 4


def run(built: Topology, number: int, records: list[tuple[str, InputRecord]], *, batching: bool) -> object:
    collected = Collected()
    global_task = GlobalTask(built, CONFIG)
    global_task.init(0)
    task = StreamTask(
        built,
        CONFIG,
        sub_topology=number,
        partition=0,
        collector=collected,
        global_stores=global_task.stores,
        batching=batching,
    )
    task.init(0)
    for topic, record in records:
        try:
            task.add_records(topic, 0, [record])
        except KeyError:
            continue
    while task.process(0, limit=50 if batching else 1):
        pass
    task.prepare_commit()
    dropped = {name: count for name, count in task.dropped_records.items() if count}
    return collected.output, collected.changes, dropped, task.stream_time, task.offsets_to_commit()


RECORDS = st.lists(
    st.tuples(
        st.sampled_from("abtu"),
        st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
        st.one_of(st.none(), st.sampled_from(["ax", "b", "m", "q", "z"])),
        st.integers(0, 60),
    ),
    max_size=25,
)

# Only what a task may be fed in lists is worth the comparison; these have every kind of node in them.
NAMES = [
    "asof",
    "branch",
    "graced",
    "groupby",
    "hopping",
    "ojstream",
    "selfjoin",
    "session",
    "sliding",
    "suppress",
    "totable",
    "ttouter",
]


@pytest.mark.parametrize("name", NAMES)
@given(records=RECORDS)
@settings(max_examples=15, deadline=None)
def test_lists_mean_what_their_records_mean(name: str, records: list[tuple[str, str | None, str | None, int]]) -> None:
    built = topology(name)
    fetched = [
        (topic, InputRecord(at, time, key and key.encode(), value and value.encode()))
        for at, (topic, key, value, time) in enumerate(records)
        if value is not None or topic in "tu"
    ]
    for number in range(len(built.node_groups())):
        listed = run(built, number, fetched, batching=True)
        assert listed == run(built, number, fetched, batching=False)
