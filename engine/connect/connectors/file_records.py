"""Records in a file's bytes: lines, or lines that belong together, each with where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Record(NamedTuple):
    """A record's text, and the position in bytes behind it."""

    text: str
    end: int


class RecordReader:
    """Takes blocks as they come; what is not whole yet is held back.

    ``pattern`` matches the beginning of lines that begin a record; None: each line is one. What is longer than ``most``
    bytes is cut there.
    """

    def __init__(self, position: int, *, encoding: str, pattern: re.Pattern[str] | None, most: int) -> None:
        self._encoding = encoding
        self._pattern = pattern
        self._newline = "\n".encode(encoding)
        self._unit = len(self._newline)
        self._most = max(most // self._unit * self._unit, self._unit)
        self._rest = bytearray()
        self._rest_at = position
        self._lines: list[str] = []
        self._lines_bytes = 0
        self._lines_end = position

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._rest or self._lines)

    def feed(self, block: bytes) -> Iterator[Record]:
        """Records that are whole now."""
        self._rest += block
        at = 0
        while True:
            end = self._find_newline(at)
            if end < 0:
                if len(self._rest) - at < self._most:
                    break
                end = self._cut(at)
                skipped = 0
            else:
                skipped = self._unit
            yield from self._line(bytes(self._rest[at:end]), self._rest_at + end + skipped)
            at = end + skipped
        del self._rest[:at]
        self._rest_at += at

    def _find_newline(self, at: int) -> int:
        """Of the newline behind ``at`` that is not farther than a record may be long; -1 if there is none."""
        until = at + self._most + self._unit
        found = self._rest.find(self._newline, at, until)
        while found >= 0 and (found - at) % self._unit:
            found = self._rest.find(self._newline, found + 1, until)
        return found

    def _cut(self, at: int) -> int:
        end = at + self._most
        if self._encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            for back in range(3):  # not within a character
                if end < len(self._rest) and self._rest[end - back] & 0xC0 != 0x80:
                    return end - back
        return end

    def _line(self, raw: bytes, end: int) -> Iterator[Record]:
        text = raw.decode(self._encoding, "replace")
        if end - len(raw) <= self._unit:  # the first line
            text = text.removeprefix("\ufeff")
        if text.endswith("\r"):
            text = text[:-1]
        if self._pattern is None:
            yield Record(text, end)
            return
        begins = self._pattern.match(text) is not None
        if self._lines and (begins or self._lines_bytes + len(raw) > self._most):
            yield self._joined()
        self._lines.append(text)
        self._lines_bytes += len(raw)
        self._lines_end = end

    def _joined(self) -> Record:
        record = Record("\n".join(self._lines), self._lines_end)
        self._lines, self._lines_bytes = [], 0
        return record

    def pause(self) -> Iterator[Record]:
        """The file has not grown for a while: the lines that are there are a record."""
        if self._lines:
            yield self._joined()

    def end(self) -> Iterator[Record]:
        """The file will not grow: what is there is all, a last line without an end too."""
        if self._rest:
            end = self._rest_at + len(self._rest)
            yield from self._line(bytes(self._rest), end)
            self._rest.clear()
            self._rest_at = end
        yield from self.pause()
