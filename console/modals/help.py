"""``?``: the keys that work here, from the table of keys; ctrl-a: the commands, from the table of commands."""

from __future__ import annotations

from console.acts import reason_against, reason_against_view
from console.commands import COMMANDS
from console.gateway import Capabilities
from console.keymap import Key, keys_of
from console.viewmodel.cells import Cell, Span, cell

_TITLES = {
    "acts": "ACTS",
    "navigation": "MOVING",
    "table": "THE TABLE",
    "time": "TIME",
    "general": "GENERAL",
    "screens": "SCREENS",
}


def help_lines(scopes: tuple[str, ...], capabilities: Capabilities) -> list[Cell]:
    """Keys by group, those of the screen first; what cannot be done says why, each reason once."""
    groups: dict[str, list[Key]] = {name: [] for name in _TITLES}
    for key in keys_of(*scopes):
        groups[key.group].append(key)
    lines: list[Cell] = []
    told: set[str] = set()
    for name, keys in groups.items():
        if not keys:
            continue
        if lines:
            lines.append(cell(""))
        lines.append(cell(_TITLES[name], "title"))
        for key in keys:
            reason = reason_against(key.need, capabilities) or reason_against_view(key.view, capabilities)
            spans = [
                Span(f"  {key.display:<10}", "muted" if reason else "key"),
                Span(f"{key.label:<24}", "muted" if reason else "text"),
            ]
            about = key.help
            if reason:
                about = "not here either" if reason in told else f"not here: {reason}"
                told.add(reason)
            if about:
                spans.append(Span(f" {about}", "muted"))
            lines.append(tuple(spans))
    lines += [
        cell(""),
        cell("MOUSE", "title"),
        (Span("  click", "key"), Span("     a head sorts, a row selects, a tab, hint or crumb acts", "text")),
        (Span("  twice", "key"), Span("     opens a row", "text")),
    ]
    return lines


def command_lines() -> list[Cell]:
    """All commands with their short names."""
    lines: list[Cell] = []
    for command in COMMANDS:
        name = f":{command.name}" + (f" {command.argument.upper()}" if command.argument else "")
        lines.append(
            (
                Span(f"{name:<20}", "key"),
                Span(f"{' '.join(':' + alias for alias in command.aliases[:3]):<26}", "muted"),
                Span(command.help, "text"),
            )
        )
    lines += [
        cell(""),
        (Span("after a command, ", "muted"), Span("/filter", "key"), Span(" filters at once:  :topics /ord", "muted")),
    ]
    return lines
