"""Bars of records over time, a click on which goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from console.viewmodel.cells import Cell, Span
from console.viewmodel.volume import Volume, bar_lines, caption
from console.widgets.lines import fit, strip_of

if TYPE_CHECKING:
    from console.app import KConsole

_MARGIN = 1


class VolumeBars(Widget):
    """As high as it is made; the last line says what the bars are."""

    DEFAULT_CSS = """
    VolumeBars { height: 4; width: 1fr; }
    VolumeBars.-hidden { display: none; }
    """

    class Picked(Message):
        """A bar was clicked."""

        def __init__(self, bar: int) -> None:
            super().__init__()
            self.bar = bar

    def __init__(self) -> None:
        super().__init__(classes="-hidden")
        self._volume: Volume | None = None
        self._said = ("", "muted")
        self._selected: int | None = None
        self._lines: list[Cell] = []

    @property
    def room(self) -> int:
        """How many bars fit."""
        return max(1, self.size.width - 2 * _MARGIN)

    def show(self, volume: Volume | None, selected: int | None, said: str = "", tone: str = "muted") -> None:
        """Draw; without a volume, say why there is none. Nothing is redrawn when nothing changed."""
        self._volume, self._selected, self._said = volume, selected, (said, tone)
        lines = self._made()
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def _made(self) -> list[Cell]:
        height = max(1, self.size.height - 1)
        margin = Span(" " * _MARGIN)
        if self._volume is None:
            return [*([(Span(""),)] * height), (margin, Span(*self._said))]
        bars = [(margin, *line) for line in bar_lines(self._volume, height, self._selected)]
        below = caption(self._volume, self._selected, self.room)
        if self._said[0]:
            below = (Span(f"! {self._said[0]}", self._said[1]),)
        return [*bars, (margin, *below)]

    def on_resize(self) -> None:
        self._lines = self._made()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        at = event.x - _MARGIN
        if self._volume is not None and 0 <= at < self._volume.window.number:
            self.post_message(self.Picked(at))

    def render_line(self, y: int) -> Strip:
        palette = cast("KConsole", self.app).palette
        value: Cell = self._lines[y] if y < len(self._lines) else (Span(""),)
        return strip_of(fit(value, self.size.width), palette, "surface")
