"""Textual's driver of a terminal, for one that may be closed while something is written to it.

Textual's writer thread ends with the first write that fails. Its queue then fills, and whoever puts more into it waits
for ever: the console would neither hear that its terminal is gone nor end. Here what nobody can see is dropped.
"""

from __future__ import annotations

import contextlib
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver


class _Lossy:
    """A file whose writes never fail."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TerminalDriver(LinuxDriver):
    """A closed terminal is no reason to hang; SIGHUP comes with it and ends the console in order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = _Lossy(self._file)  # type: ignore[assignment]
