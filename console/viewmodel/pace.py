"""How a group gets on: how fast it reads, where its lag is going, and what stands still. Pure; the time is a sample's.

A sample is where a group stood in a partition and where the log ended, at the time at which it was observed. What has
not been seen anew for a while adds none: of a broker that hangs nobody is called stuck.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell
from engine.supervisor.snapshot import ClusterSnapshot, MemberState

Place = tuple[str, int]

# A rate is that of so much time at most; consumers commit every 5 s unless told otherwise (auto.commit.interval.ms), so
# of less than two commits nothing is told.
WINDOW_MS = 30_000
LEAST_SPAN_MS = 10_000
LEAST_SAMPLES = 5
# Two commits that did not come.
STUCK_MS = 12_000
_STEP_MS = 900
_LEAST_COMPARED_MS = 4_000
# A lag that changes by less than this within the window, or by less than a tenth of itself or of what was read, is
# level: positions and ends are not seen at the same moment.
_NOISE = 5


class _Sample(NamedTuple):
    at_ms: int
    committed: int
    end: int


class Pace(NamedTuple):
    """How one partition, or several together, get on. Rates are records a second; ``None`` is what nobody knows (yet).

    ``growth_per_s`` is that of the lag, 0 where it is level; ``to_zero_ms`` when it will be gone at this pace
    (``None``: it will not, or nobody knows); ``stuck_ms`` how long at least nothing new was committed there, while the
    log grew. ``stuck`` and ``growing`` count partitions.
    """

    lag: int | None
    reads_per_s: float | None = None
    growth_per_s: float | None = None
    to_zero_ms: float | None = None
    stuck_ms: int | None = None
    stuck: int = 0
    growing: int = 0


@dataclass(slots=True)
class _Track:
    """One partition of a group."""

    samples: deque[_Sample] = field(default_factory=deque)
    moved_at_ms: int = 0
    end_then: int = 0

    def take(self, sample: _Sample) -> None:
        if self.samples:
            last = self.samples[-1]
            if sample.at_ms - last.at_ms < _STEP_MS and sample.at_ms >= last.at_ms:
                return
            # An end may be told by a broker that is a little behind; by no more than what was just written.
            is_behind = last.end - sample.end <= last.end - self.samples[0].end
            if sample.committed < last.committed or not is_behind or sample.at_ms < last.at_ms:
                # Set back, another log under the same name, or a clock that jumped: the past tells nothing any more.
                self.samples.clear()
        if not self.samples or sample.committed != self.samples[-1].committed:
            self.moved_at_ms, self.end_then = sample.at_ms, sample.end
        self.samples.append(sample)
        while sample.at_ms - self.samples[0].at_ms > WINDOW_MS:
            self.samples.popleft()

    def _compared(self) -> tuple[_Sample, _Sample] | None:
        """The two samples that tell the rates; ``None``: there was one commit, and its rate is not known.

        Between commits a lag grows, and each takes it back: where there are some, the lag right after one is compared
        with that right after another.
        """
        samples = list(self.samples)
        commits = [after for before, after in pairwise(samples) if after.committed != before.committed]
        begin, end = (commits[0], commits[-1]) if commits else (samples[0], samples[-1])
        return (begin, end) if end.at_ms - begin.at_ms >= _LEAST_COMPARED_MS else None

    def pace(self) -> Pace:
        last = self.samples[-1]
        lag = max(0, last.end - last.committed)
        if len(self.samples) < LEAST_SAMPLES or last.at_ms - self.samples[0].at_ms < LEAST_SPAN_MS:
            return Pace(lag)
        still_ms = last.at_ms - self.moved_at_ms
        is_stuck = still_ms >= STUCK_MS and last.end > self.end_then and lag > 0
        compared = self._compared()
        if compared is None:
            return Pace(lag, growth_per_s=None if lag else 0.0, to_zero_ms=None if lag else 0.0)
        begin, end = compared
        span_ms = end.at_ms - begin.at_ms
        reads = (end.committed - begin.committed) * 1000 / span_ms
        change = (end.end - begin.end) - (end.committed - begin.committed)
        noise = max(_NOISE, lag / 10, (end.committed - begin.committed) / 10)
        growth = change * 1000 / span_ms if abs(change) > noise else 0.0
        to_zero_ms = 0.0 if not lag else lag * 1000 / -growth if growth < 0 and not is_stuck else None
        return Pace(lag, reads, growth, to_zero_ms, still_ms if is_stuck else None, int(is_stuck), int(growth > 0))


class Paces:
    """What is remembered of all groups but share groups, whose start says nothing of how fast they read."""

    def __init__(self) -> None:
        self._tracks: dict[str, dict[Place, _Track]] = {}

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Take the positions of a picture."""
        groups = [each for each in snapshot.groups if each.group_type != "share"]
        known = {each.group_id for each in groups}
        for group_id in [each for each in self._tracks if each not in known]:
            del self._tracks[group_id]
        for group in groups:
            if not group.observed_at_ms:
                continue
            tracks = self._tracks.setdefault(group.group_id, {})
            seen = {
                (each.topic, each.partition): _Sample(group.observed_at_ms, each.committed_offset, each.log_end_offset)
                for each in group.offsets
                if each.committed_offset is not None and each.log_end_offset is not None
            }
            for place in [each for each in tracks if each not in seen]:
                del tracks[place]
            for place, sample in seen.items():
                tracks.setdefault(place, _Track()).take(sample)

    def of(self, group_id: str) -> Mapping[Place, Pace]:
        """Partition by partition; those without a position are not there."""
        return {place: track.pace() for place, track in self._tracks.get(group_id, {}).items()}


def together(paces: Iterable[Pace]) -> Pace:
    """Several partitions as one. It is at zero when the last of them is; a rate is known when all are."""
    parts = list(paces)
    lags = [each.lag for each in parts if each.lag is not None]
    reads = [each.reads_per_s for each in parts if each.reads_per_s is not None]
    growths = [each.growth_per_s for each in parts if each.growth_per_s is not None]
    ends = [each.to_zero_ms for each in parts if each.to_zero_ms is not None]
    stuck = [each.stuck_ms for each in parts if each.stuck_ms is not None]
    return Pace(
        sum(lags) if lags else None,
        sum(reads) if parts and len(reads) == len(parts) else None,
        sum(growths) if parts and len(growths) == len(parts) else None,
        max(ends) if parts and len(ends) == len(parts) else None,
        max(stuck) if stuck else None,
        len(stuck),
        sum(each.growing for each in parts),
    )


def pace_of_member(member: MemberState, paces: Mapping[Place, Pace]) -> Pace:
    """All partitions that a member reads, those that it has not committed in left out."""
    places = [(topic, each) for topic, numbers in member.assignment for each in numbers]
    return together(paces[each] for each in places if each in paces)


def going(pace: Pace | None) -> tuple[str, str]:
    """``(words, tone)``: where it goes. ``–`` where too little was seen."""
    if pace is None or pace.lag is None:
        return "–", "muted"
    if pace.stuck_ms is not None:
        # Words first: the colour alone would tell it to few.
        many = f"{pace.stuck} " if pace.stuck > 1 else ""
        return f"{many}stuck {text.age(pace.stuck_ms)}", "offline"
    if pace.growth_per_s is None:
        return "–", "muted"
    if not pace.lag:
        return "caught up", "in_sync"
    if pace.growth_per_s > 0:
        return (f"grows {pace.growth_per_s:,.0f}/s" if pace.growth_per_s >= 1 else "grows"), "under_replicated"
    if pace.growing:
        return f"{pace.growing} grow{'s' if pace.growing == 1 else ''}", "under_replicated"
    if pace.to_zero_ms is not None:
        return f"gone in {text.age(max(2_000.0, pace.to_zero_ms))}", "in_sync"
    if pace.growth_per_s < 0:
        return f"falls {-pace.growth_per_s:,.0f}/s", "in_sync"
    return ("keeps up", "text") if pace.reads_per_s else ("at rest", "muted")


def going_cell(pace: Pace | None) -> Cell:
    """The same for a table."""
    return cell(*going(pace))


def reads_cell(pace: Pace | None) -> Cell:
    """Records a second, as they are committed."""
    if pace is None or pace.reads_per_s is None:
        return UNKNOWN
    return cell(text.count(round(pace.reads_per_s)) if pace.reads_per_s >= 9.5 else f"{pace.reads_per_s:.1f}")


def urgency(pace: Pace | None) -> float:
    """For sorting: what is stuck first, then what will take longest."""
    if pace is None or pace.growth_per_s is None:
        return -1.0
    if pace.stuck_ms is not None:
        return 1e15 + pace.stuck_ms
    return 1e12 + pace.growth_per_s if pace.growth_per_s > 0 else pace.to_zero_ms or 0.0


def going_column(priority: int) -> Column:
    """Where a lag goes, of rows that have a ``pace``."""
    return Column(
        "going",
        "GOING",
        lambda row: going_cell(row.pace),
        12,
        lambda row: urgency(row.pace),
        priority=priority,
        max_width=16,
        descending=True,
    )


def reads_column(priority: int) -> Column:
    """How fast is read, of rows that have a ``pace``."""
    return Column(
        "reads",
        "READ/S",
        lambda row: reads_cell(row.pace),
        6,
        lambda row: (row.pace and row.pace.reads_per_s) or 0.0,
        right=True,
        priority=priority,
        descending=True,
    )


def stuck_words(members: Iterable[MemberState], paces: Mapping[Place, Pace]) -> str:
    """Who is stuck, and for how long: ``billing-2 stuck 24s in 2 partitions``; empty where nobody is."""
    found = [
        (pace.stuck_ms, member.instance_id or member.client_id, pace.stuck)
        for member in members
        for pace in (pace_of_member(member, paces),)
        if pace.stuck_ms is not None
    ]
    if not found:
        return ""
    longest_ms, who, count = max(found)
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{who} stuck {text.age(longest_ms)} in {text.plural(count, 'partition')}{more}"
