"""What dialogs share: a box in the middle with a title, and their keys at its lower edge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from textual.content import Content
from textual.screen import ModalScreen

from console.keymap import keys_of

if TYPE_CHECKING:
    from textual.widget import Widget

    from console.app import KConsole

ResultT = TypeVar("ResultT")


class Dialog(ModalScreen[ResultT], Generic[ResultT]):
    """A modal box."""

    SCOPES: tuple[str, ...] = ()

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $kc-background 60%; }
    Dialog #box {
        width: 76; max-width: 96%; height: auto; max-height: 92%;
        border: round $kc-border-focus; background: $kc-panel; padding: 1 2;
        border-title-color: $kc-title; border-title-style: bold; border-title-align: center;
        border-subtitle-color: $kc-muted; border-subtitle-align: right;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()

    def on_mount(self) -> None:
        # Called after the subclass's own: its first field has the focus by now.
        self.ready.set()

    @property
    def console(self) -> KConsole:
        """The app by its own type."""
        return cast("KConsole", self.app)

    def frame(self, box: Widget, title: str) -> None:
        """Title above, keys below."""
        box.border_title = Content(title)
        hints = "  ".join(f"{key.display} {key.label}" for key in keys_of(*self.SCOPES) if key.hint)
        box.border_subtitle = Content(hints)
