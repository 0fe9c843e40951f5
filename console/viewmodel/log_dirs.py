"""Log directories of brokers as rows, and the replicas of one by their size. Pure."""

from __future__ import annotations

from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell

_BAR = 10
# A disk so full is told in the colour of what is about to fail.
_FULL = 0.9


class ReplicaRow(NamedTuple):
    """A replica in a directory. ``offset_lag`` is how far its log end is behind the high watermark, of a future replica
    how far behind the current one it is still (KIP-113)."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    is_future: bool
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """As its directory is named."""
        return f"{self.topic}-{self.partition}" + (".future" if self.is_future else "")


class LogDirRow(NamedTuple):
    """A directory of a broker; totals are of the disk, ``None`` where the broker does not tell."""

    broker_id: int
    path: str
    total_bytes: int | None
    usable_bytes: int | None
    replicas: tuple[ReplicaRow, ...]
    error: str = ""
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Broker and path."""
        return f"{self.broker_id} {self.path}"

    @property
    def size_bytes(self) -> int:
        """Of all replicas here."""
        return sum(each.size_bytes for each in self.replicas)

    @property
    def futures(self) -> int:
        """Replicas that move here from another directory."""
        return sum(each.is_future for each in self.replicas)

    @property
    def used(self) -> float | None:
        """How much of the disk is taken, 0 to 1."""
        if self.total_bytes is None or self.usable_bytes is None or not self.total_bytes:
            return None
        return 1 - self.usable_bytes / self.total_bytes

    @property
    def is_healthy(self) -> bool:
        """It works and has room."""
        return not self.error and (self.used or 0) < _FULL


def total_words(rows: list[LogDirRow]) -> str:
    """All in one line."""
    if not rows:
        return ""
    failed = sum(bool(row.error) for row in rows)
    said = f"{text.size(sum(row.size_bytes for row in rows))} in {sum(len(row.replicas) for row in rows):,} replicas"
    return said + (f" · {failed} failed" if failed else "")


def _disk(row: LogDirRow) -> Cell:
    used = row.used
    if used is None:
        return UNKNOWN
    tone = "offline" if used >= _FULL else "under_replicated" if used >= 0.75 else "in_sync"
    full = round(used * _BAR)
    return (Span("█" * full, tone), Span("░" * (_BAR - full), "muted"), Span(f" {used:4.0%}"))


def _state(row: LogDirRow) -> Cell:
    return cell(f"✗ {row.error}", "offline") if row.error else cell("● ok", "in_sync")


def _size(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.size(value))


LOG_DIR_COLUMNS: tuple[Column, ...] = (
    Column("broker", "BROKER", lambda row: cell(row.broker_id), 6, lambda row: row.broker_id, right=True),
    Column("path", "DIRECTORY", lambda row: cell(row.path), 16, lambda row: row.path, max_width=70, cut_middle=True),
    Column("state", "STATE", _state, 6, lambda row: row.error, max_width=40),
    Column(
        "replicas",
        "REPLICAS",
        lambda row: cell(f"{len(row.replicas):,}"),
        8,
        lambda row: len(row.replicas),
        right=True,
        descending=True,
    ),
    Column(
        "size",
        "SIZE",
        lambda row: _size(row.size_bytes),
        9,
        lambda row: row.size_bytes,
        right=True,
        descending=True,
        flashes=True,
    ),
    Column("disk", "DISK", _disk, _BAR + 5, lambda row: row.used or 0, descending=True),
    Column(
        "usable",
        "USABLE",
        lambda row: _size(row.usable_bytes),
        9,
        lambda row: row.usable_bytes or 0,
        right=True,
        priority=1,
        descending=True,
    ),
    Column(
        "total",
        "OF",
        lambda row: _size(row.total_bytes),
        9,
        lambda row: row.total_bytes or 0,
        right=True,
        priority=1,
        descending=True,
    ),
    Column(
        "future",
        "FUTURE",
        lambda row: cell(row.futures, "accent" if row.futures else "muted"),
        6,
        lambda row: row.futures,
        right=True,
        priority=2,
        descending=True,
    ),
)


def _lag(row: ReplicaRow) -> Cell:
    return cell(f"{row.offset_lag:,}", "muted" if row.offset_lag <= 0 else "under_replicated")


REPLICA_COLUMNS: tuple[Column, ...] = (
    Column("replica", "REPLICA", lambda row: cell(row.key), 30, lambda row: row.key, max_width=90, cut_middle=True),
    Column(
        "size",
        "SIZE",
        lambda row: _size(row.size_bytes),
        9,
        lambda row: row.size_bytes,
        right=True,
        descending=True,
        flashes=True,
    ),
    Column("lag", "LAG", _lag, 10, lambda row: row.offset_lag, right=True, descending=True, flashes=True),
    Column(
        "future",
        "",
        lambda row: cell("moves here" if row.is_future else "", "accent"),
        10,
        lambda row: row.is_future,
    ),
)
