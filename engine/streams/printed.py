"""``Printed``: where and how ``KStream.print`` prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from engine.streams.errors import TopologyError
from engine.streams.processors.node import Node, TaskContext
from engine.streams.records import Row


def _plain(key: Any, value: Any) -> str:
    return ", ".join("null" if each is None else str(each) for each in (key, value))


class _Target:
    """A file that the tasks of one process share, emptied by the first; None is standard output."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._mode: Literal["w", "a"] = "w"
        self._users = 0

    def open(self) -> None:
        """One more prints here."""
        self._users += 1
        if self._path is not None and self._file is None:
            try:
                self._file = self._path.open(self._mode, encoding="utf-8")
            except OSError as error:
                raise TopologyError(f"Unable to write stream to file at [{self._path}] {error}") from error
            self._mode = "a"

    def close(self) -> None:
        """One less does."""
        self._users -= 1
        if self._users == 0 and self._file is not None:
            self._file.close()
            self._file = None

    def write(self, lines: str) -> None:
        """Print, at once."""
        file = self._file or sys.stdout
        file.write(lines)
        file.flush()


@dataclass(frozen=True, slots=True)
class Printed:
    """Each record as ``[label]: key, value``. ``label`` None is the name of the stream's node."""

    target: _Target
    label: str | None = None
    mapper: Callable[[Any, Any], str] = _plain
    name: str | None = None

    @staticmethod
    def to_sys_out() -> Printed:
        """To standard output."""
        return Printed(_Target(None))

    @staticmethod
    def to_file(path: str | Path) -> Printed:
        """To a file, which is emptied by the first task of the process.

        Raises:
            TopologyError: the path is empty, or (once a task begins) cannot be written.
        """
        if not str(path).strip():
            raise TopologyError("filePath can't be an empty string")
        return Printed(_Target(Path(path)))

    def with_label(self, label: str) -> Printed:
        """The same with a label."""
        return replace(self, label=label)

    def with_key_value_mapper(self, mapper: Callable[[Any, Any], str]) -> Printed:
        """The same with a function of key and value that says what is printed behind the label."""
        return replace(self, mapper=mapper)

    def with_name(self, name: str) -> Printed:
        """The same with a name for the node."""
        return replace(self, name=name)


class PrintNode(Node):
    """Prints each record; nothing follows (``KStreamPrint``)."""

    __slots__ = ("_label", "_printed")

    def __init__(self, printed: Printed, label: str) -> None:
        super().__init__()
        self._printed = printed
        self._label = label

    def init(self, context: TaskContext) -> None:
        """Open the file."""
        super().init(context)
        self._printed.target.open()

    def close(self) -> None:
        """Close the file, with the last task."""
        self._printed.target.close()

    def process(self, rows: list[Row]) -> None:
        """Print."""
        mapper, label = self._printed.mapper, self._label
        lines: list[str] = []
        for row in rows:
            try:
                lines.append(f"[{label}]: {mapper(row[0], row[1])}\n")
            except Exception as error:
                self.context.failed(self.name, row, error)
        self._printed.target.write("".join(lines))
