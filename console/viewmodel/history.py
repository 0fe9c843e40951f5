"""Short memories for spark lines and trends: a bounded number of values a key, one a sample."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from console.viewmodel.keeping import KeptRows
from console.viewmodel.pace import Paces
from console.viewmodel.streams_told import KeptWorkers
from console.viewmodel.task_moves import TaskMoves
from console.viewmodel.trends import Trends
from engine.supervisor.snapshot import ClusterSnapshot

_KEPT = 60


class History:
    """Values of the last samples by key. A sample of the same second replaces the one before."""

    def __init__(self, kept: int = _KEPT, step_ms: int = 1000) -> None:
        self._values: dict[object, deque[float]] = {}
        self._at: dict[object, int] = {}
        self._kept = kept
        self._step_ms = step_ms
        self.paces = Paces()
        # The last hour, for plots.
        self.trends = Trends()
        # Of applications over streams: which task came from where, and what workers of each told while it was shown.
        self.task_moves = TaskMoves()
        self.workers: dict[str, KeptWorkers] = {}
        # Connectors as workers of Connect told them last.
        self.connectors = KeptRows()
        # Subjects as the schema registry told them last.
        self.subjects = KeptRows()

    def add(self, key: object, at_ms: int, value: float | None) -> None:
        """Take a value; ``None`` (not known now) leaves a gap of nothing."""
        if value is None:
            return
        values = self._values.setdefault(key, deque(maxlen=self._kept))
        slot = at_ms // self._step_ms
        if values and self._at.get(key) == slot:
            values[-1] = value
        else:
            values.append(value)
            self._at[key] = slot

    def of(self, key: object) -> tuple[float, ...]:
        """Oldest first."""
        return tuple(self._values.get(key, ()))

    def keep_only(self, keys: Iterable[object]) -> None:
        """Forget all others."""
        wanted = set(keys)
        for key in [key for key in self._values if key not in wanted]:
            del self._values[key]
            self._at.pop(key, None)


def remember(history: History, snapshot: ClusterSnapshot) -> None:
    """Take the rates and lags of a snapshot."""
    history.paces.take(snapshot)
    history.trends.take(snapshot)
    history.task_moves.take(snapshot)
    for broker in snapshot.brokers:
        history.add(("in", broker.broker_id), snapshot.at_ms, broker.bytes_in_per_s)
        history.add(("out", broker.broker_id), snapshot.at_ms, broker.bytes_out_per_s)
    history.add("in", snapshot.at_ms, total(broker.bytes_in_per_s for broker in snapshot.brokers))
    history.add("out", snapshot.at_ms, total(broker.bytes_out_per_s for broker in snapshot.brokers))
    for topic in snapshot.topics:
        history.add(
            ("topic", topic.name),
            snapshot.at_ms,
            total(partition.messages_in_per_s for partition in topic.partitions),
        )
    for group in snapshot.groups:
        history.add(("lag", group.group_id), snapshot.at_ms, group.total_lag)
        for offset in group.offsets:
            history.add(("lag", group.group_id, offset.topic, offset.partition), snapshot.at_ms, offset.lag)


def total(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; ``None`` if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
