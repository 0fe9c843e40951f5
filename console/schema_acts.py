"""Acts on schemas: another version from the editor, a subject's compatibility, deletion. Shown first, or asked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

from console.acts import Need
from console.acts_part import ActsPart
from console.editor import EditorFailed, edited
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.viewmodel.cells import cell
from console.viewmodel.schemas import LEVELS, SchemaRow, compact, difference_lines, pretty

After = Callable[[], None]

_INHERITED = "as all"
_TYPES = ("AVRO", "JSON", "PROTOBUF")
_FIRST = {
    "AVRO": '{"type": "record", "name": "New", "fields": []}',
    "JSON": '{"type": "object", "properties": {}, "additionalProperties": false}',
    "PROTOBUF": 'syntax = "proto3";\n\nmessage New {\n}',
}


class SchemaActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def edit(self, row: SchemaRow, after: After, *, is_new: bool = False) -> None:
        """The text in the user's editor; what changed and whether it is compatible is shown before it is registered."""
        if self._acts.refused(Need.WRITE):
            return
        before = pretty(row)
        try:
            written = edited(self._app, before, ".proto" if row.schema_type == "PROTOBUF" else ".json")
            wanted = row._replace(schema=compact(row.schema_type, written))
        except EditorFailed as error:
            self._app.flash(f"{error}; nothing was registered", "offline")
            return
        except ValueError as error:
            self._app.flash(f"that is no JSON: {error}; nothing was registered", "offline", seconds=12)
            return
        if wanted.schema == compact(row.schema_type, before) and not is_new:
            self._app.flash("nothing was changed, and nothing registered", "info")
            return
        self._app.run_worker(self._show(row, wanted, after, is_new=is_new), group="acts", exit_on_error=False)

    async def _show(self, row: SchemaRow, wanted: SchemaRow, after: After, *, is_new: bool) -> None:
        schemas = self._app.gateway.schemas
        try:
            url = await schemas.url()
            problems = await schemas.check(wanted)
        except GatewayError as error:
            self._app.flash(f"schema of {row.subject}: {error}", "offline", seconds=12)
            return
        command = self._curl(url, "POST", f"/subjects/{quote(row.subject, safe='')}/versions", wanted)
        lines = difference_lines("" if is_new else pretty(row), pretty(wanted))
        lines.append(cell(""))
        lines += [cell(each, "offline") for each in problems]
        said = ("The registry would refuse it.", "offline") if problems else ("The registry would take it.", "in_sync")
        lines += [cell(*said), cell(f"$ {command}", "muted")]

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(
                    f"register a schema of {row.subject}", command, lambda: schemas.register(wanted), after=after
                )

        self._app.push_screen(Preview(f"another version of {row.subject}: register it?", lines), answered)

    def ask_new(self, like: SchemaRow | None, after: After) -> None:
        """A form for subject and type, then the editor."""
        if self._acts.refused(Need.WRITE):
            return
        fields = [
            Field("subject", "subject", "", "orders-value: the topic's name, and -key or -value"),
            Field("type", "type", like.schema_type if like else _TYPES[0], choices=_TYPES),
        ]

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                kind = values["type"]
                row = SchemaRow(values["subject"].strip(), 0, -1, kind, _FIRST[kind])
                self.edit(row, after, is_new=True)

        def check(values: dict[str, str]) -> str:
            return "" if values["subject"].strip() else "name the subject"

        self._app.push_screen(Form("a new schema", fields, yes="Edit", check=check), submitted)

    def ask_level(self, subject: str | None, after: After) -> None:
        """A form for the compatibility of a subject, or of all."""
        if self._acts.refused(Need.WRITE):
            return

        async def run() -> None:
            schemas = self._app.gateway.schemas
            try:
                url = await schemas.url()
                own, of_all = await schemas.level(subject), await schemas.level()
            except GatewayError as error:
                self._app.flash(f"compatibility: {error}", "offline", seconds=12)
                return
            fields = [Field("all", "of all", of_all.level, choices=LEVELS)]
            if subject is not None:
                mine = own.level if own.is_own else _INHERITED
                fields.insert(0, Field("own", "of it", mine, choices=(_INHERITED, *LEVELS)))

            def submitted(values: dict[str, str] | None) -> None:
                if values is None:
                    return
                if subject is not None and values["own"] != mine:
                    level = None if values["own"] == _INHERITED else values["own"]
                    self._set_level(url, subject, level, after)
                if values["all"] != of_all.level:
                    self._set_level(url, None, values["all"], after)

            note = "BACKWARD: new schemas read what old ones wrote; FORWARD: the other way; FULL: both ways."
            title = "compatibility" if subject is None else f"compatibility of {subject}"
            self._app.push_screen(Form(title, fields, yes="Set", note=note), submitted)

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def _set_level(self, url: str, subject: str | None, level: str | None, after: After) -> None:
        path = "/config" if subject is None else f"/config/{quote(subject, safe='')}"
        command = self._curl(url, "DELETE" if level is None else "PUT", path, level and {"compatibility": level})
        what = "compatibility of all" if subject is None else f"compatibility of {subject}"

        async def call() -> str:
            await self._app.gateway.schemas.set_level(subject, level)
            return f"{what}: {level or 'that of all'}"

        self._acts.perform(what, command, call, after=after)

    def delete(self, row: SchemaRow, url: str, after: After) -> None:
        """Always asks: softly first, for good what is deleted already."""
        if self._acts.refused(Need.WRITE):
            return
        path = f"/subjects/{quote(row.subject, safe='')}/versions/{row.version}"
        permanent = "?permanent=true" if row.is_deleted else ""
        command = self._curl(url, "DELETE", path + permanent, None)
        what = f"version {row.version} of {row.subject}"

        async def call() -> str:
            await self._app.gateway.schemas.delete(row)
            return f"{what} deleted" + (" for good" if row.is_deleted else "")

        loses = (
            f"Records with schema {row.schema_id} are readable no more, unless another version has it."
            if row.is_deleted
            else "Records that have it are read as before; ctrl-d once more deletes it for good."
        )
        self._acts.asking(
            "delete",
            f"Delete {what}{' for good' if row.is_deleted else ''}?",
            loses,
            command,
            "Delete",
            lambda: self._acts.perform(f"delete {what}", command, call, after=after),
        )

    @staticmethod
    def _curl(url: str, method: str, path: str, body: object) -> str:
        """The same from a shell; a long schema is cut."""
        words = ["curl", "-X", method, f"{url}{path}"]
        if isinstance(body, SchemaRow):
            body = {"schema": body.schema, "schemaType": body.schema_type}
        if body:
            text = json.dumps(body)
            words += ["-H", "Content-Type: application/vnd.schemaregistry.v1+json", "-d"]
            words.append(text if len(text) <= 200 else text[:199] + "…")
        return shlex.join(words)
