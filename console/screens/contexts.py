"""All clusters that the user has, side by side, each with how it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.contexts import ContextError, Contexts
from console.screens.base import View, view_bindings
from console.viewmodel.contexts import CONTEXT_COLUMNS, ContextRow

_READ_AGAIN_MS = 2_000


class ContextsView(View):
    """One row a context."""

    NAME = "contexts"
    COLUMNS = CONTEXT_COLUMNS
    EMPTY = "reading contexts.yaml …"
    BINDINGS = view_bindings("contexts")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._known: Contexts | None = None
        self._read_at_ms = 0.0
        self._problem = ""

    def begin(self) -> None:
        self._read()
        super().begin()

    def on_unmount(self) -> None:
        self.console.contexts.look_away()

    def _read(self) -> None:
        self._read_at_ms = self.console.monotonic_ms()
        try:
            self._known, self._problem = self.console.contexts.known(), ""
            self.console.contexts.look_at(self._known)
        except ContextError as error:
            # The rows stay.
            self._problem = str(error)
        self.table.empty = self._problem or "no contexts: kconsole context add NAME --bootstrap-servers …"

    def refresh_rows(self) -> None:
        if self.console.monotonic_ms() - self._read_at_ms >= _READ_AGAIN_MS:
            self._read()
        if self._known is not None:
            self.table.update_rows(self.console.contexts.rows(self._known))
        self.table.tick()
        self.refresh_title()

    def remark(self) -> str:
        if self._problem:
            return f"! {self._problem}"
        row: ContextRow | None = self.table.cursor_row
        return row.problem if row is not None else ""

    def cursor_moved(self) -> None:
        self.refresh_title()

    def action_open(self) -> None:
        if self.table.cursor_key is not None:
            self.console.contexts.open(self.table.cursor_key)
