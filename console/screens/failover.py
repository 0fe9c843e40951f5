"""Stopwatch and ledger of each kill."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import Rule

from console.modals.detail import Detail
from console.screens.base import View, ViewSpec, view_bindings
from console.screens.happened import Happened
from console.viewmodel.comparing import comparison
from console.viewmodel.events import GROUP_COLUMNS, condensed
from console.viewmodel.failover import ACT_COLUMNS, act_key, act_rows, summary
from console.widgets.timeline import Timeline
from engine.supervisor.snapshot import Act, ClusterSnapshot

# Head, stages, ledger, and the head of the table above; the rest is for more acts.
_TIMELINE_LINES = 13
_LEAST_TABLE_LINES = 3
_MOST_TABLE_LINES = 12
# From so many lines on the events of the failover have room below; they are those from a moment before the kill to
# some time after its last stage.
_TALL = 30
_BEFORE_MS = 5
_AFTERMATH_MS = 1_500


class FailoverView(View):
    """Acts above, the timeline of the selected one below, and what the cluster did meanwhile."""

    NAME = "failover"
    COLUMNS = ACT_COLUMNS
    EMPTY = "nothing was measured yet: ctrl-k kills, F on a broker has other faults"
    FOLLOWS = True
    BINDINGS = view_bindings("failover")

    DEFAULT_CSS = """
    FailoverView #table { height: 3; }
    FailoverView Happened, FailoverView #above-happened { display: none; }
    FailoverView.-tall Happened, FailoverView.-tall #above-happened { display: block; }
    FailoverView.-tall Timeline { height: 15; }
    FailoverView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule()
        yield Timeline()
        yield Rule(id="above-happened")
        yield Happened(GROUP_COLUMNS, lambda group: str(group.key))

    def on_resize(self) -> None:
        self._share_height()

    def _share_height(self) -> None:
        room = min(_MOST_TABLE_LINES, self.size.height - _TIMELINE_LINES)
        self.table.styles.height = max(_LEAST_TABLE_LINES, min(room, len(self.table.shown) + 2))

    def begin(self) -> None:
        reason = self.console.gateway.capabilities.no_process_control
        if self.console.travel.is_past:
            self.table.empty = "no broker was killed until then"
        elif reason:
            self.table.empty = f"killing brokers {reason}"
        super().begin()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Act]:
        return act_rows(snapshot)

    def key_of(self, row: Act) -> str:
        return act_key(row)

    def age_of(self, row: Act) -> float:
        return 0.0

    def remark(self) -> str:
        picture = self.console.picture()
        return summary(picture.acts) if picture is not None else ""

    def crumb_title(self) -> str:
        return "failovers"

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._share_height()
        self._show_act()

    def cursor_moved(self) -> None:
        self._show_act()

    def _show_act(self) -> None:
        act: Act | None = self.table.cursor_row
        self.query_one(Timeline).show(act)
        self.set_class(act is not None and self.size.height >= _TALL, "-tall")
        if act is not None and self.has_class("-tall"):
            last_ms = act.at_ms + max((stage.after_ms for stage in act.stages), default=0) + _AFTERMATH_MS
            first_ms = act.at_ms - _BEFORE_MS
            self.query_one(Happened).show(
                (act.act_id, len(act.stages)),
                lambda events: condensed(event for event in events if first_ms <= event.at_ms <= last_ms),
            )

    def action_compare(self) -> None:
        rows: list[Act] = list(self.table.shown)
        chosen = [act for act in rows if act_key(act) in self.table.marks]
        if len(chosen) < 2:
            at = rows.index(self.table.cursor_row) if self.table.cursor_row in rows else 0
            chosen = rows[max(0, at - 1) : at + 1]
        if len(chosen) < 2:
            self.console.flash("two runs are compared: mark them with space", "info")
        else:
            self.console.push_screen(Detail("runs compared", comparison(chosen[:4]), snug=len(chosen) == 2))

    def action_plots(self) -> None:
        self.console.push_view(ViewSpec("plots", {"kind": "failover"}))

    def action_open(self) -> None:
        self.action_describe()

    def action_start_again(self) -> None:
        row: Act | None = self.table.cursor_row
        if row is not None:
            self.console.acts.process("start", row.broker_id)

    def action_kill_controller(self) -> None:
        picture = self.console.picture()
        if picture is None or picture.controller_id is None or picture.controller_id < 0:
            self.console.flash("no active controller is known", "offline")
        else:
            self.console.acts.process("kill", picture.controller_id)
