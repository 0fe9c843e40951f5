"""What was done here, as the kafka-*.sh commands that do the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.acts import ActLogEntry
from console.screens.base import View, view_bindings
from console.viewmodel import text
from console.viewmodel.cells import Column, cell
from engine.supervisor.snapshot import ClusterSnapshot


def _tone(entry: ActLogEntry) -> str:
    return "offline" if entry.failed else "muted" if entry.outcome == "…" else "in_sync"


_COLUMNS: tuple[Column, ...] = (
    Column("time", "TIME", lambda entry: cell(text.clock_time(entry.at_ms), "muted"), 12, priority=1),
    Column("what", "ACT", lambda entry: cell(entry.what), 20, max_width=40),
    Column("outcome", "OUTCOME", lambda entry: cell(entry.outcome, _tone(entry)), 14, max_width=50, flashes=True),
    Column("command", "THE SAME BY HAND", lambda entry: cell(entry.command, "info"), 24, max_width=200),
)


class CommandsView(View):
    """One row an act."""

    NAME = "commands"
    COLUMNS = _COLUMNS
    EMPTY = "nothing was done yet"
    FOLLOWS = True
    BINDINGS = view_bindings("commands")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ActLogEntry]:
        return self.console.travel.commands(self.console.acts.log)

    def refresh_rows(self) -> None:
        self.table.update_rows(self.console.travel.commands(self.console.acts.log))
        self.table.tick()
        self.refresh_title()

    def key_of(self, row: ActLogEntry) -> str:
        return str(row.number)

    def age_of(self, row: ActLogEntry) -> float:
        return 0.0

    def crumb_title(self) -> str:
        return "acts"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return "acts"

    def action_open(self) -> None:
        row: ActLogEntry | None = self.table.cursor_row
        if row is not None:
            self.console.copy(row.command, f"copied: {row.command}")
