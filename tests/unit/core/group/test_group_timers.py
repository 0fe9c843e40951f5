"""Deadlines that are moved, cancelled and set again."""

from __future__ import annotations

import random

from engine.core.group.timers import Timers


def test_keys_come_due_in_the_order_of_their_deadlines() -> None:
    timers: Timers[str] = Timers()
    timers.schedule("b", 20)
    timers.schedule("a", 10)
    assert timers.next_deadline_ms() == 10
    assert timers.pop_due(9) is None
    assert timers.pop_due(30) == "a"
    assert timers.pop_due(30) == "b"
    assert timers.pop_due(30) is None
    assert timers.next_deadline_ms() is None


def test_a_deadline_moved_later_or_earlier_counts_once_at_its_last_value() -> None:
    timers: Timers[str] = Timers()
    timers.schedule("a", 10)
    timers.schedule("a", 50)
    timers.schedule("a", 5)
    timers.schedule("a", 30)
    assert timers.next_deadline_ms() == 30
    assert timers.pop_due(29) is None
    assert timers.pop_due(30) == "a"
    assert timers.pop_due(1000) is None


def test_a_cancelled_key_never_comes_due() -> None:
    timers: Timers[str] = Timers()
    timers.schedule("a", 10)
    timers.cancel("a")
    timers.cancel("never set")
    assert timers.next_deadline_ms() is None
    timers.schedule("a", 10)
    assert timers.pop_due(10) == "a"
    assert timers.pop_due(10) is None


def test_random_use_agrees_with_a_plain_dictionary() -> None:
    rng = random.Random(7)
    timers: Timers[int] = Timers()
    model: dict[int, float] = {}
    now = 0.0
    for _ in range(5000):
        key = rng.randrange(12)
        choice = rng.random()
        if choice < 0.6:
            model[key] = now + rng.randrange(50)
            timers.schedule(key, model[key])
        elif choice < 0.75:
            model.pop(key, None)
            timers.cancel(key)
        else:
            now += rng.randrange(20)
            due = sorted(deadline for deadline in model.values() if deadline <= now)
            popped = []
            while (ripe := timers.pop_due(now)) is not None:
                popped.append(model.pop(ripe))
            assert popped == due
        assert timers.next_deadline_ms() == min(model.values(), default=None)
        assert len(timers) == len(model)
