"""Figures over time: throughput, lag, latency, how long failovers took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Rule

from console.screens.base import View, view_bindings
from console.viewmodel.plots import (
    PLOT_COLUMNS,
    Panel,
    PlotRow,
    Subject,
    chosen,
    marks_words,
    panels_of,
    rows_of,
    with_lines,
)
from console.viewmodel.trends import SPANS_MS
from console.widgets.plot import PanelPlot
from engine.supervisor.snapshot import ClusterSnapshot

# A panel of fewer lines is hard to read; of those that have no room the selected line's is shown.
_LEAST_PLOT_LINES = 9
_MOST_PANELS = 4
_MOST_TABLE_LINES = 9
_FEW_TABLE_LINES = 5
# With so many lines in all the table gets more of them.
_TALL = 30


class PlotsView(View):
    """The lines as rows; below, the panels, the selected line heavier than the others."""

    NAME = "plots"
    COLUMNS = PLOT_COLUMNS
    EMPTY = "nothing to plot yet"
    BINDINGS = view_bindings("plots")

    DEFAULT_CSS = """
    PlotsView #table { height: 4; }
    PlotsView Rule.-horizontal { margin: 0; color: $kc-border; }
    PlotsView #panels { height: 1fr; }
    PlotsView PanelPlot { display: none; }
    PlotsView PanelPlot.-shown { display: block; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._subject = Subject(about.get("kind", "cluster"), about.get("name", ""))
        self._span_ms = SPANS_MS[0]
        self._panels: list[Panel] = []
        self._made_of: object = None

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule()
        with Vertical(id="panels"):
            for at in range(_MOST_PANELS):
                yield PanelPlot(id=f"panel-{at}")

    def begin(self) -> None:
        super().begin()
        self.console.travel.look_again()

    @property
    def samples_ms(self) -> int:
        return self._span_ms

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[PlotRow]:
        # A second has one sample: between two there is nothing new.
        trends = self.console.history.trends
        made_of = (snapshot.at_ms // 1000, self._span_ms, snapshot.acts, trends)
        if made_of != self._made_of:
            self._made_of = made_of
            self._panels = panels_of(self._subject, snapshot, trends, self._span_ms)
        return rows_of(self._panels, self.console.palette.theme.colours)

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._show_panels()

    def on_resize(self) -> None:
        self._show_panels()

    def cursor_moved(self) -> None:
        self._show_panels()

    def _show_panels(self) -> None:
        rows: list[PlotRow] = list(self.table.shown)
        # Head and rows, as long as a panel has room below.
        most = _MOST_TABLE_LINES if self.size.height >= _TALL else _FEW_TABLE_LINES
        height = max(3, min(len(rows) + 1, most, self.size.height - 1 - _LEAST_PLOT_LINES))
        self.table.styles.height = height
        tones = {row.key: row.tone for row in rows}
        # A filter is for the lines, too.
        panels = self._panels if len(rows) == self.table.total else with_lines(self._panels, tones)
        number = max(1, min(len(panels), (self.size.height - 1 - height) // _LEAST_PLOT_LINES))
        selected: PlotRow | None = self.table.cursor_row
        shown = chosen(panels, number, "" if selected is None else selected.line.panel)
        for at, plot in enumerate(self.query(PanelPlot)):
            plot.set_class(at < len(shown), "-shown")
            if at < len(shown):
                plot.show(shown[at], tones, "" if selected is None else selected.key)

    def crumb_title(self) -> str:
        return "plots"

    def scope_word(self) -> str:
        return self._subject.name or self._subject.kind

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"plots {about.get('name') or about.get('kind', 'cluster')}"

    def remark(self) -> str:
        return " · ".join(filter(None, (marks_words(self._panels), f"last {self._span_ms // 60_000} min")))

    def describe_row(self, row: PlotRow) -> object:
        line = row.line
        return {"line": line.label, "panel": line.panel, "unit": line.unit, "segments": line.segments}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "span_ms": self._span_ms}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._span_ms = state.get("span_ms", self._span_ms)
        super().restore(state)
        self.refresh_rows()

    def action_span(self, step: int) -> None:
        at = SPANS_MS.index(self._span_ms) + step
        self._span_ms = SPANS_MS[at % len(SPANS_MS)]
        self.console.travel.look_again()
        self.refresh_rows()
