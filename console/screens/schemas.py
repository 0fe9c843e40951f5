"""What is in a schema registry: its subjects, and the versions of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.modals.detail import Detail
from console.screens.base import ViewSpec, view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.keeping import Told
from console.viewmodel.schemas import (
    SUBJECT_COLUMNS,
    VERSION_COLUMNS,
    Level,
    SchemaRow,
    difference_lines,
    pretty,
    schema_lines,
    version_words,
)


class SchemasView(PolledView):
    """One row a subject, with its newest version."""

    NAME = "schemas"
    COLUMNS = SUBJECT_COLUMNS
    NOTHING = "no subject has a schema: serializers register them, and n does"
    BINDINGS = view_bindings("schemas")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._url = ""
        self._level: Level | None = None

    def begin(self) -> None:
        # What was told before stays, with its age, also for who comes back.
        self.kept = self.console.history.subjects
        super().begin()

    async def ask(self) -> Told:
        schemas = self.console.gateway.schemas
        self._url = await schemas.url()
        told = await schemas.subjects()
        self._level = await schemas.level()
        return told

    def key_of(self, row: SchemaRow) -> str:
        return row.subject

    def counts(self) -> str:
        level = "" if self._level is None else f" · compatibility {self._level.level}"
        return f"{text.plural(len(self.table.shown), 'subject')}{level} · {self._url}"

    def action_open(self) -> None:
        row: SchemaRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("schema", {"subject": row.subject}))

    def action_describe(self) -> None:
        show(self, self.table.cursor_row)

    def action_new(self) -> None:
        self.console.acts.schemas.ask_new(self.table.cursor_row, self.read_again)

    def action_edit(self) -> None:
        if self.table.cursor_row is not None:
            self.console.acts.schemas.edit(self.table.cursor_row, self.read_again)

    def action_level(self) -> None:
        row: SchemaRow | None = self.table.cursor_row
        self.console.acts.schemas.ask_level(None if row is None else row.subject, self.read_again)


class SchemaView(PolledView):
    """One row a version of a subject, newest first."""

    NAME = "schema"
    COLUMNS = VERSION_COLUMNS
    NOTHING = "the subject has no version any more"
    BINDINGS = view_bindings("schema")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._url = ""
        self._level: Level | None = None

    @property
    def _subject(self) -> str:
        return str(self.about["subject"])

    async def ask(self) -> Told:
        schemas = self.console.gateway.schemas
        self._url = await schemas.url()
        told = await schemas.versions(self._subject)
        self._level = await schemas.level(self._subject)
        return told

    def scope_word(self) -> str:
        return self._subject

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["subject"])

    def counts(self) -> str:
        return version_words(self.table.shown, self._level)

    def action_open(self) -> None:
        show(self, self.table.cursor_row)

    def action_describe(self) -> None:
        show(self, self.table.cursor_row)

    def action_difference(self) -> None:
        """What the selected version changed."""
        row: SchemaRow | None = self.table.cursor_row
        if row is None:
            return
        known: list[SchemaRow] = list(self.kept.rows(self.console.monotonic_ms()))
        before = max(
            (each for each in known if each.version < row.version), key=lambda each: each.version, default=None
        )
        if before is None:
            self.console.flash(f"version {row.version} of {row.subject} is the first that is there", "info")
            return
        title = f"{row.subject}: version {before.version} → {row.version}"
        self.console.push_screen(Detail(title, difference_lines(pretty(before), pretty(row))))

    def action_edit(self) -> None:
        row: SchemaRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.schemas.edit(row, self.read_again)

    def action_level(self) -> None:
        self.console.acts.schemas.ask_level(self._subject, self.read_again)

    def action_delete(self) -> None:
        row: SchemaRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.schemas.delete(row, self._url, self.read_again)


def show(view: PolledView, row: SchemaRow | None) -> None:
    """A version whole."""
    if row is not None:
        view.console.push_screen(Detail(f"{row.subject} version {row.version}", schema_lines(row)))
