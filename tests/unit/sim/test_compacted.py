"""What may be left of keys that were written over and deleted, by hand-made logs."""

from __future__ import annotations

import pytest

from engine.sim.compacted import Seen, Write, what_is_wrong

A, B = b"a", b"b"
WRITES = [Write(A, b"1", 0), Write(B, b"2", 1), Write(A, b"3", 2), Write(B, None, 3)]


@pytest.mark.parametrize(
    "seen",
    [
        [Seen(0, A, b"1"), Seen(1, B, b"2"), Seen(2, A, b"3"), Seen(3, B, None)],
        [Seen(2, A, b"3"), Seen(3, B, None)],
        # The tombstone's time is over.
        [Seen(2, A, b"3")],
        # Written by a request whose answer was lost, and by nobody that is known.
        [Seen(3, B, None), Seen(4, A, b"9")],
    ],
)
def test_what_a_compacted_log_may_be(seen: list[Seen]) -> None:
    assert what_is_wrong(WRITES, seen) == ""


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([Seen(0, A, b"1"), Seen(3, B, None)], "the last record of b'a', at offset 2, is gone"),
        ([Seen(3, B, None)], "is gone"),
        ([Seen(1, B, b"2"), Seen(2, A, b"3")], "tombstone of b'b' at offset 3 is gone, and what it deleted is there"),
        ([Seen(2, A, b"1"), Seen(3, B, None)], "offset 2 has b'a' and b'1'"),
        ([Seen(2, B, b"3"), Seen(3, B, None)], "offset 2 has b'b'"),
        ([Seen(3, B, None), Seen(2, A, b"3")], "offset 2 follows 3"),
    ],
)
def test_what_it_must_not_be(seen: list[Seen], why: str) -> None:
    assert why in what_is_wrong(WRITES, seen)


def test_what_nobody_knows_may_have_deleted_a_key() -> None:
    assert what_is_wrong([*WRITES, Write(A, None, -1)], []) == ""
    assert "is gone" in what_is_wrong([*WRITES, Write(A, b"4", -1)], [])


def test_tombstones_that_went_too_early_bring_nothing_to_light_by_themselves() -> None:
    seen = [Seen(1, B, b"2"), Seen(2, A, b"3")]
    assert what_is_wrong(WRITES, seen, can_revive=True) == ""
