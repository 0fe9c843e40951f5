"""InitProducerId, AddPartitionsToTxn, EndTxn: one transactional id from its first to its last record."""

from __future__ import annotations

import pytest

from engine.core.txn.metadata import LAST_CLIENT_EPOCH
from engine.core.txn.states import TransactionState
from engine.model.errors import ErrorCode
from tests.unit.core.txn.txn_harness import P0, P1, TxnHarness


def test_a_transaction_is_committed_and_the_next_one_has_another_epoch() -> None:
    harness = TxnHarness()
    producer = harness.init()
    assert (producer.error_code, producer.producer_id, producer.producer_epoch) == (0, 101, 0)
    assert harness.add(101, 0, P0) is ErrorCode.NONE
    assert harness.add(101, 0, P0, P1) is ErrorCode.NONE
    assert harness.state is TransactionState.ONGOING
    assert harness.end(101, 0, True) == (ErrorCode.NONE, 101, 1)
    markers = harness.markers()
    assert (markers.producer_epoch, markers.committed, markers.partitions) == (1, True, (P0, P1))
    assert harness.add(101, 1, P0) is ErrorCode.CONCURRENT_TRANSACTIONS
    harness.write_markers(P1)
    assert harness.state is TransactionState.PREPARE_COMMIT
    harness.write_markers(P0)
    assert harness.state is TransactionState.COMPLETE_COMMIT
    assert harness.add(101, 0, P0) is ErrorCode.PRODUCER_FENCED
    assert harness.add(101, 1, P0) is ErrorCode.NONE


def test_a_client_of_version_one_keeps_its_epoch() -> None:
    harness = TxnHarness(transaction_version=1)
    harness.init()
    harness.add(101, 0, P0, version=0)
    assert harness.end(101, 0, False, version=0) == (ErrorCode.NONE, -1, -1)
    assert harness.markers().producer_epoch == 0
    harness.write_markers()
    assert harness.state is TransactionState.COMPLETE_ABORT
    assert harness.add(101, 0, P0, version=0) is ErrorCode.NONE


@pytest.mark.parametrize("version", [0, 2])
def test_end_txn_again_is_told_the_same(version: int) -> None:
    harness = TxnHarness(transaction_version=version)
    harness.init()
    harness.add(101, 0, P0, version=version)
    first = harness.end(101, 0, True, version=version)
    assert harness.end(101, 0, True, version=version).error is ErrorCode.CONCURRENT_TRANSACTIONS
    assert harness.end(101, 0, False, version=version).error is ErrorCode.INVALID_TXN_STATE
    harness.write_markers()
    assert harness.end(101, 0, True, version=version) == first
    assert harness.end(101, 0, False, version=version).error is ErrorCode.INVALID_TXN_STATE


def test_a_delayed_end_txn_does_nothing_to_the_next_transaction() -> None:
    """T6: KAFKA-17754. Under version 1 the same copy ends the wrong transaction."""
    harness = TxnHarness()
    harness.init()
    harness.add(101, 0, P0)
    harness.end(101, 0, True)
    harness.write_markers()
    harness.add(101, 1, P0)
    for committed in (True, False):
        assert harness.end(101, 0, committed).error is ErrorCode.PRODUCER_FENCED
    assert harness.state is TransactionState.ONGOING

    old = TxnHarness(transaction_version=1)
    old.init()
    old.add(101, 0, P0, version=0)
    old.end(101, 0, True, version=0)
    old.write_markers()
    old.add(101, 0, P0, version=0)
    assert old.end(101, 0, True, version=0).error is ErrorCode.NONE


def test_a_new_producer_aborts_what_the_old_one_left_open() -> None:
    for version, fenced_epoch in ((1, 1), (2, 1)):
        harness = TxnHarness(transaction_version=version)
        harness.init()
        harness.add(101, 0, P0, version=version)
        assert harness.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
        assert harness.state is TransactionState.PREPARE_ABORT
        assert harness.markers().producer_epoch == fenced_epoch
        assert harness.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
        harness.write_markers()
        again = harness.init()
        assert (again.producer_id, again.producer_epoch) == (101, fenced_epoch + 1)
        assert harness.add(101, 0, P0, version=version) is ErrorCode.PRODUCER_FENCED
        assert harness.end(101, 0, True, version=version).error is ErrorCode.PRODUCER_FENCED


def test_a_producer_that_recovers_gets_the_next_epoch_and_another_one_is_fenced() -> None:
    """KIP-360."""
    harness = TxnHarness()
    harness.init()
    assert harness.init(producer_id=101, epoch=0).producer_epoch == 1
    # The answer was lost: the same again.
    assert harness.init(producer_id=101, epoch=0).producer_epoch == 1
    assert harness.init(producer_id=101, epoch=1).producer_epoch == 2
    assert harness.init(producer_id=101, epoch=0).error_code == ErrorCode.PRODUCER_FENCED
    assert harness.init(producer_id=77, epoch=0).error_code == ErrorCode.PRODUCER_FENCED
    # Somebody new comes: who was there before is out.
    assert harness.init().producer_epoch == 3
    assert harness.init(producer_id=101, epoch=2).error_code == ErrorCode.PRODUCER_FENCED


def test_a_new_producer_id_follows_when_the_epochs_are_used_up() -> None:
    harness = TxnHarness()
    harness.init()
    harness.put(harness.metadata._replace(producer_epoch=LAST_CLIENT_EPOCH - 1))
    assert harness.init(producer_id=101, epoch=LAST_CLIENT_EPOCH - 1).producer_epoch == LAST_CLIENT_EPOCH
    rotated = harness.init(producer_id=101, epoch=LAST_CLIENT_EPOCH)
    assert (rotated.producer_id, rotated.producer_epoch) == (102, 0)


def test_the_last_epoch_ends_its_transaction_with_another_producer_id() -> None:
    harness = TxnHarness()
    harness.init()
    harness.put(harness.metadata._replace(producer_epoch=LAST_CLIENT_EPOCH - 1))
    harness.init(producer_id=101, epoch=LAST_CLIENT_EPOCH - 1)
    harness.add(101, LAST_CLIENT_EPOCH, P0)
    ended = harness.end(101, LAST_CLIENT_EPOCH, True)
    assert ended == (ErrorCode.NONE, 102, 0)
    assert harness.markers()[1:3] == (101, LAST_CLIENT_EPOCH + 1)
    assert harness.last_value().next_producer_id == 102
    harness.fail_over()
    harness.write_markers()
    assert (harness.metadata.producer_id, harness.metadata.producer_epoch) == (102, 0)
    assert harness.end(101, LAST_CLIENT_EPOCH, True) == ended
    assert harness.end(101, LAST_CLIENT_EPOCH, False).error is ErrorCode.INVALID_TXN_STATE


def test_a_client_of_version_two_may_abort_what_it_never_began() -> None:
    harness = TxnHarness()
    harness.init()
    assert harness.end(101, 0, True).error is ErrorCode.INVALID_TXN_STATE
    assert harness.end(101, 0, False) == (ErrorCode.NONE, 101, 1)
    harness.write_markers()
    assert harness.state is TransactionState.COMPLETE_ABORT
    assert harness.end(101, 1, False) == (ErrorCode.NONE, 101, 2)
    harness.write_markers()
    assert harness.end(101, 2, True).error is ErrorCode.INVALID_TXN_STATE

    old = TxnHarness(transaction_version=1)
    old.init()
    assert old.end(101, 0, False, version=0).error is ErrorCode.INVALID_TXN_STATE


def test_requests_that_cannot_be_are_refused() -> None:
    harness = TxnHarness()
    assert harness.init("").error_code == ErrorCode.INVALID_REQUEST
    assert harness.init("x" * 40_000).error_code == ErrorCode.INVALID_REQUEST
    assert harness.init(timeout_ms=900_001).error_code == ErrorCode.INVALID_TRANSACTION_TIMEOUT
    assert harness.init(timeout_ms=0).error_code == ErrorCode.INVALID_TRANSACTION_TIMEOUT
    assert harness.init(producer_id=5).error_code == ErrorCode.INVALID_REQUEST
    assert harness.init(epoch=5).error_code == ErrorCode.INVALID_REQUEST
    assert not harness.log
    assert harness.add(101, 0, P0) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert harness.end(101, 0, True).error is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    harness.init()
    assert harness.add(5, 0, P0) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert harness.add(101, 1, P0) is ErrorCode.PRODUCER_FENCED
    assert harness.add(101, 0, P0, transactional_id="") is ErrorCode.INVALID_REQUEST
    assert harness.end(5, 0, False).error is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert harness.end(101, 1, False).error is ErrorCode.PRODUCER_FENCED


def test_verification_says_which_partitions_take_part() -> None:
    harness = TxnHarness(transaction_version=1)
    assert harness.verify(101, 0, P0) == [ErrorCode.INVALID_PRODUCER_ID_MAPPING]
    harness.init()
    harness.add(101, 0, P0, version=0)
    records = len(harness.log)
    assert harness.verify(101, 0, P0, P1) == [ErrorCode.NONE, ErrorCode.TRANSACTION_ABORTABLE]
    assert harness.verify(101, 1, P0) == [ErrorCode.PRODUCER_FENCED]
    harness.end(101, 0, True, version=0)
    assert harness.verify(101, 0, P0) == [ErrorCode.CONCURRENT_TRANSACTIONS]
    harness.write_markers()
    assert harness.verify(101, 0, P0) == [ErrorCode.TRANSACTION_ABORTABLE]
    assert len(harness.log) == records + 2


def test_a_producer_that_is_not_known_is_not_told_to_recover_from_its_old_epoch() -> None:
    """The id expired meanwhile: whoever comes with what it had gets a new producer id (isValidProducerId, case 1)."""
    harness = TxnHarness()
    again = harness.init(producer_id=7, epoch=3)
    assert (again.error_code, again.producer_id, again.producer_epoch) == (0, 101, 0)
