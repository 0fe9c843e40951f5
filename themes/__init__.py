"""Colour themes: tokens with a meaning, YAML files, WCAG contrast. Stands alone: no console, no engine, no Textual."""

from themes.contrast import contrast_ratio, shortfalls
from themes.loader import ThemeError, builtin_themes, load_theme, parse_theme, user_themes
from themes.theme import Theme
from themes.tokens import STATUS_TOKENS, SURFACE_TOKENS, TEXT_TOKENS, TOKENS

__all__ = [
    "STATUS_TOKENS",
    "SURFACE_TOKENS",
    "TEXT_TOKENS",
    "TOKENS",
    "Theme",
    "ThemeError",
    "builtin_themes",
    "contrast_ratio",
    "load_theme",
    "parse_theme",
    "shortfalls",
    "user_themes",
]
