"""What stands in a table: cells of toned spans, and the columns that make them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias


class Span(NamedTuple):
    """A piece of text and the token of its colour."""

    text: str
    tone: str = "text"


Cell: TypeAlias = tuple[Span, ...]

EMPTY: Cell = (Span(""),)
UNKNOWN: Cell = (Span("–", "muted"),)


def cell(text: object, tone: str = "text") -> Cell:
    """A cell of one span."""
    return (Span(str(text), tone),)


# What would command the terminal, break the line, or turn the direction of what follows: names and values that clients
# chose (records, groups, client.ids) may have it.
_COMMANDING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """A text as a terminal may be given it, of the same length."""
    return text if text.isprintable() else _COMMANDING.sub("·", text)


def json_tone(value: object) -> str:
    """The colour of a value of JSON."""
    return "in_sync" if isinstance(value, str) else "controller" if isinstance(value, bool | None) else "leader"


def plain(value: Cell) -> str:
    """The text alone."""
    return "".join(span.text for span in value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column over rows of some type.

    ``width`` is fixed; with ``max_width`` it grows with its content and the room there is, up to that. Columns with a
    higher ``priority`` number are the first to go when the terminal is narrow; those of ``wide`` show only on demand or
    when everything else has room.
    """

    key: str
    title: str
    cell: Callable[[Any], Cell]
    width: int
    sort: Callable[[Any], Any] | None = None
    right: bool = False
    max_width: int | None = None
    priority: int = 0
    flashes: bool = False
    # Numbers are first wanted from the highest down.
    descending: bool = False
    # Names whose end matters (``topic-12``) are cut in the middle.
    cut_middle: bool = False
    # Spans that find no room are left out whole: what they say is said elsewhere too.
    drops_spans: bool = False


class Placed(NamedTuple):
    """A column with the place it was given."""

    column: Column
    x: int
    width: int


_GAP = 2
_MAX_GAP = 5
_RESERVED = 12


def place_columns(columns: tuple[Column, ...], available: int, content: dict[str, int], *, wide: bool) -> list[Placed]:
    """Choose columns and give them room.

    Args:
        available: cells of a line.
        content: widest content by column key, for those that grow.
        wide: squeeze in everything, at the cost of the growing columns.
    """
    chosen: set[str] = set()
    used = roomy = 0
    for column in sorted(columns, key=lambda each: each.priority):
        gap = _GAP if chosen else 0
        # What is there already gets what its content wants before less important columns get anything.
        wanted = max(column.width, min(column.max_width or 0, content.get(column.key, 0), column.width + _RESERVED))
        if column.priority > 0:
            if not wide and roomy + gap + column.width > available:
                break
            if used + gap + column.width > available:
                continue
        chosen.add(column.key)
        used += gap + column.width
        roomy += gap + wanted
    shown = [column for column in columns if column.key in chosen]
    widths = {column.key: column.width for column in shown}
    spare = available - used
    growing = [column for column in shown if column.max_width is not None]
    # Each growing column gets its share first, then what others left over.
    for share in (spare // max(1, len(growing)), spare):
        for column in growing:
            wanted = max(column.width, min(column.max_width or 0, content.get(column.key, column.width)))
            grown = max(0, min(spare, share, wanted - widths[column.key]))
            widths[column.key] += grown
            spare -= grown
    gaps = max(1, len(shown) - 1)
    gap = min(_MAX_GAP, _GAP + max(0, spare) // gaps)
    placed: list[Placed] = []
    x = 0
    for column in shown:
        width = max(1, min(widths[column.key], available - x))
        placed.append(Placed(column, x, width))
        x += widths[column.key] + gap
    return placed
