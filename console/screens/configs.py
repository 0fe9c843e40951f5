"""Configs of a topic, a broker, all brokers, a group; and of two of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.screens.base import ViewSpec, view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.cells import Column
from console.viewmodel.configs import (
    BROKER,
    CONFIG_COLUMNS,
    DELETE,
    TOPIC,
    ConfigOf,
    ConfigPair,
    ConfigRow,
    ConfigValue,
    Edit,
    check_edit,
    config_rows,
    pair_columns,
    pairs,
    read_only_reason,
)
from console.viewmodel.keeping import Told
from engine.supervisor.snapshot import ClusterSnapshot


def configs_spec(chosen: Sequence[ConfigOf]) -> ViewSpec | None:
    """The screen for what was chosen: of two, what differs; of more, the first one's."""
    if not chosen:
        return None
    if len(chosen) == 2:
        return ViewSpec("compare", {"left": chosen[0], "right": chosen[1]})
    return ViewSpec("configs", {"of": chosen[0]})


class _ConfigsOf(PolledView):
    """What both screens of configs share."""

    REFRESH_S = 4.0
    NOTHING = "nothing is set here: n sets a config by its name"

    async def configs_of(self, of: ConfigOf) -> list[ConfigValue]:
        """Of simulated clusters too, as far as they have any."""
        gateway = self.console.gateway
        if of.kind == TOPIC:
            return await gateway.topic_configs(of.name)
        if of.kind == BROKER and of.name:
            return await gateway.broker_configs(int(of.name))
        return await gateway.administration.configs(of)


class ConfigsView(_ConfigsOf):
    """One row a config. Edits are gathered here, and done together once they were looked at."""

    NAME = "configs"
    COLUMNS = CONFIG_COLUMNS
    BINDINGS = view_bindings("configs")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.of: ConfigOf = about["of"]
        self._configs: list[ConfigValue] = []
        self._told_at_ms = 0.0
        self._defaults = True
        self._edits: dict[str, Edit] = {}

    async def ask(self) -> Told:
        self._configs = await self.configs_of(self.of)
        self._told_at_ms = self.console.monotonic_ms()
        return Told({})

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ConfigRow]:
        age_ms = self.console.monotonic_ms() - self._told_at_ms if self._told_at_ms else 0.0
        return config_rows(self._configs, self._edits, self.of.level, defaults=self._defaults, age_ms=age_ms)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "edits": dict(self._edits), "defaults": self._defaults}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._edits = dict(state.get("edits", {}))
        self._defaults = state.get("defaults", True)
        super().restore(state)

    def scope_word(self) -> str:
        return self.of.words()

    def describe_row(self, row: ConfigRow) -> object:
        return row.config

    def counts(self) -> str:
        words = [f"{text.plural(len(self._edits), 'edit')}, a shows and does them"] if self._edits else []
        if not self._defaults:
            words.append("without defaults")
        return " · ".join(words)

    def action_defaults(self) -> None:
        self._defaults = not self._defaults
        self.refresh_rows()

    # -- edits ----------------------------------------------------------------------------------------------------

    def _stage(self, edit: Edit) -> None:
        self._edits[edit.name] = edit
        self.refresh_rows()
        self.table.select(edit.name)
        self.console.flash(f"{edit.name}: {edit.op}, not done yet: a shows all edits and does them", "info")

    def _editable(self) -> ConfigRow | None:
        row: ConfigRow | None = self.table.cursor_row
        if row is not None and row.config.read_only:
            self.console.flash(read_only_reason(row.config), "under_replicated")
            return None
        return row

    def action_open(self) -> None:
        row = self._editable()
        if row is not None:
            self.console.acts.configuring.ask_edit(row, self._stage)

    def action_unset(self) -> None:
        row = self._editable()
        if row is None:
            return
        edit = Edit(row.key, DELETE)
        if not row.is_set_here:
            self.console.flash(f"{row.key} is not set for {self.of.words()}: there is nothing to take away", "info")
        elif not check_edit(row.config, edit):
            self._stage(edit)

    def action_undo(self) -> None:
        row: ConfigRow | None = self.table.cursor_row
        if row is not None and self._edits.pop(row.key, None) is not None:
            self.refresh_rows()

    def action_another(self) -> None:
        self.console.acts.configuring.ask_new(self.of.level, self._stage)

    def action_apply(self) -> None:
        self.console.acts.configuring.apply(self.of, list(self._edits.values()), self._applied)

    def _applied(self) -> None:
        self._edits.clear()
        self.read_again()

    def action_compare(self) -> None:
        kind = self.of.kind
        known = self.console.names()
        others = [each for each in known.get(kind, []) if each != self.of.name]

        def check(values: dict[str, str]) -> str:
            name = values["other"].strip()
            missing = known.get(kind) and name not in known[kind]
            return f"there is no {kind} {name}" if missing or not name else ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                other = ConfigOf(kind, values["other"].strip())
                self.console.push_view(ViewSpec("compare", {"left": self.of, "right": other}))

        field = Field("other", kind, others[0] if others else "", "name of another one")
        self.console.push_screen(
            Form(f"compare {self.of.words()} with", [field], yes="Compare", check=check), submitted
        )


class CompareView(_ConfigsOf):
    """One row a config that differs; with ``D`` those that are alike, too."""

    NAME = "compare"
    NOTHING = "no config differs: D shows those that are alike"
    BINDINGS = view_bindings("compare")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.sides: tuple[ConfigOf, ConfigOf] = (about["left"], about["right"])
        self._same = False

    def columns(self) -> Sequence[Column]:
        left, right = self.sides
        return pair_columns(left.words(), right.words())

    async def ask(self) -> Told:
        answers = await asyncio.gather(*(self.configs_of(of) for of in self.sides), return_exceptions=True)
        problems = []
        for of, answer in zip(self.sides, answers, strict=True):
            if isinstance(answer, GatewayError):
                problems.append(f"{of.words()}: {answer}")
            elif isinstance(answer, BaseException):
                raise answer
        left, right = (None if isinstance(each, BaseException) else each for each in answers)
        # With one of them alone there is nothing to compare: what was told last stays.
        told = None if left is None or right is None else pairs(left, right, same=True)
        return Told({"": told}, tuple(problems))

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ConfigPair]:
        rows: list[ConfigPair] = list(super().rows(snapshot))
        return [row for row in rows if self._same or row.differs]

    def scope_word(self) -> str:
        return " ↔ ".join(of.words() for of in self.sides)

    def counts(self) -> str:
        differing = sum(row.differs for row in self.table.shown)
        return f"{text.plural(differing, 'config')} differ{'s' if differing == 1 else ''}"

    def action_defaults(self) -> None:
        self._same = not self._same
        self.refresh_rows()
