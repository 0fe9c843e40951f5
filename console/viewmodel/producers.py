"""Producers that partitions remember as rows, and transactions that hang. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell

# What --max-transaction-timeout of kafka-transactions.sh find-hanging is by default.
MAX_TRANSACTION_MINUTES = 15


class ProducerRow(NamedTuple):
    """A producer of a partition. -1 is "none": of sequence, timestamp, coordinator epoch, and start of a transaction.

    ``idle_ms`` is how long ago it wrote last, by its own timestamp; ``hangs``: no coordinator will end its transaction.
    """

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int
    idle_ms: float | None = None
    hangs: bool = False
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Partition and producer id."""
        return f"{self.topic}-{self.partition} {self.producer_id}"

    @property
    def is_open(self) -> bool:
        """Whether it has a transaction open here."""
        return self.transaction_start_offset >= 0

    @property
    def is_healthy(self) -> bool:
        """Nobody waits for it."""
        return not self.hangs


def producer_words(rows: Sequence[ProducerRow]) -> str:
    """How many, and what is open."""
    if not rows:
        return ""
    open_now, hanging = sum(row.is_open for row in rows), sum(row.hangs for row in rows)
    return f"{text.plural(len(rows), 'producer')} · {open_now} open" + (f" · {hanging} hang" if hanging else "")


def _transaction(row: ProducerRow) -> Cell:
    if not row.is_open:
        return UNKNOWN
    return cell(
        f"since {row.transaction_start_offset:,}" + (", hangs" if row.hangs else ""),
        "offline" if row.hangs else "accent",
    )


def _number(value: int) -> Cell:
    return UNKNOWN if value < 0 else cell(f"{value:,}")


PRODUCER_COLUMNS: tuple[Column, ...] = (
    Column(
        "partition",
        "PARTITION",
        lambda row: cell(f"{row.topic}-{row.partition}"),
        16,
        lambda row: (row.topic, row.partition),
        max_width=60,
        cut_middle=True,
    ),
    Column("producer", "PRODUCER", lambda row: cell(row.producer_id), 9, lambda row: row.producer_id, right=True),
    Column("epoch", "EPOCH", lambda row: cell(row.producer_epoch), 5, lambda row: row.producer_epoch, right=True),
    Column(
        "sequence",
        "SEQUENCE",
        lambda row: _number(row.last_sequence),
        9,
        lambda row: row.last_sequence,
        right=True,
        flashes=True,
        descending=True,
    ),
    Column(
        "last",
        "LAST",
        lambda row: UNKNOWN if row.idle_ms is None else cell(text.age(row.idle_ms)),
        5,
        lambda row: row.idle_ms or 0,
        right=True,
        descending=True,
    ),
    Column(
        "transaction",
        "TRANSACTION",
        _transaction,
        14,
        lambda row: row.transaction_start_offset,
        max_width=30,
        flashes=True,
    ),
    Column(
        "coordinator",
        "COORD EPOCH",
        lambda row: _number(row.coordinator_epoch),
        11,
        lambda row: row.coordinator_epoch,
        right=True,
        priority=1,
    ),
)
