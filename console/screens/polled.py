"""Screens that ask the cluster themselves, again and again: what was told stays and grows old while nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from console.gateway import GatewayError
from console.screens.base import View
from console.viewmodel.keeping import KeptRows, Told
from engine.supervisor.snapshot import ClusterSnapshot

# A broker of Kafka's tells of a change a few hundred milliseconds after the controller has committed it.
_SOON_S = 0.4


class PolledView(View):
    """Subclasses say what to ask. Rows are NamedTuples with ``key`` and ``age_ms``."""

    EMPTY = "asking …"
    # What the table says once it is known that there is nothing.
    NOTHING: ClassVar[str] = "nothing here"
    REFRESH_S: ClassVar[float] = 2.0

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.kept = KeptRows()
        self.problem = ""

    async def ask(self) -> Told:
        """Ask once. Raises: GatewayError: nobody tells."""
        raise NotImplementedError

    def counts(self) -> str:
        """What stands at the lower edge while all is well."""
        return ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(partial(self._read, self.REFRESH_S), group="polled", exclusive=True, exit_on_error=False)

    def read_again(self) -> None:
        """Now, and once more soon: something was changed, and not every broker has heard of it."""
        if not (self.is_mounted and self.is_attached):
            # Somebody left while it was done.
            return
        self.run_worker(partial(self._read, _SOON_S), group="polled", exclusive=True, exit_on_error=False)

    async def _read(self, wait_s: float) -> None:
        while True:
            try:
                told = await self.ask()
                self.kept.take(told, self.console.monotonic_ms())
                self.problem = "; ".join(told.problems)
            except GatewayError as error:
                # The rows stay, and grow old.
                self.problem = str(error)
            self.table.empty = self.problem or self.NOTHING
            if not self.console.frozen:
                self.refresh_rows()
            await asyncio.sleep(wait_s)
            wait_s = self.REFRESH_S

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Any]:
        return self.kept.rows(self.console.monotonic_ms())

    def remark(self) -> str:
        if self.problem:
            return f"! {self.problem}"
        return self.counts() if self.kept.was_told else ""

    def action_open(self) -> None:
        self.action_describe()
