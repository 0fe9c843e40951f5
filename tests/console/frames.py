"""The screen as text."""

from __future__ import annotations

from typing import Any


def text_of_screen(app: Any) -> list[str]:
    """What stands on the screen, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip) for strip in strips]
    assert len(lines) == height
    return [line[:width].rstrip() for line in lines]
