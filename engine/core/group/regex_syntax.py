"""RE2's syntax of regular expressions, read into a tree (github.com/google/re2/wiki/Syntax).

That is the syntax of ``subscribed_topic_regex`` (KIP-848; Kafka reads it with RE2/J): no look-around and no
back-references, so that matching takes linear time. Groups do not capture here: the question is only whether a whole
topic name matches. Of the scripts in ``\\p{...}`` Latin and Common are known, the only ones that topic names are of.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

MAX_REPEAT = 1000
MAX_DEPTH = 100
_MAX_CODE_POINT = 0x10FFFF


class RegexSyntaxError(Exception):
    """The expression is wrong; the text says what is, in RE2's words."""


class Assertion(Enum):
    """What holds between two characters."""

    TEXT_START = auto()
    TEXT_END = auto()
    LINE_START = auto()
    LINE_END = auto()
    WORD_BOUNDARY = auto()
    NO_WORD_BOUNDARY = auto()


CharTest: TypeAlias = Callable[[str], bool]


class Char(NamedTuple):
    """One character that passes the test."""

    test: CharTest


class Cat(NamedTuple):
    """One after the other."""

    parts: tuple[Node, ...]


class Alt(NamedTuple):
    """One of several."""

    parts: tuple[Node, ...]


class Repeat(NamedTuple):
    """At least ``low`` times, at most ``high`` (None: any number)."""

    part: Node
    low: int
    high: int | None


class Assert(NamedTuple):
    """No character, but something that holds."""

    what: Assertion


Node: TypeAlias = Char | Cat | Alt | Repeat | Assert
EMPTY = Cat(())


class _Ranges:
    """A set of characters: ranges and tests, perhaps turned round, perhaps in any case."""

    __slots__ = ("fold", "negated", "ranges", "tests")

    def __init__(self, fold: bool) -> None:
        self.fold = fold
        self.negated = False
        self.ranges: list[tuple[int, int]] = []
        self.tests: list[CharTest] = []

    def add(self, low: int, high: int) -> None:
        self.ranges.append((low, high))

    def __call__(self, char: str) -> bool:
        found = self._has(char)
        if not found and self.fold:
            found = any(len(other) == 1 and self._has(other) for other in (char.lower(), char.upper()))
        return found != self.negated

    def _has(self, char: str) -> bool:
        point = ord(char)
        return any(low <= point <= high for low, high in self.ranges) or any(test(char) for test in self.tests)


def _between(*ranges: tuple[str, str]) -> CharTest:
    return lambda char: any(low <= char <= high for low, high in ranges)


def _not(test: CharTest) -> CharTest:
    return lambda char: not test(char)


_DIGIT = _between(("0", "9"))
_WORD = _between(("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACE = _between(("\t", "\n"), ("\f", "\r"), (" ", " "))
_PERL_CLASSES = {
    "d": _DIGIT,
    "D": _not(_DIGIT),
    "w": _WORD,
    "W": _not(_WORD),
    "s": _SPACE,
    "S": _not(_SPACE),
}
_POSIX_CLASSES = {
    "alnum": _between(("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": _between(("A", "Z"), ("a", "z")),
    "ascii": _between(("\0", "\x7f")),
    "blank": _between(("\t", "\t"), (" ", " ")),
    "cntrl": _between(("\0", "\x1f"), ("\x7f", "\x7f")),
    "digit": _DIGIT,
    "graph": _between(("!", "~")),
    "lower": _between(("a", "z")),
    "print": _between((" ", "~")),
    "punct": _between(("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": _between(("\t", "\r"), (" ", " ")),
    "upper": _between(("A", "Z")),
    "word": _WORD,
    "xdigit": _between(("0", "9"), ("A", "F"), ("a", "f")),
}
# General categories of Unicode, one letter for all of its kind.
_CATEGORIES = {"C": "cfos", "L": "lmotu", "M": "cen", "N": "dlo", "P": "cdefios", "S": "ckmo", "Z": "lps"}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = "01234567"
_HEX = "0123456789abcdefABCDEF"


class _Flags(NamedTuple):
    fold: bool = False
    multi_line: bool = False
    dot_all: bool = False


def parse_regex(text: str) -> Node:
    """The tree of an expression. Raises: RegexSyntaxError."""
    parser = _Parser(text)
    node = parser.alternation(_Flags(), 0)
    if parser.position < len(text):
        raise RegexSyntaxError(f"unexpected ): `{text}`")
    return node


class _Parser:
    """Recursive descent, a level a group."""

    __slots__ = ("group_names", "position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.group_names: set[str] = set()

    # -- structure ----------------------------------------------------------------------------------------------

    def alternation(self, flags: _Flags, depth: int) -> Node:
        """All up to the end or to the closing parenthesis of this group."""
        if depth > MAX_DEPTH:
            raise RegexSyntaxError("expression nests too deeply")
        text = self.text
        branches: list[Node] = []
        items: list[Node] = []
        last_repeat = -1
        while self.position < len(text) and text[self.position] != ")":
            start = self.position
            char = text[start]
            repeat = -1
            if char == "|":
                self.position += 1
                branches.append(_cat(items))
                items = []
            elif char == "(":
                if text.startswith("(?", start) and not self._is_named_group(start):
                    flags, node = self._flags(flags, depth)
                    if node is not None:
                        items.append(node)
                else:
                    items.append(self._group(flags, depth))
            elif (counts := self._repetition()) is not None:
                if not items:
                    raise RegexSyntaxError(f"missing argument to repetition operator: `{text[start : self.position]}`")
                if self._peek() == "?":
                    self.position += 1  # lazy: no difference for a whole match
                if last_repeat >= 0:
                    raise RegexSyntaxError(f"invalid nested repetition operator: `{text[last_repeat : self.position]}`")
                items[-1] = Repeat(items[-1], *counts)
                repeat = start
            elif text.startswith("\\Q", start):
                items += self._quoted(flags)
            else:
                items.append(self._single(flags))
            last_repeat = repeat
        branches.append(_cat(items))
        return branches[0] if len(branches) == 1 else Alt(tuple(branches))

    def _group(self, flags: _Flags, depth: int) -> Node:
        start = self.position
        self.position += 1
        if self.text.startswith("?", self.position):
            self._group_name(start)
        node = self.alternation(flags, depth + 1)
        self._close()
        return node

    def _close(self) -> None:
        if self.position == len(self.text):
            raise RegexSyntaxError(f"missing closing ): `{self.text}`")
        self.position += 1

    def _is_named_group(self, start: int) -> bool:
        text = self.text
        return text.startswith("(?P<", start) or (
            text.startswith("(?<", start) and text[start + 3 : start + 4] not in ("=", "!")
        )

    def _group_name(self, start: int) -> None:
        begin = self.text.index("<", start) + 1
        end = self.text.find(">", begin)
        name = self.text[begin:end]
        if end < 0 or not name or not all(_WORD(char) for char in name):
            raise RegexSyntaxError(f"invalid named capture: `{self.text[start : end + 1 or None]}`")
        if name in self.group_names:
            raise RegexSyntaxError(f"duplicate capture group name: `{name}`")
        self.group_names.add(name)
        self.position = end + 1

    def _flags(self, flags: _Flags, depth: int) -> tuple[_Flags, Node | None]:
        """``(?flags)`` for the rest of the group, or ``(?flags:re)`` for a group that does not capture."""
        start = self.position
        self.position += 2
        wanted = {"i": flags.fold, "m": flags.multi_line, "s": flags.dot_all, "U": False}
        value, named = True, False
        while self.position < len(self.text):
            char = self.text[self.position]
            self.position += 1
            if char in wanted:
                wanted[char] = value
                named = True
            elif char == "-" and value:
                value, named = False, False
            elif char in ":)" and (value or named):
                changed = _Flags(wanted["i"], wanted["m"], wanted["s"])
                if char == ")":
                    return changed, None
                node = self.alternation(changed, depth + 1)
                self._close()
                return flags, node
            else:
                break
        raise RegexSyntaxError(f"invalid or unsupported Perl syntax: `{self.text[start : self.position]}`")

    def _repetition(self) -> tuple[int, int | None] | None:
        """Read ``*``, ``+``, ``?``, ``{n}``, ``{n,}`` or ``{n,m}``; None, and nothing read, if there is none."""
        start = self.position
        char = self.text[start]
        if char in "*+?":
            self.position += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if char != "{":
            return None
        end = self.text.find("}", start)
        low_text, comma, high_text = self.text[start + 1 : max(end, start + 1)].partition(",")
        if not _is_count(low_text) or (high_text and not _is_count(high_text)):
            return None  # an ordinary brace
        self.position = end + 1
        # A long number is too large, whatever it is.
        low = int(low_text[:9])
        high = low if not comma else int(high_text[:9]) if high_text else None
        if low > MAX_REPEAT or (high is not None and (high > MAX_REPEAT or low > high)):
            raise RegexSyntaxError(f"invalid repeat count: `{self.text[start : self.position]}`")
        return low, high

    # -- characters ---------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _single(self, flags: _Flags) -> Node:
        char = self.text[self.position]
        if char == "[":
            return Char(self._char_class(flags))
        if char == "\\":
            return self._escaped(flags)
        self.position += 1
        if char == ".":
            return Char((lambda _: True) if flags.dot_all else (lambda each: each != "\n"))
        if char == "^":
            return Assert(Assertion.LINE_START if flags.multi_line else Assertion.TEXT_START)
        if char == "$":
            return Assert(Assertion.LINE_END if flags.multi_line else Assertion.TEXT_END)
        return _literal(char, flags)

    def _quoted(self, flags: _Flags) -> list[Node]:
        begin = self.position + 2
        end = self.text.find("\\E", begin)
        quoted = self.text[begin:] if end < 0 else self.text[begin:end]
        self.position = len(self.text) if end < 0 else end + 2
        return [_literal(char, flags) for char in quoted]

    def _escaped(self, flags: _Flags) -> Node:
        assertions = {
            "A": Assertion.TEXT_START,
            "z": Assertion.TEXT_END,
            "b": Assertion.WORD_BOUNDARY,
            "B": Assertion.NO_WORD_BOUNDARY,
        }
        kind = self.text[self.position + 1 : self.position + 2]
        if kind in assertions:
            self.position += 2
            return Assert(assertions[kind])
        test = self._class_escape(flags)
        return Char(test) if test is not None else _literal(self._escaped_char(), flags)

    def _class_escape(self, flags: _Flags) -> CharTest | None:
        """``\\d`` and its like, ``\\p{...}``; None, and nothing read, if it is none of these."""
        kind = self.text[self.position + 1 : self.position + 2]
        if kind in _PERL_CLASSES and kind:
            self.position += 2
            return _PERL_CLASSES[kind]
        if kind in ("p", "P"):
            return self._property(flags)
        return None

    def _property(self, flags: _Flags) -> CharTest:
        start = self.position
        negated = self.text[start + 1] == "P"
        self.position += 2
        name = self._peek()
        self.position += 1
        if name == "{":
            end = self.text.find("}", self.position)
            name = self.text[self.position : end] if end >= 0 else ""
            self.position = end + 1 if end >= 0 else len(self.text)
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        if name == "Any":
            test: CharTest = lambda _: True  # noqa: E731
        elif name[:1] in _CATEGORIES and (name[1:] == "" or (len(name) == 2 and name[1] in _CATEGORIES[name[0]])):
            wanted = name
            test = lambda char: unicodedata.category(char).startswith(wanted)  # noqa: E731
        elif name == "Latin":
            test = lambda char: char.isalpha() and unicodedata.name(char, "").startswith("LATIN")  # noqa: E731
        elif name == "Common":
            test = lambda char: not char.isalpha()  # noqa: E731
        else:
            raise RegexSyntaxError(f"invalid character class range: `{self.text[start : self.position]}`")
        ranges = _Ranges(flags.fold)
        ranges.tests.append(test)
        ranges.negated = negated
        return ranges

    def _escaped_char(self) -> str:
        """The character that an escape stands for."""
        text, start = self.text, self.position
        if start + 1 == len(text):
            raise RegexSyntaxError("trailing backslash at end of expression: ``")
        kind = text[start + 1]
        self.position += 2
        if kind in _OCTAL and (kind == "0" or self._peek() in tuple(_OCTAL)):
            digits = kind
            while len(digits) < 3 and self._peek() in tuple(_OCTAL):
                digits += self._peek()
                self.position += 1
            return chr(int(digits, 8))
        if kind == "x":
            digits = text[self.position : self.position + 2]
            if digits.startswith("{"):
                end = text.find("}", self.position)
                digits = text[self.position + 1 : end] if end >= 0 else ""
                self.position = end + 1
            else:
                self.position += 2
                digits = digits if len(digits) == 2 else ""
            point = int(digits, 16) if digits and all(each in _HEX for each in digits) else -1
            if 0 <= point <= _MAX_CODE_POINT:
                return chr(point)
        elif kind in _CONTROLS:
            return _CONTROLS[kind]
        elif kind.isascii() and not kind.isalnum():
            return kind
        raise RegexSyntaxError(f"invalid escape sequence: `{text[start : max(self.position, start + 2)]}`")

    def _char_class(self, flags: _Flags) -> CharTest:
        text, start = self.text, self.position
        self.position += 1
        ranges = _Ranges(flags.fold)
        if self._peek() == "^":
            ranges.negated = True
            self.position += 1
        first = True
        while first or self._peek() != "]":
            if self.position >= len(text):
                raise RegexSyntaxError(f"missing closing ]: `{text[start:]}`")
            first = False
            if text.startswith("[:", self.position) and (end := text.find(":]", self.position + 2)) >= 0:
                name = text[self.position + 2 : end]
                test = _POSIX_CLASSES.get(name.removeprefix("^"))
                if test is None:
                    raise RegexSyntaxError(f"invalid character class range: `{text[self.position : end + 2]}`")
                ranges.tests.append(_not(test) if name.startswith("^") else test)
                self.position = end + 2
                continue
            if self._peek() == "\\" and (escape := self._class_escape(flags)) is not None:
                ranges.tests.append(escape)
                continue
            self._range(ranges, start)
        self.position += 1
        return ranges

    def _range(self, ranges: _Ranges, class_start: int) -> None:
        begin = self.position
        low = high = self._class_char(class_start)
        if self._peek() == "-" and self.text[self.position + 1 : self.position + 2] not in ("]", ""):
            self.position += 1
            high = self._class_char(class_start)
            if high < low:
                raise RegexSyntaxError(f"invalid character class range: `{self.text[begin : self.position]}`")
        ranges.add(ord(low), ord(high))

    def _class_char(self, class_start: int) -> str:
        if self.position >= len(self.text):
            raise RegexSyntaxError(f"missing closing ]: `{self.text[class_start:]}`")
        char = self.text[self.position]
        if char == "\\":
            return self._escaped_char()
        self.position += 1
        return char


def _cat(items: list[Node]) -> Node:
    return items[0] if len(items) == 1 else Cat(tuple(items))


def _literal(char: str, flags: _Flags) -> Char:
    if not flags.fold:
        return Char(char.__eq__)
    ranges = _Ranges(fold=True)
    ranges.add(ord(char), ord(char))
    return Char(ranges)


def _is_count(text: str) -> bool:
    """Digits without a leading zero."""
    return text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
