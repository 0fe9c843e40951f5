"""Setting a group's offsets anew, from any screen: a form for the rule, the plan to be looked at, then the act."""

from __future__ import annotations

from console.acts import Need
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.viewmodel import text
from console.viewmodel.cells import Span, cell
from console.viewmodel.resets import (
    VALUE_HINTS,
    ResetError,
    ResetPlan,
    ResetWish,
    Rule,
    check_wish,
    plan_cells,
    read_offsets_file,
    reset_command,
    summary,
)

_NOTE = (
    "Shown first, before anything changes; refused while the group has members.\n"
    "value: of to-offset and shift-by a number, to-datetime 2026-11-26T08:00:00.000 (UTC), by-duration PT1H30M, "
    "from-group its name, from-file its path. topics: orders, or orders:0,2; empty: wherever it has an offset."
)


class ResetActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def ask(self, group: str, scope: str = "") -> None:
        """A form for the rule; then the plan."""
        if self._acts.refused(Need.WRITE):
            return
        fields = [
            Field("rule", "rule", Rule.EARLIEST, choices=tuple(Rule)),
            Field("value", "value", "", "of rules that need one"),
            Field("topics", "topics", scope, "all in which the group has an offset"),
        ]

        def check(values: dict[str, str]) -> str:
            try:
                _wish(group, values)
            except ResetError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._plan(_wish(group, values))

        self._app.push_screen(
            Form(f"reset offsets of {group}", fields, yes="Show plan", check=check, note=_NOTE), submitted
        )

    def _plan(self, wish: ResetWish) -> None:
        self._app.flash(f"reset {wish.group}: looking where it is …", "info")

        async def run() -> None:
            try:
                plan = await self._app.gateway.plan_reset(wish)
            except GatewayError as error:
                self._app.flash(f"reset {wish.group}: {error}", "offline", seconds=12)
                return
            self._app.flash(summary(plan), "info")
            self._show(plan)

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def _show(self, plan: ResetPlan) -> None:
        wish = plan.wish
        command = reset_command(self._app.gateway.capabilities.bootstrap_servers, wish)
        lines = [*plan_cells(plan), cell(""), cell(summary(plan)), (Span(f"$ {command}", "muted"),)]

        async def call() -> str:
            committed = await self._app.gateway.reset_offsets(plan)
            return f"{wish.group}: {text.plural(committed, 'offset')} committed, {wish.rule} {wish.value}".rstrip()

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(f"reset {wish.group} {wish.rule}", command, call)

        title = f"{wish.group} {wish.rule} {wish.value}".rstrip()
        self._app.push_screen(Preview(f"{title}: do it?", lines), answered)


def _wish(group: str, values: dict[str, str]) -> ResetWish:
    """What the form says. Raises: ResetError."""
    rule, value = Rule(values["rule"]), values["value"].strip()
    # A comma in a topic's partitions is none between topics: those stand apart by blanks.
    wish = ResetWish(group, rule, value if rule in VALUE_HINTS else "", tuple(values["topics"].split()))
    check_wish(wish)
    if rule is not Rule.FILE:
        return wish
    try:
        with open(value, encoding="utf-8") as file:
            return wish._replace(offsets=read_offsets_file(file.read(), group))
    except (OSError, UnicodeDecodeError) as error:
        raise ResetError(f"{value} cannot be read: {error}") from error
