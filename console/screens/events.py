"""Everything that happened, with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import View, view_bindings
from console.viewmodel.events import EVENT_COLUMNS, event_key, is_fault
from console.viewmodel.text import clip
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot


class EventsView(View):
    """One row an event, the latest last."""

    NAME = "events"
    COLUMNS = EVENT_COLUMNS
    EMPTY = "nothing happened since the console was opened"
    FOLLOWS = True
    BINDINGS = view_bindings("events")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ClusterEvent]:
        return self.console.events

    def refresh_rows(self) -> None:
        # Events come before the first picture does.
        self.table.update_rows(self.console.events)
        self.table.tick()
        self.refresh_title()

    def key_of(self, row: ClusterEvent) -> str:
        return event_key(row)

    def is_fault(self, row: ClusterEvent) -> bool:
        return is_fault(row)

    def age_of(self, row: ClusterEvent) -> float:
        return 0.0

    def remark(self) -> str:
        row: ClusterEvent | None = self.table.cursor_row
        state = "following" if self.table.follow else "paused"
        if row is None or not row.reason or self.size.width >= 130:
            return state
        # What the column cuts stands whole at the lower edge.
        return f"{clip(row.reason, max(20, self.size.width - 16))} · {state}"

    def cursor_moved(self) -> None:
        self.refresh_title()

    def action_open(self) -> None:
        self.action_describe()
