"""Long text by lines: a broker's log, a JSON document. Bounded, drawn by visible lines, wrapped on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.viewmodel.cells import Cell, Span
from console.widgets.lines import cell_width, width_of

if TYPE_CHECKING:
    from console.palette import Palette

KEPT_LINES = 5_000
# What is wrapped has at least so many cells a line.
_LEAST_WRAPPED = 24


class LogPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of cells. ``follow`` keeps the end in view until somebody scrolls up."""

    DEFAULT_CSS = """
    LogPane { height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(
        self,
        *,
        follow: bool = False,
        wrap: bool = True,
        background: str = "surface",
        indent: int = 2,
        id: str | None = None,
    ) -> None:
        """``indent`` is that of what is wrapped."""
        super().__init__(id=id)
        self._indent = indent
        self.follow = follow
        self.wrap = wrap
        self.background_token = background
        self.empty = ""
        self._lines: list[Cell] = []
        self._drawn: list[Cell] = []
        self._sideways = 0
        self.dropped = 0

    @property
    def palette(self) -> Palette:
        """The app's."""
        return cast("Palette", self.app.palette)  # type: ignore[attr-defined]

    @property
    def line_count(self) -> int:
        """Lines that are kept."""
        return len(self._lines)

    def set_lines(self, lines: Sequence[Cell]) -> None:
        """Replace everything."""
        self._lines = list(lines[-KEPT_LINES:])
        self.dropped = len(lines) - len(self._lines)
        self._lay_out()

    def append(self, lines: Sequence[Cell]) -> None:
        """Add a batch at the end."""
        if not lines:
            return
        self._lines += lines
        over = len(self._lines) - KEPT_LINES
        if over > 0:
            del self._lines[:over]
            self.dropped += over
        self._lay_out(None if over > 0 else len(lines))

    def toggle_wrap(self) -> None:
        """Wrap long lines, or let them be scrolled sideways."""
        self.wrap = not self.wrap
        self._sideways = 0
        self._lay_out()

    def sideways(self, cells: int) -> None:
        """Scroll sideways while lines are not wrapped."""
        if not self.wrap:
            self._sideways = max(0, self._sideways + cells)
            self._lay_out()

    def _lay_out(self, added: int | None = None) -> None:
        width = max(16, self.size.width - 1)
        if added is None:
            self._drawn = [piece for line in self._lines for piece in self._pieces(line, width)]
        else:
            for line in self._lines[-added:]:
                self._drawn += self._pieces(line, width)
        self.virtual_size = Size(self.size.width, len(self._drawn))
        if self.follow:
            self.scroll_to(y=max(0, len(self._drawn) - self.size.height), animate=False, force=True)
        self.refresh()

    def _pieces(self, line: Cell, width: int) -> list[Cell]:
        if not self.wrap:
            return [_drop(line, self._sideways)] if self._sideways else [line]
        if cell_width(line) <= width:
            return [line]
        pieces: list[Cell] = []
        spans: list[Span] = []
        room = width
        indent = max(0, min(self._indent, width - _LEAST_WRAPPED))
        for span in line:
            rest = span.text
            while width_of(rest) > room:
                head = _take(rest, room)
                blank = head.rfind(" ")
                # Between words if that leaves the line at least half full.
                if blank >= 0 and (blank > room // 2 or room < width // 2):
                    head = head[: blank + 1]
                elif room < width // 3:
                    head = ""
                spans.append(Span(head, span.tone))
                pieces.append(tuple(spans))
                rest = rest[len(head) :].lstrip(" ") if head.endswith(" ") or not head else rest[len(head) :]
                spans, room = [Span(" " * indent, "muted")], width - indent
            if rest:
                spans.append(Span(rest, span.tone))
                room -= width_of(rest)
        if spans:
            pieces.append(tuple(spans))
        return pieces

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    def scroll_lines(self, lines: int) -> None:
        """Down or up; up ends following."""
        if lines < 0:
            self.follow = False
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)

    def go_to_end(self, end: bool) -> None:
        """To the first or the last line; the last one follows."""
        self.follow = end
        self.scroll_to(y=len(self._drawn) if end else 0, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.follow = False

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        style = self.palette.style("text", self.background_token)
        at = self.scroll_offset.y + y
        if at < len(self._drawn):
            segments = self.palette.segments(self._drawn[at], self.background_token)
        elif y == 1 and not self._drawn and self.empty:
            segments = [Segment("  " + self.empty, self.palette.style("muted", self.background_token))]
        else:
            segments = []
        return Strip(segments).adjust_cell_length(width, style)


def _take(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    used = 0
    for at, character in enumerate(text):
        used += width_of(character)
        if used > width:
            return text[:at]
    return text


def _drop(line: Cell, cells: int) -> Cell:
    spans: list[Span] = []
    for span in line:
        if cells >= len(span.text):
            cells -= len(span.text)
            continue
        spans.append(Span(span.text[cells:], span.tone))
        cells = 0
    return tuple(spans)
