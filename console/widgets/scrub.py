"""The bar at the bottom while the past is shown: when that is, and the record as a line to click on."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events

from console.viewmodel.cells import Cell
from console.viewmodel.moments import cells_of_bar, scrub_line, scrub_moment, where_words, window
from console.widgets.lines import LineWidget

if TYPE_CHECKING:
    from console.app import KConsole


class Scrub(LineWidget):
    """Two lines; not there at all in the present."""

    BACKGROUND = "panel"

    DEFAULT_CSS = """
    Scrub { height: 2; padding: 0 1; background: $kc-panel; display: none; }
    Scrub.-past { display: block; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        travel = cast("KConsole", self.app).travel
        moment = travel.moment
        if moment is None:
            return (), ()
        if y == 0:
            return where_words(moment, travel.present_ms())
        marks, gaps = travel.marks(*window(moment), cells_of_bar(moment, width))
        return scrub_line(moment, width, marks, gaps), ()

    def redraw_if_changed(self) -> None:
        self.set_class(cast("KConsole", self.app).travel.moment is not None, "-past")
        super().redraw_if_changed()

    async def on_click(self, event: events.Click) -> None:
        travel = cast("KConsole", self.app).travel
        if event.y == 1 and travel.moment is not None:
            event.stop()
            travel.go_to(scrub_moment(travel.moment, self.size.width, event.x - 1))
