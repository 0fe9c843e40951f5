"""The machine of a share partition: what consumers get, against a model of each record, and over failovers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.core.now import Now
from engine.core.share.partition import (
    ACCEPT,
    GAP,
    REJECT,
    RELEASE,
    RENEW,
    AcknowledgedRange,
    AcquiredRange,
    OffsetRange,
    SharePartition,
    SharePartitionEffects,
    SharePartitionLimits,
    StateToWrite,
)
from engine.core.share.state_batches import RecordState, StateBatch, combine
from engine.model.errors import ErrorCode, KafkaError

LIMITS = SharePartitionLimits(delivery_count_limit=3, record_lock_duration_ms=1000, partition_max_record_locks=12)
UNAVAILABLE = KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "down")


class Driver:
    """A share partition over a log of batches of three records, and the coordinator's state of it."""

    def __init__(self, limits: SharePartitionLimits = LIMITS) -> None:
        self.limits = limits
        self.now_ms = 0.0
        self.stored: tuple[StateBatch, ...] = ()
        self.stored_start = 0
        self.writes: list[StateToWrite] = []
        self.replies: dict[object, Any] = {}
        self.machine = self.load()

    def load(self) -> SharePartition:
        return SharePartition(
            start_offset=self.stored_start, state_epoch=1, leader_epoch=1, batches=self.stored, limits=self.limits
        )

    @property
    def now(self) -> Now:
        return Now(self.now_ms, int(self.now_ms))

    def perform(self, effects: SharePartitionEffects) -> None:
        self.writes += effects.send
        for token, response in effects.reply:
            assert token not in self.replies
            self.replies[token] = response

    def write_all(self, error: KafkaError | None = None) -> None:
        """The coordinator takes all that was sent, or fails."""
        while self.writes:
            each = self.writes.pop(0)
            if error is None:
                self.stored_start = max(self.stored_start, each.written.start_offset)
                self.stored = combine((*self.stored, *each.written.batches), self.stored_start)
            self.perform(self.machine.on_written(each.number, error))

    def acquire(self, member: str, log_end: int = 30, max_records: int = 100, **more: Any) -> list[AcquiredRange]:
        offset = self.machine.next_fetch_offset()
        first = offset - offset % 3
        batches = [OffsetRange(base, base + 2) for base in range(first, log_end, 3)]
        if not self.machine.can_acquire():
            return []
        more.setdefault("is_strict", False)
        return self.machine.acquire(member, offset, batches, self.now, max_records=max_records, **more)

    def acknowledge(self, member: str, first: int, last: int, *types: int) -> object:
        token = object()
        self.perform(self.machine.acknowledge(member, [AcknowledgedRange(first, last, types)], self.now, token))
        return token

    def settle(self, member: str, first: int, last: int, *types: int) -> Any:
        """Acknowledge, and have it persisted; None or the error's code."""
        token = self.acknowledge(member, first, last, *types)
        self.write_all()
        answer = self.replies[token]
        return None if answer is None else answer.code

    def pass_time(self, ms: float) -> None:
        self.now_ms += ms
        self.perform(self.machine.on_timer(self.now))


def test_records_are_given_once_at_a_time_and_in_whole_batches() -> None:
    driver = Driver()
    assert driver.acquire("a", max_records=4) == [(0, 5, 1)]
    assert driver.acquire("b", max_records=1) == [(6, 8, 1)]
    assert driver.acquire("b", max_records=1, is_strict=True) == [(9, 9, 1)]
    assert driver.acquire("b", max_records=100, is_strict=True) == [(10, 11, 1)]
    # Twelve are in flight.
    assert driver.acquire("b") == []


def test_what_is_acquired_together_is_cut_at_batches() -> None:
    assert Driver().acquire("a", log_end=12, batch_size=4) == [(0, 5, 1), (6, 11, 1)]


def test_the_start_moves_over_what_is_dealt_with() -> None:
    driver = Driver()
    driver.acquire("a", max_records=6)
    assert driver.settle("a", 3, 5, ACCEPT) is None
    assert driver.machine.start_offset == 0
    assert driver.settle("a", 0, 2, ACCEPT, REJECT, GAP) is None
    assert (driver.machine.start_offset, driver.machine.end_offset) == (6, 6)


def test_released_records_come_again_and_no_more_often_than_the_limit() -> None:
    driver = Driver()
    for count in (1, 2, 3):
        assert driver.acquire("a", max_records=1, is_strict=True) == [(0, 0, count)]
        assert driver.settle("a", 0, 0, RELEASE) is None
    assert driver.machine.start_offset == 1, "given three times: archived"
    assert driver.acquire("a", max_records=1, is_strict=True) == [(1, 1, 1)]


def test_a_lock_that_ran_out_gives_the_record_to_others() -> None:
    driver = Driver()
    driver.acquire("a", max_records=3)
    driver.pass_time(999)
    assert driver.acquire("b", log_end=3) == []
    driver.pass_time(1)
    assert driver.acquire("b", log_end=3) == [(0, 2, 2)]
    assert driver.settle("a", 0, 2, ACCEPT) is ErrorCode.INVALID_RECORD_STATE
    assert driver.settle("b", 0, 2, ACCEPT) is None


def test_a_renewed_lock_lasts_longer() -> None:
    driver = Driver()
    driver.acquire("a", max_records=3)
    driver.pass_time(600)
    assert driver.settle("a", 0, 1, RENEW) is None
    driver.pass_time(400)
    assert driver.acquire("b", log_end=3) == [(2, 2, 2)]
    driver.pass_time(599)
    assert driver.acquire("b", log_end=3) == []
    driver.pass_time(1)
    assert driver.acquire("b", log_end=3) == [(0, 1, 2)]


def test_what_cannot_be_persisted_did_not_happen() -> None:
    driver = Driver()
    driver.acquire("a", max_records=3)
    token = driver.acknowledge("a", 0, 2, ACCEPT)
    assert token not in driver.replies, "nothing is told before it is persisted"
    assert driver.settle("a", 0, 0, ACCEPT) is ErrorCode.INVALID_RECORD_STATE, "it is on its way already"
    driver = Driver()
    driver.acquire("a", max_records=3)
    token = driver.acknowledge("a", 0, 2, ACCEPT)
    driver.pass_time(1000)
    driver.write_all(UNAVAILABLE)
    assert driver.replies[token] is UNAVAILABLE
    assert driver.machine.start_offset == 0
    # The lock ran out meanwhile.
    driver.pass_time(0)
    assert driver.acquire("b", log_end=3) == [(0, 2, 2)]


@pytest.mark.parametrize(
    ("first", "last", "types", "code"),
    [
        (0, 2, (ACCEPT, ACCEPT), ErrorCode.INVALID_REQUEST),
        (0, 2, (9,), ErrorCode.INVALID_REQUEST),
        (2, 0, (ACCEPT,), ErrorCode.INVALID_REQUEST),
        (0, 40, (ACCEPT,), ErrorCode.INVALID_REQUEST),
        (2, 3, (ACCEPT,), ErrorCode.INVALID_RECORD_STATE),
    ],
)
def test_an_acknowledgement_that_is_wrong_changes_nothing(
    first: int, last: int, types: tuple[int, ...], code: ErrorCode
) -> None:
    driver = Driver()
    driver.acquire("a", max_records=1)
    driver.acquire("b", max_records=1)
    assert driver.settle("a", first, last, *types) is code
    assert driver.settle("a", 0, 2, ACCEPT) is None


def test_a_member_that_is_gone_has_nothing() -> None:
    driver = Driver()
    driver.acquire("a", max_records=3)
    driver.acquire("b", max_records=3)
    driver.perform(driver.machine.release("a", "gone"))
    driver.write_all()
    assert driver.replies["gone"] is None
    assert driver.acquire("c", log_end=6) == [(0, 2, 2)]


def test_where_the_log_has_nothing_nobody_waits() -> None:
    driver = Driver()
    machine = driver.machine
    assert machine.acquire(
        "a", 0, [OffsetRange(4, 5), OffsetRange(9, 9)], driver.now, max_records=9, is_strict=False
    ) == [(4, 5, 1), (9, 9, 1)]
    assert driver.settle("a", 4, 5, ACCEPT) is None
    assert machine.start_offset == 9
    machine.on_log_start(20)
    assert (machine.start_offset, machine.end_offset) == (20, 20)


def test_aborted_records_are_given_to_nobody() -> None:
    driver = Driver()
    assert driver.acquire("a", log_end=6, aborted=lambda offset: 1 <= offset <= 4) == [(0, 0, 1), (5, 5, 1)]
    driver.settle("a", 0, 0, ACCEPT)
    assert driver.machine.start_offset == 5


class Sharing(RuleBasedStateMachine):
    """Members, time, a coordinator that fails, and leaders that change; the model knows each record's fate."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.held: dict[int, tuple[str, float]] = {}
        self.accepted: set[int] = set()
        self.deliveries: dict[int, int] = {}

    @rule(member=st.sampled_from("abc"), max_records=st.integers(1, 7), is_strict=st.booleans())
    def acquire(self, member: str, max_records: int, is_strict: bool) -> None:
        for first, last, count in self.driver.acquire(member, max_records=max_records, is_strict=is_strict):
            for offset in range(first, last + 1):
                assert offset not in self.accepted, f"{offset} was accepted and persisted"
                holder = self.held.get(offset)
                assert holder is None or holder[1] <= self.driver.now_ms, f"{offset} is with {holder}"
                assert count <= LIMITS.delivery_count_limit
                assert count <= self.deliveries.get(offset, 0) + 1
                self.deliveries[offset] = count
                self.held[offset] = (member, self.driver.now_ms + LIMITS.record_lock_duration_ms)

    @rule(
        member=st.sampled_from("abc"),
        kind=st.sampled_from((ACCEPT, RELEASE, REJECT)),
        size=st.integers(1, 4),
        fails=st.booleans(),
        pick=st.integers(0, 40),
    )
    def acknowledge(self, member: str, kind: int, size: int, fails: bool, pick: int) -> None:
        mine = sorted(offset for offset, holder in self.held.items() if holder[0] == member)
        if not mine:
            return
        first = mine[pick % len(mine)]
        last = first + size - 1
        is_right = all(
            offset in mine and self.held[offset][1] > self.driver.now_ms for offset in range(first, last + 1)
        )
        token = self.driver.acknowledge(member, first, last, kind)
        self.driver.write_all(UNAVAILABLE if fails else None)
        answer = self.driver.replies[token]
        if answer is None:
            for offset in range(first, last + 1):
                self.held.pop(offset, None)
                if kind == ACCEPT:
                    self.accepted.add(offset)
        else:
            assert not is_right or fails, answer

    @rule(ms=st.sampled_from((1.0, 400.0, 1000.0)), fails=st.booleans())
    def pass_time(self, ms: float, fails: bool) -> None:
        self.driver.pass_time(ms)
        self.driver.write_all(UNAVAILABLE if fails else None)
        self.held = {offset: holder for offset, holder in self.held.items() if holder[1] > self.driver.now_ms}

    @rule()
    def fail_over(self) -> None:
        """Another broker leads: it knows what the coordinator has."""
        self.driver.writes.clear()
        self.driver.machine = self.driver.load()
        self.held.clear()

    @invariant()
    def start_is_where_it_should_be(self) -> None:
        machine = self.driver.machine
        record = machine.record(machine.start_offset)
        assert record is None or not record.state.is_final
        assert machine.start_offset <= machine.next_fetch_offset() <= machine.end_offset
        for offset in range(machine.start_offset, machine.end_offset):
            found = machine.record(offset)
            assert found is not None
            assert (found.state is RecordState.ACQUIRED) == bool(found.owner)
            if offset in self.accepted:
                assert found.state is RecordState.ACKNOWLEDGED

    def teardown(self) -> None:
        """Whoever waits long enough gets everything that is left."""
        self.driver.machine = self.driver.load()
        left = set(range(30)) - self.accepted
        for _ in range(200):
            for first, last, _ in self.driver.acquire("z"):
                assert self.driver.settle("z", first, last, ACCEPT) is None
                left -= set(range(first, last + 1))
        # What is not given any more was rejected, or given too often.
        assert self.driver.machine.start_offset == 30
        assert all(offset < self.driver.machine.start_offset for offset in left)


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
