"""Records as rows and as readable text; the ring that keeps the last ones."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, overload

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell, json_tone
from console.viewmodel.jq_programs import Program, field_title

KEPT_RECORDS = 2_000
_SHOWN_VALUE = 400


class PartReading(NamedTuple):
    """How a key or value was read: by which serde, or why by none. ``is_text``: what looks like JSON is none.

    Of a schema that a registry has: its id, and a subject with the version that it is there; empty where nobody told.
    """

    serde: str = ""
    problem: str = ""
    is_text: bool = False
    schema_id: int | None = None
    subject: str = ""
    version: int | None = None

    @property
    def words(self) -> str:
        """The serde, with where its schema stands."""
        return f"{self.serde} · {self.subject} version {self.version}" if self.subject else self.serde


class Reading(NamedTuple):
    """How a record was read. ``masked`` names what rules took out of it: then it has not even the bytes."""

    key: PartReading = PartReading()
    value: PartReading = PartReading()
    masked: tuple[str, ...] = ()


class RecordView(NamedTuple):
    """One record as it was read. Times are wall-clock milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_type: str = "CreateTime"
    leader_epoch: int | None = None
    compression: str = "none"
    producer_id: int | None = None
    is_transactional: bool = False
    is_control: bool = False
    # What the bytes mean where Kafka itself wrote them (the coordinators' topics, control records), as JSON.
    meaning: tuple[bytes | None, bytes | None] | None = None
    # Where serdes or masks were at work; then ``meaning`` has what serdes read.
    reading: Reading | None = None
    # The batch does not unpack: ``value`` says why, and is no record's.
    is_unreadable: bool = False

    @property
    def readable_key(self) -> bytes | None:
        """The key, or what it means."""
        return self.key if self.meaning is None else self.meaning[0]

    @property
    def readable_value(self) -> bytes | None:
        """The value, or what it means."""
        return self.value if self.meaning is None else self.meaning[1]

    @property
    def place(self) -> str:
        """``topic-partition@offset``."""
        return f"{self.topic}-{self.partition}@{self.offset}"


class BytesFormat(StrEnum):
    """How bytes are shown."""

    AUTO = "json"
    RAW = "raw"
    HEX = "hex"


def as_text(data: bytes) -> str | None:
    """UTF-8 that people can read, else ``None``."""
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return None
    readable = decoded.isprintable() or all(each.isprintable() or each in "\n\r\t" for each in decoded)
    return decoded if readable else None


def _beginning_as_text(data: bytes) -> str | None:
    for cut in range(4):
        found = as_text(data[: len(data) - cut])
        if found is not None:
            return found
    return None


def one_line(data: bytes | None, shown: BytesFormat = BytesFormat.AUTO) -> Cell:
    """Bytes in one line of a table."""
    if data is None:
        return cell("null", "muted")
    if not data:
        return cell('""', "muted")
    head = data[:_SHOWN_VALUE]
    if shown is BytesFormat.HEX:
        return cell(head.hex(" "), "text")
    # The last character of a part may be cut.
    decoded = as_text(data) if len(head) == len(data) else _beginning_as_text(head)
    if decoded is None:
        return (Span("0x", "muted"), Span(head.hex(" "), "text"))
    if shown is not BytesFormat.AUTO:
        return cell("".join(_visible(c) for c in decoded))
    line = " ".join(decoded.split())
    return json_spans(line) if _JSON_BEGINS.match(line) else cell(line)


_JSON_BEGINS = re.compile(r'[{[]\s*["{[\]}\d-]')
_JSON = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|\b(true|false|null)\b|\w+|[^"\w-]+|.')


@lru_cache(maxsize=512)
def json_spans(line: str) -> Cell:
    """JSON in one line, whole or cut off, toned as in :func:`json_lines`."""
    spans: list[Span] = []
    for found in _JSON.finditer(line):
        string, colon, number, word = found.groups()
        if string is not None and colon is not None:
            spans += [Span(string, "accent"), Span(colon, "muted")]
            continue
        tone = "in_sync" if string else "leader" if number else "controller" if word else "muted"
        spans.append(Span(found[0], tone))
    return tuple(spans)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return {"\n": "⏎", "\r": "␍", "\t": "→"}.get(character, "·")


class FormattedLine(NamedTuple):
    """One line of a record's detail."""

    spans: tuple[Span, ...]


def pretty_lines(data: bytes | None, shown: BytesFormat) -> list[Cell]:
    """Bytes in as many lines as they need: JSON indented and coloured, else text, else a hex dump."""
    if data is None:
        return [cell("null", "muted")]
    if not data:
        return [cell("(empty)", "muted")]
    if shown is BytesFormat.HEX:
        return hex_lines(data)
    decoded = as_text(data)
    if shown is BytesFormat.AUTO and decoded is not None and decoded.lstrip()[:1] in ("{", "["):
        try:
            return json_lines(json.loads(decoded))
        except (ValueError, RecursionError):
            pass
    if decoded is None:
        if shown is BytesFormat.RAW:
            return [cell("".join(_visible(c) for c in line)) for line in data.decode(errors="replace").splitlines()]
        return hex_lines(data)
    return [cell(line.expandtabs(4)) for line in decoded.splitlines() or [""]]


def json_lines(value: Any, indent: int = 0, name: str | None = None, comma: bool = False) -> list[Cell]:
    """Indented JSON with toned names and values."""
    pad = Span("  " * indent, "muted")
    head = (pad,) if name is None else (pad, Span(json.dumps(name, ensure_ascii=False), "accent"), Span(": ", "muted"))
    tail = (Span(",", "muted"),) if comma else ()
    if isinstance(value, dict) and value:
        items = list(value.items())
        lines: list[Cell] = [(*head, Span("{", "muted"))]
        for at, (key, each) in enumerate(items):
            lines += json_lines(each, indent + 1, str(key), at < len(items) - 1)
        return [*lines, (pad, Span("}", "muted"), *tail)]
    if isinstance(value, list) and value:
        lines = [(*head, Span("[", "muted"))]
        for at, each in enumerate(value):
            lines += json_lines(each, indent + 1, None, at < len(value) - 1)
        return [*lines, (pad, Span("]", "muted"), *tail)]
    return [(*head, Span(json.dumps(value, ensure_ascii=False), json_tone(value)), *tail)]


def hex_lines(data: bytes, limit: int = 64 * 1024) -> list[Cell]:
    """Offset, sixteen bytes, and what is readable of them."""
    lines: list[Cell] = []
    for at in range(0, min(len(data), limit), 16):
        chunk = data[at : at + 16]
        digits = f"{chunk[:8].hex(' '):<23}  {chunk[8:].hex(' '):<23}"
        readable = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in chunk)
        lines.append((Span(f"{at:08x}  ", "muted"), Span(digits, "text"), Span(f"  {readable}", "info")))
    if len(data) > limit:
        lines.append(cell(f"… {len(data) - limit:,} bytes more", "muted"))
    return lines


def record_text(record: RecordView) -> str:
    """What ``/`` looks at: key, value, and ``name=value`` of each header, and the place."""
    parts = [record.place]
    for data in (record.readable_key, record.readable_value):
        if data is not None:
            parts.append(data.decode(errors="replace"))
    parts += [f"{name}={(value or b'').decode(errors='replace')}" for name, value in record.headers]
    return " ".join(parts)


def record_part(record: RecordView, part: str) -> str:
    """``-l key=…``, ``value``, ``header``, ``topic``, ``partition``, ``offset``."""
    if "key".startswith(part):
        return (record.readable_key or b"").decode(errors="replace")
    if "value".startswith(part):
        return (record.readable_value or b"").decode(errors="replace")
    if "headers".startswith(part):
        return " ".join(f"{name}={(value or b'').decode(errors='replace')}" for name, value in record.headers)
    if "topic".startswith(part):
        return record.topic
    return str(record.partition) if "partition".startswith(part) else str(record.offset)


def record_data(record: RecordView) -> dict[str, Any]:
    """The record for a program in jq: keys and values that are JSON as such, other text as text, other bytes in hex."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": part_data(record, "key"),
        "value": part_data(record, "value"),
        "headers": {name: _data(value) for name, value in record.headers},
    }


def part_data(record: RecordView, part: str) -> Any:
    """Key or value in JSON's types. What a serde read as text is text, whatever it looks like."""
    data = record.readable_key if part == "key" else record.readable_value
    reading: PartReading | None = None if record.reading is None else getattr(record.reading, part)
    if data is not None and reading is not None and reading.is_text:
        return data.decode(errors="replace")
    return _data(data)


def _data(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return data.hex()
    try:
        return json.loads(decoded)
    except (ValueError, RecursionError):
        return decoded


def reading_marks(record: RecordView, part: str, shown: BytesFormat) -> Cell:
    """What stands before a key or value: that something is masked, or why it is bytes still."""
    if record.reading is None:
        return ()
    marks: list[Span] = []
    if part == "value" and record.reading.masked:
        marks.append(Span("masked ", "controller"))
    problem = getattr(record.reading, part).problem
    if problem and shown is BytesFormat.AUTO:
        marks.append(Span(f"! {problem} ", "under_replicated"))
    return tuple(marks)


def record_columns(
    shown: BytesFormat, several_topics: bool, *, headers: bool = True, fields: Sequence[Program] = ()
) -> tuple[Column, ...]:
    """Columns for a tail; ``headers`` where there are any, and one for each of ``fields``."""

    def place(record: RecordView) -> Cell:
        return cell(f"{record.topic}-{record.partition}" if several_topics else record.partition, "muted")

    def headers_of(record: RecordView) -> Cell:
        if not record.headers:
            return cell("–", "muted")
        return cell(" ".join(f"{name}={(value or b'').decode(errors='replace')}" for name, value in record.headers))

    def value(record: RecordView) -> Cell:
        data = record.readable_value if shown is BytesFormat.AUTO else record.value
        if record.is_control:
            return (Span("control record  ", "controller"), *(one_line(data, shown) if data is not None else ()))
        if record.value is None:
            return cell("null (tombstone)", "under_replicated")
        return (*reading_marks(record, "value", shown), *one_line(data, shown))

    def key(record: RecordView) -> Cell:
        data = record.readable_key if shown is BytesFormat.AUTO else record.key
        return (*reading_marks(record, "key", shown), *one_line(data, shown))

    columns = (
        Column("time", "TIME", lambda record: cell(text.clock_time(record.timestamp_ms), "muted"), 12, priority=1),
        Column(
            "partition",
            "PARTITION" if several_topics else "PART",
            place,
            12 if several_topics else 4,
            right=not several_topics,
            max_width=30 if several_topics else None,
        ),
        Column("offset", "OFFSET", lambda record: cell(f"{record.offset:,}", "leader"), 9, right=True),
        Column("key", "KEY", key, 10, max_width=24),
        Column("headers", "HEADERS", headers_of, 16, priority=2, max_width=30),
        *(
            Column(
                f"field {at}",
                field_title(each.text),
                lambda record, each=each: each.cell(record_data(record)),
                10,
                max_width=32,
            )
            for at, each in enumerate(fields)
        ),
        Column("value", "VALUE", value, 20, max_width=400),
    )
    return tuple(column for column in columns if headers or column.key != "headers")


def merge_by_time(records: list[RecordView]) -> list[RecordView]:
    """Records of several partitions in the order of their times; those of one partition keep their own order."""
    by_partition: dict[tuple[str, int], list[RecordView]] = {}
    for record in records:
        by_partition.setdefault((record.topic, record.partition), []).append(record)
    if len(by_partition) < 2:
        return records
    return list(heapq.merge(*by_partition.values(), key=lambda record: record.timestamp_ms))


class Ring(Sequence[RecordView]):
    """The last records, oldest first. What falls out is counted."""

    def __init__(self, kept: int = KEPT_RECORDS) -> None:
        self._kept = kept
        self._records: list[RecordView] = []
        self.dropped = 0
        self.total = 0

    def extend(self, records: Iterable[RecordView]) -> None:
        """Take a batch."""
        new = list(records)
        self.total += len(new)
        self._records += new
        over = len(self._records) - self._kept
        if over > 0:
            del self._records[:over]
            self.dropped += over

    def clear(self) -> None:
        """Forget everything, the counts too."""
        self._records.clear()
        self.dropped = self.total = 0

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> RecordView: ...

    @overload
    def __getitem__(self, index: slice) -> list[RecordView]: ...

    def __getitem__(self, index: int | slice) -> RecordView | list[RecordView]:
        return self._records[index]

    def __iter__(self) -> Iterator[RecordView]:
        return iter(self._records)
