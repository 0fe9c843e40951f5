"""A question before something is taken away."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from console.keymap import bindings
from console.modals.base import Dialog


class Confirm(Dialog[bool]):
    """Answers whether to do it. ``No`` has the focus: enter alone changes nothing."""

    SCOPES = ("confirm",)
    BINDINGS = bindings("confirm")

    DEFAULT_CSS = """
    Confirm #box { width: 66; }
    Confirm #question { color: $kc-text; width: 100%; }
    Confirm #consequence { color: $kc-under-replicated; width: 100%; margin-top: 1; }
    Confirm #command { color: $kc-muted; width: 100%; margin-top: 1; }
    Confirm #buttons { height: 1; margin-top: 1; align-horizontal: right; width: 100%; }
    Confirm Button { margin-left: 2; min-width: 10; }
    """

    def __init__(self, title: str, question: str, consequence: str = "", command: str = "", yes: str = "Yes") -> None:
        super().__init__()
        self._title = title
        self._question = question
        self._consequence = consequence
        self._command = command
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            self.frame(box, self._title)
            yield Static(Content(self._question), id="question")
            if self._consequence:
                yield Static(Content(self._consequence), id="consequence")
            if self._command:
                yield Static(Content(f"$ {self._command}"), id="command")
            with Horizontal(id="buttons"):
                yield Button("No", id="no", compact=True)
                yield Button(self._yes, id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        self.set_focus(self.query_one("#no", Button))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_confirm(self) -> None:
        self.dismiss(True)

    def action_cancel(self) -> None:
        self.dismiss(False)
