"""Acts on records: producing one, sending one again, editing one first."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from console.acts import Need, produce_command, typed_number, typed_pairs
from console.acts_part import ActsPart
from console.editor import EditorFailed, edited
from console.gateway import GatewayError, NewRecord, ReadFrom, Start, Tail
from console.modals.form import Field, Form
from console.parquet_file import missing
from console.record_export import FileKind, export
from console.serde_acts import schema_remark, serde_remark, written
from console.viewmodel import text
from console.viewmodel.filters import Filter
from console.viewmodel.records import RecordView, as_text
from console.viewmodel.seeking import parse_seek
from console.viewmodel.tailing import TailRun

if TYPE_CHECKING:
    from console.actions import Acts
    from console.app import KConsole


_SUFFIXES = frozenset(f".{each}" for each in FileKind)


class RecordActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def __init__(self, app: KConsole, acts: Acts) -> None:
        super().__init__(app, acts)
        self._last_produced: dict[str, str] = {}
        self._export: asyncio.Future[None] | None = None

    def ask_produce(self, topic: str, partition: int | None = None) -> None:
        """A form for a record; it remembers what was produced last."""
        last = self._last_produced
        self._ask(
            "produce a record",
            {
                **last,
                "topic": topic or last.get("topic", ""),
                "partition": "" if partition is None else str(partition),
            },
        )

    def ask_resend(self, record: RecordView, value: bytes | None = None) -> None:
        """The same form with all that a record has, or with another ``value``. What stays as it was is sent byte for
        byte, also what is no text."""
        if self._is_masked(record):
            return
        same = value is None
        value = record.value if value is None else value
        headers = record.headers
        said = {
            "topic": record.topic,
            "key": _said(_readable(record, "key")),
            "value": _said(_readable(record, "value") if same else value),
            "headers": ", ".join(f"{name}={json.dumps(_said(each), ensure_ascii=False)}" for name, each in headers),
            "partition": str(record.partition),
        }
        as_it_was = {"key": record.key, "headers": headers}
        if same or record.reading is None or not record.reading.value.serde:
            as_it_was["value"] = value
        self._ask(f"send {record.place} again", said, as_it_was, record)

    def _is_masked(self, record: RecordView) -> bool:
        if record.reading is None or not record.reading.masked:
            return False
        self._app.flash(f"{record.place} is masked: what is hidden cannot be sent", "under_replicated")
        return True

    def edit(self, record: RecordView) -> None:
        """The value in ``$VISUAL`` or ``$EDITOR``, and then the form."""
        if self._acts.refused(Need.WRITE):
            return
        if self._is_masked(record):
            return
        before = _editable(_readable(record, "value"))
        if before is None:
            self._app.flash(f"the value of {record.place} is no text: R sends it again as it is", "under_replicated")
            return
        try:
            after = edited(self._app, before, ".json" if before.lstrip()[:1] in ("{", "[") else ".txt")
        except EditorFailed as error:
            self._app.flash(f"{error}; nothing was sent", "offline")
        else:
            if after == before:
                self._app.flash("nothing was changed, and nothing sent", "info")
            else:
                self.ask_resend(record, _compact(after, _readable(record, "value")).encode())

    # -- into a file ----------------------------------------------------------------------------------------------

    def ask_export(self, topics: tuple[str, ...], partitions: tuple[int, ...] | None, wanted: Filter) -> None:
        """A form for the file; while one is being written, it is given up."""
        if self._export is not None:
            self._export.cancel()
            return
        # Of several topics the first names the file.
        name = f"{topics[0]}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(self._app.now_ms() / 1000))}.jsonl"
        fields = [
            Field("path", "file", name),
            Field("from", "from", "start", "start, 1042, -100, 15m, 2026-11-24 14:03"),
            Field("kind", "format", FileKind.JSON_LINES, choices=tuple(FileKind)),
        ]

        def check(values: dict[str, str]) -> str:
            if not values["path"].strip():
                return "name a file"
            path, kind = file_of(values)
            if path.exists():
                return f"{path} is there already"
            if kind is FileKind.PARQUET and missing():
                return missing()
            found = parse_seek(values["from"], self._app.now_ms())
            return found if isinstance(found, str) else ""

        def file_of(values: dict[str, str]) -> tuple[Path, FileKind]:
            """A format that was chosen changes the name; else the name tells the format."""
            path, kind = Path(values["path"].strip()).expanduser(), FileKind(values["kind"])
            if kind is FileKind.JSON_LINES:
                return path, FileKind.of(path, kind)
            return path.with_suffix(f".{kind}") if path.suffix in _SUFFIXES else path, kind

        def submitted(values: dict[str, str] | None) -> None:
            begin = parse_seek(values["from"], self._app.now_ms()) if values is not None else ""
            if values is None or isinstance(begin, str):
                return
            reading = self._run_export(Tail(topics, partitions, begin), wanted, *file_of(values))
            self._export = asyncio.ensure_future(reading)

        note = "up to the end as it is now" + (f"; only what passes /{wanted.text}" if wanted.is_active else "")
        self._app.push_screen(Form("records into a file", fields, yes="Write", check=check, note=note), submitted)

    async def _run_export(self, tail: Tail, wanted: Filter, path: Path, kind: FileKind) -> None:
        run = TailRun(time.monotonic() * 1000, until=ReadFrom(Start.END), wanted=wanted)

        def progress() -> None:
            found = f", {run.printed:,} of them match" if wanted.is_active else ""
            self._app.flash(f"{path.name}: {text.plural(run.read, 'record')} read{found}; E gives it up", "info")

        try:
            ending = await export(self._app.gateway, tail, run, path, kind, progress)
            if ending.complete:
                self._app.flash(f"{path}: {ending.said}", "in_sync", seconds=12)
            else:
                self._app.flash(f"nothing was written: {ending.said}", "offline", seconds=12)
        except asyncio.CancelledError:
            self._app.flash(f"{path.name} was given up; nothing was written", "under_replicated")
        except (GatewayError, OSError) as error:
            self._app.flash(f"nothing was written: {error}", "offline", seconds=12)
        finally:
            self._export = None

    # -- the form -------------------------------------------------------------------------------------------------

    def _ask(
        self,
        title: str,
        said: dict[str, str],
        as_it_was: dict[str, bytes | tuple[tuple[str, bytes | None], ...] | None] | None = None,
        before: RecordView | None = None,
    ) -> None:
        """The form. Fields that are left as ``said`` has them mean what ``as_it_was`` has."""
        if self._acts.refused(Need.WRITE):
            return
        kept = as_it_was or {}
        fields = [
            Field("topic", "topic", said["topic"]),
            Field("key", "key", said.get("key", ""), "none (null)"),
            Field("value", "value", said.get("value", ""), "none (null, a tombstone)", lines=5),
            Field("headers", "headers", said.get("headers", ""), "name=value, name=value"),
            Field("partition", "partition", said["partition"], "chosen by the key"),
            Field("acks", "acks", said.get("acks", "all"), choices=("all", "1", "0")),
        ]

        def check(values: dict[str, str]) -> str:
            if not values["topic"].strip():
                return "name a topic"
            if values["partition"].strip() and typed_number(values["partition"]) is None:
                return "partition is a whole number, or empty"
            try:
                typed_pairs(values["headers"])
            except ValueError as error:
                return f"headers: {error}"
            return ""

        def bytes_of(name: str, values: dict[str, str]) -> bytes | None:
            if name in kept and values[name] == said[name]:
                same = kept[name]
                assert same is None or isinstance(same, bytes)
                return same
            return values[name].encode() or None

        def headers_of(values: dict[str, str]) -> tuple[tuple[str, bytes | None], ...]:
            if "headers" in kept and values["headers"] == said["headers"]:
                same = kept["headers"]
                assert isinstance(same, tuple)
                return same
            return tuple((name, value.encode()) for name, value in typed_pairs(values["headers"]))

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            if not kept:
                self._last_produced = values
            typed = {
                name: values[name]
                for name in ("key", "value")
                if values[name] and not (name in kept and values[name] == said[name])
            }
            self._produce(
                NewRecord(
                    values["topic"].strip(),
                    bytes_of("key", values),
                    bytes_of("value", values),
                    headers_of(values),
                    typed_number(values["partition"]),
                    values["acks"],
                ),
                typed,
                before,
            )

        note = serde_remark(self._app, said["topic"]) or ("" if before else schema_remark(self._app, said["topic"]))
        self._app.push_screen(Form(title, fields, yes="Produce", check=check, note=note), submitted)

    def _produce(self, record: NewRecord, typed: dict[str, str], before: RecordView | None) -> None:
        async def call() -> str:
            made = await written(self._app, record, typed, before)
            done = await self._app.gateway.produce(made.record)
            offset = "no offset (acks=0)" if done.offset is None else f"offset {done.offset:,}"
            place = f"{record.topic}-{done.partition}" if done.partition >= 0 else record.topic
            return f"produced to {place}, {offset}, {text.milliseconds(done.latency_ms)}" + (
                f", {made.said}" if made.said else ""
            )

        remark = serde_remark(self._app, record.topic) or _schemas_of(before, typed)
        if not remark and before is None and schema_remark(self._app, record.topic):
            remark = "by the registry's schemas, where it has them"
        command = produce_command(self._bootstrap, record) + (f"  # {remark}" if remark else "")
        self._acts.perform(f"produce to {record.topic}", command, call)


def _schemas_of(before: RecordView | None, typed: Mapping[str, str]) -> str:
    """By which schemas that is written what was changed of a record."""
    if before is None or before.reading is None:
        return ""
    read = {part: getattr(before.reading, part) for part in typed}
    return ", ".join(f"{part} as {each.serde}" for part, each in read.items() if each.schema_id is not None)


def _readable(record: RecordView, part: str) -> bytes | None:
    """What a serde read, else the bytes. What Kafka wrote for itself is nobody's to write."""
    if record.reading is not None and getattr(record.reading, part).serde:
        return record.readable_key if part == "key" else record.readable_value
    data: bytes | None = getattr(record, part)
    return data


def _said(data: bytes | None) -> str:
    """As the form has it; what is no text is named by its size."""
    if data is None:
        return ""
    said = as_text(data)
    return f"({len(data):,} bytes that are no text, as they are)" if said is None else said


def _editable(value: bytes | None) -> str | None:
    """For an editor: JSON indented, other text as it is; ``None`` for what is no text."""
    said = "" if value is None else as_text(value)
    if said is None or said.lstrip()[:1] not in ("{", "["):
        return said
    try:
        return json.dumps(json.loads(said), ensure_ascii=False, indent=2) + "\n"
    except (ValueError, RecursionError):
        return said


def _compact(after: str, before: bytes | None) -> str:
    """JSON that was in one line is so again; editors end what they write with a line's end, records do not."""
    try:
        if before is not None and b"\n" not in before and after.lstrip()[:1] in ("{", "["):
            return json.dumps(json.loads(after), ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return after if before is not None and before.endswith(b"\n") else after.removesuffix("\n")
