"""Columns of the user's own, by screen, in ``~/.config/kconsole/columns.yaml``: which, how wide, sorted by which."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from console.user_files import read_document, user_file, write_document
from console.viewmodel.cells import Column

if TYPE_CHECKING:
    from console.app import KConsole

_KEYS = ("show", "widths", "sort")
_MAX_WIDTH = 400


class ColumnFileError(Exception):
    """The file cannot be read or written, or what it says is not right; the message says what and where."""


class Layout(NamedTuple):
    """Of one screen. ``show`` empty: all, as kconsole has them. ``sort`` with a minus: the other way round."""

    show: tuple[str, ...] = ()
    widths: Mapping[str, int] = {}
    sort: str = ""

    def arranged(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """Columns so; what the screen does not have now (a group's members have others than its offsets) is passed
        over, and with nothing left all are shown."""
        known = {each.key: each for each in columns}
        chosen = [known[name] for name in self.show if name in known] or list(columns)
        if any(name in known for name in self.show):
            # Who was named first is the last one to go where there is no room.
            chosen = [replace(each, priority=at) for at, each in enumerate(chosen)]
        return tuple(
            replace(each, width=self.widths[each.key], max_width=None) if each.key in self.widths else each
            for each in chosen
        )

    @property
    def sort_key(self) -> str:
        """The column that rows are sorted by at first."""
        return self.sort.lstrip("-")


def read_layout(screen: str, said: object, columns: Sequence[str] = ()) -> Layout:
    """Of what a file or a form says. Pure.

    Args:
        columns: what the screen has; empty where that is not known.

    Raises:
        ColumnFileError: a word is not known, or a width is none.
    """
    if said is None:
        return Layout()
    if not isinstance(said, dict) or set(said) - set(_KEYS):
        raise ColumnFileError(f"{screen}: of {', '.join(_KEYS)} some are needed below it")
    show, widths, sort = said.get("show") or [], said.get("widths") or {}, str(said.get("sort") or "")
    if not isinstance(show, list) or not isinstance(widths, dict):
        raise ColumnFileError(f"{screen}: show is a list of columns, widths are column: number")
    names = [str(each) for each in show]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice:
        raise ColumnFileError(f"{screen}: {twice} is there twice")
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= _MAX_WIDTH:
            raise ColumnFileError(f"{screen}: the width of {name} is a number from 1 to {_MAX_WIDTH}")
    for name in (*names, *map(str, widths), *([sort.lstrip("-")] if sort else [])):
        if columns and name not in columns:
            near = difflib.get_close_matches(name, columns, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(columns)}"
            raise ColumnFileError(f"{screen} has no column {name}: {hint}")
    return Layout(tuple(names), {str(name): width for name, width in widths.items()}, sort)


class OwnColumns:
    """The layouts of all screens; as they were when the file was last right."""

    def __init__(self, path: Path | None) -> None:
        """Without a ``path`` they last as long as the console."""
        self.path = path
        self._layouts: dict[str, Layout] = {}

    def of(self, screen: str) -> Layout:
        """A screen's; the usual one if the user has none."""
        return self._layouts.get(screen, Layout())

    def load(self, known: Mapping[str, Sequence[str]]) -> None:
        """Read the file.

        Args:
            known: the columns of screens, empty where they change.

        Raises:
            ColumnFileError: nothing of it holds then.
        """
        if self.path is None:
            return
        document = self._document(self.path)
        try:
            found: dict[str, Layout] = {}
            for screen, said in document.items():
                if screen not in known:
                    near = difflib.get_close_matches(str(screen), list(known), 1)
                    raise ColumnFileError(f"there is no screen {screen}{f': did you mean {near[0]}?' if near else ''}")
                found[screen] = read_layout(screen, said, known[screen])
        except ColumnFileError as error:
            raise ColumnFileError(f"{self.path}: {error}") from None
        self._layouts = found

    def keep(self, screen: str, layout: Layout) -> None:
        """Have a screen so from now on, also the next time. Raises: ColumnFileError."""
        self._layouts[screen] = layout
        if self.path is None:
            return
        document = self._document(self.path)
        said = {"show": list(layout.show), "widths": dict(layout.widths), "sort": layout.sort}
        document[screen] = {name: value for name, value in said.items() if value}
        if not document[screen]:
            del document[screen]
        write_document(self.path, document, ColumnFileError)

    @staticmethod
    def _document(path: Path) -> dict[str, Any]:
        read = read_document(path, ColumnFileError)
        if read is not None and not isinstance(read, dict):
            raise ColumnFileError(f"{path}: screens are needed, with show, widths or sort below each")
        return read or {}


def user_columns() -> OwnColumns:
    """``kconsole/columns.yaml`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    return OwnColumns(user_file("columns.yaml"))


def ask_columns(app: KConsole) -> None:
    """``:columns``: the form for the screen that is shown; what it says holds at once, and the next time."""
    from console.modals.form import Field, Form

    view = app.view
    if view is None or not hasattr(view, "make_table"):
        app.flash("this screen has no columns", "under_replicated")
        return
    screen, table = view.NAME, view.table
    every = [each.key for each in table.given_columns]
    if not every:
        app.flash("this screen has no columns", "under_replicated")
        return
    now = app.columns.of(screen)

    def layout_of(values: Mapping[str, str]) -> Layout:
        said: dict[str, Any] = {"show": _words(values["show"]), "sort": values["sort"].strip(), "widths": {}}
        for pair in _words(values["widths"]):
            name, _, width = pair.partition("=")
            said["widths"][name.strip()] = int(width) if width.strip().isdigit() else width
        layout = read_layout(screen, said, every)
        # All of them in kconsole's order is no wish.
        return layout._replace(show=()) if list(layout.show) == every else layout

    def check(values: Mapping[str, str]) -> str:
        try:
            layout_of(values)
        except ColumnFileError as error:
            return str(error)
        return ""

    def answered(values: dict[str, str] | None) -> None:
        if values is None:
            return
        layout = layout_of(values)
        try:
            app.columns.keep(screen, layout)
        except ColumnFileError as error:
            app.flash(str(error), "offline", 12)
        table.arrange_columns()
        table.order_by(layout.sort_key, reverse=layout.sort.startswith("-"))
        view.refresh_title()

    app.push_screen(
        Form(
            f"columns of {screen}",
            [
                Field(
                    "show", "columns", ", ".join(now.show or every), "in this order; none: all, as kconsole has them"
                ),
                Field("sort", "sorted by", now.sort, "a column; with a minus the other way round"),
                Field("widths", "widths", ", ".join(f"{name}={each}" for name, each in now.widths.items()), "name=30"),
            ],
            yes="Keep",
            check=check,
            note=f"all: {', '.join(every)}",
            first="show",
        ),
        answered,
    )


def _words(written: str) -> list[str]:
    return [each.strip() for each in written.split(",") if each.strip()]
