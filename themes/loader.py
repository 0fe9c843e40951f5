"""Themes from YAML files: the four that come with the product, and the user's own.

A file has ``name``, ``dark`` and ``tokens`` (see :mod:`themes.tokens`); ``extends: dark`` fills in the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from themes.theme import Theme
from themes.tokens import TOKENS

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEYS = ("name", "title", "dark", "extends", "minimum_contrast", "tokens")
_BUILTIN = ("dark", "light", "high-contrast", "colour-blind")


class ThemeError(Exception):
    """A theme file is wrong; ``errors`` has all of it, one sentence each."""

    def __init__(self, source: str, errors: list[str]) -> None:
        super().__init__("\n".join(f"{source}: {error}" for error in errors))
        self.source = source
        self.errors = errors


def parse_theme(text: str, source: str, bases: Mapping[str, Theme] | None = None) -> Theme:
    """Read a theme.

    Args:
        source: named in errors.
        bases: what ``extends`` can name.

    Raises:
        ThemeError: with everything that is wrong.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ThemeError(source, [f"is no YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(data, dict):
        raise ThemeError(source, ["a theme is a mapping with `name`, `dark` and `tokens`"])
    errors = [f"unknown key '{key}': known are {', '.join(_KEYS)}" for key in data if key not in _KEYS]
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        errors.append("`name` must be small letters, digits and '-', at most 32 of them")
        name = "?"
    base = _base(data, bases or {}, errors)
    dark = data.get("dark", base.dark if base else None)
    if not isinstance(dark, bool):
        errors.append("`dark` must be true or false")
        dark = True
    minimum = data.get("minimum_contrast", base.minimum_contrast if base else 4.5)
    if isinstance(minimum, bool) or not isinstance(minimum, int | float) or not 1 <= minimum <= 21:
        errors.append("`minimum_contrast` must be a number from 1 to 21")
        minimum = 4.5
    colours = dict(base.colours) if base else {}
    tokens = data.get("tokens", {})
    if not isinstance(tokens, dict):
        errors.append("`tokens` must be a mapping from token to colour")
        tokens = {}
    for token, colour in tokens.items():
        if token not in TOKENS:
            errors.append(f"unknown token '{token}'{_hint(str(token))}")
        elif not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
            errors.append(f"token '{token}': {colour!r} is no colour; write it as \"#rrggbb\", in quotes")
        else:
            colours[token] = colour.lower()
    wrong = {str(token) for token in tokens}
    missing = [token for token in TOKENS if token not in colours and token not in wrong]
    if missing:
        errors.append(f"tokens are missing: {', '.join(missing)}; add them, or `extends: dark`")
    if errors:
        raise ThemeError(source, errors)
    return Theme(name, str(data.get("title", name)), dark, colours, float(minimum), source)


def _base(data: dict[str, Any], bases: Mapping[str, Theme], errors: list[str]) -> Theme | None:
    wanted = data.get("extends")
    if wanted is None:
        return None
    if wanted not in bases:
        errors.append(f"`extends: {wanted}` names no theme; there are {', '.join(sorted(bases)) or 'none'}")
        return None
    return bases[wanted]


def _hint(token: str) -> str:
    import difflib

    close = difflib.get_close_matches(token, TOKENS, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def load_theme(path: str, bases: Mapping[str, Theme] | None = None) -> Theme:
    """Read a theme file.

    Raises:
        ThemeError: it cannot be read, or is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(path, [f"cannot be read: {error}"]) from error
    return parse_theme(text, path, bases)


def builtin_themes() -> dict[str, Theme]:
    """Those that come with the product, in the order in which they are offered."""
    found: dict[str, Theme] = {}
    for name in _BUILTIN:
        text = (resources.files("themes") / "builtin" / f"{name}.yaml").read_text(encoding="utf-8")
        found[name] = parse_theme(text, "builtin")
    return found


def user_theme_dir(environment: Mapping[str, str] | None = None) -> str:
    """``kconsole/themes`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    variables = os.environ if environment is None else environment
    home = variables.get("XDG_CONFIG_HOME") or os.path.join(variables.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(home, "kconsole", "themes")


def user_themes(directory: str, bases: Mapping[str, Theme]) -> tuple[dict[str, Theme], list[ThemeError]]:
    """The user's themes by name, and what is wrong with the others. A user's theme may replace a builtin one."""
    found: dict[str, Theme] = {}
    errors: list[ThemeError] = []
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return found, errors
    for name in names:
        if not name.endswith((".yaml", ".yml")):
            continue
        try:
            theme = load_theme(os.path.join(directory, name), {**bases, **found})
        except ThemeError as error:
            errors.append(error)
        else:
            found[theme.name] = theme
    return found, errors
