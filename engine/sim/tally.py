"""Counts by name, for people."""

from __future__ import annotations

from collections import Counter


def tally_words(counts: Counter[str]) -> str:
    """``3 kill, 5 pause``, by name."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
