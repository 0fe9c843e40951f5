"""Transactions are whole and end, from many seeds; and each rule that is left out is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from engine.core.now import Now
from engine.core.txn import shard
from engine.core.txn.metadata import TransactionMetadata
from engine.core.txn.records import TransactionEffects
from engine.core.txn.shard import TransactionCoordinatorShard
from engine.model.topic_partition import TopicPartition
from tests.unit.core.txn.txn_simulation import simulate

SEEDS = 60

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_transactions_are_whole_and_end(first: int) -> None:
    for seed in range(first, first + 20):
        simulate(seed)


def completes_with_the_first_marker(patch: Patch) -> None:
    def on_markers_written(
        self: Any, transactional_id: str, producer_id: int, epoch: int, partitions: Iterable[TopicPartition], now: Now
    ) -> TransactionEffects:
        everything = self.transactions[transactional_id].partitions
        return original(self, transactional_id, producer_id, epoch, everything, now)

    original = TransactionCoordinatorShard.on_markers_written
    patch.setattr(TransactionCoordinatorShard, "on_markers_written", on_markers_written)


def takes_the_markers_of_an_earlier_transaction(patch: Patch) -> None:
    def on_markers_written(
        self: Any, transactional_id: str, producer_id: int, epoch: int, partitions: Iterable[TopicPartition], now: Now
    ) -> TransactionEffects:
        present = self.transactions[transactional_id]
        return original(self, transactional_id, present.producer_id, present.producer_epoch, partitions, now)

    original = TransactionCoordinatorShard.on_markers_written
    patch.setattr(TransactionCoordinatorShard, "on_markers_written", on_markers_written)


def forgets_what_was_decided_when_it_takes_over(patch: Patch) -> None:
    def on_loaded(self: Any, now: Now) -> TransactionEffects:
        effects = original(self, now)
        effects.send.clear()
        return effects

    original = TransactionCoordinatorShard.on_loaded
    patch.setattr(TransactionCoordinatorShard, "on_loaded", on_loaded)


def lets_any_epoch_end_a_transaction(patch: Patch) -> None:
    def check_end(metadata: TransactionMetadata, producer_id: int, epoch: int, committed: bool, version: int) -> bool:
        return original(metadata, producer_id, metadata.producer_epoch, committed, version)

    original = shard.check_end
    patch.setattr(shard, "check_end", check_end)


def lets_any_epoch_add_partitions(patch: Patch) -> None:
    def transaction_of(self: Any, transactional_id: str, producer_id: int, epoch: int) -> TransactionMetadata:
        known = self.transactions.get(transactional_id)
        return original(self, transactional_id, producer_id, epoch if known is None else known.producer_epoch)

    original = TransactionCoordinatorShard._transaction_of
    patch.setattr(TransactionCoordinatorShard, "_transaction_of", transaction_of)


def does_not_bump_the_epoch_with_the_end(patch: Patch) -> None:
    def prepare_end(self: Any, committed: bool, version: int, next_producer_id: int, now_ms: int) -> Any:
        after = original(self, committed, version, next_producer_id, now_ms)
        return after._replace(producer_epoch=self.producer_epoch)

    original = TransactionMetadata.prepare_end
    patch.setattr(TransactionMetadata, "prepare_end", prepare_end)


def never_looks_for_time_outs(patch: Patch) -> None:
    patch.setattr(TransactionCoordinatorShard, "_time_out", lambda *_: None)


def gives_a_new_producer_the_epoch_of_the_last_one(patch: Patch) -> None:
    def increment(self: Any, timeout_ms: int, expected_epoch: int | None, now_ms: int) -> Any:
        after = original(self, timeout_ms, expected_epoch, now_ms)
        return after._replace(producer_epoch=max(self.producer_epoch, 0))

    original = TransactionMetadata.increment_producer_epoch
    patch.setattr(TransactionMetadata, "increment_producer_epoch", increment)


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        (completes_with_the_first_marker, "T4"),
        (takes_the_markers_of_an_earlier_transaction, "T4"),
        (forgets_what_was_decided_when_it_takes_over, "T7"),
        (lets_any_epoch_end_a_transaction, "T4"),
        (lets_any_epoch_add_partitions, "T6"),
        (does_not_bump_the_epoch_with_the_end, "T6"),
        (never_looks_for_time_outs, "T7"),
        (gives_a_new_producer_the_epoch_of_the_last_one, "T8"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_rule_that_is_left_out_is_noticed(change: Callable[[Patch], None], promise: str, monkeypatch: Patch) -> None:
    change(monkeypatch)
    found = []
    for seed in range(SEEDS):
        try:
            simulate(seed)
        except AssertionError as broken:
            found.append(str(broken))
            if found[-1].startswith(promise):
                return
    raise AssertionError(f"{SEEDS} seeds do not name {promise}: {found}")
