"""Brokers: what each does, and what can be done to it."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.brokers import ATTACHED_BROKER_COLUMNS, BROKER_COLUMNS, BrokerRow, broker_rows
from console.viewmodel.cells import Column
from engine.supervisor.snapshot import ClusterSnapshot


class ClusterView(View):
    """One row a broker."""

    NAME = "cluster"
    COLUMNS = BROKER_COLUMNS
    EMPTY = "no broker is known yet"
    BINDINGS = view_bindings("cluster")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[BrokerRow]:
        return broker_rows(snapshot, self.console.history)

    def columns(self) -> Sequence[Column]:
        return ATTACHED_BROKER_COLUMNS if self.console.gateway.capabilities.attached else BROKER_COLUMNS

    def crumb_title(self) -> str:
        return "brokers"

    def describe_row(self, row: BrokerRow) -> object:
        return row.broker

    def remark(self) -> str:
        row: BrokerRow | None = self.table.cursor_row
        if row is None or row.is_healthy:
            return ""
        why = row.broker.error or (row.broker.process.why if row.broker.process else "")
        return f"broker {row.key}: {row.state}{', ' + why if why and why != row.state else ''}"[:70]

    def cursor_moved(self) -> None:
        self.refresh_title()

    def action_open(self) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("partitions", {"broker": row.broker.broker_id}))

    def action_log(self, previous: bool) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("log", {"broker": row.broker.broker_id, "previous": previous}))

    def action_configs(self) -> None:
        row: BrokerRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("configs", {"broker": row.broker.broker_id}))

    def action_process(self, act: str) -> None:
        for row in self.table.chosen():
            self.console.acts.process(act, row.broker.broker_id)

    def action_elect_preferred(self) -> None:
        self.console.acts.elect_preferred(None)
