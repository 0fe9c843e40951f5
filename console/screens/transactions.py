"""Transactional ids, and which of their transactions are open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.transactions import TRANSACTION_COLUMNS, TransactionRow, TransactionsFound, counts_words
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 1.0


class TransactionsView(View):
    """One row a transactional id."""

    NAME = "transactions"
    COLUMNS = TRANSACTION_COLUMNS
    EMPTY = "asking the coordinators …"
    BINDINGS = view_bindings("transactions")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._found = TransactionsFound(())
        self._asked_at_ms = 0.0
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read(), group="transactions", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        while True:
            try:
                self._found = await self.console.gateway.transactions()
                self._asked_at_ms = self.console.monotonic_ms()
                self._problem = "; ".join(self._found.problems)
            except GatewayError as error:
                # The rows stay, and grow old.
                self._problem = str(error)
            self.table.empty = self._problem or "nobody uses transactions"
            self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[TransactionRow]:
        since_ms = self.console.monotonic_ms() - self._asked_at_ms
        return [
            row._replace(
                age_ms=since_ms if self._problem else 0.0,
                open_ms=None if row.open_ms is None else row.open_ms + since_ms,
            )
            for row in self._found.rows
        ]

    def remark(self) -> str:
        return f"! {self._problem}" if self._problem else counts_words(self._found.rows)

    def action_hanging(self) -> None:
        self.console.push_view(ViewSpec("hanging"))

    def action_open(self) -> None:
        self.action_describe()
