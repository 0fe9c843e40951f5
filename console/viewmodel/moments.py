"""Moments of a record: times as people write them, and the bar to move along. Pure; times are wall-clock ms."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from console.viewmodel.events import event_mark, event_tone

MOMENT_HELP = (
    "a time (14:03, 14:03:07.5), a date (2026-11-24 14:03:07), +10s or -5m from here, start, end; now is the present"
)
NOW_WORDS = ("now", "live", "present")
_STEP = re.compile(r"([+-])?\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)(?:\s+ago)?")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_DATES = (*(f"%Y-%m-%d{gap}{clock}" for gap in (" ", "T") for clock in _CLOCKS), "%Y-%m-%d")
_DAY_MS = 86_400_000
# The bar shows as much as there must be, not hours when a moment is seconds ago.
_SPANS_MS = (120_000, 600_000, 3_600_000, 6 * 3_600_000)
_TONES = ("offline", "under_replicated", "leader", "controller", "accent", "in_sync", "info")


class Moment(NamedTuple):
    """Where one is in a record. ``picture_at_ms`` is when the picture that is shown was taken; ``source`` whose cluster
    it is; ``present_ms`` is ``None`` where there is no present (a bundle)."""

    at_ms: int
    first_ms: int
    last_ms: int
    picture_at_ms: int
    events_before: int
    events_all: int
    interval_ms: int
    attached: bool
    present_ms: int | None
    marked_ms: int | None = None
    gap: bool = False


def parse_moment(written: str, here_ms: int, first_ms: int, last_ms: int) -> int:
    """The moment that is meant. A clock time is the last such one in the record, ``5m`` alone means so long ago.

    Raises:
        ValueError: it is none; the message says what is.
    """
    word = written.strip()
    low = word.lower()
    if low in ("start", "begin", "beginning", "first"):
        return first_ms
    if low in ("end", "last"):
        return last_ms
    step = _STEP.fullmatch(low)
    if step is not None:
        amount = round(float(step[2]) * _UNIT_MS[step[3]])
        return here_ms + amount if step[1] == "+" else here_ms - amount
    for form in _DATES:
        try:
            return round(datetime.datetime.strptime(word.upper(), form).timestamp() * 1000)
        except ValueError:
            continue
    for form in _CLOCKS:
        try:
            clock = datetime.datetime.strptime(word, form)
        except ValueError:
            continue
        day = datetime.datetime.fromtimestamp(last_ms / 1000)
        there = day.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=clock.microsecond)
        at_ms = round(there.timestamp() * 1000)
        # 14:03 may mean its last millisecond's second.
        return at_ms if at_ms <= last_ms + 60_000 else at_ms - _DAY_MS
    raise ValueError(f"'{word}' is no moment: {MOMENT_HELP}")


def joined_dates(words: Sequence[str]) -> list[str]:
    """What was typed, with a date and its time as one."""
    found: list[str] = []
    for word in words:
        if found and ":" in word and len(found[-1]) == len("2026-11-24") and found[-1].count("-") == 2:
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


def past_words(at_ms: int, now_ms: int) -> str:
    """``14:03:07.120``, with its date if that is another day."""
    same_day = datetime.date.fromtimestamp(at_ms / 1000) == datetime.date.fromtimestamp(now_ms / 1000)
    return text.clock_time(at_ms) if same_day else text.date_time(at_ms)


def where_words(moment: Moment, now_ms: int) -> tuple[Cell, Cell]:
    """The bar's first line: when this is, how exact; and the keys."""
    title = "PAST" if moment.present_ms is not None else "RECORD"
    spans = [
        Span(f"◀ {title} ", "under_replicated"),
        Span(past_words(moment.at_ms, now_ms), "title"),
    ]
    if moment.present_ms is not None:
        ago = text.age(max(0, now_ms - moment.at_ms))
        spans.append(Span(f"  {ago if ago == 'now' else ago + ' ago'}", "muted"))
    spans.append(Span(f"  event {moment.events_before:,}/{moment.events_all:,}", "muted"))
    old_ms = moment.at_ms - moment.picture_at_ms
    if moment.gap:
        spans.append(Span(f"  nothing recorded for {text.age(old_ms)}", "offline"))
    elif old_ms > moment.interval_ms * 1.5:
        spans.append(Span(f"  picture of {old_ms / 1000:.1f} s before", "under_replicated"))
    if moment.attached:
        spans.append(Span(f"  sampled each {moment.interval_ms / 1000:g} s", "info"))
    keys = [("{ }", "event"), ("( )", "1s"), ("< >", "1m"), ("@", "time"), ("=", "mark")]
    if moment.present_ms is not None:
        keys.append(("~", "now"))
    right: list[Span] = []
    for key, words in keys:
        right += [Span(f" {key}", "key"), Span(f" {words} ", "muted")]
    return tuple(spans), tuple(right)


def window(moment: Moment) -> tuple[int, int]:
    """What the bar shows: the end of the record, as far back as the moment needs."""
    for span in _SPANS_MS:
        if moment.at_ms > moment.last_ms - span * 0.95:
            return max(moment.first_ms, moment.last_ms - span), moment.last_ms
    return moment.first_ms, moment.last_ms


def _tail(first_ms: int, last_ms: int) -> str:
    return f" {text.age(max(2_000, last_ms - first_ms))}"


def cells_of_bar(moment: Moment, width: int) -> int:
    """How many cells stand for the time."""
    return max(4, width - len(_tail(*window(moment))) - 2)


def scrub_line(
    moment: Moment, width: int, marks: Sequence[tuple[int, str, int]], gaps: Sequence[tuple[int, int]] = ()
) -> Cell:
    """The record as a line with what happened on it (``marks``: cell, kind, count); ``●`` is here, ``◆`` the mark, and
    where nothing was recorded (``gaps``: from, to) there is no line."""
    first_ms, last_ms = window(moment)
    room = cells_of_bar(moment, width)
    span = max(1, last_ms - first_ms)

    def place(at_ms: int) -> int:
        return max(0, min(room - 1, (at_ms - first_ms) * (room - 1) // span))

    worst: dict[int, tuple[int, str]] = {}
    for at, kind, _ in marks:
        rank = _TONES.index(event_tone(kind))
        if at not in worst or rank < worst[at][0]:
            worst[at] = (rank, kind)
    empty = {at for begins, ends in gaps for at in range(place(begins) + 1, place(ends))}
    here = place(moment.at_ms)
    marked = None if moment.marked_ms is None else place(moment.marked_ms)
    spans = [Span("├", "muted")]
    for at in range(room):
        if at == here:
            spans.append(Span("●", "accent"))
        elif at == marked:
            spans.append(Span("◆", "title"))
        elif at in worst:
            tone, glyph = event_mark(worst[at][1])
            spans.append(Span(glyph, tone))
        elif at in empty:
            spans.append(Span(" ", "muted"))
        else:
            spans.append(Span("━" if at < here else "─", "accent" if at < here else "muted"))
    return (*spans, Span("┤", "muted"), Span(_tail(first_ms, last_ms), "muted"))


def scrub_moment(moment: Moment, width: int, x: int) -> int:
    """The moment that cell ``x`` of the bar stands for."""
    first_ms, last_ms = window(moment)
    room = cells_of_bar(moment, width)
    return first_ms + round(max(0.0, min(1.0, (x - 1) / (room - 1))) * (last_ms - first_ms))
