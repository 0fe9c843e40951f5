"""The failover stopwatch: a waterfall of stages, and the ledger beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.strip import Strip
from textual.widget import Widget

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from console.viewmodel.failover import TimelineLine, headline, ledger_figures, timeline
from console.widgets.lines import cell_width, fit, strip_of

if TYPE_CHECKING:
    from console.app import KConsole
    from engine.supervisor.snapshot import Act

_LABEL = 27
_WHO = 9
_VALUE = 11


class Timeline(Widget):
    """One act, drawn. It grows while the failover goes on."""

    DEFAULT_CSS = """
    Timeline { height: 1fr; width: 1fr; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._act: Act | None = None
        self._lines: list[Cell] = []

    def show(self, act: Act | None) -> None:
        """Draw an act; nothing is redrawn when nothing changed."""
        self._act = act
        lines = self._make(max(1, self.size.width))
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def on_resize(self) -> None:
        self._lines = self._make(max(1, self.size.width))
        self.refresh()

    def _make(self, width: int) -> list[Cell]:
        act = self._act
        app = cast("KConsole", self.app)
        if act is None:
            if app.gateway.capabilities.no_process_control:
                return []
            return [
                (Span("", "muted"),),
                (Span("Kill a broker to see its failover timed here:", "muted"),),
                (Span("ctrl-k", "key"), Span(" on the cluster screen, or on a partition for its leader", "muted")),
            ]
        who = _WHO if any(stage.who >= 0 for stage in act.stages) else 0
        room = max(8, min(72, width - _LABEL - who - _VALUE - 3))
        roomy = self.size.height >= 15
        blank: list[Cell] = [(Span("", "muted"),)] if roomy else []
        lines: list[Cell] = [headline(act), *blank]
        lines.append(
            (
                Span("SIGKILL" if act.kind == "kill" else act.kind.upper(), "offline"),
                Span(f"  {text.clock_time(act.at_ms)}", "muted"),
                Span("  0 ms ", "muted"),
            )
        )
        lines += [self._bar(line, room, who, width) for line in timeline(act, room, app.now_ms())]
        lines += blank
        lines += self._ledger(act, width)
        if act.error:
            lines.append((Span(f"! {act.error}", "under_replicated"),))
        return lines

    @staticmethod
    def _bar(line: TimelineLine, room: int, who: int, width: int) -> Cell:
        lead = round(line.lead_cells)
        bar = text.bar(line.bar_cells / room, room) or ("▏" if line.bar_cells else "")
        bar = bar[: max(0, room - lead)] or ("▏" if line.bar_cells else "")
        lead = min(lead, room - len(bar))
        rest = room - lead - len(bar)
        spans = [Span(f"{line.label:<{_LABEL}}", "text" if line.bar_cells else "muted")]
        if who:
            spans.append(Span(f"{line.who:<{who}}", "muted"))
        spans += [
            Span("─" * lead, "bar"),
            Span(bar, line.tone),
            Span(" " * rest, "muted"),
            Span(f" {line.value:>{_VALUE - 1}}", line.tone if line.bar_cells else "muted"),
        ]
        if line.detail and width >= _LABEL + who + room + _VALUE + 2 + len(line.detail):
            spans.append(Span(f"  {line.detail}", "muted"))
        return tuple(spans)

    @staticmethod
    def _ledger(act: Act, width: int) -> list[Cell]:
        ledger = act.ledger
        if ledger is None:
            return []
        head: list[Span] = [Span("ledger ", "title"), Span(f"acks={ledger.acks}", "muted")]
        if not ledger.complete:
            head.append(Span("  reading back …", "muted"))
        figures: list[Span] = []
        for figure in ledger_figures(ledger):
            figures += [Span(f"{figure.label} ", "muted"), Span(figure.value, figure.tone), Span("   ", "muted")]
        figures.pop()
        whole: Cell = (*head, Span("   ", "muted"), *figures)
        lines: list[Cell] = [whole] if cell_width(whole) <= width else [tuple(head), tuple(figures)]
        if ledger.lost_offsets:
            lines.append((Span("lost: ", "muted"), Span(", ".join(ledger.lost_offsets[:8]), "offline")))
        return lines

    def render_line(self, y: int) -> Strip:
        palette = cast("KConsole", self.app).palette
        value: Cell = self._lines[y] if y < len(self._lines) else (Span(""),)
        return strip_of(fit(value, self.size.width), palette, "surface")
