"""The wire: requests as brokers answer them, and each of them whole."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from console.gateway import GatewayError
from console.modals.detail import Detail
from console.screens.base import View, view_bindings
from console.viewmodel import text
from console.viewmodel.cells import cell
from console.viewmodel.wire import KEPT_ROWS, WIRE_COLUMNS, WireRow, facts, message_cells
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 0.3


class WireView(View):
    """One row a request that was answered. Brokers keep requests only while somebody is here."""

    NAME = "wire"
    COLUMNS = WIRE_COLUMNS
    EMPTY = "looking …"
    FOLLOWS = True
    BINDINGS = view_bindings("wire")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._kept: deque[WireRow] = deque(maxlen=KEPT_ROWS)
        self._shown: Sequence[WireRow] = ()
        self._dirty = True
        self._clients_only = False
        self._paused = False
        self._unseen = 0
        self._problem = ""
        self._limits = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read, group="wire", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_REFRESH_S)

    async def _look(self) -> None:
        try:
            batch = await self.console.gateway.wire(self.about.get("broker"), hold=self._paused)
        except GatewayError as error:
            self._problem = str(error)
        else:
            if self._paused:
                # It was stopped while this was asked.
                self._unseen += len(batch.rows) + batch.unseen
                return
            self._kept.extend(batch.rows)
            self._dirty = self._dirty or bool(batch.rows)
            self._unseen += batch.unseen
            self._problem, self._limits = "; ".join(batch.problems), batch.limits
        self.table.empty = self._problem or "nothing was asked since you came"
        self.refresh_rows()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[WireRow]:
        if self._dirty:
            self._dirty = False
            connection = self.about.get("connection")
            self._shown = [
                row
                for row in self._kept
                if (row.is_of_clients or not self._clients_only) and connection in (None, row.connection)
            ]
        return self._shown

    def age_of(self, row: object) -> float:
        return 0.0

    def scope_word(self) -> str:
        broker_id, connection = self.about.get("broker"), self.about.get("connection")
        words = "all" if broker_id is None else f"broker {broker_id}"
        words += f" connection {connection}" if connection is not None else ""
        return f"{words}, clients" if self._clients_only else words

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        words = ["paused" if self._paused else ""]
        words.append(f"{text.count(self._unseen)} passed unseen" if self._unseen else "")
        words.append(self._limits if self.size.width >= 100 else "this console's own" * bool(self._limits))
        words.append("" if self.table.follow else "f follows again")
        return " · ".join(each for each in words if each)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "clients": self._clients_only}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._clients_only = state.get("clients", False)
        super().restore(state)

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_hold(self) -> None:
        self._paused = not self._paused
        self.refresh_title()

    def action_clients(self) -> None:
        self._clients_only = not self._clients_only
        self._dirty = True
        self.refresh_rows()

    def action_clear(self) -> None:
        self._kept.clear()
        self._unseen, self._dirty = 0, True
        self.refresh_rows()

    def action_open(self) -> None:
        row: WireRow | None = self.table.cursor_row
        if row is not None:
            # What is looked at shall not be pushed out of the table meanwhile.
            self.table.follow = False
            self.run_worker(partial(self._open, row), group="detail", exclusive=True, exit_on_error=False)

    async def _open(self, row: WireRow) -> None:
        try:
            decoded = await self.console.gateway.wire_message(row)
        except GatewayError as error:
            self.console.flash(str(error), "under_replicated")
            return
        title = f"{row.api} v{row.version} of {row.client_id or row.peer}"
        self.console.push_screen(Detail(title, [*facts(row), cell(""), *message_cells(decoded)]))
