"""Keeps pytest from rewriting the engine.

pytest rewrites the assertions of every package that comes with a plugin, which is meant for helpers with assertions of
their own about tests. The brokers' assertions are on their hot paths and are not for the test's reader: rewritten, the
engine takes a second to import instead of a fifth, and runs slower.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PACKAGES = frozenset(("engine", "console", "themes"))


class _AsWritten:
    """Finds this distribution's modules before pytest's import hook does."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if name.partition(".")[0] not in _PACKAGES:
            return None
        return PathFinder.find_spec(name, path, target)


def import_as_written() -> None:
    """From now on this distribution's modules are imported as they are written, in a process that runs pytest."""
    if "_pytest" in sys.modules and _AsWritten not in sys.meta_path:
        sys.meta_path.insert(0, _AsWritten)
