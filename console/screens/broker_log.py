"""A broker's log: of the incarnation that runs (or ran last), and of the one before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.content import Content

from console.gateway import GatewayError
from console.screens.base import View, view_bindings
from console.viewmodel.brokers import broker_state
from console.viewmodel.cells import Cell, Span, cell
from console.viewmodel.filters import Filter
from console.widgets.log_pane import KEPT_LINES, LogPane

_POLL_S = 0.5
# Below it date and package of a line are left out: its message is what matters.
_ROOMY = 120
_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]")
_LOGGER = re.compile(r"(\s+)([\w.]+):(?=\s)")
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\b")
_TONES = {"DEBUG": "muted", "INFO": "info", "WARN": "under_replicated", "WARNING": "under_replicated"}


def log_line(line: str, *, compact: bool = False) -> Cell:
    """A line with time, level and logger toned; ``compact`` without date and package."""
    date = _DATE.match(line)
    if compact and date is not None:
        line = line[date.end() :]
    level = _LEVEL.search(line, 0, 80)
    if level is None:
        return cell(line.expandtabs(4), "offline" if line.startswith(("Traceback", "  File")) else "text")
    tone = _TONES.get(level[1], "offline")
    loud = tone in ("under_replicated", "offline")
    spans = [Span(line[: level.start()], "muted"), Span(level[1], tone)]
    at = level.end()
    logger = _LOGGER.match(line, at)
    if logger is not None:
        name = logger[2].rpartition(".")[2] if compact else logger[2]
        spans.append(Span(f"{' ' if compact else logger[1]}{name}:", "muted"))
        at = logger.end()
    spans.append(Span(line[at:].expandtabs(4), tone if loud else "text"))
    return tuple(spans)


class LogView(View):
    """Lines as they are written."""

    NAME = "log"
    BINDINGS = view_bindings("log")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._broker = int(about["broker"])
        self._previous = bool(about.get("previous", False))
        self._lines: list[str] = []
        self._filter = Filter()
        self._problem = ""
        self._path = ""
        self._compact = False

    def compose(self) -> ComposeResult:
        yield LogPane(follow=True, id="table")

    @property
    def pane(self) -> LogPane:
        """Where the lines are."""
        return self.query_one(LogPane)

    def on_resize(self) -> None:
        compact = self.size.width < _ROOMY
        if compact != self._compact:
            self._compact = compact
            self.pane.set_lines(self._cells(self._lines))

    def _cells(self, lines: Sequence[str]) -> list[Cell]:
        return [log_line(line, compact=self._compact) for line in lines if self._passes(line)]

    def _passes(self, line: str) -> bool:
        return self._filter.matches(line, data_of=lambda: line)

    def begin(self) -> None:
        self.screen.set_focus(self.pane)
        self.pane.empty = "reading …"
        self._start_reading()
        self.refresh_title()

    def _start_reading(self) -> None:
        self.run_worker(self._read, group="log", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        position: int | None = None
        while True:
            try:
                log = await self.console.gateway.broker_log(self._broker, previous=self._previous, position=position)
            except GatewayError as error:
                self._problem = str(error)
                self.pane.empty = self._problem
                self.pane.refresh()
            else:
                self._problem = ""
                self._path = log.path
                if log.restarted and position is not None:
                    self._lines.append("── a new incarnation begins ──")
                    self._show(["── a new incarnation begins ──"])
                position = log.position
                self._lines += log.lines
                del self._lines[:-KEPT_LINES]
                self._show(log.lines)
                self.pane.empty = "no such log: this broker has run only once" if self._previous else "empty"
            self.refresh_title()
            await asyncio.sleep(_POLL_S)

    def _show(self, lines: Sequence[str]) -> None:
        self.pane.append(self._cells(lines))

    def refresh_rows(self) -> None:
        # The lines come by themselves.
        self.refresh_title()

    def refresh_title(self) -> None:
        pane = self.pane
        which = "previous" if self._previous else "current"
        title = f" log(broker {self._broker} {which})[{pane.line_count:,}]"
        if self._filter.text:
            title += f" </{self._filter.text}>"
        words = [f"! {self._problem}"] if self._problem else []
        picture = self.console.picture()
        broker = next((each for each in picture.brokers if each.broker_id == self._broker), None) if picture else None
        if broker is not None:
            word, _, glyph = broker_state(broker)
            words.append(f"{glyph} {word}")
        words.append("following" if pane.follow else "paused")
        words.append("wrapped" if pane.wrap else "not wrapped")
        if self._path and self.size.width > 100:
            words.append(self._path)
        wanted = (title + " ", f" {' · '.join(words)} ")
        if wanted != self._titles:
            self._titles = wanted
            self.border_title = Content(wanted[0].strip())
            self.border_subtitle = Content(wanted[1].strip())

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"log {about['broker']}"

    def state(self) -> dict[str, Any]:
        return {"filter": self._filter.text, "previous": self._previous}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.set_filter(state.get("filter", ""))

    def set_filter(self, text: str) -> str:
        self._filter = Filter.parse(text)
        self.pane.set_lines(self._cells(self._lines))
        self.refresh_title()
        return self._filter.error

    @property
    def filter_text(self) -> str:
        return self._filter.text

    def as_text(self) -> str:
        """All lines."""
        return "\n".join(self._lines)

    def action_follow(self) -> None:
        self.pane.follow = not self.pane.follow
        if self.pane.follow:
            self.pane.go_to_end(True)
        self.refresh_title()

    def action_wrap(self) -> None:
        self.pane.toggle_wrap()
        self.refresh_title()

    def action_previous(self) -> None:
        self._previous = not self._previous
        self._lines = []
        self.pane.set_lines([])
        self._start_reading()
        self.refresh_title()

    def action_scroll(self, lines: int) -> None:
        self.pane.scroll_lines(lines)
        self.refresh_title()

    def action_scroll_sideways(self, cells: int) -> None:
        self.pane.sideways(cells)

    def action_scroll_to(self, end: int) -> None:
        self.pane.go_to_end(bool(end))
        self.refresh_title()

    def action_scroll_page(self, direction: int) -> None:
        self.pane.scroll_lines(direction * max(1, self.pane.size.height - 1))
        self.refresh_title()
