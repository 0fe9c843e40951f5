"""Java's regular expressions by Python's, where configs written for Java have them (``java.util.regex``)."""

from __future__ import annotations

import re

from engine.connect.config_def import Validator
from engine.connect.errors import ConfigError

_CLASSES = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Space": r"\s",
    "XDigit": "0-9a-fA-F",
    "Blank": " \t",
    "ASCII": r"\x00-\x7f",
}


def compile_java(pattern: str) -> re.Pattern[str]:
    """A pattern that finds what Java's would: named groups, quotes, POSIX classes; letters and digits of ASCII.

    Raises:
        re.error: it is no pattern, or one with something that Python has not (unions of classes, ``\\p{IsGreek}``).
    """
    return re.compile(_translated(pattern), re.ASCII)


def _translated(pattern: str) -> str:
    made: list[str] = []
    at, inside = 0, 0
    while at < len(pattern):
        if pattern.startswith("\\Q", at):
            end = pattern.find("\\E", at)
            end = len(pattern) if end < 0 else end
            made.append(re.escape(pattern[at + 2 : end]))
            at = end + 2
        elif pattern[at] == "\\":
            text, at = _escape(pattern, at, bool(inside))
            made.append(text)
        elif inside:
            if pattern.startswith("&&", at) or (pattern[at] == "[" and pattern[at - 1] != "\\"):
                raise re.error(f"classes of characters within classes are not supported, at index {at} of {pattern}")
            inside = 0 if pattern[at] == "]" and at > inside else inside
            made.append(pattern[at])
            at += 1
        elif pattern[at] == "[":
            # A bracket that comes first is one of the class.
            inside = at + (2 if pattern.startswith("[^", at) else 1)
            made.append(pattern[at:inside])
            at = inside
        elif pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in ("=", "!"):
            made.append("(?P<")
            at += 3
        else:
            made.append(pattern[at])
            at += 1
    return "".join(made)


def _escape(pattern: str, at: int, inside: bool) -> tuple[str, int]:
    rest = pattern[at:]
    if found := re.match(r"\\([pP])\{(\w+)\}", rest):
        chars = _CLASSES.get(found[2])
        if chars is None or (inside and found[1] == "P"):
            raise re.error(f"the class {found[0]} of characters is not supported: {pattern}")
        return (chars if inside else f"[{'^' if found[1] == 'P' else ''}{chars}]"), at + found.end()
    if found := re.match(r"\\k<(\w+)>", rest):
        return f"(?P={found[1]})", at + found.end()
    two = rest[:2]
    return {"\\z": "\\Z", "\\Z": "(?=\\n?\\Z)", "\\h": "[ \\t]", "\\e": "\\x1b"}.get(two, two), at + 2


def replacement(text: str, pattern: re.Pattern[str]) -> str:
    """What ``Match.expand`` takes of a replacement for ``Matcher.replaceFirst``: ``$1``, ``${name}``, backslashes.

    Raises:
        re.error: a group that the pattern has not, or a text that ends too early.
    """
    made: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            if at + 1 == len(text):
                raise re.error("character to be escaped is missing")
            made.append(re.escape(text[at + 1]) if text[at + 1] == "\\" else text[at + 1])
            at += 2
        elif char == "$":
            group, at = _group(text, at, pattern)
            made.append(group)
        else:
            made.append(char)
            at += 1
    return "".join(made)


def _group(text: str, at: int, pattern: re.Pattern[str]) -> tuple[str, int]:
    if found := re.match(r"\$\{([a-zA-Z][a-zA-Z0-9]*)\}", text[at:]):
        if found[1] not in pattern.groupindex:
            raise re.error(f"No group with name {{{found[1]}}}")
        return f"\\g<{found[1]}>", at + found.end()
    digits = re.match(r"\$([0-9]+)", text[at:])
    if digits is None:
        raise re.error("Illegal group reference")
    number = digits[1]
    # As many digits as make a group that there is.
    while len(number) > 1 and int(number) > pattern.groups:
        number = number[:-1]
    if int(number) > pattern.groups:
        raise re.error(f"No group {number}")
    return f"\\g<{number}>", at + 1 + len(number)


def valid_regex() -> Validator:
    """``RegexValidator``."""

    def check(name: str, value: object) -> None:
        try:
            compile_java(str(value))
        except re.error as error:
            raise ConfigError(name, value, f"Invalid regex: {error}") from None

    return check
