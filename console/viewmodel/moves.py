"""Replicas that move between brokers: what a plan would change, and how far moves under way are."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell

_BAR = 12
# Rates are of the last so many milliseconds, and of no fewer.
_PACE_MS, _LEAST_PACE_MS = 10_000, 1_000


class PlannedMove(NamedTuple):
    """A partition's replicas before and after, the preferred leader first; ``leader`` leads it now (-1: nobody, or not
    asked), ``isr`` is in sync now, ``min_isr`` its topic's min.insync.replicas."""

    topic: str
    partition: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    copied_bytes: int
    leader: int = -1
    isr: tuple[int, ...] = ()
    min_isr: int | None = None

    @property
    def adding(self) -> tuple[int, ...]:
        """Brokers that get a replica."""
        return tuple(each for each in self.after if each not in self.before)

    @property
    def removing(self) -> tuple[int, ...]:
        """Brokers that give theirs up."""
        return tuple(each for each in self.before if each not in self.after)

    @property
    def leader_after(self) -> int:
        """Who leads in the end: the console has the preferred leader elected where that is another than before."""
        if self.before[0] != self.after[0] or self.leader not in self.after:
            return self.after[0]
        return self.leader


class BrokerLoad(NamedTuple):
    """What a broker holds before and after."""

    broker_id: int
    replicas: tuple[int, int]
    leaders: tuple[int, int]
    size_bytes: tuple[int, int]


class DiskRoom(NamedTuple):
    """A log directory of a broker; ``usable_bytes`` is ``None`` where the broker does not tell."""

    broker_id: int
    path: str
    usable_bytes: int | None


class MovePlan(NamedTuple):
    """A plan to be looked at."""

    moves: tuple[PlannedMove, ...]
    loads: tuple[BrokerLoad, ...]
    rooms: tuple[DiskRoom, ...] = ()

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
    rate_bytes: float | None = None

    @property
    def original(self) -> tuple[int, ...]:
        """Where it is brought back to when it is cancelled, as Kafka does."""
        return tuple(each for each in self.replicas if each not in self.adding)

    @property
    def left_s(self) -> float | None:
        """How long it goes on at this rate; ``None``: not known yet, or it stands still."""
        left = self.size_bytes - self.copied_bytes
        return None if not self.rate_bytes or left < 0 else left / self.rate_bytes

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
    said = f"{text.plural(len(rows), 'partition')} move · {text.size(copied)} of {text.size(size)} copied"
    rates = [each.rate_bytes for each in rows if each.rate_bytes is not None]
    if not rates:
        return said
    said += f" · {text.rate(sum(rates))}"
    # They go on side by side, and share what the brokers give: the whole rest by the whole rate.
    return said + (f" · {left_words(max(0, size - copied) / sum(rates))} left" if sum(rates) else " · stands still")


def left_words(seconds: float | None) -> str:
    """``40s``, ``3m``; ``–`` if it is not known."""
    if seconds is None:
        return text.UNKNOWN_TEXT
    return f"{seconds:.0f}s" if seconds < 1.5 else text.age(seconds * 1000)


class MovePace:
    """How fast moves are copied, from samples of the last seconds."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def see(self, at_ms: float, rows: Sequence[MoveRow]) -> list[MoveRow]:
        """The rows with their rates, bytes a second; a rate is ``None`` until there is a second to tell it from."""
        known = {each.key for each in rows}
        for key in self._samples.keys() - known:
            # It is done, or was cancelled; one that begins anew has a past of its own.
            del self._samples[key]
        return [each._replace(rate_bytes=self._rate(at_ms, each)) for each in rows]

    def _rate(self, at_ms: float, row: MoveRow) -> float | None:
        samples = self._samples.setdefault(row.key, deque())
        if samples and row.copied_bytes < samples[-1][1]:
            # What was copied was thrown away: a replica began anew.
            samples.clear()
        samples.append((at_ms, row.copied_bytes))
        while at_ms - samples[0][0] > _PACE_MS:
            samples.popleft()
        since_ms = at_ms - samples[0][0]
        return (row.copied_bytes - samples[0][1]) * 1000 / since_ms if since_ms >= _LEAST_PACE_MS else None


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
    Column("replicas", "REPLICAS", lambda row: cell(_ids(row.replicas)), 10, lambda row: row.replicas, priority=2),
    Column("adding", "TO", lambda row: cell(_ids(row.adding), "in_sync"), 6, lambda row: row.adding),
    Column("removing", "FROM", lambda row: cell(_ids(row.removing), "under_replicated"), 6, lambda row: row.removing),
    Column("progress", "COPIED", _progress, _BAR + 5, lambda row: row.share, descending=True),
    Column("left", "LEFT", lambda row: cell(left_words(row.left_s)), 5, lambda row: row.left_s or 0, right=True),
    Column(
        "rate",
        "RATE",
        lambda row: cell(text.rate(row.rate_bytes)),
        11,
        lambda row: row.rate_bytes or 0,
        right=True,
        priority=1,
        descending=True,
    ),
    Column(
        "size",
        "SIZE",
        lambda row: cell(text.size(row.size_bytes)),
        9,
        lambda row: row.size_bytes,
        right=True,
        priority=3,
        descending=True,
    ),
)
