"""From tokens to styles: of a theme for Rich's segments, and as a theme of Textual's own."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from console.viewmodel.cells import Cell, harmless
from themes import TOKENS, Theme
from themes.contrast import contrast_ratio

if TYPE_CHECKING:
    from textual.theme import Theme as TextualTheme


@lru_cache(maxsize=2048)
def _style(foreground: str, background: str, bold: bool) -> Style:
    return Style(color=foreground, bgcolor=background, bold=bold)


class Palette:
    """The colours of the theme that is on."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme

    def style(self, tone: str, background: str = "surface", *, bold: bool = False) -> Style:
        """Style of a text token on a surface token."""
        if tone.startswith("on #"):
            # A user's own colour, to be seen from afar: black or white stands on it, whichever is read better.
            colour = tone.removeprefix("on ")
            black, white = (contrast_ratio(each, colour) for each in ("#000000", "#ffffff"))
            return _style("#000000" if black >= white else "#ffffff", colour, True)
        return _style(self.theme[tone], self.theme[background], bold)

    def segments(self, value: Cell, background: str = "surface", *, bold: bool = False) -> list[Segment]:
        """A cell as segments."""
        return [
            Segment(harmless(span.text), self.style(span.tone, background, bold=bold)) for span in value if span.text
        ]


def textual_theme(theme: Theme) -> TextualTheme:
    """The same theme for Textual: its own widgets follow ours. Every token is a CSS variable ``$kc-…``."""
    from textual.theme import Theme as TextualTheme

    variables = css_variables(theme)
    return TextualTheme(
        name=theme.name,
        primary=theme["accent"],
        secondary=theme["controller"],
        accent=theme["accent"],
        warning=theme["under_replicated"],
        error=theme["offline"],
        success=theme["in_sync"],
        foreground=theme["text"],
        background=theme["background"],
        surface=theme["surface"],
        panel=theme["panel"],
        dark=theme.dark,
        variables={
            **variables,
            "border": theme["border_focus"],
            "border-blurred": theme["border"],
            "block-cursor-background": theme["cursor"],
            "block-cursor-foreground": theme["text"],
            "block-cursor-text-style": "bold",
            "input-cursor-background": theme["accent"],
            "input-cursor-foreground": theme["background"],
            "input-selection-background": theme["cursor"],
            "scrollbar": theme["border"],
            "scrollbar-hover": theme["muted"],
            "scrollbar-active": theme["accent"],
            "scrollbar-background": theme["surface"],
            "scrollbar-background-hover": theme["surface"],
            "scrollbar-background-active": theme["surface"],
            "scrollbar-corner-color": theme["surface"],
            "footer-key-foreground": theme["key"],
        },
    )


def css_variables(theme: Theme) -> dict[str, str]:
    """``kc-in-sync`` and so on."""
    return {f"kc-{token.replace('_', '-')}": theme[token] for token in TOKENS}
