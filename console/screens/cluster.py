"""Brokers: what each does, and what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.screens.base import View, ViewSpec, view_bindings
from console.screens.configs import configs_spec
from console.screens.happened import Happened
from console.viewmodel.brokers import ATTACHED_BROKER_COLUMNS, BROKER_COLUMNS, BrokerRow, broker_rows
from console.viewmodel.cells import Column
from console.viewmodel.configs import BROKER, ConfigOf
from console.viewmodel.events import GROUP_COLUMNS, condensed
from console.viewmodel.impact import impact_words
from console.viewmodel.text import brokers_words, clip
from engine.supervisor.snapshot import ClusterSnapshot, Source

# With so many lines left below the brokers, or so many in all, the latest events are shown there.
_LEAST_EVENT_LINES = 7
_TALL = 24


class ClusterView(View):
    """One row a broker; below, the latest events."""

    NAME = "cluster"
    COLUMNS = BROKER_COLUMNS
    EMPTY = "no broker is known yet"
    BINDINGS = view_bindings("cluster")
    _table_height: int | None = None

    DEFAULT_CSS = """
    ClusterView Happened, ClusterView Rule { display: none; }
    ClusterView.-tall Happened, ClusterView.-tall Rule { display: block; }
    ClusterView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[BrokerRow]:
        return broker_rows(snapshot, self.console.history)

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule()
        # Few brokers leave room for what happened last.
        yield Happened(GROUP_COLUMNS, lambda group: str(group.key))

    def on_resize(self) -> None:
        self._share_height()

    def _share_height(self) -> None:
        # Head, rows, and a line to breathe; many brokers leave the events their part.
        wanted = max(4, len(self.table.shown) + 2)
        tall = self.size.height - wanted >= _LEAST_EVENT_LINES or self.size.height >= _TALL
        height = min(wanted, self.size.height // 2) if tall else None
        self.set_class(tall, "-tall")
        if height != self._table_height:
            self._table_height = height
            self.table.styles.height = "1fr" if height is None else height

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._share_height()
        if self.has_class("-tall"):
            self.query_one(Happened).show(None, condensed)

    def columns(self) -> Sequence[Column]:
        # Processes that are another's, or simulated, have no figures.
        return (
            BROKER_COLUMNS if self.console.gateway.capabilities.source is Source.EMBEDDED else ATTACHED_BROKER_COLUMNS
        )

    def crumb_title(self) -> str:
        return "brokers"

    def describe_row(self, row: BrokerRow) -> object:
        return row.broker

    def remark(self) -> str:
        row: BrokerRow | None = self.table.cursor_row
        picture = self.console.picture()
        if row is None or picture is None:
            return ""
        on_purpose = [each.what for each in picture.faults if each.broker_id == row.broker.broker_id]
        if on_purpose:
            return clip(f"on purpose: {', '.join(on_purpose)}; :faults heals", max(30, self.size.width - 12))
        if row.tone == "in_sync":
            # What its loss would do, before somebody kills it.
            ids = [each.broker.broker_id for each in self.table.chosen()]
            who = brokers_words(ids) if self.size.width >= 100 else ", ".join(map(str, ids))
            return f"losing {who} {impact_words(picture, ids)}"
        failed = row.broker.failed_log_dirs
        why = (
            f"{', '.join(failed)}; mend it and restart it"
            if failed and row.broker.reachable
            else row.broker.error or (row.broker.process.why if row.broker.process else "")
        )
        said = f"broker {row.key}: {row.state}{', ' + why if why and why != row.state else ''}"
        return clip(said, max(30, self.size.width - 12))

    def cursor_moved(self) -> None:
        self.refresh_title()

    def why_about(self, row: BrokerRow) -> Mapping[str, Any]:
        return {"broker": row.broker.broker_id}

    def action_open(self) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("partitions", {"broker": row.broker.broker_id}))

    def action_log(self, previous: bool) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("log", {"broker": row.broker.broker_id, "previous": previous}))

    def action_configs(self) -> None:
        chosen = sorted(row.broker.broker_id for row in self.table.chosen())
        spec = configs_spec([ConfigOf(BROKER, str(each)) for each in chosen])
        if spec is not None:
            self.console.push_view(spec)

    def action_log_dirs(self) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("log-dirs", {"broker": row.broker.broker_id}))

    def action_process(self, act: str) -> None:
        chosen = [row.broker.broker_id for row in self.table.chosen()]
        if chosen:
            self.console.acts.process(act, *sorted(chosen))

    def action_impact(self) -> None:
        chosen = sorted(row.broker.broker_id for row in self.table.chosen())
        if chosen:
            self.console.push_view(ViewSpec("impact", {"brokers": tuple(chosen)}))

    def action_fault(self) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.faults.ask(row.broker.broker_id)

    def action_plots(self) -> None:
        self.console.push_view(ViewSpec("plots", {"kind": "cluster"}))

    def action_add_broker(self) -> None:
        self.console.acts.moving.ask_add_broker()

    def action_drain(self) -> None:
        chosen = sorted(row.broker.broker_id for row in self.table.chosen())
        if chosen:
            self.console.acts.moving.ask_moves(chosen)

    def action_rebalance(self) -> None:
        self.console.acts.moving.ask_moves(())

    def action_wire(self) -> None:
        row = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("wire", {"broker": row.broker.broker_id}))

    def action_moves(self) -> None:
        self.console.push_view(ViewSpec("moves"))

    def action_elect_preferred(self) -> None:
        self.console.acts.elect_preferred(None)
