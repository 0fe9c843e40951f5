"""Rows that several sources tell: what one of them told stays, and grows old, while it does not answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Told(NamedTuple):
    """What was told when all were asked: rows by source (a broker, a partition; ``None``: it did not tell), and why
    some did not. A source that is not there is none any more, and its rows go."""

    rows: Mapping[Any, Sequence[Any] | None]
    problems: tuple[str, ...] = ()


class KeptRows:
    """The last rows of each source. Rows are NamedTuples with ``age_ms``."""

    def __init__(self) -> None:
        self._rows: dict[Any, tuple[tuple[Any, ...], float]] = {}
        self.was_told = False

    def take(self, told: Told, at_ms: float) -> None:
        """What was told at ``at_ms``."""
        self.was_told = True
        kept = {source: self._rows[source] for source in told.rows if source in self._rows}
        for source, rows in told.rows.items():
            if rows is not None:
                kept[source] = (tuple(rows), at_ms)
        self._rows = kept

    def rows(self, now_ms: float) -> list[Any]:
        """All rows, each as old as what its source told last."""
        return [row._replace(age_ms=max(0.0, now_ms - at_ms)) for rows, at_ms in self._rows.values() for row in rows]
