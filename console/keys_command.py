"""``kconsole keys``: all keys as they are, in the form of keys.yaml."""

from __future__ import annotations

import click

from console.supervisor_calls import USAGE, fail


@click.command(
    epilog="""\b
Examples:
  kconsole keys | less
  kconsole keys | grep -A99 '^cluster:' | grep kill"""
)
def keys() -> None:
    """Print all keys, by screen and action, as ~/.config/kconsole/keys.yaml has them: lines of it may be kept there.

    What differs from kconsole's own is marked. The exit code is 2 if the file is wrong, with what clashes in it.
    """
    from console.own_keys import KeyFileError, as_yaml, user_keys

    try:
        own = user_keys().read()
    except KeyFileError as error:
        fail(str(error), USAGE)
    for line in as_yaml(own):
        click.echo(line)
