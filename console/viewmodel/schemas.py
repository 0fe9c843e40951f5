"""Schemas of a registry as rows, texts and differences. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell

LEVELS = (
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
    "NONE",
)
_MESSAGE = re.compile(r"^\s*(?:message|enum)\s+(\w+)", re.MULTILINE)


class SchemaReference(NamedTuple):
    """What a schema takes from a version of another subject."""

    name: str
    subject: str
    version: int


class SchemaRow(NamedTuple):
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    schema_type: str
    schema: str
    references: tuple[SchemaReference, ...] = ()
    is_deleted: bool = False
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Subject and version."""
        return f"{self.subject} {self.version}"

    @property
    def is_healthy(self) -> bool:
        """Whether it is not deleted."""
        return not self.is_deleted


class Level(NamedTuple):
    """The compatibility of a subject: its own, or that of all."""

    level: str
    is_own: bool = True

    def words(self) -> str:
        """For people."""
        return self.level if self.is_own else f"{self.level} (of all)"


def name_in(row: SchemaRow) -> str:
    """What a schema calls itself: the record, the title, the first message; empty if nothing."""
    if row.schema_type == "PROTOBUF":
        found = _MESSAGE.search(row.schema)
        return found[1] if found else ""
    try:
        said = json.loads(row.schema)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return said if isinstance(said, str) else "union" if isinstance(said, list) else ""
    if row.schema_type == "JSON":
        return str(said.get("title") or said.get("$id") or said.get("type") or "")
    space = f"{said['namespace']}." if isinstance(said.get("namespace"), str) else ""
    return f"{space}{said['name']}" if isinstance(said.get("name"), str) else str(said.get("type", ""))


def pretty(row: SchemaRow) -> str:
    """A schema's text in lines."""
    if row.schema_type != "PROTOBUF":
        try:
            return json.dumps(json.loads(row.schema), indent=2, ensure_ascii=False)
        except ValueError:
            pass
    return row.schema.rstrip("\n")


def compact(schema_type: str, written: str) -> str:
    """What was written by hand, as it is sent. Raises: ValueError: it is no JSON."""
    if schema_type == "PROTOBUF":
        return written
    return json.dumps(json.loads(written), ensure_ascii=False, separators=(",", ":"))


def schema_lines(row: SchemaRow) -> list[Cell]:
    """A version whole."""
    lines = [cell(f"id {row.schema_id} · {row.schema_type}" + (" · deleted" if row.is_deleted else ""), "muted")]
    lines += [cell(f"{each.name} is {each.subject} version {each.version}", "accent") for each in row.references]
    return [*lines, cell(""), *(cell(line) for line in pretty(row).splitlines())]


def difference_lines(before: str, after: str) -> list[Cell]:
    """What became of a text, with some lines around each change; says so if nothing did."""
    tones = {"+": "in_sync", "-": "offline", "@": "muted"}
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    lines = [cell(each, tones.get(each[:1], "text")) for each in list(found)[2:]]
    return lines or [cell("the texts are the same", "muted")]


def version_words(rows: Sequence[SchemaRow], level: Level | None) -> str:
    """What stands below the versions of a subject."""
    words = text.plural(len(rows), "version")
    return words if level is None else f"{words} · compatibility {level.words()}"


def _references(row: SchemaRow) -> Cell:
    return cell(", ".join(f"{each.subject} {each.version}" for each in row.references)) if row.references else UNKNOWN


_NAME = Column("name", "NAME", lambda row: cell(name_in(row)), 10, name_in, max_width=60, priority=2)
_TYPE = Column("type", "TYPE", lambda row: cell(row.schema_type), 8, lambda row: row.schema_type)
_ID = Column("id", "ID", lambda row: cell(row.schema_id), 6, lambda row: row.schema_id, right=True)
_REFERENCES = Column("references", "REFERENCES", _references, 12, max_width=60, priority=3)

SUBJECT_COLUMNS: tuple[Column, ...] = (
    Column(
        "subject", "SUBJECT", lambda row: cell(row.subject), 16, lambda row: row.subject, max_width=80, cut_middle=True
    ),
    _TYPE,
    Column("version", "LATEST", lambda row: cell(row.version), 7, lambda row: row.version, right=True, descending=True),
    _ID,
    _NAME,
    _REFERENCES,
)
VERSION_COLUMNS: tuple[Column, ...] = (
    Column(
        "version", "VERSION", lambda row: cell(row.version), 7, lambda row: row.version, right=True, descending=True
    ),
    _ID,
    _TYPE,
    Column(
        "state",
        "STATE",
        lambda row: cell("deleted", "under_replicated") if row.is_deleted else cell("there", "in_sync"),
        7,
        lambda row: row.is_deleted,
    ),
    Column(
        "size",
        "SIZE",
        lambda row: cell(text.size(len(row.schema.encode()))),
        9,
        lambda row: len(row.schema),
        right=True,
    ),
    _NAME,
    _REFERENCES,
)
