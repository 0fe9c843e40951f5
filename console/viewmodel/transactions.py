"""Transactional ids as rows."""

from __future__ import annotations

from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, cell
from console.viewmodel.keeping import Told

_TONES = {
    "Ongoing": "accent",
    "PrepareCommit": "under_replicated",
    "PrepareAbort": "under_replicated",
    "CompleteCommit": "in_sync",
    "CompleteAbort": "lag_medium",
}


class TransactionRow(NamedTuple):
    """A transactional id. ``open_ms`` is how long its transaction has been open, ``None`` if none is."""

    transactional_id: str
    coordinator: int
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    open_ms: float | None
    partitions: tuple[str, ...]
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return self.transactional_id

    @property
    def hangs(self) -> bool:
        """Whether it is open for longer than its producer was allowed: readers of committed records wait for it."""
        return self.open_ms is not None and self.open_ms > self.timeout_ms

    @property
    def is_healthy(self) -> bool:
        """Nobody waits for it longer than promised."""
        return not self.hangs


class TransactionsFound(NamedTuple):
    """What coordinators told; ``problems`` of those that did not, whose ids are in ``silent``."""

    rows: tuple[TransactionRow, ...]
    problems: tuple[str, ...] = ()
    silent: tuple[int, ...] = ()


def told_of(found: TransactionsFound) -> Told:
    """The rows by their coordinators."""
    told: dict[int, list[TransactionRow]] = {}
    for row in found.rows:
        told.setdefault(row.coordinator, []).append(row)
    return Told({**dict.fromkeys(found.silent), **told}, found.problems)


def newest(rows: list[TransactionRow]) -> list[TransactionRow]:
    """Of an id that went from a coordinator that is silent to another one, what the latter tells."""
    young_first = sorted(rows, key=lambda row: row.age_ms, reverse=True)
    return sorted({row.key: row for row in young_first}.values())


def counts_words(rows: tuple[TransactionRow, ...]) -> str:
    """How many are open, and how many of them hang."""
    if not rows:
        return ""
    open_now = sum(row.open_ms is not None for row in rows)
    hanging = sum(row.hangs for row in rows)
    return f"{text.plural(len(rows), 'id')} · {open_now} open" + (f" · {hanging} beyond their time-out" * bool(hanging))


def _state(row: TransactionRow) -> Cell:
    return cell(row.state, "offline" if row.hangs else _TONES.get(row.state, "muted"))


def _open(row: TransactionRow) -> Cell:
    if row.open_ms is None:
        return cell("–", "muted")
    return cell(text.age(row.open_ms), "offline" if row.hangs else "text")


TRANSACTION_COLUMNS: tuple[Column, ...] = (
    Column(
        "id",
        "TRANSACTIONAL ID",
        lambda row: cell(row.transactional_id),
        20,
        lambda row: row.key,
        max_width=60,
        cut_middle=True,
    ),
    Column("state", "STATE", _state, 14, lambda row: row.state, flashes=True),
    Column("open", "OPEN", _open, 5, lambda row: row.open_ms or 0, right=True, descending=True),
    Column(
        "partitions",
        "PARTS",
        lambda row: cell(len(row.partitions)),
        5,
        lambda row: len(row.partitions),
        right=True,
        descending=True,
    ),
    Column("coordinator", "COORD", lambda row: cell(row.coordinator), 5, lambda row: row.coordinator, right=True),
    Column(
        "producer",
        "PRODUCER",
        lambda row: cell(f"{row.producer_id}/{row.producer_epoch}"),
        10,
        lambda row: (row.producer_id, row.producer_epoch),
        right=True,
        flashes=True,
    ),
    Column(
        "timeout",
        "TIME-OUT",
        lambda row: cell(text.age(row.timeout_ms)),
        8,
        lambda row: row.timeout_ms,
        right=True,
        priority=1,
    ),
)
