"""A theme as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours (``#rrggbb``) of all tokens."""

    name: str
    title: str
    dark: bool
    colours: dict[str, str]
    # The contrast that text and status colours promise to have at least.
    minimum_contrast: float = 4.5
    source: str = "builtin"

    def __getitem__(self, token: str) -> str:
        return self.colours[token]
