"""Contrast as WCAG 2.2 defines it (relative luminance, success criteria 1.4.3 and 1.4.11)."""

from __future__ import annotations

from typing import NamedTuple

from themes.theme import Theme
from themes.tokens import STATUS_TOKENS, SURFACE_TOKENS, TEXT_TOKENS

# Success criterion 1.4.11 asks 3 for what has a meaning; text on it is asked for 4.5 by 1.4.3.
MINIMUM_STATUS = 3.0
MINIMUM_LINE = 1.3
# Status and muted text pass over the selected row and over cells that have just changed: that is for a moment.
MINIMUM_PASSING = 3.0
_RESTING = ("background", "surface", "panel")


class Shortfall(NamedTuple):
    """A pair of tokens whose contrast is too low."""

    foreground: str
    background: str
    ratio: float
    minimum: float

    def __str__(self) -> str:
        return f"{self.foreground} on {self.background}: {self.ratio:.2f}, at least {self.minimum:g} is needed"


def _channel(value: int) -> float:
    part = value / 255
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``: 0 is black, 1 is white."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.2126 * _channel(red) + 0.7152 * _channel(green) + 0.0722 * _channel(blue)


def contrast_ratio(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black on white)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def shortfalls(theme: Theme) -> list[Shortfall]:
    """All pairs that occur on screens and are too close to each other."""
    found: list[Shortfall] = []

    def check(foreground: str, background: str, minimum: float) -> None:
        ratio = contrast_ratio(theme[foreground], theme[background])
        if ratio < minimum:
            found.append(Shortfall(foreground, background, ratio, minimum))

    strict = theme.minimum_contrast > 4.5
    for background in SURFACE_TOKENS:
        passing = background not in _RESTING and not strict
        for token in TEXT_TOKENS:
            check(token, background, 4.5 if token == "text" and passing else _minimum(theme, passing))
        for token in STATUS_TOKENS:
            check(token, background, theme.minimum_contrast if strict else MINIMUM_STATUS)
    for token in ("border", "border_focus"):
        check(token, "background", MINIMUM_LINE)
    check("bar", "surface", 1.1)
    return found


def _minimum(theme: Theme, passing: bool) -> float:
    return MINIMUM_PASSING if passing else theme.minimum_contrast
