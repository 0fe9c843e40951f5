"""The workload of the embedded cluster: its producers and groups."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.workload import WORKLOAD_COLUMNS, workload_key, workload_rows
from engine.supervisor.snapshot import ClusterSnapshot, WorkloadMember


class WorkloadView(View):
    """One row a producer or group."""

    NAME = "workload"
    COLUMNS = WORKLOAD_COLUMNS
    EMPTY = "the cluster file has no workload"
    BINDINGS = view_bindings("workload")

    def begin(self) -> None:
        super().begin()
        reason = self.console.gateway.capabilities.no_workload
        if reason and not self.console.travel.is_past:
            self.table.empty = reason

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[WorkloadMember]:
        return workload_rows(snapshot)

    def key_of(self, row: WorkloadMember) -> str:
        return workload_key(row)

    def age_of(self, row: WorkloadMember) -> float:
        return 0.0

    def remark(self) -> str:
        picture = self.console.picture()
        if picture is None or picture.workload is None:
            return ""
        return "running" if picture.workload.running else "stopped"

    def action_plots(self) -> None:
        self.console.push_view(ViewSpec("plots", {"kind": "workload"}))

    def action_workload(self, act: str) -> None:
        self.console.acts.workload(act)

    def action_member(self, act: str) -> None:
        row: WorkloadMember | None = self.table.cursor_row
        if row is None or row.kind != "group":
            self.console.flash("select a group: producers have no members", "under_replicated")
        else:
            self.console.acts.member(act, row.name)
