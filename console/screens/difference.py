"""What is different between two moments of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.screens.base import View, view_bindings
from console.viewmodel.difference import DIFFERENCE_COLUMNS, Difference, differences
from console.viewmodel.moments import past_words
from engine.supervisor.snapshot import ClusterSnapshot


class DifferenceView(View):
    """One row a difference. ``about`` has the moments, ``first`` and ``second``."""

    NAME = "difference"
    COLUMNS = DIFFERENCE_COLUMNS
    EMPTY = "asking …"
    BINDINGS = view_bindings("difference")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._rows: list[Difference] = []

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read, group="difference", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        try:
            before, after = await self.console.travel.two_pictures(self.about["first"], self.about["second"])
            self._rows = differences(before, after)
            self.table.empty = "the same at both moments: leaders, ISRs, configs, topics, members"
        except GatewayError as error:
            self.table.empty = str(error)
        self.table.refresh()
        self.refresh_rows()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Difference]:
        return self._rows

    def age_of(self, row: Difference) -> float:
        return 0.0

    def scope_word(self) -> str:
        now = self.console.present_ms()
        return f"{past_words(self.about['first'], now)} → {past_words(self.about['second'], now)}"
