"""What ``/`` understands: a regular expression, ``!`` the inverse, ``-f`` fuzzy, ``-l column=value`` one column, ``-j
program`` in jq over the row as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from console.viewmodel.jq_programs import Program, program
from console.viewmodel.text import UNKNOWN_TEXT


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as typed. ``error`` says why a regular expression is none, which is then taken as plain text, or why a
    program does not compile, which then hides nothing."""

    text: str = ""
    pattern: re.Pattern[str] | None = None
    inverse: bool = False
    fuzzy: str = ""
    column: str = ""
    wanted: str = ""
    program: Program | None = None
    error: str = ""

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Never fails."""
        stripped = text.strip()
        if not stripped:
            return cls()
        if stripped == "-f" or stripped.startswith("-f "):
            return cls(text=stripped, fuzzy=stripped[2:].strip().lower())
        if stripped.startswith("-l ") and "=" in stripped:
            column, _, wanted = stripped[3:].partition("=")
            return cls(text=stripped, column=column.strip().lower(), wanted=wanted.strip().lower())
        if stripped == "-j" or stripped.startswith("-j "):
            body = stripped[2:].strip()
            try:
                return cls(text=stripped, program=program(body) if body else None)
            except ValueError as problem:
                return cls(text=stripped, error=f"jq: {problem}")
        inverse = stripped.startswith("!")
        body = stripped[1:] if inverse else stripped
        if not body:
            return cls(text=stripped)
        error = ""
        try:
            pattern = re.compile(body, re.IGNORECASE)
        except re.error as problem:
            error = f"no regular expression ({problem}): taken as plain text"
            pattern = re.compile(re.escape(body), re.IGNORECASE)
        return cls(text=stripped, pattern=pattern, inverse=inverse, error=error)

    @property
    def is_active(self) -> bool:
        """Whether it can hide anything."""
        return self.pattern is not None or bool(self.fuzzy) or bool(self.column) or self.program is not None

    def matches(
        self,
        text: str,
        value_of: Callable[[str], str] | None = None,
        data_of: Callable[[], Any] | None = None,
    ) -> bool:
        """Whether a row shows.

        Args:
            text: all that the row says.
            value_of: text of one column, by the beginning of its name.
            data_of: the row for a program, in JSON's types.
        """
        if self.program is not None:
            return data_of is not None and self.program.holds(data_of())
        if self.column:
            return value_of is not None and self.wanted in value_of(self.column).lower()
        if self.fuzzy:
            return is_subsequence(self.fuzzy, text.lower())
        if self.pattern is None:
            return True
        return (self.pattern.search(text) is None) == self.inverse

    def __str__(self) -> str:
        return self.text or UNKNOWN_TEXT


def is_subsequence(wanted: str, text: str) -> bool:
    """Whether all characters of ``wanted`` occur in ``text`` in that order, blanks aside."""
    at = 0
    for character in wanted:
        if character == " ":
            continue
        at = text.find(character, at) + 1
        if at == 0:
            return False
    return True
