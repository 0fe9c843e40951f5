"""Changes that wait for a commit: what is written is what compaction would leave of all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.streams.records import ChangelogRecord
from engine.streams.runtime.held_changes import HeldChanges

CHANGES = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=2), st.integers(0, 9), st.just(()))
)


def compacted(records: list[ChangelogRecord]) -> list[ChangelogRecord]:
    last = {record[0]: index for index, record in enumerate(records)}
    return [record for index, record in enumerate(records) if last[record[0]] == index]


@given(st.lists(CHANGES))
def test_what_is_held_is_the_compacted_log(batches: list[list[ChangelogRecord]]) -> None:
    held = HeldChanges()
    for batch in batches:
        assert not held.add("log", 1, batch)
    written = [record for _, _, records in held.take() for record in records]
    assert written == compacted([record for batch in batches for record in batch])
    assert not list(held.take())


def test_partitions_are_apart_and_keys_of_all_count_for_the_limit() -> None:
    held = HeldChanges(limit=3)
    a, b = (b"a", b"1", 0, ()), (b"b", b"1", 0, ())
    assert not held.add("log", 0, [a, a])
    assert not held.add("log", 1, [a])
    assert held.add("log", 1, [b])
    assert list(held.take()) == [("log", 0, [a]), ("log", 1, [a, b])]


def test_every_version_is_written() -> None:
    held = HeldChanges(limit=5, versioned={"versions"})
    a, b = (b"a", b"1", 7, ()), (b"b", b"1", 0, ())
    assert not held.add("versions", 0, [a, b])
    assert not held.add("log", 0, [a, a])
    assert held.add("versions", 0, [a, a])
    assert list(held.take()) == [("versions", 0, [a, b, a, a]), ("log", 0, [a])]


def test_what_is_dropped_is_not_written() -> None:
    held = HeldChanges()
    held.add("log", 0, [(b"a", b"1", 0, ())])
    held.clear()
    assert not list(held.take())
