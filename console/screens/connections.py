"""Who is connected to the brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.connections import CONNECTION_COLUMNS, ConnectionRow, ConnectionsFound, summary
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 1.0


class ConnectionsView(View):
    """One row a connection."""

    NAME = "connections"
    COLUMNS = CONNECTION_COLUMNS
    EMPTY = "asking the brokers …"
    BINDINGS = view_bindings("connections")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._found = ConnectionsFound(())
        # By broker, when it told its connections last.
        self._told_at_ms: dict[int | None, float] = {}
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read, group="connections", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        while True:
            try:
                self._take(await self.console.gateway.connections())
            except GatewayError as error:
                # The rows stay, and grow old.
                self._problem = str(error)
            self.table.empty = self._problem or self._found.limits or "nobody is connected"
            self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    def _take(self, found: ConnectionsFound) -> None:
        told = {row.broker_id for row in found.rows}
        # What a broker that does not answer told before stays.
        kept = [row for row in self._found.rows if row.broker_id not in told] if found.problems else []
        now_ms = self.console.monotonic_ms()
        self._told_at_ms.update(dict.fromkeys(told, now_ms))
        self._found = found._replace(rows=(*found.rows, *kept))
        self._problem = "; ".join(found.problems)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ConnectionRow]:
        broker_id = self.about.get("broker")
        now_ms = self.console.monotonic_ms()
        return [
            row._replace(age_ms=now_ms - self._told_at_ms.get(row.broker_id, now_ms) if self._problem else 0.0)
            for row in self._found.rows
            if broker_id is None or row.broker_id == broker_id
        ]

    def scope_word(self) -> str:
        broker_id = self.about.get("broker")
        return "all" if broker_id is None else f"broker {broker_id}"

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        if not self._found.limits:
            return summary(self.table.shown)
        return (
            self._found.limits if self.size.width >= 110 else "members of groups and this console: Kafka tells no more"
        )

    def action_open(self) -> None:
        row: ConnectionRow | None = self.table.cursor_row
        if row is None:
            return
        if row.opened_at_ms is None:
            # Somebody else's cluster: what members ask cannot be seen.
            self.console.push_view(ViewSpec("wire"))
        else:
            self.console.push_view(ViewSpec("wire", {"broker": row.broker_id, "connection": row.number}))
