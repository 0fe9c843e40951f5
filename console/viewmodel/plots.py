"""What is plotted of what: panels with axes, and their lines as rows of a table. Pure.

A panel has lines of one unit. On a panel over time the axis ends at the picture's time; where nothing was known a line
has a gap. The selected line is drawn heavier, so that colours alone tell nothing.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.failover import stage_after_ms
from console.viewmodel.trends import GRAINS, SPANS_MS, Key, Point, Trends, segments
from engine.supervisor.snapshot import ClusterSnapshot, Source, Stage

# Tokens for lines, as many as have different colours in the theme that is on.
LINE_TOKENS = ("bytes_in", "bytes_out", "in_sync", "controller", "follower", "leader", "under_replicated", "text")
# Acts that take a broker away stand in the plots as a line from top to bottom.
_TAKING = ("kill", "stop", "pause", "crash")
# Of bytes, in each unit.
_BYTE_STEPS = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 1024)
# How far the stages of one act stand from each other, where 1 is the distance of two acts.
_BESIDE = 0.15
_LEAST_SPAN_MS = 60_000
_STAGES = (Stage.LEADERS_COMMITTED, Stage.FIRST_PRODUCE, Stage.FIRST_FETCH)


class Mark(NamedTuple):
    """A moment that shows in a plot, or the number of an act."""

    x: float
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel, and a row of the table. ``known`` is the part of the time of which something is known."""

    key: str
    panel: str
    label: str
    unit: str
    segments: tuple[tuple[tuple[float, float], ...], ...]
    known: float | None = None
    # Whether it is known up to now.
    fresh: bool = True

    @property
    def values(self) -> list[float]:
        """Of all points."""
        return [y for segment in self.segments for _, y in segment]

    @property
    def last(self) -> float | None:
        """The newest value that is known."""
        return self.segments[-1][-1][1] if self.segments else None


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over one pair of axes, from ``first`` to ``last``: milliseconds since 1970, or numbers of acts."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    first: float
    last: float
    marks: tuple[Mark, ...] = ()
    over_time: bool = True
    empty: str = "nothing is known of this time"


class Subject(NamedTuple):
    """What plots are about: ``cluster``, ``group`` (with its name), ``workload`` or ``failover``."""

    kind: str
    name: str = ""


class Ticks(NamedTuple):
    """Where an axis is labelled, and with what."""

    at: tuple[float, ...]
    labels: tuple[str, ...]


def panels_of(subject: Subject, snapshot: ClusterSnapshot, trends: Trends, span_ms: int) -> list[Panel]:
    """All panels, the most important first."""
    make = _Maker(snapshot, trends, span_ms)
    return {"cluster": make.cluster, "group": make.group, "workload": make.workload, "failover": make.failover}[
        subject.kind
    ](subject.name)


class _Maker:
    def __init__(self, snapshot: ClusterSnapshot, trends: Trends, span_ms: int) -> None:
        self._snapshot = snapshot
        self._trends = trends
        self._span_ms = span_ms
        # Whole steps: a plot is drawn anew when there is something new, not whenever somebody looks.
        step_ms = GRAINS[SPANS_MS.index(span_ms)].step_ms
        self._last = snapshot.at_ms // step_ms * step_ms
        # What is before the first value is not there to be seen; a line needs some room all the same.
        began_ms = self._last if trends.began_ms is None else trends.began_ms // step_ms * step_ms
        self._first = max(self._last - span_ms, min(began_ms, self._last - _LEAST_SPAN_MS))
        self._steps = max(1, (self._last - self._first) // step_ms)

    def cluster(self, _: str) -> list[Panel]:
        bytes_unknown = (
            ""
            if self._snapshot.source is Source.EMBEDDED
            else "only the brokers of an embedded cluster tell how many bytes they take and give"
        )
        brokers = [broker.broker_id for broker in self._snapshot.brokers]
        return [
            self._panel(
                "bytes", "bytes a second", "B/s", [("in", ("bytes in", "")), ("out", ("bytes out", ""))], bytes_unknown
            ),
            self._panel(
                "records",
                "records a second",
                "/s",
                [("written", ("records in", "")), ("read by groups", ("records read", ""))],
            ),
            self._panel(
                "in",
                "bytes that each broker takes from producers",
                "B/s",
                [(f"broker {each} in", ("broker in", each)) for each in brokers],
                bytes_unknown,
            ),
            self._panel(
                "out",
                "bytes that each broker gives to consumers",
                "B/s",
                [(f"broker {each} out", ("broker out", each)) for each in brokers],
                bytes_unknown,
            ),
        ]

    def group(self, name: str) -> list[Panel]:
        group = next((each for each in self._snapshot.groups if each.group_id == name), None)
        reads_unknown = (
            "where a share group starts says nothing of how fast it reads"
            if group is not None and group.group_type == "share"
            else ""
        )
        return [
            self._panel("lag", f"lag of {name}", "", [("lag", ("lag", name))]),
            self._panel(
                "reads", f"records a second that {name} commits", "/s", [("read", ("reads", name))], reads_unknown
            ),
        ]

    def workload(self, _: str) -> list[Panel]:
        parts = self._snapshot.workload.parts if self._snapshot.workload is not None else ()
        producers = [part.name for part in parts if part.kind == "producer"]
        groups = [part.name for part in parts if part.kind == "group"]
        return [
            self._panel(
                "latency",
                "until a record was acknowledged",
                "ms",
                [
                    (f"{name} {which}", (f"producer {which} latency", name))
                    for name in producers
                    for which in ("median", "highest")
                ],
            ),
            self._panel(
                "age",
                "from a record's timestamp until a group read it",
                "ms",
                [
                    (f"{name} {which}", (f"group {which} latency", name))
                    for name in groups
                    for which in ("median", "highest")
                ],
            ),
            self._panel(
                "rate",
                "records a second",
                "/s",
                [(name, ("producer rate", name)) for name in producers]
                + [(name, ("group rate", name)) for name in groups],
            ),
        ]

    def failover(self, _: str) -> list[Panel]:
        acts = sorted((act for act in self._snapshot.acts if act.kind == "kill"), key=lambda act: act.act_id)
        lines = []
        for at, stage in enumerate(_STAGES):
            # Beside each other; between two kills there is nothing.
            points = [
                (act.act_id + (at - 1) * _BESIDE, after)
                for act in acts
                if (after := stage_after_ms(act, stage)) is not None
            ]
            lines.append(Line(f"acts:{stage}", "acts", str(stage), "ms", tuple((point,) for point in points)))
        numbers = [act.act_id for act in acts] or [0]
        return [
            Panel(
                "acts",
                "from each kill until …",
                "ms",
                tuple(lines),
                min(numbers) - 0.5,
                max(numbers) + 0.5,
                over_time=False,
                empty="no broker was killed yet",
            ),
            self.workload("")[0],
        ]

    def _panel(self, key: str, title: str, unit: str, lines: Sequence[tuple[str, Key]], no_value: str = "") -> Panel:
        made = tuple(self._line(key, label, unit, each) for label, each in lines)
        empty = no_value or ("nothing is known of this time" if made else "there is nothing that has this figure")
        return Panel(key, title, unit, made, self._first, self._last, self._marks(), empty=empty)

    def _line(self, panel: str, label: str, unit: str, key: Key) -> Line:
        points = self._trends.points(key, self._span_ms, self._last)
        return Line(
            f"{panel}:{label}",
            panel,
            label,
            unit,
            tuple(tuple(_xy(each) for each in part) for part in segments(points, self._span_ms)),
            known=min(1.0, len(points) / self._steps),
            fresh=bool(points) and len(segments((points[-1], Point(self._last, 0.0)), self._span_ms)) == 1,
        )

    def _marks(self) -> tuple[Mark, ...]:
        return tuple(
            Mark(act.at_ms, f"{act.kind} broker {act.broker_id}")
            for act in self._snapshot.acts
            if act.kind in _TAKING and self._first <= act.at_ms <= self._last
        )


def _xy(point: Point) -> tuple[float, float]:
    return float(point.at_ms), point.value


def marks_words(panels: Sequence[Panel]) -> str:
    """The last of them in words."""
    marks = [mark for panel in panels for mark in panel.marks]
    if not marks:
        return ""
    last = max(marks)
    return f"│ {last.words} {text.clock_time(int(last.x))[:8]}"


def with_lines(panels: Sequence[Panel], keys: Container[str]) -> list[Panel]:
    """Only these lines, and panels that have some of them."""
    kept = [replace(panel, lines=tuple(line for line in panel.lines if line.key in keys)) for panel in panels]
    return [panel for panel in kept if panel.lines]


def chosen(panels: Sequence[Panel], number: int, wanted: str) -> list[Panel]:
    """So many panels, in their order, among them the one whose key is wanted."""
    keys = [panel.key for panel in panels]
    at = keys.index(wanted) if wanted in keys else 0
    first = max(0, min(at, len(keys) - number)) if at >= number else 0
    return list(panels[first : first + number])


# -- axes ---------------------------------------------------------------------------------------------------------


def figure(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if unit == "B/s":
        return text.rate(value)
    if unit == "/s":
        return text.per_second(value)
    return text.milliseconds(value) if unit == "ms" else text.count(value)


def ticks_of(panel: Panel, steps: int) -> Ticks:
    """Of the vertical axis, which begins at zero and ends with a round figure above all values."""
    return value_ticks(max((y for line in panel.lines for y in line.values), default=0.0), panel.unit, steps)


def value_ticks(highest: float, unit: str, steps: int) -> Ticks:
    """About so many round figures from zero up to at least the highest value, at equal distances."""
    if highest <= 0:
        highest = 1.0
    base = 1024.0 if unit == "B/s" else 10.0
    raw = highest / max(1, steps)
    if unit == "B/s":
        power = base ** max(0, math.floor(math.log(raw, base))) if raw >= 1 else 1.0
        choices = [power * each for each in _BYTE_STEPS]
    else:
        power = base ** math.floor(math.log10(raw))
        choices = [power * each for each in (1, 2, 2.5, 5, 10)]
    step = next(each for each in choices if each >= raw * 0.999)
    if unit == "" and step < 1:
        # Records are whole.
        step = 1.0
    number = max(1, math.ceil(highest / step - 1e-9))
    at = tuple(step * each for each in range(number + 1))
    return Ticks(at, tuple("0" if not each else _short(each, unit) for each in at))


def _short(value: float, unit: str) -> str:
    """Round figures need no digits after the point."""
    if unit == "ms":
        return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
    if unit == "B/s":
        for name in ("B", "KiB", "MiB", "GiB"):
            if value < 1024 or name == "GiB":
                return f"{value:g} {name}/s"
            value /= 1024
    return f"{value:,.10g}{unit}"


def time_ticks(first_ms: float, last_ms: float, room: int) -> Ticks:
    """Round times of the clock that have room beside each other, and the end."""
    span_s = (last_ms - first_ms) / 1000
    most = max(1, room // 12)
    step_s = next(
        (each for each in (10, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600) if span_s / each <= most), 7200
    )
    begin = datetime.datetime.fromtimestamp(first_ms / 1000)
    midnight_ms = first_ms - ((begin.hour * 60 + begin.minute) * 60 + begin.second) * 1000 - begin.microsecond / 1000
    at = midnight_ms + math.ceil((first_ms - midnight_ms) / 1000 / step_s) * step_s * 1000
    # The end is labelled with its seconds; a round time close to it gives way.
    free_ms = (last_ms - first_ms) * 10 / max(10, room)
    places: list[float] = []
    while at <= last_ms - free_ms:
        places.append(at)
        at += step_s * 1000
    return Ticks(
        (*places, last_ms),
        (
            *(text.clock_time(int(each))[: 8 if step_s < 60 else 5] for each in places),
            text.clock_time(int(last_ms))[:8],
        ),
    )


def number_ticks(panel: Panel, room: int) -> Ticks:
    """The numbers of acts."""
    numbers = sorted({round(x) for line in panel.lines for segment in line.segments for x, _ in segment})
    every = max(1, math.ceil(len(numbers) * 5 / max(1, room)))
    shown = numbers[::every]
    return Ticks(tuple(shown), tuple(f"#{each}" for each in shown))


# -- the table ----------------------------------------------------------------------------------------------------


class PlotRow(NamedTuple):
    """A line with the colour that it has in the theme that is on."""

    line: Line
    tone: str

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return self.line.key

    @property
    def is_healthy(self) -> bool:
        """Whether something is known of it."""
        return bool(self.line.segments)


def rows_of(panels: Sequence[Panel], colours: Mapping[str, str]) -> list[PlotRow]:
    """The lines of all panels; within a panel no two have the same colour as long as there are others."""
    tones: list[str] = []
    for token in LINE_TOKENS:
        if colours[token] not in [colours[each] for each in tones]:
            tones.append(token)
    return [PlotRow(line, tones[at % len(tones)]) for panel in panels for at, line in enumerate(panel.lines)]


def _figure(pick: Callable[[Sequence[float]], float]) -> Callable[[PlotRow], Cell]:
    def make(row: PlotRow) -> Cell:
        values = row.line.values
        return cell(figure(pick(values), row.line.unit)) if values else UNKNOWN

    return make


def _sort(pick: Callable[[Sequence[float]], float]) -> Callable[[PlotRow], float]:
    return lambda row: pick(row.line.values) if row.line.values else -1.0


def _now(row: PlotRow) -> Cell:
    # The last of a broker that is dead is not what it does now.
    tone = "text" if row.line.fresh else "muted"
    return UNKNOWN if row.line.last is None else cell(figure(row.line.last, row.line.unit), tone)


def _known(row: PlotRow) -> Cell:
    return UNKNOWN if row.line.known is None else cell(f"{row.line.known:.0%}", "muted")


PLOT_COLUMNS: tuple[Column, ...] = (
    Column(
        "line", "LINE", lambda row: (Span("━ ", row.tone), Span(row.line.label)), 20, lambda row: row.key, max_width=34
    ),
    Column("last", "LAST", _now, 11, lambda row: row.line.last or 0, right=True, descending=True),
    Column("lowest", "LOWEST", _figure(min), 11, _sort(min), right=True, priority=2, descending=True),
    Column(
        "mean", "MEAN", _figure(statistics.fmean), 11, _sort(statistics.fmean), right=True, priority=1, descending=True
    ),
    Column("highest", "HIGHEST", _figure(max), 11, _sort(max), right=True, descending=True),
    Column("known", "KNOWN", _known, 6, lambda row: row.line.known or 0, right=True, priority=3, descending=True),
)
