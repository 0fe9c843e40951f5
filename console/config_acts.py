"""Configs changed: edits are gathered on the screen, checked by the brokers, shown as old and new, and then done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.acts import Need
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.tool_commands import alter_configs_command
from console.viewmodel import text
from console.viewmodel.cells import Span, cell
from console.viewmodel.configs import (
    APPEND,
    DELETE,
    SET,
    SUBTRACT,
    ConfigOf,
    ConfigRow,
    ConfigValue,
    Edit,
    check_edit,
    diff_cells,
    source_words,
    without_tags,
)


class ConfigActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def ask_edit(self, row: ConfigRow, staged: Callable[[Edit], None]) -> None:
        """A form for one config; what it says is kept by the screen until all is done together."""
        if self._acts.refused(Need.WRITE):
            return
        config = row.config
        before = row.edit or Edit(config.name, SET, "" if config.value is None else config.value)
        choices = (SET, DELETE, APPEND, SUBTRACT) if config.kind in ("LIST", "") else (SET, DELETE)
        fields = [
            Field("value", "value", before.value, "", hidden=config.sensitive),
            Field("op", "how", before.op, choices=choices),
        ]

        def edit_of(values: dict[str, str]) -> Edit:
            op = values["op"]
            return Edit(config.name, op, "" if op == DELETE else values["value"].strip())

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                staged(edit_of(values))

        chain = " ← ".join(
            f"{each.value if each.value is not None else 'null'} ({source_words(each.source)})"
            for each in config.synonyms
        )
        about = f"{config.kind.lower()}. " if config.kind else ""
        note = f"{about}{text.clip(without_tags(config.documentation), 300)}"
        note += f"\n{text.clip(chain, 160)}" if chain and not config.sensitive else ""
        form = Form(
            config.name,
            fields,
            yes="Keep",
            check=lambda values: check_edit(config, edit_of(values)),
            note=note.strip() or "a: show all edits, and do them",
        )
        self._app.push_screen(form, submitted)

    def ask_new(self, level: str, staged: Callable[[Edit], None]) -> None:
        """A form for a config that is not listed, by its name."""
        if self._acts.refused(Need.WRITE):
            return
        fields = [
            Field("name", "name", "", "as Kafka calls it"),
            Field("op", "how", SET, choices=(SET, DELETE, APPEND, SUBTRACT)),
            Field("value", "value", ""),
        ]

        def edit_of(values: dict[str, str]) -> Edit:
            return Edit(values["name"].strip(), values["op"], values["value"].strip())

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                staged(edit_of(values))

        form = Form("another config", fields, yes="Keep", check=lambda values: check_edit(None, edit_of(values)))
        self._app.push_screen(form, submitted)

    def apply(self, of: ConfigOf, edits: Sequence[Edit], done: Callable[[], None]) -> None:
        """Have the brokers check all edits, show old and new, and do them after ``y``."""
        if self._acts.refused(Need.WRITE):
            return
        if not edits:
            self._app.flash("nothing is edited: enter edits the selected config", "info")
            return
        self._app.flash(f"configs of {of.words()}: asking the brokers whether they would take it …", "info")

        async def run() -> None:
            administration = self._app.gateway.administration
            try:
                configs = {each.name: each for each in await administration.configs(of)}
                await administration.alter_configs(of, edits, validate_only=True)
            except GatewayError as error:
                self._app.flash(f"configs of {of.words()}: {error}", "offline", seconds=12)
                return
            self._show(of, configs, edits, done)

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def _show(
        self, of: ConfigOf, configs: dict[str, ConfigValue], edits: Sequence[Edit], done: Callable[[], None]
    ) -> None:
        command = alter_configs_command(self._app.gateway.capabilities.bootstrap_servers, of, configs, edits)
        lines = [
            *diff_cells(configs, edits, of.level),
            cell(""),
            cell("The brokers would take it (validateOnly).", "in_sync"),
            (Span(f"$ {command}", "muted"),),
        ]

        async def call() -> str:
            await self._app.gateway.administration.alter_configs(of, edits, validate_only=False)
            return f"{of.words()}: {text.plural(len(edits), 'config')} changed"

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                what = edits[0].name if len(edits) == 1 else text.plural(len(edits), "config")
                self._acts.perform(f"set {what} of {of.words()}", command, call, after=done)

        self._app.flash(f"{text.plural(len(edits), 'config')} of {of.words()}: y does it", "info")
        self._app.push_screen(Preview(f"configs of {of.words()}: do it?", lines), answered)
