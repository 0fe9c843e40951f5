"""What the shell tells the transaction coordinator: the limits, and producer ids where it asks for them."""

from __future__ import annotations

from typing import NamedTuple

from engine.model.errors import ErrorCode


class TransactionLimits(NamedTuple):
    """Broker configs under Kafka's names (TransactionStateManagerConfig)."""

    transaction_max_timeout_ms: int = 900_000
    transactional_id_expiration_ms: int = 7 * 24 * 60 * 60 * 1000
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int = 10_000
    transaction_remove_expired_transaction_cleanup_interval_ms: int = 3_600_000


class NeedsProducerId:
    """A reply of the machine: the same request again, please, with a producer id that nobody has had."""

    __slots__ = ()


NEEDS_PRODUCER_ID = NeedsProducerId()


class EndTxnResult(NamedTuple):
    """What became of EndTxn. The id and epoch for the next transaction are told to clients of transaction.version 2."""

    error: ErrorCode
    producer_id: int = -1
    producer_epoch: int = -1
