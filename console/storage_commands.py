"""``kconsole storage``: what works on the files of a cluster without any broker. Commands are imported when used."""

from __future__ import annotations

from importlib import import_module

import click

# The command's name: the module and the attribute that it is.
_COMMANDS = {
    "dump-log": ("console.storage_dump", "dump_log"),
    "dump-metadata": ("console.storage_dump", "dump_metadata"),
    "verify": ("console.storage_verify", "verify"),
    "graduate": ("console.storage_graduate", "graduate"),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup)
def storage() -> None:
    """Look into the files of a cluster, and hand them over to Apache Kafka."""
