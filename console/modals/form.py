"""A form: named fields, checked together, answered as a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Input, Static, TextArea

from console.keymap import bindings
from console.modals.base import Dialog
from console.viewmodel.cells import Span
from console.widgets.lines import fit, strip_of


class Field(NamedTuple):
    """One field: a line of text, several lines, or one of some choices."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    lines: int = 1
    choices: tuple[str, ...] = ()
    # What is typed is not shown: of secrets.
    hidden: bool = False


# So many fields stand close together: at 24 lines all are to be seen.
_MANY = 8
Check = Callable[[dict[str, str]], str]


class Choice(Widget, can_focus=True):
    """One of a few words; left and right change it."""

    BINDINGS = bindings("choice")

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; }
    """

    class Changed(Message):
        """Another word was chosen."""

    def __init__(self, choices: Sequence[str], value: str, *, id: str) -> None:
        super().__init__(id=id)
        self._choices = list(choices)
        self._at = self._choices.index(value) if value in self._choices else 0

    @property
    def value(self) -> str:
        """The word."""
        return self._choices[self._at]

    def action_choose(self, step: int) -> None:
        self._at = (self._at + step) % len(self._choices)
        self.refresh()
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        x = 0
        for at, word in enumerate(self._choices[self._first :], self._first):
            if x <= event.x < x + len(word) + 2:
                self._at = at
                self.refresh()
                self.post_message(self.Changed())
            x += len(word) + 4

    @property
    def _first(self) -> int:
        """The first word that is drawn: of more than there is room for, those before the chosen one give way."""
        first = 0
        while first < self._at and sum(len(word) + 4 for word in self._choices[first : self._at + 1]) > self.size.width:
            first += 1
        return first

    def render_line(self, y: int):  # type: ignore[no-untyped-def]
        spans: list[Span] = []
        for at, word in enumerate(self._choices[self._first :], self._first):
            if at == self._at:
                spans += [Span("‹", "accent"), Span(word, "accent" if self.has_focus else "text"), Span("›", "accent")]
            else:
                spans.append(Span(f" {word} ", "muted"))
            spans.append(Span("  ", "muted"))
        return strip_of(fit(tuple(spans), self.size.width), self.app.palette, "panel")  # type: ignore[attr-defined]


class Form(Dialog[dict[str, str] | None]):
    """Answers the fields' texts, or ``None`` if it was left."""

    SCOPES = ("form",)
    BINDINGS = bindings("form")

    DEFAULT_CSS = """
    Form #fields { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    Form .row { height: auto; width: 100%; }
    Form .label { width: 14; color: $kc-muted; }
    Form Input { width: 1fr; background: $kc-surface; color: $kc-text; border: none; height: 1; padding: 0 1; }
    Form Input:focus { border: none; background: $kc-cursor; }
    Form Input > .input--placeholder { color: $kc-muted; }
    Form TextArea { width: 1fr; border: none; padding: 0; background: $kc-surface; color: $kc-text;
                    scrollbar-size-vertical: 1; }
    Form TextArea:focus { border: none; background: $kc-cursor; }
    Form .spaced { margin-bottom: 1; }
    Form #note { color: $kc-muted; width: 100%; }
    Form #problem { color: $kc-offline; width: 100%; height: auto; display: none; }
    Form #problem.-shown { display: block; }
    Form #buttons { height: 1; margin-top: 1; align-horizontal: right; width: 100%; }
    Form Button { margin-left: 2; min-width: 10; }
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        yes: str,
        check: Check | None = None,
        note: str = "",
        first: str = "",
    ) -> None:
        """``check`` answers what is wrong, or nothing; ``first`` has the keys, else the first field that is empty."""
        super().__init__()
        self._title = title
        self._fields = tuple(fields)
        self._yes = yes
        self._check = check
        self._note = note
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            self.frame(box, self._title)
            with VerticalScroll(id="fields", can_focus=False):
                for field in self._fields:
                    with Horizontal(classes="row spaced" if len(self._fields) < _MANY else "row"):
                        yield Static(Content(field.label), classes="label")
                        yield self._widget(field)
            if self._note:
                yield Static(Content(self._note), id="note")
            yield Static("", id="problem")
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self._yes, id="yes", variant="primary", compact=True)

    @staticmethod
    def _widget(field: Field) -> Widget:
        identity = f"field-{field.name}"
        if field.choices:
            return Choice(field.choices, field.value, id=identity)
        if field.lines > 1:
            area = TextArea(
                field.value,
                id=identity,
                compact=True,
                tab_behavior="focus",
                highlight_cursor_line=False,
                placeholder=field.hint,
            )
            area.styles.height = field.lines
            return area
        return Input(
            field.value,
            placeholder=field.hint,
            password=field.hidden,
            id=identity,
            compact=True,
            select_on_focus=False,
        )

    def on_mount(self) -> None:
        empty = next((field for field in self._fields if not field.value or field.lines > 1), self._fields[0])
        self.set_focus(self.query_one(f"#field-{self._first or empty.name}"))

    def values(self) -> dict[str, str]:
        """What stands in the fields."""
        found: dict[str, str] = {}
        for field in self._fields:
            widget = self.query_one(f"#field-{field.name}")
            if isinstance(widget, TextArea):
                found[field.name] = widget.text
            elif isinstance(widget, Input | Choice):
                found[field.name] = widget.value
        return found

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self.action_submit()
        else:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        # Enter goes through the fields, and from the last one does it.
        if event.input.id == f"field-{self._fields[-1].name}":
            self.action_submit()
        else:
            self.focus_next()

    def action_submit(self) -> None:
        values = self.values()
        problem = self._check(values) if self._check is not None else ""
        if problem:
            shown = self.query_one("#problem", Static)
            shown.update(Content(problem))
            shown.add_class("-shown")
            return
        self.dismiss(values)

    def action_cancel(self) -> None:
        self.dismiss(None)
