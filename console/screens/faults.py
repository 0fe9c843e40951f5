"""Faults that are on: what is wrong on purpose now, how long still, and the way to end it."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import View, view_bindings
from console.viewmodel.faults import FAULT_COLUMNS, FaultRow, fault_rows
from console.viewmodel.text import clip
from engine.supervisor.snapshot import ClusterSnapshot


class FaultsView(View):
    """One row a fault that is active."""

    NAME = "faults"
    COLUMNS = FAULT_COLUMNS
    EMPTY = "nothing is wrong on purpose; n begins a fault"
    BINDINGS = view_bindings("faults")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[FaultRow]:
        return fault_rows(snapshot, self.console.now_ms())

    def age_of(self, row: FaultRow) -> float:
        return 0.0

    def is_fault(self, row: FaultRow) -> bool:
        return True

    def describe_row(self, row: FaultRow) -> object:
        return row.fault

    def remark(self) -> str:
        row: FaultRow | None = self.table.cursor_row
        return clip(row.fault.progress, max(20, self.size.width - 8)) if row is not None else ""

    def cursor_moved(self) -> None:
        self.refresh_title()

    def action_new_fault(self) -> None:
        self.console.acts.faults.ask(None)

    def action_heal(self) -> None:
        row: FaultRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.faults.heal(row.fault)

    def action_heal_all(self) -> None:
        self.console.acts.faults.heal(None)
