"""Lines of cells as strips: fit to a width exactly, nothing clipped without an ellipsis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from console.viewmodel.cells import Cell, Span, harmless
from console.viewmodel.text import shorten_middle

if TYPE_CHECKING:
    from rich.style import Style

    from console.palette import Palette


_LEAST_NAME = 5


def width_of(text: str) -> int:
    """Cells that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cell_width(value: Cell) -> int:
    """Cells that a cell's text takes."""
    return sum(width_of(span.text) for span in value)


def fit(
    value: Cell, width: int, *, right: bool = False, cut_middle: bool = False, drops_spans: bool = False
) -> list[Span]:
    """Exactly ``width`` cells: padded, or cut with an ellipsis; with ``drops_spans`` the last spans go first."""
    value = tuple(span if span.text.isprintable() else Span(harmless(span.text), span.tone) for span in value)
    total = cell_width(value)
    while drops_spans and total > width and len(value) > 1:
        total -= width_of(value[-1].text)
        value = value[:-1]
    if cut_middle and total > width:
        # A name first, and what is said of it: the name gives way.
        name, *others = value
        room = width - sum(width_of(span.text) for span in others)
        if room >= _LEAST_NAME and name.text.isascii():
            return [Span(shorten_middle(name.text, room), name.tone), *others]
    if total <= width:
        pad = Span(" " * (width - total), "text")
        return [pad, *value] if right else [*value, pad]
    room = max(0, width - 1)
    spans: list[Span] = []
    for span in value:
        have = width_of(span.text)
        if have <= room:
            spans.append(span)
            room -= have
            continue
        spans.append(Span(set_cell_size(span.text, room).rstrip() if room else "", span.tone))
        break
    spans.append(Span("…", "muted"))
    used = sum(width_of(span.text) for span in spans)
    if used < width:
        spans.append(Span(" " * (width - used), "text"))
    return spans if width > 0 else []


def strip_of(spans: list[Span], palette: Palette, background: str, *, bold: bool = False) -> Strip:
    """Spans as a strip."""
    return Strip([Segment(span.text, palette.style(span.tone, background, bold=bold)) for span in spans if span.text])


def two_sided(left: Cell, right: Cell, width: int, palette: Palette, background: str) -> Strip:
    """Left and right parts of one line; the right one goes first when there is no room."""
    right_width = cell_width(right)
    if right_width and cell_width(left) + 1 + right_width > width:
        # The left part is what the line is about; the right one shows only if it fits whole.
        right, right_width = (), 0
    spans = fit(left, max(0, width - right_width))
    return strip_of([*spans, *right], palette, background)


class Region(NamedTuple):
    """A clickable part of a line."""

    y: int
    start: int
    end: int
    action: str


class LineWidget(Widget):
    """A widget of a few lines that are drawn from cells. Subclasses give :meth:`line`."""

    BACKGROUND = "surface"

    DEFAULT_CSS = """
    LineWidget { height: 1; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.regions: list[Region] = []
        self._shown: list[tuple[Cell, Cell]] = []

    @property
    def palette(self) -> Palette:
        """The app's."""
        return cast("Palette", self.app.palette)  # type: ignore[attr-defined]

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        """Left and right part of a line."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left, right = self.line(y, width)
        return two_sided(left, right, width, self.palette, self.BACKGROUND)

    def redraw_if_changed(self) -> None:
        """Draw again only what says something else than before."""
        if not self.size.width:
            return
        now = [self.line(y, self.size.width) for y in range(self.size.height)]
        if now != self._shown:
            self._shown = now
            self.refresh()

    def style_of(self, tone: str) -> Style:
        """On this widget's surface."""
        return self.palette.style(tone, self.BACKGROUND)

    async def on_click(self, event: events.Click) -> None:
        for region in self.regions:
            if region.y == event.y and region.start <= event.x < region.end:
                event.stop()
                await self.screen.run_action(region.action)  # type: ignore[attr-defined]
                return
