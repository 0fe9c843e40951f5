"""Filters that have a name, kept in a file that people may share: ``name: filter`` in YAML."""

from __future__ import annotations

import re
from pathlib import Path

from console.user_files import read_document, user_file, write_document
from console.viewmodel.filters import Filter

_NAME = re.compile(r"[\w.-]+")


class FilterFileError(Exception):
    """The file cannot be read or written, or a name is none; the message says what is wrong and what helps."""


class SavedFilters:
    """Read anew each time: another console may have kept one meanwhile."""

    def __init__(self, path: Path | None) -> None:
        """Without a ``path`` they last as long as the console."""
        self.path = path
        self._known: dict[str, str] = {}

    def all(self) -> dict[str, str]:
        """By name. Raises: FilterFileError."""
        if self.path is None:
            return dict(self._known)
        read = read_document(self.path, FilterFileError)
        if read is None:
            return {}
        if not isinstance(read, dict) or not all(isinstance(each, str) for pair in read.items() for each in pair):
            raise FilterFileError(
                f"{self.path}: lines of the form `name: filter` are needed, in quotes where YAML asks"
            )
        return read

    def keep(self, name: str, text: str) -> None:
        """Keep a filter by a name, or with no ``text`` forget it. Raises: FilterFileError."""
        if not _NAME.fullmatch(name):
            raise FilterFileError(f"{name!r} is no name: letters, digits, '.', '_' and '-' make one")
        known = self.all()
        if text:
            known[name] = text
        elif known.pop(name, None) is None:
            raise FilterFileError(f"there is no filter @{name}, and none is set here that could be kept")
        self._known = known
        if self.path is not None:
            write_document(self.path, dict(sorted(known.items())), FilterFileError)

    def parse(self, text: str) -> Filter:
        """A filter as typed; ``@name`` is one that was kept. Never fails."""
        said = text.strip()
        if not said.startswith("@"):
            return Filter.parse(text)
        try:
            known = self.all()
        except FilterFileError as error:
            return Filter(text=said, error=str(error))
        wanted = known.get(said[1:])
        if wanted is None:
            return Filter(
                text=said,
                error=f"there is no filter {said}: {', '.join(f'@{each}' for each in known) or 'none is kept'}",
            )
        return Filter.parse(wanted)


def user_filters() -> SavedFilters:
    """``kconsole/filters.yaml`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    return SavedFilters(user_file("filters.yaml"))
