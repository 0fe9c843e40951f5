"""Everything that happened, with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import View, view_bindings
from console.viewmodel.events import EVENT_COLUMNS, event_key, is_fault
from console.viewmodel.text import clip
from console.viewmodel.whys import about_words, story_of
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source


class EventsView(View):
    """One row an event, the latest last."""

    NAME = "events"
    COLUMNS = EVENT_COLUMNS
    EMPTY = "nothing happened since the console was opened"
    FOLLOWS = True
    BINDINGS = view_bindings("events")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._story: list[ClusterEvent] = []
        self._told = -1

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ClusterEvent]:
        events = self.console.events
        if not self.about:
            return events
        # One row's events, with what they came of: looked for again when there are new ones.
        if self._told != events.revision:
            self._told = events.revision
            self._story = story_of(events, self.about)
        return self._story

    def begin(self) -> None:
        if self.about:
            self.table.empty = f"nothing happened to {about_words(self.about)} since the console was opened"
        super().begin()

    def refresh_rows(self) -> None:
        # Events come before the first picture does.
        self.table.update_rows(self.rows(ClusterSnapshot(0, Source.EMBEDDED)))
        self.table.tick()
        self.refresh_title()

    def scope_word(self) -> str:
        return about_words(self.about)

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"why {about_words(about)}" if about else cls.NAME

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
