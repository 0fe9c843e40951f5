"""What if: all that the loss of brokers would do, before anybody loses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, view_bindings
from console.viewmodel.impact import CONSEQUENCE_COLUMNS, Consequence, consequences
from console.viewmodel.text import brokers_words
from engine.supervisor.snapshot import ClusterSnapshot


class ImpactView(View):
    """One row a consequence, by the metadata of this moment; of any cluster, embedded or not."""

    NAME = "impact"
    COLUMNS = CONSEQUENCE_COLUMNS
    EMPTY = "nothing depends on it"
    BINDINGS = view_bindings("impact")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._transactional_ids: tuple[tuple[str, int, bool], ...] = ()
        self._problem = ""

    @property
    def broker_ids(self) -> tuple[int, ...]:
        """The brokers that are lost in thought."""
        return tuple(self.about["brokers"])

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._ask, group="impact", exclusive=True, exit_on_error=False)

    async def _ask(self) -> None:
        """Transactional ids are in no metadata: their coordinators tell them."""
        try:
            found = await self.console.gateway.transactions()
        except GatewayError as error:
            self._problem = f"transactions are not known: {error}"
        else:
            self._transactional_ids = tuple(
                (row.transactional_id, row.coordinator, row.open_ms is not None) for row in found.rows
            )
            self._problem = "; ".join(found.problems)
        self.refresh_rows()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Consequence]:
        return consequences(snapshot, self.broker_ids, self._transactional_ids)

    def scope_word(self) -> str:
        return f"losing {brokers_words(self.broker_ids)}"

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        kinds = Counter(row.kind for row in self.table.shown)
        return " · ".join(f"{number:,} {kind}" for kind, number in kinds.items())

    def action_process(self, act: str) -> None:
        self.console.acts.process(act, *self.broker_ids)
