"""The ledger: what clients were told becomes a history, and a broken promise has its name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.sim.invariants import Violation
from engine.sim.ledger import RecordLedger
from engine.sim.producer import Outcome, Sent

EACH = ("safe", 0)
NAME = "safe-0"


class Told:
    """A ledger, a producer and a reader that is told what it reads."""

    def __init__(self) -> None:
        self._now_ns = 0
        self.invariants: Any = SimpleNamespace(acknowledged_end={})
        self.ledger = RecordLedger(self.invariants, self._tick)
        self.reader = self.ledger.client("reader")

    def _tick(self) -> int:
        self._now_ns += 1
        return self._now_ns

    def send(self, sent: Sent, *values: bytes, acks: int = -1, idempotent: bool = True) -> None:
        sends = self.ledger.begin_sends(self.ledger.client("producer"), EACH, values, acks=acks, idempotent=idempotent)
        self.ledger.end_sends(EACH, sends, sent, acks=acks)

    def read(self, *values: str) -> None:
        self.reader.assign({NAME: "beginning"})
        poll = self.reader.poll()
        poll.ok([(NAME, offset, value) for offset, value in enumerate(values)], reached_end={NAME: len(values)})

    def broken(self) -> str:
        with pytest.raises(Violation) as violation:
            self.ledger.check()
        return violation.value.promise


def test_what_was_acknowledged_is_told_at_once_and_found_at_the_end() -> None:
    told = Told()
    acknowledged: list[tuple[str, int]] = []
    told.ledger.on_acknowledged = acknowledged.append
    told.send(Sent(Outcome.OK, 0), b"a", b"b")
    assert told.invariants.acknowledged_end == {EACH: 2}
    assert acknowledged == [EACH]
    assert told.ledger.acknowledged == 2
    told.read("a", "b")
    told.ledger.check()


def test_a_record_that_is_gone_breaks_r9() -> None:
    told = Told()
    told.send(Sent(Outcome.OK, 0), b"a", b"b")
    told.read("a")
    assert told.broken() == "R9"


def test_a_record_that_is_there_twice_breaks_t1() -> None:
    told = Told()
    told.send(Sent(Outcome.OK, 0), b"a")
    told.read("a", "a")
    assert told.broken() == "T1"


def test_without_idempotence_one_attempt_is_one_record() -> None:
    told = Told()
    told.send(Sent(Outcome.OK, 0), b"a", idempotent=False)
    told.read("a", "a")
    assert told.broken() == "T1"


def test_a_record_that_was_refused_and_is_there_breaks_t2() -> None:
    told = Told()
    told.send(Sent(Outcome.FAIL, error="NOT_ENOUGH_REPLICAS"), b"a")
    told.read("a")
    assert told.broken() == "T2"


@pytest.mark.parametrize("acks", [0, 1])
def test_weaker_acks_may_lose_what_nobody_read(acks: int) -> None:
    told = Told()
    outcome = Outcome.OK if acks else Outcome.INFO
    told.send(Sent(outcome, 0 if acks else -1), b"a", acks=acks, idempotent=False)
    assert told.invariants.acknowledged_end == {}
    told.read()
    told.ledger.check()


def test_two_values_at_one_offset_break_r5() -> None:
    told = Told()
    for value in (b"a", b"b"):
        told.send(Sent(Outcome.INFO, error="REQUEST_TIMED_OUT"), value)
    told.read("a")
    told.read("b")
    assert told.broken() == "R5"


def test_an_offset_that_went_back_breaks_g3() -> None:
    told = Told()
    told.send(Sent(Outcome.OK, 0), b"a", b"b")
    told.reader.commit("group", {NAME: 2}).ok()
    told.reader.committed("group", [NAME]).ok({NAME: 1})
    told.read("a", "b")
    assert told.broken() == "G3"
