"""A plan in lines to scroll, to be carried out or left."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from console.keymap import bindings
from console.modals.base import Dialog
from console.viewmodel.cells import Cell, plain
from console.widgets.log_pane import LogPane


class Preview(Dialog[bool]):
    """Answers whether to do it. Only ``y`` does: enter changes nothing."""

    SCOPES = ("preview",)
    BINDINGS = bindings("preview")

    DEFAULT_CSS = """
    Preview #box { width: 110; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; }
    """

    def __init__(self, title: str, lines: Sequence[Cell]) -> None:
        super().__init__()
        self._title = title
        self._lines = list(lines)

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            self.frame(box, self._title)
            yield LogPane(background="panel", indent=2)

    def on_mount(self) -> None:
        self._fit()
        self.pane.set_lines(self._lines)
        self.set_focus(self.pane)

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        # As high as its lines, wrapped, as far as there is room: borders and a line above and below.
        width = max(20, min(110, self.size.width) - 8)
        wanted = sum(-(-max(1, len(plain(line))) // width) for line in self._lines) + 1
        self.pane.styles.height = max(3, min(wanted, self.size.height - 4))

    @property
    def pane(self) -> LogPane:
        """Where the plan is."""
        return self.query_one(LogPane)

    def action_confirm(self) -> None:
        self.dismiss(True)

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_scroll(self, lines: int) -> None:
        self.pane.scroll_lines(lines)

    def action_scroll_page(self, direction: int) -> None:
        self.pane.scroll_lines(direction * max(1, self.pane.size.height - 1))

    def action_copy(self) -> None:
        self.console.copy("\n".join(plain(line) for line in self._lines), "copied")


class PlanPreview(Preview):
    """The same of a plan that can be written into files as well."""

    SCOPES = ("plan", "preview")
    BINDINGS = bindings("plan")

    def __init__(self, title: str, lines: Sequence[Cell], files: Mapping[str, str]) -> None:
        """``files``: their text by name."""
        super().__init__(title, lines)
        self._files = dict(files)

    def action_write(self) -> None:
        for name, written in self._files.items():
            self.console.deliver_text(io.StringIO(written + "\n"), save_filename=name)
        self.console.flash(f"wrote {' and '.join(self._files)} into your downloads", "in_sync")
