"""How many records there are of each time: a histogram made of offsets alone, no record is read for it. Pure.

Leaders look into their time indexes for the first record that is as young as some moment. Between two moments lie so
many offsets; of compacted topics and of transactions, whose logs have gaps, fewer records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from engine.model.topic_partition import TopicPartition

# Times of OffsetSpec: the ends, the starts, the youngest record; and 0: the first record that has a time.
LATEST, EARLIEST, YOUNGEST, OLDEST = -1, -2, -3, 0
_S, _M, _H, _D = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(_S * each for each in (1, 2, 5, 10, 15, 30)),
    *(_M * each for each in (1, 2, 5, 10, 15, 30)),
    *(_H * each for each in (1, 2, 3, 6, 12)),
    *(_D * each for each in (1, 2, 7, 14, 28, 91, 182, 364, 3_640)),
)
_BLOCKS = " ▁▂▃▄▅▆▇█"

Answers = Mapping[TopicPartition, tuple[int, int]]


class TimeSpan(NamedTuple):
    """From when to when, in wall-clock milliseconds, both inclusive."""

    first_ms: int
    last_ms: int


class Window(NamedTuple):
    """``number`` bars of ``step_ms`` each, the first of which begins at ``first_ms``."""

    first_ms: int
    step_ms: int
    number: int

    @property
    def times_ms(self) -> tuple[int, ...]:
        """Where the bars begin."""
        return tuple(self.first_ms + at * self.step_ms for at in range(self.number))

    def bar_of(self, time_ms: int) -> int | None:
        """The bar of a moment."""
        at = (time_ms - self.first_ms) // self.step_ms
        return at if 0 <= at < self.number else None


def window_of(span: TimeSpan, room: int) -> Window:
    """Bars of a size that people count in, at most ``room`` of them."""
    for step in _STEPS:
        first = span.first_ms // step
        number = span.last_ms // step - first + 1
        if number <= max(1, room):
            return Window(first * step, step, number)
    return Window(span.first_ms, max(1, -(-(span.last_ms - span.first_ms + 1) // max(1, room))), max(1, room))


class Volume(NamedTuple):
    """Records of each bar; ``unknown`` partitions did not answer, and are not in it."""

    window: Window
    counts: tuple[int, ...]
    unknown: int = 0

    @property
    def most(self) -> int:
        """Of the highest bar."""
        return max(self.counts, default=0)

    def next_bar(self, at: int | None, step: int) -> int | None:
        """The next bar to the left (-1) or right (1) that has records."""
        if at is None:
            at = self.window.number if step < 0 else -1
        at += step
        while 0 <= at < self.window.number:
            if self.counts[at]:
                return at
            at += step
        return None


def span_of(oldest: Answers, youngest: Answers) -> TimeSpan | None:
    """From the first record to the youngest; ``None`` where there are none."""
    times = [time_ms for answers in (oldest, youngest) for offset, time_ms in answers.values() if offset >= 0]
    return TimeSpan(max(0, min(times)), max(times)) if times else None


def volume_of(window: Window, begins: Sequence[Answers], starts: Answers, ends: Answers, partitions: int) -> Volume:
    """Count.

    Args:
        begins: what was answered for each of :attr:`Window.times_ms`.
        starts: where logs begin: what was deleted meanwhile does not count.
        partitions: how many were asked.
    """
    known = [place for place in ends if place in starts and all(place in answers for answers in begins)]
    counts = [0] * window.number
    for place in known:
        end, start = ends[place][0], starts[place][0]
        offsets = [answers[place][0] for answers in begins]
        marks = [max(start, min(end, each)) if each >= 0 else end for each in offsets]
        # What is younger than the window belongs to its last bar only if the window ends with the log.
        for at, (low, high) in enumerate(zip(marks, [*marks[1:], end], strict=True)):
            counts[at] += max(0, high - low)
    return Volume(window, tuple(counts), partitions - len(known))


def bar_lines(volume: Volume, height: int, selected: int | None) -> list[Cell]:
    """The bars, ``height`` lines high; what is not nothing is at least an eighth of a line."""
    most = max(1, volume.most)
    eighths = [-(-count * height * 8 // most) for count in volume.counts]
    lines: list[Cell] = []
    for line in range(height - 1, -1, -1):
        spans: list[Span] = []
        for at, filled in enumerate(eighths):
            block = _BLOCKS[max(0, min(8, filled - line * 8))]
            tone = "accent" if at == selected else "bar"
            # The bar that is selected shows at the bottom also where it has nothing.
            if at == selected and block == " " and line == 0:
                block, tone = "·", "accent"
            if spans and spans[-1].tone == tone:
                spans[-1] = Span(spans[-1].text + block, tone)
            else:
                spans.append(Span(block, tone))
        lines.append(tuple(spans))
    return lines


def step_words(step_ms: int) -> str:
    """``30s``, ``2h``, ``200 ms``."""
    for unit, name in ((_D, "d"), (_H, "h"), (_M, "m"), (_S, "s")):
        if step_ms >= unit and step_ms % unit == 0:
            return f"{step_ms // unit}{name}"
    return f"{step_ms:,} ms"


def caption(volume: Volume, selected: int | None, width: int) -> Cell:
    """What the bars are; of the selected one when and how many."""
    window = volume.window
    shown = 10 if window.step_ms >= _D else 16 if window.step_ms >= _M else 19 if window.step_ms >= _S else 23
    first = text.date_time(window.first_ms)[:shown]
    last = text.date_time(window.first_ms + window.number * window.step_ms)[:shown]
    unknown = f"{text.plural(volume.unknown, 'partition')} unknown" if volume.unknown else ""
    if selected is None:
        parts = [(f"{first} – {last}", 3), (f"{step_words(window.step_ms)} a bar", 2), (f"≤ {volume.most:,}", 1)]
    else:
        begin = text.date_time(window.times_ms[selected])[:shown]
        number = text.plural(volume.counts[selected], "record")
        parts = [(f"{begin} +{step_words(window.step_ms)}", 3), (number, 4), (f"of at most {volume.most:,}", 1)]
    words = text.joined([*parts, (unknown, 5)], width)
    return (Span(words, "under_replicated" if unknown else "muted"),)
