"""The transport of a simulated run: what it does, where it is, how fast; and the run itself as a bar to click on."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events

from console.viewmodel.cells import Cell
from console.viewmodel.simulation import scrub_bar, scrub_time, transport
from console.widgets.lines import LineWidget, Region, width_of

if TYPE_CHECKING:
    from console.app import KConsole


class Transport(LineWidget):
    """Two lines."""

    BACKGROUND = "surface"

    DEFAULT_CSS = """
    Transport { height: 2; padding: 0 1; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        simulation = cast("KConsole", self.app).simulation
        assert simulation is not None
        if y == 1:
            return scrub_bar(simulation.state, width), ()
        left, right = transport(simulation.state, simulation.level)
        self.regions = [Region(0, 0, 1 + width_of(left[0].text), "press('space')")]
        return left, right

    async def on_click(self, event: events.Click) -> None:
        app = cast("KConsole", self.app)
        if event.y == 1 and app.simulation is not None and app.run_acts is not None:
            event.stop()
            simulation, at_s = app.simulation, scrub_time(app.simulation.state, self.size.width, event.x - 1)
            app.run_acts.send(lambda: simulation.go_to_time(at_s))
            return
        await super().on_click(event)
