"""A simulated run: its transport, what was decided and why, what crossed the wire, how the machines stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.gateway import GatewayError
from console.modals.detail import Detail
from console.screens.base import View, view_bindings
from console.viewmodel.simulation import (
    LEVEL_WORDS,
    LEVELS,
    MACHINE_COLUMNS,
    TIMELINE_COLUMNS,
    WIRE_COLUMNS,
    Decision,
    WireMessage,
    detail_lines,
    why_lines,
)
from console.viewmodel.simulation_partitions import partition_columns, run_partitions
from console.widgets.live_table import LiveTable
from console.widgets.log_pane import LogPane
from console.widgets.transport import Transport
from engine.supervisor.snapshot import ClusterSnapshot

if TYPE_CHECKING:
    from console.gateway.simulated import Simulation
    from console.run_acts import RunActs

_TRANSPORT_LINES = 2
_WHY_LINES = 2
# Rows of the timeline that there must be room for, with its head.
_LEAST_TIMELINE = 6
_LEAST_PANE = 4
_TALL = 34


class SimulationView(View):
    """The first screen of ``kconsole sim``."""

    NAME = "simulation"
    COLUMNS = TIMELINE_COLUMNS
    EMPTY = "nothing has happened yet: n steps, space plays, N goes to the next election"
    FOLLOWS = True
    BINDINGS = view_bindings("simulation")

    DEFAULT_CSS = """
    SimulationView Rule.-horizontal { margin: 0; color: $kc-border; }
    SimulationView LogPane { height: 2; overflow-y: hidden; }
    SimulationView .-hidden { display: none; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._pane = "wire"
        self._rows_of: tuple[int, str] = (-1, "")
        self._rows: Sequence[Decision | WireMessage] = ()
        self._why_of: object = None
        self._brokers: tuple[int, ...] = ()
        # Somebody went to an election: the story's revision and last number before; it is selected when it is there.
        self._awaits: tuple[int, int] | None = None

    @property
    def simulation(self) -> Simulation:
        """The run."""
        simulation = self.console.simulation
        assert simulation is not None, "the screen is for simulated clusters alone"
        return simulation

    @property
    def acts(self) -> RunActs:
        """What can be done to it."""
        acts = self.console.run_acts
        assert acts is not None
        return acts

    def compose(self) -> ComposeResult:
        yield Transport()
        yield self.make_table()
        yield Rule()
        yield LogPane(wrap=True, indent=4, id="because")
        yield Rule(id="above-wire")
        yield self._lower(WIRE_COLUMNS, "wire", "nothing crossed the wire yet", follow=True)
        yield Rule(id="above-partitions")
        yield self._lower(partition_columns(()), "partitions", "no partition is known yet")
        yield Rule(id="above-machines")
        yield self._lower(MACHINE_COLUMNS, "machines", "the machines start")

    def _lower(self, columns: Sequence[Any], name: str, empty: str, *, follow: bool = False) -> LiveTable:
        table = LiveTable(
            columns,
            lambda row: str(getattr(row, "key", getattr(row, "number", ""))),
            clock=lambda: self.console.monotonic_ms(),
            empty=empty,
            follow=follow,
            id=name,
        )
        table.can_focus = False
        table.shows_cursor = False
        return table

    # -- rows -----------------------------------------------------------------------------------------------------

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Decision | WireMessage]:
        simulation = self.simulation
        made_of = (simulation.story.revision, simulation.level)
        if made_of != self._rows_of:
            self._rows_of = made_of
            self._rows = simulation.story.rows(simulation.level)
        return self._rows

    def key_of(self, row: Decision | WireMessage) -> str:
        return str(row.number)

    def age_of(self, row: object) -> float:
        return 0.0

    def is_fault(self, row: Decision | WireMessage) -> bool:
        return not row.is_healthy

    def refresh_rows(self) -> None:
        # A run that is at its beginning has something to show as well.
        self.table.update_rows(self.rows(ClusterSnapshot(0, self.console.gateway.capabilities.source)))
        self.table.tick()
        self.refresh_title()
        self.query_one(Transport).redraw_if_changed()
        self._share_height()
        self._select_election()
        self._show_why()
        self._show_lower()

    def _select_election(self) -> None:
        simulation = self.simulation
        if self._awaits is None or simulation.state.mode != "paused" or simulation.story.revision == self._awaits[0]:
            return
        _, before = self._awaits
        self._awaits = None
        found = next((each for each in reversed(simulation.story.decisions) if each.is_election), None)
        if found is not None and found.number > before:
            # With it other things happened in the same moment.
            self.table.follow = False
            self.table.select(str(found.number))

    def on_resize(self) -> None:
        self._share_height()

    def _share_height(self) -> None:
        height = self.size.height
        machines = max(1, len(self.simulation.state.machines)) + 1
        room = height - _TRANSPORT_LINES - 1 - _WHY_LINES - 1 - machines - _LEAST_TIMELINE
        tall = height >= _TALL
        shown = ("wire", "partitions") if tall else (self._pane,) if room > _LEAST_PANE else ()
        if not shown:
            # Either the machines or one of the others.
            machines_shown = self._pane == "machines"
            shown = () if machines_shown else (self._pane,)
            room += machines + 1
        else:
            machines_shown = True
        each = max(_LEAST_PANE, min(10, (room - len(shown)) // (len(shown) + 1))) if shown else 0
        for name, lines in (("wire", each), ("partitions", each), ("machines", machines)):
            is_shown = machines_shown if name == "machines" else name in shown
            table = self.query_one(f"#{name}")
            table.set_class(not is_shown, "-hidden")
            self.query_one(f"#above-{name}").set_class(not is_shown, "-hidden")
            if is_shown and table.styles.height != lines:
                table.styles.height = lines
        self._tall = tall

    _tall = False

    def _show_why(self) -> None:
        row = self.table.cursor_row
        made_of = (row, self.size.width)
        if made_of != self._why_of:
            self._why_of = made_of
            self.query_one("#because", LogPane).set_lines(why_lines(row, self.simulation.story))

    def _show_lower(self) -> None:
        simulation = self.simulation
        machines = self.query_one("#machines", LiveTable)
        machines.update_rows(simulation.state.machines)
        machines.tick()
        wire = self.query_one("#wire", LiveTable)
        if not wire.has_class("-hidden"):
            row = self.table.cursor_row
            number = simulation.state.number if row is None or self.table.follow else row.number
            brokers_only = simulation.level != "message"
            wire.update_rows(simulation.story.wire_until(number, 40, brokers_only=brokers_only))
            wire.tick()
        partitions = self.query_one("#partitions", LiveTable)
        if not partitions.has_class("-hidden") and simulation.snapshot is not None:
            brokers = tuple(each.broker_id for each in simulation.state.machines)
            if brokers != self._brokers:
                self._brokers = brokers
                partitions.columns = partition_columns(brokers)
            partitions.update_rows(run_partitions(simulation.snapshot))
            partitions.tick()

    def cursor_moved(self) -> None:
        self._show_why()
        self._show_lower()

    def scope_word(self) -> str:
        return LEVEL_WORDS[self.simulation.level]

    def crumb_title(self) -> str:
        return "timeline"

    def remark(self) -> str:
        state = self.simulation.state
        row = self.table.cursor_row
        # An election was gone to: what happened with it stands below it, and the next step follows by itself.
        words = [] if self.table.follow or (isinstance(row, Decision) and row.is_election) else ["f follows again"]
        if state.ahead:
            at_s, act, by = state.ahead[0]
            when = "" if at_s is None else f" at {at_s:g} s"
            words.append(f"next of {'yours' if by == 'you' else 'the scenario'}: {act}{when}")
        return " · ".join(words)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pane": self._pane}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._pane = state.get("pane", self._pane)
        super().restore(state)

    # -- keys -----------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        self.table.follow = True

    def action_toggle(self) -> None:
        self._follow()
        self.acts.send(self.simulation.toggle)

    def action_next(self) -> None:
        self._follow()
        self.acts.send(lambda: self.simulation.next(self.simulation.level))

    def action_next_election(self) -> None:
        self._follow()
        self._awaits = (self.simulation.story.revision, self.simulation.state.number)
        self.acts.send(lambda: self.simulation.next("election"))

    def action_step_back(self) -> None:
        self._follow()
        self.acts.send(lambda: self.simulation.back(self.simulation.level))

    def action_back_election(self) -> None:
        self._follow()
        self._awaits = (self.simulation.story.revision, -1)
        self.acts.send(lambda: self.simulation.back("election"))

    def action_speed(self, step: int) -> None:
        self.acts.send(lambda: self.simulation.change_speed(step))

    def action_go_to(self) -> None:
        self._follow()
        self.acts.ask_where()

    def action_level(self) -> None:
        simulation = self.simulation
        simulation.level = LEVELS[(LEVELS.index(simulation.level) + 1) % len(LEVELS)]
        self.console.flash(f"the timeline shows {LEVEL_WORDS[simulation.level]}, and n stops there", "info", 3)
        self.refresh_rows()

    def action_pane(self) -> None:
        panes = ("wire", "partitions", "machines")
        if self._tall:
            self.console.flash("wire, partitions and machines are all in view", "info", 3)
            return
        self._pane = panes[(panes.index(self._pane) + 1) % len(panes)]
        self.refresh_rows()

    def action_fault(self) -> None:
        self.acts.ask_fault()

    def action_heal(self) -> None:
        self.acts.do("heal")

    def action_kill_controller(self) -> None:
        machines = self.simulation.state.machines
        controller = next((each.broker_id for each in machines if each.is_controller), None)
        if controller is None:
            self.console.flash("no active controller is known", "offline")
        else:
            self.acts.do("kill", [controller])

    def action_open(self) -> None:
        row: Decision | WireMessage | None = self.table.cursor_row
        if row is None:
            return
        if isinstance(row, Decision):
            self.console.push_screen(Detail(f"event {row.number:,}", detail_lines(row, self.simulation.story)))
        else:
            self.run_worker(partial(self._open_message, row), group="detail", exclusive=True, exit_on_error=False)

    async def _open_message(self, row: WireMessage) -> None:
        try:
            decoded = await self.simulation.decoded(row.number)
        except GatewayError as error:
            self.console.flash(str(error), "offline")
            return
        kind = "request" if row.is_request else "answer"
        title = f"{row.api} {kind} {row.source} → {row.target}"
        self.console.push_screen(Detail(title, detail_lines(row, self.simulation.story, decoded)))
