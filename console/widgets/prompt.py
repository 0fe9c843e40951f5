"""The line in which commands (``:``), filters (``/``) and questions to a store (``›``) are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from console.commands import complete
from console.keymap import bindings

if TYPE_CHECKING:
    from console.app import KConsole


_SIGNS = {"command": (":", "tab completes"), "filter": ("/", "regex  !inverse  -f fuzzy"), "query": ("›", "")}


class _Completion(Suggester):
    """Goes on with commands and the names of what exists."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._prompt = prompt

    async def get_suggestion(self, value: str) -> str | None:
        if self._prompt.mode != "command":
            return None
        return complete(value, cast("KConsole", self._prompt.app).names())


class Prompt(Horizontal):
    """Hidden until it is opened; then it lies over the line of the tabs.

    In the flow of the screen it would move all that is below, and each of its lines would be drawn again.
    """

    BINDINGS = bindings("prompt")

    DEFAULT_CSS = """
    Prompt {
        layer: prompt; dock: top; offset-y: 2;
        height: 1; display: none; background: $kc-panel; padding: 0 1;
    }
    Prompt.-open { display: block; }
    Prompt #sign { width: 2; color: $kc-accent; text-style: bold; background: $kc-panel; }
    Prompt Input { width: 1fr; background: $kc-panel; color: $kc-text; border: none; padding: 0; height: 1; }
    Prompt Input:focus { border: none; }
    Prompt Input > .input--suggestion { color: $kc-muted; }
    Prompt #about { width: auto; color: $kc-muted; background: $kc-panel; }
    """

    class Submitted(Message):
        """Enter was pressed."""

        def __init__(self, mode: str, text: str) -> None:
            super().__init__()
            self.mode = mode
            self.text = text

    class Edited(Message):
        """The text of a filter changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.mode = ""
        self._past: dict[str, list[str]] = {mode: [] for mode in _SIGNS}
        self._past_at = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="sign")
        yield Input(compact=True, suggester=_Completion(self), select_on_focus=False)
        yield Static("", id="about")

    @property
    def is_open(self) -> bool:
        """Whether it has the keys."""
        return bool(self.mode)

    def open(self, mode: str, text: str = "", about: str = "") -> None:
        """Show it; ``mode`` is ``command``, ``filter`` or ``query``, of which ``about`` says what can be typed."""
        self.mode = mode
        self._past_at = len(self._past[mode])
        sign, usual = _SIGNS[mode]
        self.query_one("#sign", Static).update(sign)
        self.query_one("#about", Static).update(Content(about or usual))
        field = self.query_one(Input)
        with self.prevent(Input.Changed):
            field.value = text
        field.cursor_position = len(text)
        self.add_class("-open")
        self.screen.set_focus(field)

    def close(self) -> None:
        """Hide it."""
        self.mode = ""
        self.remove_class("-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.mode == "filter":
            self.post_message(self.Edited(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        past = self._past.get(self.mode)
        if past is not None and event.value and (not past or past[-1] != event.value):
            past.append(event.value)
        self.post_message(self.Submitted(self.mode, event.value))

    def action_complete(self) -> None:
        field = self.query_one(Input)
        suggestion = complete(field.value, cast("KConsole", self.app).names()) if self.mode == "command" else None
        if suggestion is not None:
            field.value = suggestion
            field.cursor_position = len(suggestion)

    def action_past(self, step: int) -> None:
        """Through what was typed before."""
        past = self._past[self.mode] if self.mode else []
        self._past_at = max(0, min(len(past), self._past_at + step))
        field = self.query_one(Input)
        field.value = past[self._past_at] if self._past_at < len(past) else ""
        field.cursor_position = len(field.value)

    def action_cancel(self) -> None:
        self.post_message(self.Submitted("", ""))
