"""Producers that partitions remember, and transactions that nobody will end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import view_bindings
from console.screens.polled import PolledView
from console.viewmodel.keeping import Told
from console.viewmodel.producers import MAX_TRANSACTION_MINUTES, PRODUCER_COLUMNS, ProducerRow, producer_words
from engine.supervisor.snapshot import ClusterSnapshot


class ProducersView(PolledView):
    """One row a producer of a partition, as its leader tells (KIP-664)."""

    NAME = "producers"
    COLUMNS = PRODUCER_COLUMNS
    NOTHING = "no producer with an id: idempotent and transactional ones are remembered for producer.id.expiration.ms"
    BINDINGS = view_bindings("producers")

    async def ask(self) -> Told:
        return await self.console.gateway.administration.producers(self._partitions())

    def _partitions(self) -> dict[str, Sequence[int] | None]:
        return {self.about["topic"]: self.about.get("partitions")}

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ProducerRow]:
        rows: list[ProducerRow] = list(super().rows(snapshot))
        return [row._replace(idle_ms=None if row.idle_ms is None else row.idle_ms + row.age_ms) for row in rows]

    def scope_word(self) -> str:
        numbers = self.about.get("partitions")
        return self.about["topic"] if numbers is None else f"{self.about['topic']}-{','.join(map(str, numbers))}"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return "producers"

    def counts(self) -> str:
        return producer_words(self.table.shown)

    def action_abort(self) -> None:
        row: ProducerRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.administering.abort(row, self.read_again)


class HangingView(ProducersView):
    """Open transactions of all partitions that no coordinator will end, as ``kafka-transactions.sh find-hanging``."""

    NAME = "hanging"
    NOTHING = "no transaction hangs"
    BINDINGS = view_bindings("hanging")
    # All partitions and all coordinators are asked.
    REFRESH_S = 10.0

    async def ask(self) -> Told:
        timeout_ms = 60_000 * self._minutes
        return Told({"": await self.console.gateway.administration.hanging_transactions(timeout_ms)})

    @property
    def _minutes(self) -> int:
        return int(self.about.get("minutes", MAX_TRANSACTION_MINUTES))

    def scope_word(self) -> str:
        return f"older than {self._minutes}m"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return "hanging"

    def counts(self) -> str:
        return "read_committed readers wait for these; x aborts one" if self.table.shown else ""
