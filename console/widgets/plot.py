"""A panel with axes, drawn by plotext in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual_plotext import PlotextPlot

from console.viewmodel.plots import Panel, number_ticks, ticks_of, time_ticks

if TYPE_CHECKING:
    from console.app import KConsole

_LEAST_HEIGHT, _LEAST_WIDTH = 4, 24
# Lines of a label for each so many lines of the plot.
_LINES_A_TICK = 4
_FINE, _HEAVY = "braille", "hd"


class PanelPlot(PlotextPlot):
    """Draws one panel; it is drawn anew only when something changed."""

    DEFAULT_CSS = """
    PanelPlot { height: 1fr; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._panel: Panel | None = None
        self._tones: Mapping[str, str] = {}
        self._selected = ""
        self._drawn: tuple[object, Text] | None = None

    def show(self, panel: Panel, tones: Mapping[str, str], selected: str) -> None:
        """
        Args:
            tones: of the lines, by their keys.
            selected: the key of the line that is drawn heavier.
        """
        if (panel, selected) != (self._panel, self._selected) or tones != self._tones:
            self._panel, self._tones, self._selected = panel, dict(tones), selected
            self.refresh()

    def render(self) -> Text:
        console = cast("KConsole", self.app)
        panel, width, height = self._panel, self.size.width, self.size.height
        if panel is None or height < 1 or width < 1:
            return Text("")
        key = (panel, self._selected, tuple(self._tones.items()), width, height, console.palette.theme.name)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw(panel, console, width, height))
        return self._drawn[1]

    def _draw(self, panel: Panel, console: KConsole, width: int, height: int) -> Text:
        palette = console.palette
        title = Text(f" {panel.title}"[:width], palette.style("title"), end="")
        if not any(line.segments for line in panel.lines):
            said = panel.empty if height > 1 else ""
            return Text.assemble(title, "\n", (f" {said}"[:width], palette.style("muted")))
        if height < _LEAST_HEIGHT or width < _LEAST_WIDTH:
            return title
        plot = self.plt
        plot.clear_figure()
        plot.plotsize(width, height - 1)
        plot._set_size(width, height - 1)
        surface = _rgb(palette.theme["surface"])
        plot.canvas_color(surface)
        plot.axes_color(surface)
        plot.ticks_color(_rgb(palette.theme["muted"]))
        for mark in panel.marks:
            plot.vline(mark.x, color=_rgb(palette.theme["offline"]))
        # The heavy one last: it lies above the others.
        for line in sorted(panel.lines, key=lambda each: each.key == self._selected):
            color = _rgb(palette.theme[self._tones.get(line.key, "text")])
            marker = _HEAVY if line.key == self._selected or not panel.over_time else _FINE
            for segment in line.segments:
                # What belongs to no time stands by itself, on the axis.
                points = segment if panel.over_time else ((segment[0][0], 0.0), *segment)
                plot.plot([x for x, _ in points], [y for _, y in points], color=color, marker=marker)
        plot.xlim(panel.first, panel.last)
        ticks = ticks_of(panel, max(2, (height - 3) // _LINES_A_TICK))
        plot.ylim(0, ticks.at[-1])
        plot.yticks(ticks.at, ticks.labels)
        room = width - max(map(len, ticks.labels)) - 2
        below = time_ticks(panel.first, panel.last, room) if panel.over_time else number_ticks(panel, room)
        plot.xticks(below.at, below.labels)
        plot.xaxes(True, False)
        plot.yaxes(True, False)
        return Text.assemble(title, "\n", Text.from_ansi(plot.build()))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
