"""K11's question: whether acknowledged creations and deletions of a topic can have happened in any one order."""

from __future__ import annotations

import math

import pytest

from engine.sim.contended import Change, ContendedTopics, is_one_history
from engine.sim.violation import Violation

NEVER = math.inf


def create(asked_s: float, told_s: float = NEVER) -> Change:
    return Change(True, asked_s, told_s)


def delete(asked_s: float, told_s: float = NEVER) -> Change:
    return Change(False, asked_s, told_s)


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [create(1, 2), delete(3, 4), create(5, 6)],
        # At once: the deletion comes second.
        [delete(1, 4), create(2, 3)],
        # Of two creations at once one comes after the deletion that overlaps both.
        [create(1, 9), create(2, 8), delete(3, 7)],
        # The answer of the deletion was lost; it was done in between.
        [create(1, 2), delete(3), create(4, 5)],
        # It was held back, and done long after.
        [create(1, 2), delete(3), delete(6, 7), create(8, 9), create(20, 21)],
        # Nobody knows of any.
        [create(1), create(1), delete(1)],
    ],
)
def test_one_order_explains_everything(changes: list[Change]) -> None:
    assert is_one_history(changes)


@pytest.mark.parametrize(
    "changes",
    [
        # Created twice: the first one was forgotten.
        [create(1, 2), create(3, 4)],
        [delete(1, 2)],
        [create(1, 2), delete(3, 4), delete(5, 6)],
        # The lost deletion was asked for too late to be in between.
        [create(1, 2), create(3, 4), delete(5)],
        # One lost deletion explains one creation, not two.
        [create(1, 2), delete(3), create(4, 5), create(6, 7)],
    ],
)
def test_no_order_explains_it(changes: list[Change]) -> None:
    assert not is_one_history(changes)


def test_refusals_say_nothing_and_a_violation_names_the_topic() -> None:
    topics = ContendedTopics()
    name = topics.name()
    topics.asked(name, True, 1.0).told_s = 2.0
    refused = topics.asked(name, True, 3.0)
    topics.refused(name, refused)
    topics.check()
    topics.asked(name, True, 5.0).told_s = 6.0
    with pytest.raises(Violation, match=f"K11.*{name}"):
        topics.check()


def test_a_name_is_left_before_the_search_grows_long() -> None:
    topics = ContendedTopics()
    first = topics.name()
    for at in range(20):
        topics.asked(topics.name(), True, float(at))
    assert topics.name() != first
