"""Configs of a topic or of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import ConfigValue, GatewayError
from console.screens.base import View, view_bindings
from console.viewmodel.cells import Cell, Column, cell
from engine.supervisor.snapshot import ClusterSnapshot

_REFRESH_S = 5.0


def _value(config: ConfigValue) -> Cell:
    if config.sensitive:
        return cell("(sensitive)", "muted")
    if config.value is None:
        return cell("null", "muted")
    return cell(config.value or '""', "text" if config.is_default else "accent")


def _source(config: ConfigValue) -> Cell:
    return cell(
        config.source.replace("_", " ").lower().replace(" config", ""), "muted" if config.is_default else "info"
    )


_COLUMNS: tuple[Column, ...] = (
    Column(
        "name",
        "NAME",
        lambda config: cell(config.name, "muted" if config.is_default else "text"),
        30,
        lambda config: config.name,
        max_width=52,
    ),
    Column("value", "VALUE", _value, 20, lambda config: config.value or "", max_width=50, flashes=True),
    Column("source", "SET BY", _source, 15, lambda config: config.source, priority=1, max_width=24),
    Column("read-only", "", lambda config: cell("read-only" if config.read_only else "", "muted"), 9, priority=2),
)


class ConfigsView(View):
    """One row a config; those that somebody set stand out."""

    NAME = "configs"
    COLUMNS = _COLUMNS
    EMPTY = "asking …"
    BINDINGS = view_bindings("configs")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._topic: str | None = about.get("topic")
        self._broker: int | None = about.get("broker")
        self._configs: list[ConfigValue] = []
        self._defaults = True
        self._problem = ""

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._read(), group="configs", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        gateway = self.console.gateway
        while True:
            try:
                if self._topic is not None:
                    self._configs = await gateway.topic_configs(self._topic)
                else:
                    self._configs = await gateway.broker_configs(int(self._broker or 0))
                self._problem = ""
            except GatewayError as error:
                self._problem = str(error)
            self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    def read_again(self) -> None:
        """Something was changed."""
        self.run_worker(self._read(), group="configs", exclusive=True, exit_on_error=False)

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ConfigValue]:
        shown = [config for config in self._configs if self._defaults or not config.is_default]
        # What somebody set comes first.
        return sorted(shown, key=lambda config: (config.is_default, config.name))

    def key_of(self, row: ConfigValue) -> str:
        return row.name

    def age_of(self, row: ConfigValue) -> float:
        return 0.0

    def scope_word(self) -> str:
        return self._topic if self._topic is not None else f"broker {self._broker}"

    def remark(self) -> str:
        words = [f"! {self._problem}"] if self._problem else []
        if not self._defaults:
            words.append("without defaults")
        return " · ".join(words)

    def action_defaults(self) -> None:
        self._defaults = not self._defaults
        self.refresh_rows()

    def action_open(self) -> None:
        row: ConfigValue | None = self.table.cursor_row
        if row is None:
            return
        if self._topic is None:
            self.console.flash("broker configs are read here; change them in the cluster file", "under_replicated")
        elif row.read_only:
            self.console.flash(f"{row.name} is read-only", "under_replicated")
        else:
            self.console.acts.ask_config(self._topic, row, self.read_again)
