"""Rates of counters that several processes have, each from its own start. Pure; the time is the caller's."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

# A rate is that of so much time at most, and of no less.
_WINDOW_MS = 6_000.0
_LEAST_MS = 900.0
# Who has not been heard of for so long adds nothing.
_LIFE_MS = 5_000.0
_KEPT = 60
# Of the rates of one moment spark lines have one value, whoever asked.
_STEP_MS = 500.0


@dataclass(slots=True)
class _Source:
    began: Hashable
    samples: deque[tuple[float, Mapping[str, int]]] = field(default_factory=deque)


class CounterRates:
    """Sums of rates over sources, and the last ones of each counter for spark lines."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._past: dict[str, deque[float]] = {}
        self._past_at_ms: float | None = None

    def take(self, source: str, began: Hashable, at_ms: float, counters: Mapping[str, int]) -> None:
        """What a source counted until ``at_ms``; another ``began`` is another incarnation, which counts from 0."""
        known = self._sources.get(source)
        if known is None or known.began != began:
            known = self._sources[source] = _Source(began)
        if known.samples and any(counters.get(name, 0) < value for name, value in known.samples[-1][1].items()):
            known.samples.clear()
        known.samples.append((at_ms, dict(counters)))
        while at_ms - known.samples[0][0] > _WINDOW_MS and len(known.samples) > 2:
            known.samples.popleft()

    def keep(self, at_ms: float) -> None:
        """All sources were asked: remember the rates of now, and forget who is silent."""
        for name in [name for name, each in self._sources.items() if at_ms - each.samples[-1][0] > _LIFE_MS]:
            del self._sources[name]
        is_another = self._past_at_ms is None or at_ms - self._past_at_ms >= _STEP_MS
        if is_another:
            self._past_at_ms = at_ms
        for name in sorted({name for each in self._sources.values() for name in each.samples[-1][1]}):
            rate = self.of(name)
            if rate is None:
                continue
            past = self._past.setdefault(name, deque(maxlen=_KEPT))
            if past and not is_another:
                past[-1] = rate
            else:
                past.append(rate)

    def of(self, name: str, source: str | None = None) -> float | None:
        """A second, of one source or of all together; ``None`` until there are two samples."""
        rates = [
            rate
            for each in ([source] if source is not None else self._sources)
            if (rate := self._rate(each, name)) is not None
        ]
        return sum(rates) if rates else None

    def together(self, names: Iterable[str], source: str | None = None) -> float | None:
        """The sum of several counters' rates."""
        rates = [rate for name in names if (rate := self.of(name, source)) is not None]
        return sum(rates) if rates else None

    def total(self, name: str) -> int | None:
        """What all sources have counted since each of them began."""
        found = [each.samples[-1][1][name] for each in self._sources.values() if name in each.samples[-1][1]]
        return sum(found) if found else None

    def past(self, name: str) -> tuple[float, ...]:
        """The last rates, oldest first."""
        return tuple(self._past.get(name, ()))

    def _rate(self, source: str, name: str) -> float | None:
        known = self._sources.get(source)
        if known is None or len(known.samples) < 2 or name not in known.samples[-1][1]:
            return None
        (first_ms, first), (last_ms, last) = known.samples[0], known.samples[-1]
        span_ms = last_ms - first_ms
        return None if span_ms < _LEAST_MS else (last[name] - first.get(name, 0)) * 1000 / span_ms
