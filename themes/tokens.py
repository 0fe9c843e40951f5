"""The words a theme gives colours to. Screens name meanings (``in_sync``), never colours.

Status is never told by colour alone: each also has a glyph or a word on the screen.
"""

from __future__ import annotations

# What things stand on.
SURFACE_TOKENS: dict[str, str] = {
    "background": "behind everything",
    "surface": "header, tables, panes",
    "panel": "prompt, dialogs, table heads",
    "cursor": "the selected row",
    "changed": "behind a cell that has just changed",
}

# What is read.
TEXT_TOKENS: dict[str, str] = {
    "text": "ordinary text",
    "muted": "labels, units, what is less important",
    "title": "titles and table heads",
    "accent": "the product's own colour: active tab, cursor bar, key names",
    "key": "keys in hints and help",
}

# What has a meaning.
STATUS_TOKENS: dict[str, str] = {
    "in_sync": "whole: every replica in the ISR, a broker that is up, a stable group",
    "under_replicated": "fewer in-sync replicas than assigned, something in between",
    "offline": "no leader, a broker that is down, an error, lost records",
    "info": "neutral facts: starts, elections asked for",
    "lag_none": "no lag",
    "lag_low": "a little lag",
    "lag_medium": "some lag",
    "lag_high": "much lag",
    "leader": "the leading replica",
    "follower": "a following replica",
    "controller": "the active controller of the metadata quorum",
    "bytes_in": "what producers bring",
    "bytes_out": "what consumers take",
}

# Neither text nor status: seen, not read (at least 1.3 to what it stands on, so that it shows).
LINE_TOKENS: dict[str, str] = {
    "border": "frames",
    "border_focus": "the frame of what has the keys",
    "bar": "the empty part of a bar",
}

TOKENS: dict[str, str] = {**SURFACE_TOKENS, **TEXT_TOKENS, **STATUS_TOKENS, **LINE_TOKENS}
