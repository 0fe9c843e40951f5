"""Templates of record values: ``{"order": {n}, "customer": "{key}"}``. Pure.

``{n}`` the record's number · ``{key}`` its key · ``{ms}`` milliseconds since the epoch · ``{random:LOW-HIGH}`` a whole
number · ``{choice:a,b,c}`` one of them. All other braces stand for themselves, so that JSON needs no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
_RANGE = re.compile(r"(-?[0-9]+)-(-?[0-9]+)")
NAMES = ("n", "key", "ms", "random", "choice")


def template_mistakes(template: str) -> list[tuple[str, str]]:
    """What is wrong with a template: (mistake, remedy) each."""
    mistakes: list[tuple[str, str]] = []
    for match in _PLACEHOLDER.finditer(template):
        name, argument = match[1], match[2]
        if name not in NAMES:
            mistakes.append((f"unknown placeholder {match[0]}", f"known are {', '.join('{' + n + '}' for n in NAMES)}"))
        elif name == "random":
            bounds = _RANGE.fullmatch(argument or "")
            if bounds is None or int(bounds[1]) > int(bounds[2]):
                mistakes.append((f"{match[0]} has no range", "write {random:1-100}"))
        elif name == "choice" and not argument:
            mistakes.append((f"{match[0]} has no choices", "write {choice:red,green,blue}"))
    return mistakes


def compile_template(template: str, randint: Callable[[int, int], int]) -> Callable[[int, str, int], str]:
    """A function of (record number, key, wall-clock ms) that makes the value. The template must have no mistakes."""
    parts: list[str | Callable[[int, str, int], str]] = []
    at = 0
    for match in _PLACEHOLDER.finditer(template):
        parts.append(template[at : match.start()])
        parts.append(_part(match[1], match[2], randint))
        at = match.end()
    parts.append(template[at:])

    def render(number: int, key: str, now_ms: int) -> str:
        return "".join(part if isinstance(part, str) else part(number, key, now_ms) for part in parts)

    return render


def _part(name: str, argument: str | None, randint: Callable[[int, int], int]) -> Callable[[int, str, int], str]:
    if name == "n":
        return lambda number, key, now_ms: str(number)
    if name == "key":
        return lambda number, key, now_ms: key
    if name == "ms":
        return lambda number, key, now_ms: str(now_ms)
    if name == "random":
        bounds = _RANGE.fullmatch(argument or "")
        assert bounds is not None, "a template is checked before it is compiled"
        low, high = int(bounds[1]), int(bounds[2])
        return lambda number, key, now_ms: str(randint(low, high))
    assert name == "choice", "a template is checked before it is compiled"
    choices = (argument or "").split(",")
    return lambda number, key, now_ms: choices[randint(0, len(choices) - 1)]
