"""Options that say how keys and values are read, and what of them is masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from console.values.options import ValueOptions

F = TypeVar("F", bound=Callable[..., Any])

_REGISTRY = click.option(
    "--registry", metavar="URL", help="Schema registry, http(s)://[USER:PASSWORD@]HOST:PORT. Default: of serdes.yaml."
)
_MASKING = click.option(
    "--masking",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Masks, instead of ~/.config/kconsole/masking.yaml.",
)
_WORDS = "string, json, hex, int64, …, avro, avro:FILE.avsc, protobuf:FILE.proto:MESSAGE; see docs/console.md."


def value_options(command: F) -> F:
    """``registry`` and ``masking``."""
    return _REGISTRY(_MASKING(command))


def serde_options(command: F) -> F:
    """The same, and ``key_serde`` and ``value_serde``."""
    command = click.option("--value-serde", metavar="SERDE", help="How values are read.")(command)
    command = click.option("--key-serde", metavar="SERDE", help=f"How keys are read: {_WORDS}")(command)
    return value_options(command)


def values_of(
    registry: str | None, masking: str | None, key_serde: str | None = None, value_serde: str | None = None
) -> ValueOptions:
    """Checked. Raises: click.UsageError."""
    from console.values.registry import RegistryConfig
    from console.values.serde_words import SerdeWord
    from console.values.serdes import SerdeError

    for option, written in (("--key-serde", key_serde), ("--value-serde", value_serde)):
        try:
            if written is not None:
                SerdeWord.parse(written)
        except SerdeError as error:
            raise click.UsageError(f"{option}: {error}") from None
    if registry is not None:
        try:
            RegistryConfig.parse(registry)
        except ValueError as error:
            raise click.UsageError(f"--registry: {error}") from None
    return ValueOptions(registry, key_serde, value_serde, masking_file=masking)
