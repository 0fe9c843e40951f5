"""What the coordinator knows of one transactional id, and each transition of it (Kafka: TransactionMetadata).

Values are immutable: a transition gives the next one, which is also what the log gets. Timestamps are milliseconds
since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.core.txn.states import COMPLETED, LEGAL_PREDECESSORS, TransactionState
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_TIMESTAMP = -1
MAX_PRODUCER_EPOCH = 32_767
# The highest epoch that a client gets; the one above it is left for fencing it.
LAST_CLIENT_EPOCH = MAX_PRODUCER_EPOCH - 1
# The first level of transaction.version whose clients get a new epoch with each transaction (KIP-890).
EPOCH_BUMP_VERSION = 2
# A transaction with this time-out has none: it belongs to a transaction over several systems (KIP-939).
NO_TIMEOUT_MS = 0x7FFFFFFF


def is_epoch_exhausted(producer_epoch: int) -> bool:
    """Whether no client may get a higher epoch of the same producer id."""
    return producer_epoch >= LAST_CLIENT_EPOCH


class TransactionMetadata(NamedTuple):
    """One transactional id.

    ``previous_producer_id`` is the producer id before the last transition, ``next_producer_id`` the one that follows
    when the transaction is complete (-1: the same). ``last_producer_epoch`` is the epoch before the last bump; it is
    not in the log. ``client_transaction_version`` is the transaction.version of the client that began or ended the
    transaction.
    """

    transactional_id: str
    producer_id: int
    previous_producer_id: int
    next_producer_id: int
    producer_epoch: int
    last_producer_epoch: int
    timeout_ms: int
    state: TransactionState
    partitions: frozenset[TopicPartition]
    start_timestamp_ms: int
    last_update_timestamp_ms: int
    client_transaction_version: int

    @property
    def is_epoch_exhausted(self) -> bool:
        """Whether the next epoch needs another producer id."""
        return is_epoch_exhausted(self.producer_epoch)

    @property
    def bumps_epoch(self) -> bool:
        """Whether the end of the transaction is also the end of its epoch."""
        return self.client_transaction_version >= EPOCH_BUMP_VERSION

    def increment_producer_epoch(self, timeout_ms: int, expected_epoch: int | None, now_ms: int) -> TransactionMetadata:
        """A producer initializes itself: the next epoch, or the present one if this repeats what was done.

        ``expected_epoch`` is the one that a producer recovers from (KIP-360), None if it is new.

        Raises:
            KafkaError: PRODUCER_FENCED: another producer has a later epoch.
        """
        epoch, last_epoch = self.producer_epoch + 1, self.producer_epoch
        if expected_epoch is None:
            last_epoch = NO_PRODUCER_EPOCH
        elif expected_epoch != self.producer_epoch and self.producer_epoch != NO_PRODUCER_EPOCH:
            if expected_epoch != self.last_producer_epoch:
                raise KafkaError(
                    ErrorCode.PRODUCER_FENCED,
                    f"producer epoch {expected_epoch} of {self.transactional_id!r} is not {self.producer_epoch}",
                )
            epoch, last_epoch = self.producer_epoch, self.last_producer_epoch
        assert epoch <= LAST_CLIENT_EPOCH, f"no epoch is left of producer {self.producer_id}"
        return self._initialized(self.producer_id, epoch, last_epoch, timeout_ms, now_ms)

    def rotate_producer_id(
        self, producer_id: int, timeout_ms: int, now_ms: int, *, records_last_epoch: bool
    ) -> TransactionMetadata:
        """A producer initializes itself, and its epochs are used up: another producer id."""
        last_epoch = self.producer_epoch if records_last_epoch else NO_PRODUCER_EPOCH
        return self._initialized(producer_id, 0, last_epoch, timeout_ms, now_ms)

    def _initialized(
        self, producer_id: int, epoch: int, last_epoch: int, timeout_ms: int, now_ms: int
    ) -> TransactionMetadata:
        return self._become(
            TransactionState.EMPTY,
            producer_id=producer_id,
            producer_epoch=epoch,
            last_producer_epoch=last_epoch,
            timeout_ms=timeout_ms,
            partitions=frozenset(),
            start_timestamp_ms=NO_TIMESTAMP,
            last_update_timestamp_ms=now_ms,
        )

    def add_partitions(
        self, partitions: Iterable[TopicPartition], client_transaction_version: int, now_ms: int
    ) -> TransactionMetadata:
        """Partitions take part in the transaction, which begins if there is none."""
        begins = self.state is not TransactionState.ONGOING
        return self._become(
            TransactionState.ONGOING,
            partitions=self.partitions.union(partitions),
            start_timestamp_ms=now_ms if begins else self.start_timestamp_ms,
            last_update_timestamp_ms=now_ms,
            client_transaction_version=client_transaction_version,
        )

    def fence_producer_epoch(self) -> TransactionMetadata:
        """The producer is shut out: an epoch that no client is told."""
        epoch = min(self.producer_epoch + 1, MAX_PRODUCER_EPOCH)
        return self._become(
            TransactionState.PREPARE_EPOCH_FENCE, producer_epoch=epoch, last_producer_epoch=NO_PRODUCER_EPOCH
        )

    def prepare_end(
        self, committed: bool, client_transaction_version: int, next_producer_id: int, now_ms: int
    ) -> TransactionMetadata:
        """The transaction is decided (prepareAbortOrCommit).

        Where the client knows the epoch bump, the markers carry the next epoch. ``next_producer_id`` is the one that
        the producer gets where its epochs are used up with that.
        """
        epoch, last_epoch = self.producer_epoch, self.last_producer_epoch
        if client_transaction_version >= EPOCH_BUMP_VERSION:
            last_epoch = epoch
            # An epoch beyond the last one is possible nowhere; if it were, the abort must go through all the same.
            epoch = min(epoch + 1, MAX_PRODUCER_EPOCH)
        begins = self.state is TransactionState.EMPTY or self.state in COMPLETED
        return self._become(
            TransactionState.PREPARE_COMMIT if committed else TransactionState.PREPARE_ABORT,
            next_producer_id=next_producer_id,
            producer_epoch=epoch,
            last_producer_epoch=last_epoch,
            # No partition was ever added: nobody knows when it began.
            start_timestamp_ms=now_ms if begins else self.start_timestamp_ms,
            last_update_timestamp_ms=now_ms,
            client_transaction_version=client_transaction_version,
        )

    def complete(self, now_ms: int) -> TransactionMetadata:
        """All markers are written."""
        producer_id, epoch = self.producer_id, self.producer_epoch
        if self.bumps_epoch and self.next_producer_id != NO_PRODUCER_ID:
            producer_id, epoch = self.next_producer_id, 0
        committed = self.state is TransactionState.PREPARE_COMMIT
        return self._become(
            TransactionState.COMPLETE_COMMIT if committed else TransactionState.COMPLETE_ABORT,
            producer_id=producer_id,
            next_producer_id=NO_PRODUCER_ID,
            producer_epoch=epoch,
            partitions=frozenset(),
            last_update_timestamp_ms=now_ms,
        )

    def _become(self, state: TransactionState, **changes: object) -> TransactionMetadata:
        assert self.state in LEGAL_PREDECESSORS[state], (
            f"{self.transactional_id!r}: {state.name} after {self.state.name}"
        )
        after = self._replace(state=state, previous_producer_id=self.producer_id, **changes)  # type: ignore[arg-type]
        assert after.producer_id >= 0, after
        assert after.producer_epoch >= 0, after
        return after


def new_metadata(transactional_id: str, producer_id: int, timeout_ms: int, now_ms: int) -> TransactionMetadata:
    """A transactional id that was never seen: without an epoch until its producer is initialized."""
    return TransactionMetadata(
        transactional_id=transactional_id,
        producer_id=producer_id,
        previous_producer_id=NO_PRODUCER_ID,
        next_producer_id=NO_PRODUCER_ID,
        producer_epoch=NO_PRODUCER_EPOCH,
        last_producer_epoch=NO_PRODUCER_EPOCH,
        timeout_ms=timeout_ms,
        state=TransactionState.EMPTY,
        partitions=frozenset(),
        start_timestamp_ms=NO_TIMESTAMP,
        last_update_timestamp_ms=now_ms,
        client_transaction_version=0,
    )
