"""The states of a transactional id and the table of legal transitions (Kafka: TransactionState)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class TransactionState(IntEnum):
    """Numbered as the records of ``__transaction_state`` number them."""

    EMPTY = 0
    """The producer has its id; no transaction was begun since."""

    ONGOING = 1
    """Partitions were added, and nobody has ended the transaction."""

    PREPARE_COMMIT = 2
    """The transaction is committed: the markers are being written, and nothing can change that."""

    PREPARE_ABORT = 3
    """The transaction is aborted: the markers are being written, and nothing can change that."""

    COMPLETE_COMMIT = 4
    """All markers of a commit are written."""

    COMPLETE_ABORT = 5
    """All markers of an abort are written."""

    DEAD = 6
    """The transactional id has expired. Never in a record: its end is a tombstone."""

    PREPARE_EPOCH_FENCE = 7
    """The epoch of a producer is being bumped to shut it out. Never in a record: PREPARE_ABORT follows at once."""

    @property
    def state_name(self) -> str:
        """The name in DescribeTransactions and ListTransactions."""
        return _NAMES[self]

    @property
    def may_expire(self) -> bool:
        """Whether a transactional id in this state is forgotten when it is idle for long."""
        return self in (TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)


_NAMES = {each: "".join(word.title() for word in each.name.split("_")) for each in TransactionState}
STATES_BY_NAME: Mapping[str, TransactionState] = {name: state for state, name in _NAMES.items()}

PREPARED = frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT})
COMPLETED = frozenset({TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT})

LEGAL_PREDECESSORS: Mapping[TransactionState, frozenset[TransactionState]] = {
    TransactionState.EMPTY: frozenset({TransactionState.EMPTY, *COMPLETED}),
    TransactionState.ONGOING: frozenset({TransactionState.ONGOING, TransactionState.EMPTY, *COMPLETED}),
    TransactionState.PREPARE_COMMIT: frozenset({TransactionState.ONGOING}),
    # From EMPTY and COMPLETE_*: a client of transaction.version 2 aborts what it does not know to have begun.
    TransactionState.PREPARE_ABORT: frozenset(
        {TransactionState.ONGOING, TransactionState.PREPARE_EPOCH_FENCE, TransactionState.EMPTY, *COMPLETED}
    ),
    TransactionState.COMPLETE_COMMIT: frozenset({TransactionState.PREPARE_COMMIT}),
    TransactionState.COMPLETE_ABORT: frozenset({TransactionState.PREPARE_ABORT}),
    TransactionState.DEAD: frozenset({TransactionState.EMPTY, *COMPLETED}),
    TransactionState.PREPARE_EPOCH_FENCE: frozenset({TransactionState.ONGOING}),
}
