"""Applications over streams, with their topologies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.streams import STREAMS_COLUMNS, StreamsRow, streams_remark, streams_rows
from engine.supervisor.snapshot import ClusterSnapshot


class StreamsView(View):
    """One row an application, and below it one for each part of its topology."""

    NAME = "streams"
    COLUMNS = STREAMS_COLUMNS
    EMPTY = "no applications over streams: kconsole streams run MODULE:TOPOLOGY starts one"
    BINDINGS = view_bindings("streams")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._remark = ""

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[StreamsRow]:
        rows = streams_rows(snapshot, paces=self.console.history.paces)
        self._remark = streams_remark(rows)
        return rows

    def remark(self) -> str:
        return self._remark

    def describe_row(self, row: StreamsRow) -> object:
        return row.subtopology or row.group

    def why_about(self, row: StreamsRow) -> Mapping[str, Any]:
        return {"group": row.group.group_id}

    def action_open(self) -> None:
        row: StreamsRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("application", {"group": row.group.group_id}))

    def action_topology(self) -> None:
        row: StreamsRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("topology", {"group": row.group.group_id}))

    def action_stores(self) -> None:
        row: StreamsRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("stores", {"group": row.group.group_id}))

    def action_plots(self) -> None:
        row: StreamsRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("plots", {"kind": "group", "name": row.group.group_id}))
