"""Acts on connectors of Kafka Connect: their states, configs, offsets and dead letters."""

from __future__ import annotations

import json
import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from console.acts import Need
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.viewmodel import text
from console.viewmodel.connector_forms import config_of, errors_of, offset_of, template_of, text_of
from console.viewmodel.connectors import ConnectorRow, OffsetRow

After = Callable[[], None]
_CONFIG_LINES = 11
_SHOWN_ERRORS = 4
_DOING = {"pause": "pausing", "resume": "resuming", "stop": "stopping"}
_DONE = {"pause": "is to pause", "resume": "is to run", "stop": "is to stop"}


def _sh(*words: str) -> str:
    return " ".join(["kconsole connect", *map(shlex.quote, words)])


class ConnectActs(ActsPart):
    """Part of :class:`console.actions.Acts`. ``after`` reads the screen again."""

    def _connect(self, group: str, method: str, *path: str, body: Any = None, **query: str) -> Awaitable[Any]:
        return self._app.gateway.connect.ask(group, method, ("connectors", *path), body, query)

    # -- states ---------------------------------------------------------------------------------------------------

    def set_target(self, row: ConnectorRow, what: str, after: After) -> None:
        """pause, resume, stop."""
        if self._acts.refused(Need.WRITE):
            return
        name, command = row.told.name, _sh(what, row.told.name)

        async def call() -> str:
            await self._connect(row.group, "PUT", name, what)
            return f"{name} {_DONE[what]}"

        consequence = {
            "stop": "Its tasks end; offsets can be edited then. Resume has it run again.",
            "pause": "Its tasks stay and do nothing. Resume has it run again.",
        }.get(what, "")

        def do() -> None:
            self._acts.perform(f"{what} {name}", command, call, doing=f"{_DOING[what]} {name}", after=after)

        self._acts.asking(what, f"{what.capitalize()} {name}?", consequence, command, what.capitalize(), do)

    def restart(self, row: ConnectorRow, after: After) -> None:
        """What has failed, or all of it if nothing has."""
        if self._acts.refused(Need.WRITE):
            return
        told = row.told
        failed = told.state == "FAILED" or told.failed > 0
        options = ("--tasks", "--only-failed") if failed else ("--tasks",)
        command = _sh("restart", told.name, *options)

        async def call() -> str:
            await self._connect(
                row.group, "POST", told.name, "restart", includeTasks="true", onlyFailed=str(failed).lower()
            )
            return f"{told.name}: {'what had failed' if failed else 'all of it'} restarts"

        what = "what has failed of" if failed else "all of"
        self._acts.asking(
            "restart",
            f"Restart {what} {told.name}?",
            "Tasks begin again at their last committed offsets.",
            command,
            "Restart",
            lambda: self._acts.perform(
                f"restart {told.name}", command, call, doing=f"restarting {told.name}", after=after
            ),
        )

    def restart_task(self, row: ConnectorRow, task: int, after: After) -> None:
        """One task."""
        if self._acts.refused(Need.WRITE):
            return
        name, command = row.told.name, _sh("restart", row.told.name, "--task", str(task))

        async def call() -> str:
            await self._connect(row.group, "POST", name, "tasks", str(task), "restart")
            return f"task {task} of {name} restarts"

        self._acts.asking(
            "restart",
            f"Restart task {task} of {name}?",
            "It begins again at its last committed offsets.",
            command,
            "Restart",
            lambda: self._acts.perform(f"restart task {task} of {name}", command, call, after=after),
        )

    def delete(self, row: ConnectorRow, after: After) -> None:
        """Always asks."""
        if self._acts.refused(Need.WRITE):
            return
        name, command = row.told.name, _sh("delete", row.told.name)

        async def call() -> str:
            await self._connect(row.group, "DELETE", name)
            return f"{name} deleted"

        number = len(row.told.tasks)
        tasks = {0: "Its", 1: "Its task ends, and its"}.get(number, f"Its {number} tasks end, and its")
        self._acts.asking(
            "delete",
            f"Delete the connector {name}?",
            f"{tasks} config is gone; its topics and offsets stay.",
            command,
            "Delete",
            lambda: self._acts.perform(f"delete {name}", command, call, doing=f"deleting {name}", after=after),
        )

    # -- configs --------------------------------------------------------------------------------------------------

    def ask_new(self, after: After) -> None:
        """Which plug-in; then its template; until validation finds nothing wrong."""
        if self._acts.refused(Need.WRITE):
            return

        async def look() -> None:
            try:
                gateway = self._app.gateway.connect
                groups = await gateway.groups()
                found = await gateway.ask(groups[0], "GET", ("connector-plugins",)) if groups else []
            except GatewayError as error:
                self._app.flash(str(error), "offline")
                return
            classes = tuple(str(each["class"]) for each in found)
            if not classes:
                self._app.flash("no worker tells of plug-ins", "offline")
                return
            self._ask_class(list(groups), classes, after)

        self._app.run_worker(look, group="connect", exclusive=True, exit_on_error=False)

    def _ask_class(self, groups: list[str], classes: tuple[str, ...], after: After) -> None:
        short = {each.rpartition(".")[2].removesuffix("Connector"): each for each in classes}
        fields = [Field("class", "connector", next(iter(short)), choices=tuple(short))]
        if len(groups) > 1:
            fields.append(Field("group", "workers", groups[0], choices=tuple(groups)))

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            group, kind = values.get("group", groups[0]), short[values["class"]]

            async def look() -> None:
                try:
                    keys = await self._app.gateway.connect.ask(group, "GET", ("connector-plugins", kind, "config"))
                except GatewayError as error:
                    self._app.flash(str(error), "offline")
                    return
                self._ask_config(group, template_of(kind, keys), None, "", after)

            self._app.run_worker(look, group="connect", exclusive=True, exit_on_error=False)

        note = "What it needs and can be told stands in the next form."
        self._app.push_screen(Form("a new connector", fields, yes="Next", note=note), submitted)

    def ask_edit(self, row: ConnectorRow, after: After) -> None:
        """Its config as lines; secrets are hidden, and stay unless another value is typed."""
        if not self._acts.refused(Need.WRITE):
            self._ask_config(row.group, text_of(row.told.config), row.told.config, "", after)

    def _ask_config(
        self, group: str, written: str, before: Mapping[str, str] | None, problems: str, after: After
    ) -> None:
        def check(values: dict[str, str]) -> str:
            try:
                config = config_of(values["config"], before)
            except ValueError as error:
                return str(error)
            if not config.get("name"):
                return "name: the connector needs one"
            if before is not None and config["name"] != before.get("name", config["name"]):
                return f"name: it is {before['name']}; another name is another connector"
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                config = config_of(values["config"], before)
                self._validate(group, values["config"], config, before, after)

        name = "a new connector" if before is None else str(before.get("name", "connector"))
        note = problems or "Lines name=value, or JSON; # begins a comment. The workers validate it first."
        fields = [Field("config", "config", written, lines=_CONFIG_LINES)]
        yes = "Create" if before is None else "Change"
        self._app.push_screen(Form(name, fields, yes=yes, check=check, note=note), submitted)

    def _validate(
        self, group: str, written: str, config: dict[str, str], before: Mapping[str, str] | None, after: After
    ) -> None:
        async def look() -> None:
            kind = config.get("connector.class", "").strip() or "none"
            path = ("connector-plugins", kind, "config", "validate")
            try:
                errors = errors_of(await self._app.gateway.connect.ask(group, "PUT", path, config))
            except GatewayError as error:
                errors = [str(error)]
            if errors:
                shown = [text.clip(each, 300) for each in errors[:_SHOWN_ERRORS]]
                more = [f"and {len(errors) - _SHOWN_ERRORS} more"] if len(errors) > _SHOWN_ERRORS else []
                self._ask_config(group, written, before, "\n".join(f"! {each}" for each in [*shown, *more]), after)
                return
            self._put(group, config, before, after)

        self._app.run_worker(look, group="connect", exclusive=True, exit_on_error=False)

    def _put(self, group: str, config: dict[str, str], before: Mapping[str, str] | None, after: After) -> None:
        name = config["name"]
        if before is not None and config == dict(before):
            self._app.flash("nothing was changed", "info")
            return

        async def call() -> str:
            if before is None:
                await self._connect(group, "POST", body={"name": name, "config": config})
                return f"{name} created"
            await self._connect(group, "PUT", name, "config", body=config)
            return f"{name} changed"

        act = "create" if before is None else "change"
        self._acts.perform(f"{act} {name}", _sh("apply", f"{name}.properties"), call, after=after)

    # -- offsets --------------------------------------------------------------------------------------------------

    def ask_offset(self, group: str, name: str, row: OffsetRow, after: After) -> None:
        """Another offset for one partition."""
        if self._acts.refused(Need.WRITE):
            return
        now = json.dumps(row.offset, ensure_ascii=False)

        def check(values: dict[str, str]) -> str:
            try:
                offset_of(values["offset"], row.offset)
            except ValueError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            offset = offset_of(values["offset"], row.offset)
            body = {"offsets": [{"partition": dict(row.partition), "offset": offset}]}

            async def call() -> str:
                told = await self._connect(group, "PATCH", name, "offsets", body=body)
                return str(told["message"])

            command = _sh("offsets", "set", name, "--partition", row.key, "--offset", json.dumps(offset))
            self._acts.perform(f"offset of {name}", command, call, after=after)

        note = f"Of {row.key}. Null forgets it. The connector has to be stopped."
        self._app.push_screen(
            Form(f"offset of {name}", [Field("offset", "offset", now)], yes="Set", check=check, note=note), submitted
        )

    def reset_offsets(self, group: str, name: str, after: After) -> None:
        """Always asks."""
        if self._acts.refused(Need.WRITE):
            return
        command = _sh("offsets", "reset", name)

        async def call() -> str:
            return str((await self._connect(group, "DELETE", name, "offsets"))["message"])

        self._acts.asking(
            "delete",
            f"Forget all offsets of {name}?",
            "It begins anew when it runs again. It has to be stopped.",
            command,
            "Forget",
            lambda: self._acts.perform(f"reset offsets of {name}", command, call, after=after),
        )

    # -- dead letters -----------------------------------------------------------------------------------------------

    def redrive(self, row: ConnectorRow) -> None:
        """What the sink could not handle goes back to where it came from: a form, a count, then the act."""
        if not row.dead_letters:
            self._app.flash(f"{row.told.name} has no dead-letter topic", "under_replicated")
            return
        self._acts.redriving.ask(row.dead_letters)
