"""The topology of an application over streams, drawn, with what passes through each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.modals.detail import Detail
from console.screens.application import WorkersWatched
from console.screens.base import ViewSpec, view_bindings
from console.viewmodel import text
from console.viewmodel.cells import cell
from console.viewmodel.streams import streams_rows
from console.viewmodel.streams_topology import TOPOLOGY_COLUMNS, TopologyRow, TopologyTold, topology_rows
from console.viewmodel.streams_workers import NO_WORKERS, has_workers
from engine.supervisor.snapshot import ClusterSnapshot

# A topology changes with the program alone.
_ASKED_EVERY_MS = 5_000
_EDGES = 6


class TopologyView(WorkersWatched):
    """Nodes from sources to sinks."""

    NAME = "topology"
    COLUMNS = TOPOLOGY_COLUMNS
    EMPTY = "this application is not there (any more)"
    BINDINGS = view_bindings("topology")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._told: TopologyTold | None = None
        self._asked_at_ms: float | None = None
        self._untold = ""

    async def look(self, endpoints: Sequence[str]) -> None:
        await super().look(endpoints)
        now_ms = self.console.monotonic_ms()
        if self._told is not None and self._asked_at_ms is not None and now_ms - self._asked_at_ms < _ASKED_EVERY_MS:
            return
        self._asked_at_ms = now_ms
        if not has_workers(self.group):
            self._untold = NO_WORKERS
            return
        try:
            self._told, self._untold = await self.console.gateway.streams.topology(endpoints), ""
        except GatewayError as error:
            self._untold = str(error)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[TopologyRow]:
        # The oldest figure of those that make a rate.
        ages = [
            self.console.monotonic_ms() - at_ms
            for told, at_ms in map(self.kept.of, self.kept.problems)
            if told is not None
        ]
        application = streams_rows(snapshot, self.group_id, workers=self.console.history.workers)
        return topology_rows(application, self._told, self.kept, max(ages, default=0.0))

    def remark(self) -> str:
        problem = self.problem or self._untold or next(iter(self.kept.problems.values()), "")
        legend = "○ reads  ● processes  ◉ has a store  ◇ writes" if self.size.width >= 100 else ""
        words = [(f"! {problem}" if problem else "", 9), (legend, 1)]
        return text.joined(words, max(40, self.size.width - _EDGES))

    def describe_row(self, row: TopologyRow) -> object:
        if row.node is None:
            return row.about.subtopology if row.about is not None else {}
        return {**row.node._asdict(), "processed": row.total, "per_second": row.rate}

    def action_open(self) -> None:
        row: TopologyRow | None = self.table.cursor_row
        node = row.node if row is not None else None
        if node is not None and node.stores:
            self.console.push_view(ViewSpec("store", {"group": self.group_id, "store": node.stores[0]}))
        elif node is not None and node.topics:
            self.console.push_view(ViewSpec("records", {"topics": node.topics}))
        else:
            self.action_describe()

    def action_as_text(self) -> None:
        if self._told is None or not self._told.description:
            self.console.flash(f"no worker tells the description{f': {self._untold}' if self._untold else ''}", "info")
            return
        lines = [cell(line) for line in self._told.description.splitlines()]
        self.console.push_screen(Detail(f"topology of {self.group_id}", lines, indent=6))
