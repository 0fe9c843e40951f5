"""Libraries that only some connectors need: what to install when one is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.connect.errors import ConnectError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Imports inside are of libraries that ``kconsole[extra]`` brings.

    Raises:
        ConnectError: one is not installed; says how to.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name.partition(".")[0] if error.name else str(error)
        raise ConnectError(f"{missing} is not installed: pip install 'kconsole[{extra}]'") from error
