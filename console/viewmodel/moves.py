"""Replicas that move between brokers: what a plan would change, and how far moves under way are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell

_BAR = 12


class PlannedMove(NamedTuple):
    """A partition's replicas before and after, the preferred leader first."""

    topic: str
    partition: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    copied_bytes: int


class BrokerLoad(NamedTuple):
    """What a broker holds before and after."""

    broker_id: int
    replicas: tuple[int, int]
    leaders: tuple[int, int]
    size_bytes: tuple[int, int]


class MovePlan(NamedTuple):
    """A plan to be looked at."""

    moves: tuple[PlannedMove, ...]
    loads: tuple[BrokerLoad, ...]

    @property
    def copied_bytes(self) -> int:
        """What goes over the network."""
        return sum(each.copied_bytes for each in self.moves)


class MoveRow(NamedTuple):
    """A move under way."""

    topic: str
    partition: int
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]
    copied_bytes: int
    size_bytes: int
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return f"{self.topic}-{self.partition}"

    @property
    def share(self) -> float:
        """How much is copied, 0 to 1."""
        return min(1.0, self.copied_bytes / self.size_bytes) if self.size_bytes else 1.0


def plan_words(plan: MovePlan) -> str:
    """A plan in a few lines: how much moves, and what each broker holds then."""
    lines = [f"{text.plural(len(plan.moves), 'partition')} change, {text.size(plan.copied_bytes)} are copied."]
    for each in plan.loads:
        (replicas, then), (leaders, leaders_then), (size, size_then) = each.replicas, each.leaders, each.size_bytes
        lines.append(
            f"broker {each.broker_id}: {replicas} → {then} replicas, {leaders} → {leaders_then} leaders, "
            f"{text.size(size)} → {text.size(size_then)}"
        )
    return "\n".join(lines)


def total_words(rows: Sequence[MoveRow]) -> str:
    """How far all of them are."""
    copied, size = sum(each.copied_bytes for each in rows), sum(each.size_bytes for each in rows)
    return f"{text.plural(len(rows), 'partition')} move · {text.size(copied)} of {text.size(size)} copied"


def _ids(broker_ids: Sequence[int]) -> str:
    return ",".join(map(str, broker_ids)) or "–"


def _progress(row: MoveRow) -> Cell:
    full = int(row.share * _BAR)
    return (
        Span("█" * full, "in_sync"),
        Span("░" * (_BAR - full), "muted"),
        Span(f" {row.share:4.0%}", "text"),
    )


MOVE_COLUMNS: tuple[Column, ...] = (
    Column("topic", "TOPIC", lambda row: cell(row.topic), 20, lambda row: row.topic, max_width=60),
    Column("partition", "PART", lambda row: cell(row.partition), 5, lambda row: row.partition, right=True),
    Column("replicas", "REPLICAS", lambda row: cell(_ids(row.replicas)), 10, lambda row: row.replicas),
    Column("adding", "TO", lambda row: cell(_ids(row.adding), "in_sync"), 6, lambda row: row.adding),
    Column("removing", "FROM", lambda row: cell(_ids(row.removing), "under_replicated"), 6, lambda row: row.removing),
    Column("progress", "COPIED", _progress, _BAR + 5, lambda row: row.share, descending=True),
    Column(
        "size",
        "SIZE",
        lambda row: cell(text.size(row.size_bytes)),
        9,
        lambda row: row.size_bytes,
        right=True,
        priority=1,
        descending=True,
    ),
)
