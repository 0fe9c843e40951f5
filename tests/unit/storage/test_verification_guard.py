"""Guards of transactions that begin: a batch whose coordinator was asked too early, or never, is not appended (KIP-890;
Kafka: VerificationStateEntry, VerificationGuard)."""

from __future__ import annotations

import pytest
from storage_harness import NOW_MS, append, open_log, records

from engine.model.errors import ErrorCode, KafkaError
from engine.record.control import build_end_transaction_marker
from engine.storage.log import Log
from engine.storage.producer_state import VerificationStateEntry


def start(log: Log, sequence: int = 0, epoch: int = 0, *, bumps: bool = False) -> VerificationStateEntry | None:
    return log.producers.start_verification(1, sequence, epoch, supports_epoch_bump=bumps, now_ms=NOW_MS)


def write(log: Log, guard: VerificationStateEntry | None, sequence: int = 0, epoch: int = 0) -> int:
    batch = records(1, producer_id=1, producer_epoch=epoch, base_sequence=sequence, is_transactional=True)
    return append(log, batch, verification=guard, verifies=True)


def refusal(log: Log, guard: VerificationStateEntry | None, sequence: int = 0, epoch: int = 0) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        write(log, guard, sequence, epoch)
    return caught.value.code


def mark(log: Log, epoch: int, version: int) -> None:
    batch = build_end_transaction_marker(
        committed=False, producer_id=1, producer_epoch=epoch, coordinator_epoch=0, timestamp=NOW_MS
    )
    append(log, batch, origin="coordinator", transaction_version=version, verifies=True)


def test_the_first_batch_needs_the_guard_and_the_next_ones_do_not() -> None:
    log = open_log()
    assert refusal(log, None) is ErrorCode.INVALID_TXN_STATE
    guard = start(log)
    assert start(log) is guard, "all who ask meanwhile share it"
    assert refusal(log, VerificationStateEntry(0, 0, False, NOW_MS)) is ErrorCode.INVALID_TXN_STATE
    assert write(log, guard) == 0
    assert start(log, 1) is None, "its transaction has begun"
    assert write(log, None, 1) == 1
    assert not log.producers.verifications


@pytest.mark.parametrize(("version", "marker_epoch"), [(1, 0), (2, 1)])
def test_an_answer_that_is_older_than_the_end_of_the_transaction_is_worth_nothing(
    version: int, marker_epoch: int
) -> None:
    log = open_log()
    guard = start(log, bumps=version == 2)
    mark(log, marker_epoch, version)
    expected = ErrorCode.INVALID_TXN_STATE if version == 1 else ErrorCode.INVALID_PRODUCER_EPOCH
    assert refusal(log, guard) is expected
    assert log.last_stable_offset == 0 and log.producers.first_unstable_offset is None


def test_a_late_marker_leaves_the_guard_of_the_next_transaction() -> None:
    log = open_log()
    first = start(log, bumps=True)
    write(log, first)
    second = start(log, 0, 1, bumps=True)
    mark(log, 1, 2)
    assert write(log, second, 0, 1) == 2


def test_old_epochs_are_not_even_asked_about() -> None:
    log = open_log()
    write(log, start(log, 0, 3), 0, 3)
    with pytest.raises(KafkaError) as caught:
        start(log, 0, 2)
    assert caught.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    assert refusal(log, None, 0, 2) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_no_batch_begins_a_transaction_behind_one_that_asks_as_well() -> None:
    log = open_log()
    guard = start(log, 5)
    start(log, 3)
    assert refusal(log, guard, 5) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, guard, 3) == 0
    # A producer of transaction.version 2 begins each epoch with 0: nothing else comes first.
    other = open_log()
    guard = start(other, 5, bumps=True)
    assert refusal(other, guard, 5) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_guards_that_nobody_came_back_for_are_forgotten() -> None:
    log = open_log()
    guard = start(log)
    log.producers.remove_expired(NOW_MS + log.producers.expiration_ms)
    assert refusal(log, guard) is ErrorCode.INVALID_TXN_STATE


def test_a_follower_forgets_the_guard_with_what_the_leader_wrote() -> None:
    leader, log = open_log(), open_log()
    guard = start(log)
    write(leader, start(leader))
    mark(leader, 0, 1)
    log.append_as_follower(leader.read(0, 1 << 20))
    assert refusal(log, guard, 1) is ErrorCode.INVALID_TXN_STATE
