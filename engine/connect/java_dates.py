"""Moments by patterns like ``yyyy-MM-dd'T'HH:mm:ss.SSSZ`` (``java.text.SimpleDateFormat``), in UTC and English.

Reading is lenient as Java's: the 32nd of January is the first of February, and what follows the text is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LETTERS = "GyYMLwWDdFEuaHkKhmsSzZX"
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()


class _Part(NamedTuple):
    """A run of one letter, or a text (then ``letter`` is empty)."""

    letter: str
    width: int
    text: str


class DateFormat:
    """One pattern."""

    def __init__(self, pattern: str) -> None:
        """Raises ValueError for what is no pattern; says why."""
        self.pattern = pattern
        self._parts = tuple(_parts(pattern))

    def format(self, ms: int) -> str:
        """A moment's text.

        Args:
            ms: milliseconds since 1970.

        Raises:
            ValueError: outside the years 1 to 9999.
        """
        days, rest = divmod(ms, _DAY_MS)
        try:
            day = date.fromordinal(days + _EPOCH)
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{ms} ms from 1970 are outside the years 1 to 9999") from error
        return "".join(_show(each, day, rest) for each in self._parts)

    def parse(self, text: str) -> int:
        """The moment that a text begins with, in milliseconds since 1970.

        Raises:
            ValueError: it does not begin with one.
        """
        found: dict[str, int] = {}
        at = 0
        for index, part in enumerate(self._parts):
            following = self._parts[index + 1] if index + 1 < len(self._parts) else None
            # Digits that follow digits: each run has as many as the pattern says.
            adjacent = following is not None and bool(following.letter) and _is_number(following)
            at = _read(part, adjacent, text, at, found)
        return _moment(found)


def _parts(pattern: str) -> Iterator[_Part]:
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "'":
            quoted = re.match(r"'((?:[^']|'')*)'", pattern[at:])
            if quoted is None:
                raise ValueError("Unterminated quote")
            yield _Part("", 0, quoted[1].replace("''", "'") or "'")
            at += quoted.end()
        elif char.isascii() and char.isalpha():
            if char not in _LETTERS:
                raise ValueError(f"Illegal pattern character '{char}'")
            end = at
            while end < len(pattern) and pattern[end] == char:
                end += 1
            if char == "X" and end - at > 3:
                raise ValueError(f"invalid ISO 8601 format: length={end - at}")
            yield _Part(char, end - at, "")
            at = end
        else:
            yield _Part("", 0, char)
            at += 1


def _is_number(part: _Part) -> bool:
    return part.letter not in "GEazZX" and not (part.letter in "ML" and part.width >= 3)


def _show(part: _Part, day: date, ms: int) -> str:
    letter, width = part.letter, part.width
    if not letter:
        return part.text
    hour = ms // 3_600_000
    match letter:
        case "G":
            return "AD"
        case "M" | "L" if width >= 3:
            name = _MONTHS[day.month - 1]
            return name if width >= 4 else name[:3]
        case "E":
            name = _DAYS[day.weekday()]
            return name if width >= 4 else name[:3]
        case "a":
            return "PM" if hour >= 12 else "AM"
        case "z":
            return "Coordinated Universal Time" if width >= 4 else "UTC"
        case "Z":
            return "+0000"
        case "X":
            return "Z"
    if letter in "yY":
        year = day.year if letter == "y" else _week(day)[0]
        return f"{year % 100:02}" if width == 2 else f"{year:0{width}}"
    number = {
        "M": day.month,
        "L": day.month,
        "w": _week(day)[1],
        "W": (day.day + date(day.year, day.month, 1).isoweekday() % 7 - 1) // 7 + 1,
        "D": day.timetuple().tm_yday,
        "d": day.day,
        "F": (day.day - 1) // 7 + 1,
        "u": day.isoweekday(),
        "H": hour,
        "k": hour or 24,
        "K": hour % 12,
        "h": hour % 12 or 12,
        "m": ms // 60_000 % 60,
        "s": ms // 1000 % 60,
        "S": ms % 1000,
    }[letter]
    return f"{number:0{width}}"


def _week(day: date) -> tuple[int, int]:
    """Year and week in the USA: weeks begin on Sunday, and January's first is in the year's first."""
    sunday = day - timedelta(days=day.isoweekday() % 7)
    year = (sunday + timedelta(days=6)).year
    first = date(year, 1, 1)
    first -= timedelta(days=first.isoweekday() % 7)
    return year, (sunday - first).days // 7 + 1


_NUMBER = re.compile(r"-?[0-9]+")
_ZONE = re.compile(r"GMT([+-])(\d{1,2}):(\d{2})|([+-])(\d{2})(\d{2})|UTC|GMT(?![+-])|UT|Z")
_ISO_ZONES = {
    1: re.compile(r"Z|([+-])(\d{2})()"),
    2: re.compile(r"Z|([+-])(\d{2})(\d{2})"),
    3: re.compile(r"Z|([+-])(\d{2}):(\d{2})"),
}


def _read(part: _Part, adjacent: bool, text: str, at: int, found: dict[str, int]) -> int:
    """Where it goes on after a part of the pattern was read."""
    letter, width = part.letter, part.width
    if not letter:
        if text.startswith(part.text, at):
            return at + len(part.text)
        raise ValueError(f"{part.text!r} is missing at {at}")
    # Blanks before it count as the number's, where it has so many digits and no more.
    end = at + width if adjacent else len(text)
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    if not _is_number(part):
        return _read_name(part, text, at, found)
    digits = _NUMBER.match(text, at, end)
    if digits is None or end > len(text):
        raise ValueError(f"a number is missing at {at}")
    number = int(digits[0])
    if letter in "yY" and width <= 2 and len(digits[0]) == 2 and number >= 0:
        number = _near_today(number)
    found["M" if letter == "L" else letter] = number
    return digits.end()


def _near_today(year: int) -> int:
    """Two digits mean a year from 80 years ago to 20 years ahead."""
    first = date.today().year - 80
    century = first - first % 100 + year
    return century if century >= first else century + 100


def _read_name(part: _Part, text: str, at: int, found: dict[str, int]) -> int:
    names: tuple[str, ...] = ()
    match part.letter:
        case "G":
            names = ("BC", "AD")
        case "M" | "L":
            names = _MONTHS
        case "E":
            names = _DAYS
        case "a":
            names = ("AM", "PM")
        case _:
            return _read_zone(part, text, at, found)
    for length in (20, 3):  # whole names first
        for index, name in enumerate(names):
            shown = name[:length]
            if text[at : at + len(shown)].lower() == shown.lower():
                found["M" if part.letter == "L" else part.letter] = index + (part.letter in "MLE")
                return at + len(shown)
    raise ValueError(f"a name of {part.letter * part.width} is missing at {at}")


def _read_zone(part: _Part, text: str, at: int, found: dict[str, int]) -> int:
    zone = _ISO_ZONES[part.width].match(text, at) if part.letter == "X" else _ZONE.match(text, at)
    if zone is None:
        raise ValueError(f"a time zone is missing at {at}")
    sign, hours, minutes = (next((one for one in each if one), "") for each in _signs(zone))
    found["zone"] = (int(hours or 0) * 60 + int(minutes or 0)) * (-1 if sign == "-" else 1)
    return zone.end()


def _signs(zone: re.Match[str]) -> tuple[tuple[str | None, ...], ...]:
    """Signs, hours and minutes of a zone, which one or the other of the ways to write them has."""
    groups = zone.groups()
    return groups[0::3], groups[1::3], groups[2::3]


def _moment(found: dict[str, int]) -> int:
    year = found.get("y", found.get("Y", 1970))
    months = year * 12 + found.get("M", 1) - 1
    if found.get("G") == 0 or not 12 <= months < 120_000:
        raise ValueError("outside the years 1 to 9999")
    days = date(months // 12, months % 12 + 1, 1).toordinal() - _EPOCH
    if "D" in found and "d" not in found and "M" not in found:
        days = date(year, 1, 1).toordinal() - _EPOCH + found["D"] - 1
    else:
        days += found.get("d", 1) - 1
    hour = found.get("H", found.get("k", 0) % 24)
    if "H" not in found and "k" not in found:
        hour = found.get("K", found.get("h", 0) % 12) + 12 * found.get("a", 0)
    clock = ((hour * 60 + found.get("m", 0) - found.get("zone", 0)) * 60 + found.get("s", 0)) * 1000 + found.get("S", 0)
    return days * _DAY_MS + clock
