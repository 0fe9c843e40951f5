"""Transactional ids, and which of their transactions are open."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import ViewSpec, view_bindings
from console.screens.polled import PolledView
from console.viewmodel.keeping import Told
from console.viewmodel.transactions import TRANSACTION_COLUMNS, TransactionRow, counts_words, newest, told_of
from engine.supervisor.snapshot import ClusterSnapshot


class TransactionsView(PolledView):
    """One row a transactional id; of a coordinator that does not answer, what it told last, with its age."""

    NAME = "transactions"
    COLUMNS = TRANSACTION_COLUMNS
    EMPTY = "asking the coordinators …"
    NOTHING = "nobody uses transactions"
    BINDINGS = view_bindings("transactions")
    REFRESH_S = 1.0

    async def ask(self) -> Told:
        return told_of(await self.console.gateway.transactions())

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[TransactionRow]:
        rows: list[TransactionRow] = newest(list(super().rows(snapshot)))
        return [row._replace(open_ms=None if row.open_ms is None else row.open_ms + row.age_ms) for row in rows]

    def counts(self) -> str:
        return counts_words(tuple(self.table.shown))

    def action_hanging(self) -> None:
        self.console.push_view(ViewSpec("hanging"))

    def action_terminate(self) -> None:
        row: TransactionRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.administering.terminate(row, self.read_again)
