"""Programs in jq over what a row is, as JSON: filters, and columns made of fields."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from console.viewmodel.cells import UNKNOWN, Cell, cell, json_tone

MISSING = "jq is not installed here: pip install jq"


class Program:
    """One that compiles. It runs on JSON's types; what fails while it runs has no result, as in ``jq -e``."""

    __slots__ = ("_program", "text")

    def __init__(self, text: str) -> None:
        """Raises: ValueError: it does not compile, in jq's words; jq is not there."""
        try:
            import jq
        except ImportError:
            raise ValueError(MISSING) from None
        self.text = text
        try:
            self._program = jq.compile(text)
        except ValueError as error:
            raise ValueError(_in_short(str(error))) from None

    def results(self, data: Any) -> list[Any]:
        """All results, none where it fails."""
        try:
            found: list[Any] = self._program.input_value(data).all()
        except (ValueError, TypeError):
            return []
        return found

    def holds(self, data: Any) -> bool:
        """Whether some result is neither ``false`` nor ``null``."""
        return any(each is not None and each is not False for each in self.results(data))

    def cell(self, data: Any) -> Cell:
        """The results in one line."""
        found = self.results(data)
        if not found:
            return UNKNOWN
        if len(found) == 1:
            (only,) = found
            return cell(" ".join(only.split()) if isinstance(only, str) else _line(only), json_tone(only))
        return cell(" ".join(map(_line, found)))


@lru_cache(maxsize=64)
def program(text: str) -> Program:
    """The program, compiled once. Raises: ValueError."""
    return Program(text)


def field_title(path: str) -> str:
    """What stands above a column: the last name of a path, or all of it."""
    last = path.rpartition(".")[2].rstrip("?]")
    return (last if last.replace("_", "").replace("-", "").isalnum() else path).upper()


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _in_short(error: str) -> str:
    first = error.removeprefix("jq: error: ").splitlines()[0] if error else "it does not compile"
    return first.split(" at <top-level>")[0]
