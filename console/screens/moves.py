"""Replicas that move between brokers now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, view_bindings
from console.viewmodel.moves import MOVE_COLUMNS, MovePace, MoveRow, total_words
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 0.5


class MovesView(View):
    """One row a partition that moves."""

    NAME = "moves"
    COLUMNS = MOVE_COLUMNS
    EMPTY = "asking …"
    BINDINGS = view_bindings("moves")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._rows: list[MoveRow] = []
        self._pace = MovePace()
        self._asked_at_ms = 0.0
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read, group="moves", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        while True:
            try:
                found = await self.console.gateway.moves()
                self._asked_at_ms, self._problem = self.console.monotonic_ms(), ""
                self._rows = self._pace.see(self._asked_at_ms, found)
            except GatewayError as error:
                # The rows stay, and grow old.
                self._problem = str(error)
            self.table.empty = (
                self._problem
                or "nothing moves; m on partitions or topics, B and D on the brokers' screen begin something"
            )
            self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[MoveRow]:
        age_ms = self.console.monotonic_ms() - self._asked_at_ms if self._problem else 0.0
        return [each._replace(age_ms=age_ms) for each in self._rows]

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        return total_words(self._rows) if self._rows else ""

    def action_cancel_moves(self) -> None:
        chosen: list[MoveRow] = list(self.table.chosen())
        if chosen:
            self.console.acts.reassigning.cancel(chosen, everything=False)

    def action_cancel_all(self) -> None:
        if self._rows:
            self.console.acts.reassigning.cancel(self._rows, everything=True)
