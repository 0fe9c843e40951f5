"""Applications over streams, with their topologies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.streams import STREAMS_COLUMNS, StreamsRow, streams_remark, streams_rows
from console.viewmodel.streams_told import KeptWorkers
from console.viewmodel.streams_workers import endpoints_of
from engine.supervisor.snapshot import ClusterSnapshot, GroupState

_REFRESH_S = 1.0


class StreamsView(View):
    """One row an application, and below it one for each part of its topology."""

    NAME = "streams"
    COLUMNS = STREAMS_COLUMNS
    EMPTY = "no applications over streams: kconsole streams run MODULE:TOPOLOGY starts one"
    BINDINGS = view_bindings("streams")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._remark = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._watch, group="polled", exclusive=True, exit_on_error=False)

    async def _watch(self) -> None:
        """Workers tell more than brokers; where none can be asked, what brokers tell is there."""
        while True:
            picture = self.console.picture()
            await asyncio.gather(*(self._ask(each) for each in (picture.groups if picture is not None else ())))
            await asyncio.sleep(_REFRESH_S)

    async def _ask(self, group: GroupState) -> None:
        endpoints = endpoints_of(group)
        if endpoints:
            with contextlib.suppress(GatewayError):
                answers = await self.console.gateway.streams.statuses(endpoints)
                kept = self.console.history.workers.setdefault(group.group_id, KeptWorkers())
                kept.take(answers, self.console.monotonic_ms())

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[StreamsRow]:
        history = self.console.history
        rows = streams_rows(snapshot, paces=history.paces, workers=history.workers)
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
