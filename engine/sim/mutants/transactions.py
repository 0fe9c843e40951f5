"""Changes of the transaction coordinator, of what leaders make of its decisions, and of what readers are shown."""

from __future__ import annotations

from typing import Any

from engine.sim.mutants.mutant import CRASHES, Mutant, Undo, replace

_LATE = ("hold", "repeat")


def _knows_no_fencing() -> Undo:
    """The coordinator adds partitions for producers of past epochs too."""
    from engine.core.txn.shard import TransactionCoordinatorShard

    def transaction_of(self: Any, transactional_id: str, producer_id: int, producer_epoch: int) -> Any:
        known = self.transactions.get(transactional_id)
        return before(self, transactional_id, producer_id, producer_epoch if known is None else known.producer_epoch)

    before = TransactionCoordinatorShard._transaction_of
    return replace(TransactionCoordinatorShard, "_transaction_of", transaction_of)


def _aborts_offsets_of_what_is_committed() -> Undo:
    from engine.broker.group_coordinator_service import GroupCoordinatorService

    async def complete(self: Any, number: int, marker: Any) -> None:
        await before(self, number, marker._replace(committed=False))

    before = GroupCoordinatorService.complete_transaction
    return replace(GroupCoordinatorService, "complete_transaction", complete)


def _forgets_to_write_pending_offsets_in_the_producers_name() -> Undo:
    """Offsets of a transaction count at once, whatever becomes of it."""
    from engine.broker.group_logs import TopicLogs

    def append(
        self: Any, partition: int, leader_epoch: int, records: Any, timeout_ms: int, producer: Any = None
    ) -> Any:
        return before(self, partition, leader_epoch, records, timeout_ms)

    before = TopicLogs.append
    return replace(TopicLogs, "append", append)


def _shows_open_transactions() -> Undo:
    from engine.storage.log import Log

    return replace(Log, "last_stable_offset", property(lambda self: self.high_watermark))


def _tells_of_no_aborted_transactions() -> Undo:
    from engine.storage.log import Log

    return replace(Log, "aborted_transactions", lambda self, start_offset, upper_offset: [])


def _gives_transactions_no_epochs_of_their_own() -> Undo:
    """As before transaction.version 2: a request of a transaction that is over looks like one of the next."""
    from engine.core.txn.context import EndTxnResult
    from engine.core.txn.shard import TransactionCoordinatorShard
    from engine.model.errors import ErrorCode

    def end(
        self: Any, transactional_id: str, producer_id: int, epoch: int, committed: bool, version: int, *rest: Any
    ) -> Any:
        result = before(self, transactional_id, producer_id, epoch, committed, 0, *rest)
        if isinstance(result, EndTxnResult) and result.error is ErrorCode.NONE:
            return EndTxnResult(ErrorCode.NONE, producer_id, epoch)
        return result

    before = TransactionCoordinatorShard._end_txn
    return replace(TransactionCoordinatorShard, "_end_txn", end)


def _forgets_decisions_at_a_takeover() -> Undo:
    from engine.core.effects import Effects
    from engine.core.txn.shard import TransactionCoordinatorShard

    def on_loaded(self: Any, now: Any) -> Any:
        return Effects(append=before(self, now).append)

    before = TransactionCoordinatorShard.on_loaded
    return replace(TransactionCoordinatorShard, "on_loaded", on_loaded)


def _never_times_transactions_out() -> Undo:
    from engine.core.txn.shard import TransactionCoordinatorShard

    return replace(TransactionCoordinatorShard, "next_deadline_ms", lambda self: None)


def _initializes_two_with_one_epoch() -> Undo:
    from engine.core.txn.metadata import TransactionMetadata

    def increment(self: Any, *arguments: Any) -> Any:
        return before(self, *arguments)._replace(producer_epoch=max(self.producer_epoch, 0))

    before = TransactionMetadata.increment_producer_epoch
    return replace(TransactionMetadata, "increment_producer_epoch", increment)


def _mutant(name: str, promise: str, change: Any, faults: tuple[str, ...] = CRASHES) -> Mutant:
    return Mutant(name, (promise,), change, faults, transactions=True)


MUTANTS = (
    _mutant("adds partitions for fenced producers", "T3", _knows_no_fencing),
    _mutant("aborts offsets of what is committed", "T4", _aborts_offsets_of_what_is_committed),
    _mutant("commits offsets of transactions at once", "T4", _forgets_to_write_pending_offsets_in_the_producers_name),
    _mutant("shows open transactions", "T5", _shows_open_transactions),
    _mutant("tells of no aborted transactions", "T5", _tells_of_no_aborted_transactions),
    _mutant("gives transactions no epochs of their own", "T6", _gives_transactions_no_epochs_of_their_own, _LATE),
    _mutant("forgets decisions at a takeover", "T7", _forgets_decisions_at_a_takeover),
    _mutant("never times transactions out", "T7", _never_times_transactions_out),
    _mutant("initializes two with one epoch", "T8", _initializes_two_with_one_epoch),
)
