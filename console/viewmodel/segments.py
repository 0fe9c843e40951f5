"""What stands in a partition's files: segments, their batches, and one batch byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell

# The hex view has so many bytes of a batch's body at most; the header is always there.
SHOWN_BODY_BYTES = 8 * 1024
SHOWN_RECORDS = 200
_BYTES_A_LINE = 16
_FIELD_WIDTH = 17
_NAME_WIDTH = 21


class SegmentRow(NamedTuple):
    """One segment on one broker. ``None`` is what would cost more than a glance; times are wall-clock milliseconds."""

    broker_id: int
    path: str
    base_offset: int
    end_offset: int | None
    size: int
    index_sizes: tuple[int, int, int]
    batches: int | None
    records: int | None
    first_ms: int | None
    last_ms: int | None
    modified_ms: int
    is_active: bool
    is_leader: bool = False
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Distinct among all brokers' segments."""
        return f"{self.broker_id}:{self.base_offset:020d}"


class Segments(NamedTuple):
    """Those of a partition, on all brokers that have it. ``problems``: what could not be read."""

    rows: tuple[SegmentRow, ...]
    problems: tuple[str, ...] = ()


class BatchRow(NamedTuple):
    """One batch of a segment."""

    position: int
    base_offset: int
    last_offset: int
    count: int
    size: int
    codec: str
    producer_id: int
    producer_epoch: int
    base_sequence: int
    leader_epoch: int
    timestamp_ms: int
    timestamp_type: str
    is_transactional: bool
    is_control: bool
    crc_matches: bool

    @property
    def key(self) -> str:
        """Where it stands."""
        return str(self.position)

    @property
    def is_healthy(self) -> bool:
        """Whether its bytes are those that were written."""
        return self.crc_matches


class BatchPage(NamedTuple):
    """Some batches and where to go on. ``end``: what stands behind the last of them, ``None`` if more follow."""

    rows: tuple[BatchRow, ...]
    next_position: int
    end: str | None = None


class HeaderField(NamedTuple):
    """A field of a batch's header: where in the batch, its bytes, Kafka's name, what it says."""

    position: int
    data: bytes
    name: str
    said: str
    tone: str = "text"


class BatchRecord(NamedTuple):
    """One record: decoded where it is Kafka's own, else its key and value as text."""

    offset: int
    timestamp_ms: int
    key: str
    value: str


class BatchView(NamedTuple):
    """One batch as it stands in the file. ``body``: its bytes behind the header, the first of them."""

    path: str
    position: int
    size: int
    fields: tuple[HeaderField, ...]
    body: bytes
    records: tuple[BatchRecord, ...]
    more_records: int = 0
    problem: str = ""


# -- segments ---------------------------------------------------------------------------------------------------


def _number(value: int | None, tone: str = "text") -> Cell:
    return UNKNOWN if value is None else cell(f"{value:,}", tone)


def _moment(at_ms: int | None) -> Cell:
    return UNKNOWN if at_ms is None or at_ms < 0 else cell(text.date_time(at_ms)[:19], "muted")


def _index_sizes(row: SegmentRow) -> Cell:
    return cell(" ".join("–" if each < 0 else text.size(each).replace(" ", "") for each in row.index_sizes), "muted")


def _state(row: SegmentRow) -> Cell:
    return cell("● active", "in_sync") if row.is_active else cell("closed", "muted")


SEGMENT_COLUMNS: tuple[Column, ...] = (
    Column(
        "broker",
        "BROKER",
        lambda row: cell(
            f"{row.broker_id} ★" if row.is_leader else row.broker_id, "leader" if row.is_leader else "text"
        ),
        6,
        lambda row: row.broker_id,
    ),
    Column("base", "BASE OFFSET", lambda row: _number(row.base_offset), 12, lambda row: row.base_offset, right=True),
    Column("end", "END OFFSET", lambda row: _number(row.end_offset), 12, lambda row: row.end_offset or 0, right=True),
    Column("size", "SIZE", lambda row: cell(text.size(row.size)), 9, lambda row: row.size, right=True, descending=True),
    Column("state", "STATE", _state, 8, lambda row: row.is_active),
    Column("age", "WRITTEN", lambda row: cell(text.age(row.age_ms), "muted"), 7, lambda row: row.age_ms, right=True),
    Column(
        "batches", "BATCHES", lambda row: _number(row.batches), 9, lambda row: row.batches or 0, right=True, priority=1
    ),
    Column(
        "records", "RECORDS", lambda row: _number(row.records), 9, lambda row: row.records or 0, right=True, priority=2
    ),
    Column("first", "FIRST", lambda row: _moment(row.first_ms), 19, lambda row: row.first_ms or 0, priority=3),
    Column("last", "LAST", lambda row: _moment(row.last_ms), 19, lambda row: row.last_ms or 0, priority=4),
    Column("indexes", "INDEX TIME TXN", _index_sizes, 14, priority=5, max_width=26),
)


# -- batches ----------------------------------------------------------------------------------------------------


def _producer(row: BatchRow) -> Cell:
    if row.producer_id < 0:
        return UNKNOWN
    return (Span(str(row.producer_id)), Span(f":{row.producer_epoch}", "muted"))


def _kind(row: BatchRow) -> Cell:
    if row.is_control:
        return cell("marker" if row.is_transactional else "control", "info")
    return cell("txn", "info") if row.is_transactional else cell("")


BATCH_COLUMNS: tuple[Column, ...] = (
    Column("base", "OFFSETS", lambda row: _number(row.base_offset), 10, lambda row: row.base_offset, right=True),
    Column("last", "TO", lambda row: _number(row.last_offset, "muted"), 10, lambda row: row.last_offset, right=True),
    Column("count", "RECORDS", lambda row: _number(row.count), 7, lambda row: row.count, right=True, descending=True),
    Column("size", "SIZE", lambda row: cell(text.size(row.size)), 9, lambda row: row.size, right=True, descending=True),
    Column("codec", "CODEC", lambda row: cell(row.codec, "muted" if row.codec == "none" else "text"), 6),
    Column(
        "epoch", "EPOCH", lambda row: _number(row.leader_epoch, "muted"), 5, lambda row: row.leader_epoch, right=True
    ),
    Column(
        "crc",
        "CRC",
        lambda row: cell("✓", "in_sync") if row.crc_matches else cell("✗ bad", "offline"),
        5,
        lambda row: row.crc_matches,
    ),
    Column("kind", "KIND", _kind, 7, lambda row: (row.is_control, row.is_transactional), priority=1),
    Column("time", "TIMESTAMP", lambda row: _moment(row.timestamp_ms), 19, lambda row: row.timestamp_ms, priority=2),
    Column("producer", "PRODUCER", _producer, 9, lambda row: row.producer_id, right=True, priority=3, max_width=16),
    Column(
        "sequence",
        "SEQUENCE",
        lambda row: UNKNOWN if row.base_sequence < 0 else _number(row.base_sequence),
        10,
        lambda row: row.base_sequence,
        right=True,
        priority=4,
    ),
    Column(
        "position",
        "POSITION",
        lambda row: _number(row.position, "muted"),
        12,
        lambda row: row.position,
        right=True,
        priority=5,
    ),
)


# -- one batch --------------------------------------------------------------------------------------------------


def batch_lines(batch: BatchView) -> list[Cell]:
    """Header fields with their bytes, then the records, then the bytes behind the header."""
    lines: list[Cell] = [cell(batch.path, "muted"), (Span("byte ", "muted"), Span(f"{batch.position:,}", "accent"))]
    lines[1] += (Span(f", {batch.size:,} bytes", "muted"),)
    lines += [cell(""), cell("HEADER", "title")]
    for field in batch.fields:
        said = field.said
        if field.name.endswith("Timestamp") and not said.startswith("-"):
            said = text.date_time(int(said))
        lines.append(
            (
                Span(f"{batch.position + field.position:08x} ", "muted"),
                Span(f"{field.data.hex(' ', 4):<{_FIELD_WIDTH}} ", "key"),
                Span(f"{field.name:<{_NAME_WIDTH}}", "muted"),
                Span(said, field.tone),
            )
        )
    lines += [cell(""), cell("RECORDS", "title")]
    if batch.problem:
        lines.append(cell(f"! {batch.problem}", "offline"))
    for record in batch.records:
        spans = [Span(f"{record.offset:>10,}  ", "accent"), Span(f"{text.date_time(record.timestamp_ms)}  ", "muted")]
        if record.key:
            spans.append(Span(f"{record.key}  ", "key"))
        lines.append((*spans, Span(record.value)))
    if batch.more_records:
        lines.append(
            cell(f"… and {text.plural(batch.more_records, 'record')} more: kconsole storage dump-log", "muted")
        )
    at = batch.position + batch.size - _body_size(batch)
    lines += [cell(""), cell("BYTES BEHIND THE HEADER", "title"), *hex_lines(batch.body, at)]
    left = _body_size(batch) - len(batch.body)
    if left:
        lines.append(cell(f"… and {left:,} bytes more", "muted"))
    return lines


def _body_size(batch: BatchView) -> int:
    return batch.size - sum(len(field.data) for field in batch.fields)


def hex_lines(data: bytes, position: int) -> Sequence[Cell]:
    """Sixteen bytes a line, with where they stand and the letters that they are."""
    lines: list[Cell] = []
    for at in range(0, len(data), _BYTES_A_LINE):
        part = data[at : at + _BYTES_A_LINE]
        letters = "".join(chr(each) if 32 <= each < 127 else "·" for each in part)
        halves = f"{part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}"
        lines.append((Span(f"{position + at:08x}  ", "muted"), Span(halves), Span(f"  {letters}", "muted")))
    return lines
