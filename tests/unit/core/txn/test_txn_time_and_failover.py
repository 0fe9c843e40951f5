"""Time-outs, expiry of transactional ids, coordinators that take over, and what is told of transactions."""

from __future__ import annotations

import pytest

from engine.core.txn import shard
from engine.core.txn.context import TransactionLimits
from engine.core.txn.metadata import LAST_CLIENT_EPOCH, NO_TIMEOUT_MS
from engine.core.txn.records import MarkersToWrite, ProducerIdWanted
from engine.core.txn.states import TransactionState
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from tests.unit.core.txn.txn_harness import EPOCH_WALL_MS, ID, P0, P1, TxnHarness

TICK_MS = 10_000


@pytest.mark.parametrize(("version", "told_epoch"), [(1, 2), (2, 2)])
def test_a_transaction_that_is_not_ended_in_time_is_aborted_and_its_producer_fenced(
    version: int, told_epoch: int
) -> None:
    harness = TxnHarness(transaction_version=version)
    harness.init(timeout_ms=25_000)
    harness.add(101, 0, P0, version=version)
    harness.advance(25_000)
    assert harness.state is TransactionState.ONGOING
    harness.advance(TICK_MS)
    assert harness.state is TransactionState.PREPARE_ABORT
    assert harness.markers()[1:4] == (101, 1, False)
    assert [each.kind for each in harness.notes] == [NoteKind.TRANSACTION_ABORTED]
    assert harness.end(101, 0, True, version=version).error is not ErrorCode.NONE
    harness.write_markers()
    # Under version 2 the producer may find out by repeating its abort; whoever comes anew has a later epoch.
    assert harness.end(101, 0, True, version=version).error is not ErrorCode.NONE
    assert harness.init().producer_epoch == told_epoch


def test_adding_partitions_does_not_give_a_transaction_more_time() -> None:
    harness = TxnHarness()
    harness.init(timeout_ms=25_000)
    harness.add(101, 0, P0)
    harness.advance(20_000)
    harness.add(101, 0, P1)
    harness.advance(2 * TICK_MS)
    assert harness.state is TransactionState.PREPARE_ABORT


def test_a_coordinator_that_takes_over_counts_from_the_beginning_of_the_transaction() -> None:
    harness = TxnHarness()
    harness.init(timeout_ms=25_000)
    harness.add(101, 0, P0)
    harness.now_ms += 24_000
    harness.fail_over()
    harness.advance(TICK_MS)
    assert harness.state is TransactionState.PREPARE_ABORT


def test_a_wall_clock_that_jumps_times_nobody_out() -> None:
    harness = TxnHarness()
    harness.init(timeout_ms=60_000)
    harness.add(101, 0, P0)
    now = harness.now._replace(monotonic_ms=TICK_MS, wall_ms=EPOCH_WALL_MS + 10**9)
    harness.shard.on_timer(now)
    assert harness.state is TransactionState.ONGOING


def test_transactions_over_several_systems_have_no_time_out() -> None:
    """KIP-939: nothing here makes one, but a log of Apache Kafka may have it."""
    harness = TxnHarness()
    harness.init()
    harness.add(101, 0, P0)
    harness.put(harness.metadata._replace(timeout_ms=NO_TIMEOUT_MS))
    harness.advance(10 * TICK_MS)
    assert harness.state is TransactionState.ONGOING


def test_a_time_out_that_takes_the_last_epoch_asks_for_a_producer_id() -> None:
    harness = TxnHarness()
    harness.init()
    harness.put(harness.metadata._replace(producer_epoch=LAST_CLIENT_EPOCH - 1))
    harness.init(producer_id=101, epoch=LAST_CLIENT_EPOCH - 1, timeout_ms=1_000)
    harness.add(101, LAST_CLIENT_EPOCH, P0)
    harness.advance(TICK_MS)
    wanted = harness.sent[-1]
    assert isinstance(wanted, ProducerIdWanted)
    assert harness.state is TransactionState.ONGOING
    harness.perform(harness.shard.on_timed_out(*wanted, 777, harness.now))
    assert harness.state is TransactionState.PREPARE_ABORT
    harness.write_markers()
    assert (harness.metadata.producer_id, harness.metadata.producer_epoch) == (777, 0)
    # A copy of the answer finds another transaction.
    harness.perform(harness.shard.on_timed_out(*wanted, 778, harness.now))
    assert harness.metadata.producer_id == 777


def test_a_coordinator_that_takes_over_completes_what_was_decided() -> None:
    for committed in (True, False):
        harness = TxnHarness()
        harness.init()
        harness.add(101, 0, P0, P1)
        harness.end(101, 0, committed)
        harness.write_markers(P0)
        harness.fail_over()
        sent = [each for each in harness.sent if isinstance(each, MarkersToWrite)]
        assert sent[-1] == sent[0], "the same decision, to all partitions"
        harness.write_markers(P0)
        assert harness.state in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)
        harness.write_markers(P1)
        records = len(harness.log)
        harness.write_markers(of=sent[0])
        assert len(harness.log) == records, "completed once"
        assert harness.state.state_name == ("CompleteCommit" if committed else "CompleteAbort")


def test_idle_ids_expire_and_open_transactions_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "_EXPIRED_AT_ONCE", 8)
    limits = TransactionLimits(transactional_id_expiration_ms=5_000_000, transaction_max_timeout_ms=10**9)
    harness = TxnHarness(limits=limits)
    for number in range(30):
        harness.init(f"idle-{number}")
    producer_id = harness.init(timeout_ms=10**9).producer_id
    harness.add(producer_id, 0, P0)
    harness.advance(2 * 3_600_000)
    assert list(harness.shard.transactions) == [ID]
    assert harness.init("idle-0").producer_epoch == 0, "forgotten: another producer id from its first epoch"
    assert harness.log[-1][1] is not None
    assert sum(value is None for _, value in harness.log) == 30


def test_transactions_are_described_and_listed() -> None:
    harness = TxnHarness()
    harness.init("other")
    harness.init()
    harness.advance(5_000)
    harness.add(102, 0, P0, P1)
    described = harness.shard.describe(ID)
    assert (described.transaction_state, described.producer_id, described.transaction_timeout_ms) == (
        "Ongoing",
        102,
        60_000,
    )
    assert [(each.topic, each.partitions) for each in described.topics] == [("orders", [0, 1])]
    assert described.transaction_start_time_ms == EPOCH_WALL_MS + 5_000
    harness.end(102, 0, True)
    harness.write_markers(P0)
    # What has its marker is done with the transaction.
    assert [each.partitions for each in harness.shard.describe(ID).topics] == [[1]]
    assert harness.shard.describe("nobody").error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND

    def listed(matches: str = "", **filters: object) -> list[str]:
        request = ListTransactionsRequest(**filters)  # type: ignore[arg-type]
        now_ms = EPOCH_WALL_MS + 6_000
        found = harness.shard.list(request, lambda each: matches in each, now_ms)
        return [each.transactional_id for each in found]

    assert listed() == ["other", ID]
    assert listed(state_filters=["PrepareCommit"]) == [ID]
    assert listed(state_filters=["prepareCommit"]) == []
    assert listed(producer_id_filters=[101]) == ["other"]
    assert listed(duration_filter=999, state_filters=["PrepareCommit"]) == [ID]
    assert listed(duration_filter=1000, state_filters=["PrepareCommit"]) == []
    assert listed("oth") == ["other"]
