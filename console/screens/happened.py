"""What happened: a pane of events below what they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from console.viewmodel.cells import Column
from console.widgets.live_table import LiveTable

if TYPE_CHECKING:
    from console.app import KConsole
    from engine.supervisor.snapshot import ClusterEvent


class Happened(LiveTable):
    """Not for the keys: the latest is in view, the rest is on the Events screen."""

    def __init__(self, columns: Sequence[Column], key: Callable[[Any], str], *, id: str = "happened") -> None:
        super().__init__(
            columns, key, clock=lambda: self._console.monotonic_ms(), follow=True, empty="nothing happened yet", id=id
        )
        self.can_focus = False
        self.shows_cursor = False
        self._made_of: object = None

    @property
    def _console(self) -> KConsole:
        return cast("KConsole", self.app)

    def show(self, about: object, pick: Callable[[Sequence[ClusterEvent]], Sequence[Any]], empty: str = "") -> None:
        """Show what ``pick`` makes of all events; it is asked again when there are new ones, or another subject."""
        events = self._console.events
        made_of = (about, events.revision)
        if made_of != self._made_of:
            self._made_of = made_of
            if empty:
                self.empty = empty
            self.update_rows(pick(events))
        self.tick()
