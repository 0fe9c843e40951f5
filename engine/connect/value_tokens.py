"""A value's text in pieces (``org.apache.kafka.connect.data.Values.Parser``)."""

from __future__ import annotations

BLANKS = "".join(map(chr, range(33)))
"""What Java's ``trim`` takes away."""

_DELIMITERS = frozenset(':,{}[]"')


class Tokens:
    """``Values.Parser``: delimiters and what is between them; a backslash takes a delimiter's meaning."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.previous: str | None = None
        self._at = 0
        self._next: str | None = None

    def mark(self) -> int:
        return self._at - len(self._next or "")

    def rewind(self, position: int) -> None:
        self._at, self._next, self.previous = position, None, None

    def has_next(self) -> bool:
        return self._next is not None or self._at < len(self.text)

    def next(self) -> str:
        self.previous = self._read() if self._next is None else self._next
        self._next = None
        return self.previous

    def next_several(self, count: int) -> str | None:
        """So many together; none at all if there are fewer."""
        start = self.mark()
        for _ in range(count):
            if not self.has_next():
                self.rewind(start)
                return None
            self.next()
        return self.text[start : self._at]

    def take(self, wanted: str) -> bool:
        """Whether this comes next, blanks aside; if so it is passed."""
        if self._next is None:
            if not self.has_next():
                return False
            self._next = self._read()
        while not self._next.strip(BLANKS) and self._at < len(self.text):
            self._next = self._read()
        if self._next.strip(BLANKS) != wanted:
            return False
        self._next = None
        return True

    def _read(self) -> str:
        start, escaped = self._at, False
        while self._at < len(self.text):
            char = self.text[self._at]
            if char == "\\":
                escaped = not escaped
            elif char in _DELIMITERS and not escaped:
                if start == self._at:
                    self._at += 1
                break
            else:
                escaped = False
            self._at += 1
        return self.text[start : self._at]
