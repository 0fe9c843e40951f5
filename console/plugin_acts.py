"""Runs the user's own commands: asked first, refused where nothing may be changed, written down with the other acts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING

from console.acts import Need
from console.gateway import GatewayError
from console.modals.confirm import Confirm
from console.modals.detail import Detail
from console.plugins import VARIABLES, Plugin, variables_of
from console.screens.base import View, as_data
from console.viewmodel.cells import cell

if TYPE_CHECKING:
    from console.app import KConsole

# Of what a command prints so much is shown.
_MAX_OUTPUT_BYTES = 256 * 1024


class PluginActs:
    """The commands that there are now, and what becomes of one."""

    def __init__(self, app: KConsole) -> None:
        self._app = app
        self.all: dict[str, Plugin] = {}

    def have(self, plugins: Sequence[Plugin]) -> None:
        """These are there from now on."""
        self.all = {each.name: each for each in plugins}

    def run(self, name: str) -> None:
        """With what is selected on the screen that is shown."""
        app, view, plugin = self._app, self._app.view, self.all.get(name)
        if plugin is None or view is None:
            return
        if plugin.changes and app.acts.refused(Need.WRITE):
            return
        variables = self._variables(view)
        # As people read it; the shell gets the variables themselves, so that no name is ever code.
        shown = Template(plugin.command).safe_substitute(variables)

        def do() -> None:
            if plugin.terminal:
                self._in_the_terminal(plugin, shown, variables)
            else:
                self._beside_the_screen(plugin, shown, variables)

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                do()

        if plugin.ask:
            app.push_screen(Confirm(plugin.label, f"Run {plugin.name}?", "", f"$ {shown}", "Run"), answered)
        else:
            do()

    def _variables(self, view: View) -> dict[str, str]:
        app = self._app
        capabilities = app.gateway.capabilities
        table = view.table
        row = as_data(view.describe_row(table.cursor_row)) if table.cursor_row is not None else None
        context = app.contexts.current
        return {
            # What is not selected is empty, whatever the console's own environment has by that name.
            **dict.fromkeys(VARIABLES, ""),
            "BOOTSTRAP": capabilities.bootstrap_servers,
            "CONTEXT": context.name if context is not None else "",
            "COMMAND_CONFIG": capabilities.command_config,
            "CLUSTER_ID": (app.snapshot.cluster_id if app.snapshot is not None else "") or "",
            **variables_of(view.NAME, view.about, table.cursor_key or "", row),
        }

    def _beside_the_screen(self, plugin: Plugin, shown: str, variables: Mapping[str, str]) -> None:
        app = self._app
        printed: list[str] = []

        async def act() -> str:
            output, code = await _run(plugin.command, variables)
            printed.extend(output.splitlines())
            if code:
                if printed:
                    show()
                raise GatewayError(f"exit code {code}")
            return "exit code 0"

        def show() -> None:
            if printed:
                app.push_screen(Detail(plugin.label, [cell(line) for line in printed]))

        app.acts.perform(plugin.label, shown, act, after=show, as_typed=True)

    def _in_the_terminal(self, plugin: Plugin, shown: str, variables: Mapping[str, str]) -> None:
        from textual.app import SuspendNotSupported

        app = self._app

        async def act() -> str:
            try:
                with app.suspend():
                    code = _in_front(plugin.command, variables)
            except SuspendNotSupported:
                raise GatewayError("it needs a terminal of its own, which a browser has not") from None
            except OSError as error:
                raise GatewayError(f"no shell: {error.strerror}") from None
            if code:
                raise GatewayError(f"exit code {code}")
            return "exit code 0"

        app.acts.perform(plugin.label, shown, act, as_typed=True)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    # NUL cannot stand in an environment; keys of records may have it.
    return {**os.environ, **{name: value.replace("\0", "") for name, value in variables.items()}}


def _in_front(command: str, variables: Mapping[str, str]) -> int:
    """Has the terminal until it ends; its exit code."""
    return subprocess.run(["/bin/sh", "-c", command], env=_environment(variables)).returncode


async def _run(command: str, variables: Mapping[str, str]) -> tuple[str, int]:
    """What it printed, and its exit code. Ends with the console, with all that it started."""
    try:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(variables),
            start_new_session=True,
        )
    except OSError as error:
        raise GatewayError(f"no shell: {error.strerror}") from None
    assert process.stdout is not None
    kept = bytearray()
    try:
        while part := await process.stdout.read(65_536):
            kept += part[: max(0, _MAX_OUTPUT_BYTES - len(kept))]
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    more = "\n… (there was more)" if len(kept) == _MAX_OUTPUT_BYTES else ""
    return kept.decode(errors="replace") + more, code
