"""How figures went in the last hour, in bounded memory: what plots are drawn from. Pure; the time is a picture's.

A sample a second is taken at most. The last five minutes are kept second by second, the last fifteen in steps of five
seconds, the last hour in steps of fifteen: 720 numbers a figure. What was not known at a time is a gap there, and stays
one: nobody draws a line through the time in which a broker was dead.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from console.viewmodel.health import STALE_MS
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, WorkloadMember

# Which figure of what: ("lag", "billing"), ("broker in", 2).
Key: TypeAlias = tuple[str, str | int]


class Grain(NamedTuple):
    """So many steps of so many milliseconds are kept."""

    step_ms: int
    steps: int

    @property
    def span_ms(self) -> int:
        """How far it goes back."""
        return self.step_ms * self.steps


GRAINS = (Grain(1_000, 300), Grain(5_000, 180), Grain(15_000, 240))
SPANS_MS = tuple(grain.span_ms for grain in GRAINS)
# 12 MB: some 900 groups with two figures each.
MOST_TRENDS = 2_000
# Of longer steps the highest value is kept: a peak of one second is what latencies are looked at for.
_PEAKS = ("highest latency", "lag")
# A picture may come late by so much before it is missed.
_LATE_MS = 3_500
# How fast a group reads is told from so much time: consumers commit every 5 s unless told otherwise.
_READ_WINDOW_MS = 10_000
_LEAST_READ_WINDOW_MS = 4_000
# Samples of the past may be so far apart.
_LONGEST_READ_WINDOW_MS = 20_000


class Point(NamedTuple):
    """A value and when it was."""

    at_ms: int
    value: float


class _Ring:
    """The values of one grain."""

    __slots__ = ("_count", "_grain", "_last", "_peak", "_sum", "_values")

    def __init__(self, grain: Grain, peak: bool) -> None:
        self._grain = grain
        self._peak = peak
        self._values = array("d", [math.nan]) * grain.steps
        self._last = -1
        self._sum = 0.0
        self._count = 0

    def add(self, at_ms: int, value: float) -> None:
        steps = self._grain.steps
        slot = at_ms // self._grain.step_ms
        if slot != self._last:
            gone = slot - self._last
            if self._last < 0 or gone >= steps or gone < 0:
                # The first one, after a long time, or after a clock that was set back.
                self._values = array("d", [math.nan]) * steps
            else:
                for each in range(self._last + 1, slot):
                    self._values[each % steps] = math.nan
            self._last, self._sum, self._count = slot, 0.0, 0
        self._sum, self._count = self._sum + value, self._count + 1
        at = slot % steps
        if self._peak:
            self._values[at] = value if self._count == 1 else max(self._values[at], value)
        else:
            self._values[at] = self._sum / self._count

    def points(self, now_ms: int) -> list[Point]:
        step_ms, steps = self._grain
        now = now_ms // step_ms
        first = max(now - steps + 1, self._last - steps + 1, 0)
        return [
            Point(slot * step_ms, value)
            for slot in range(first, min(now, self._last) + 1)
            if not math.isnan(value := self._values[slot % steps])
        ]


class Trends:
    """All figures that are kept, by key."""

    def __init__(self, most: int = MOST_TRENDS) -> None:
        self._rings: dict[Key, tuple[_Ring, ...]] = {}
        self._seen_at_ms: dict[Key, int] = {}
        self._taken_second = -1
        self._committed: dict[str, deque[tuple[int, int, int]]] = {}
        self._most = most
        # So many figures found no room.
        self.left_out = 0
        # When the first value came.
        self.began_ms: int | None = None

    def add(self, key: Key, at_ms: int, value: float | None) -> None:
        """Take a value; ``None`` is not known, and leaves a gap."""
        if value is None:
            return
        rings = self._rings.get(key)
        if rings is None:
            if len(self._rings) >= self._most:
                self.left_out += 1
                return
            rings = self._rings[key] = tuple(_Ring(grain, key[0].endswith(_PEAKS)) for grain in GRAINS)
        self._seen_at_ms[key] = at_ms
        self.began_ms = at_ms if self.began_ms is None else min(self.began_ms, at_ms)
        for ring in rings:
            ring.add(at_ms, value)

    def points(self, key: Key, span_ms: int, now_ms: int) -> list[Point]:
        """What is known of the last ``span_ms`` (one of :data:`SPANS_MS`), oldest first."""
        rings = self._rings.get(key)
        return [] if rings is None else rings[SPANS_MS.index(span_ms)].points(now_ms)

    def keys(self, figure: str) -> list[str | int]:
        """Of what a figure is kept."""
        return [what for name, what in self._rings if name == figure]

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Take the figures of a picture, once a second at most."""
        at_ms = snapshot.at_ms
        second = at_ms // 1000
        if second == self._taken_second:
            return
        self._taken_second = second
        self.left_out = 0
        for broker in snapshot.brokers:
            self.add(("broker in", broker.broker_id), at_ms, broker.bytes_in_per_s)
            self.add(("broker out", broker.broker_id), at_ms, broker.bytes_out_per_s)
        self.add(("bytes in", ""), at_ms, _sum(broker.bytes_in_per_s for broker in snapshot.brokers))
        self.add(("bytes out", ""), at_ms, _sum(broker.bytes_out_per_s for broker in snapshot.brokers))
        self.add(("records in", ""), at_ms, _written(snapshot))
        read: list[float | None] = []
        for group in snapshot.groups:
            self.add(("lag", group.group_id), at_ms, _lag(group, at_ms))
            reads = self._reads(group, at_ms)
            read.append(reads)
            self.add(("reads", group.group_id), at_ms, reads)
        self.add(("records read", ""), at_ms, _sum(read))
        for part in snapshot.workload.parts if snapshot.workload is not None else ():
            self._take_part(part, at_ms)
        if second % 60 == 0:
            self._forget(snapshot)

    def _take_part(self, part: WorkloadMember, at_ms: int) -> None:
        if part.running:
            self.add((f"{part.kind} rate", part.name), at_ms, part.rate_per_s)
            self.add((f"{part.kind} median latency", part.name), at_ms, part.latency_median_ms)
            self.add((f"{part.kind} highest latency", part.name), at_ms, part.latency_highest_ms)

    def _reads(self, group: GroupState, at_ms: int) -> float | None:
        """Records a second that a group got through, by what it committed in the last ten seconds."""
        known = [each.committed_offset for each in group.offsets if each.committed_offset is not None]
        if group.group_type == "share" or not known or at_ms - group.observed_at_ms > STALE_MS:
            self._committed.pop(group.group_id, None)
            return None
        samples = self._committed.setdefault(group.group_id, deque())
        committed = sum(known)
        if samples and (
            samples[-1][2] != len(known)
            or committed < samples[-1][1]
            or not 0 <= at_ms - samples[-1][0] <= _LONGEST_READ_WINDOW_MS
        ):
            # Other partitions, offsets that were set back, a clock that was, or too long ago: it tells nothing of now.
            samples.clear()
        samples.append((at_ms, committed, len(known)))
        while len(samples) > 2 and at_ms - samples[0][0] > _READ_WINDOW_MS:
            samples.popleft()
        span_ms = at_ms - samples[0][0]
        return (committed - samples[0][1]) * 1000 / span_ms if span_ms >= _LEAST_READ_WINDOW_MS else None

    def _forget(self, snapshot: ClusterSnapshot) -> None:
        """What has had no value for as long as is kept."""
        for key in [key for key, seen_ms in self._seen_at_ms.items() if snapshot.at_ms - seen_ms > SPANS_MS[-1]]:
            del self._rings[key], self._seen_at_ms[key]
        groups = {group.group_id for group in snapshot.groups}
        for group_id in [each for each in self._committed if each not in groups]:
            del self._committed[group_id]


def segments(points: Sequence[Point], span_ms: int) -> list[list[Point]]:
    """Points that belong together; between two segments nothing was known."""
    step_ms = GRAINS[SPANS_MS.index(span_ms)].step_ms
    longest_ms = max(_LATE_MS, step_ms * 3 // 2)
    found: list[list[Point]] = []
    for point in points:
        if found and point.at_ms - found[-1][-1].at_ms <= longest_ms:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _lag(group: GroupState, at_ms: int) -> float | None:
    """``None`` if it was not observed lately."""
    return None if at_ms - group.observed_at_ms > STALE_MS else group.total_lag


def _written(snapshot: ClusterSnapshot) -> float | None:
    """Records a second that are written, by the high watermarks that were observed lately."""
    return _sum(
        partition.messages_in_per_s
        for topic in snapshot.topics
        for partition in topic.partitions
        if snapshot.at_ms - partition.observed_at_ms <= STALE_MS
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that are known; ``None`` if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
