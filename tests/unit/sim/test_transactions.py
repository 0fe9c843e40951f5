"""What the simulator says of transactions: by what clients were told, and by what was moved."""

from __future__ import annotations

import pytest

from engine.sim.consumer import Polled
from engine.sim.told import Told
from engine.sim.transactions import check_moved
from engine.sim.violation import Violation


def promise(told: Told) -> str:
    return "" if told.violation is None else told.violation.promise


def test_what_an_old_producer_sent_before_the_next_one_was_there_may_be_taken() -> None:
    told = Told()
    told.on_transactional_id("id", 7, 0, "first", is_new=True)
    asked = told.newest_epoch("id")
    told.on_transactional_id("id", 7, 1, "second", is_new=True)
    told.on_transactional("records", "id", 7, 0, asked)
    told.on_transactional("records", "id", 7, 1, told.newest_epoch("id"))
    assert promise(told) == ""
    told.on_transactional("a commit", "id", 7, 0, told.newest_epoch("id"))
    assert promise(told) == "T3"


def test_the_epochs_that_follow_a_producers_own_transactions_fence_nobody() -> None:
    told = Told()
    told.on_transactional_id("id", 7, 0, "first", is_new=True)
    told.on_transactional_id("id", 7, 1, "first", is_new=False)
    told.on_transactional("records", "id", 7, 1, told.newest_epoch("id"))
    # An answer that comes once more, to who has it already.
    told.on_transactional_id("id", 7, 1, "first", is_new=False)
    assert promise(told) == ""


@pytest.mark.parametrize("second", [("id", 7, 0, "second"), ("other id", 7, 5, "second")])
def test_no_epoch_and_no_producer_id_is_given_to_two(second: tuple[str, int, int, str]) -> None:
    told = Told()
    told.on_transactional_id("id", 7, 0, "first", is_new=True)
    told.on_transactional_id(*second, is_new=True)
    assert promise(told) == "T8"


def test_no_id_of_an_idempotent_producer_is_a_transactional_ones() -> None:
    told = Told()
    told.on_producer_id(7, "idempotent")
    told.on_transactional_id("id", 7, 0, "first", is_new=True)
    assert promise(told) == "T8"


def records(*offsets: int, copies_of: bool = False) -> list[Polled]:
    return [
        Polled("t", 0, at if copies_of else offset, f"{offset} mover 1".encode(), b"")
        for at, offset in enumerate(offsets)
    ]


SOURCE = records(0, 1, 3, 4)


def test_what_stands_before_the_position_is_copied_once_and_in_order() -> None:
    check_moved(0, 4, SOURCE, records(0, 1, 3, copies_of=True))
    check_moved(0, 0, SOURCE, [])


@pytest.mark.parametrize(
    "copied", [(0, 1), (0, 1, 3, 4), (0, 1, 1, 3), (1, 0, 3), (0, 3)], ids=lambda each: " ".join(map(str, each))
)
def test_copies_without_positions_and_positions_without_copies_are_noticed(copied: tuple[int, ...]) -> None:
    with pytest.raises(Violation, match="T4"):
        check_moved(0, 4, SOURCE, records(*copied, copies_of=True))
