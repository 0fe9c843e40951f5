"""Records that somebody could not process: where they came from and why, by the headers that say so.

Known are those of Kafka Connect (``errors.deadletterqueue.context.headers.enable``), of Kafka Streams (KIP-1034), of
Spring (``DeadLetterPublishingRecoverer``), and the console's own of a copy, which tell no reason.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from console.viewmodel.copying import ORIGIN_OFFSET, ORIGIN_PARTITION, ORIGIN_TOPIC
from console.viewmodel.records import RecordView

# How often a record was sent back already, as text.
REDRIVE_COUNT = "kconsole.redrive.count"
_CONNECT, _STREAMS, _SPRING, _OWN = "__connect.errors.", "__streams.errors.", "kafka_dlt-", "kconsole.origin."

Headers = Sequence[tuple[str, bytes | None]]


class DeadLetter(NamedTuple):
    """What headers say. What they do not say is empty, or ``None``."""

    by: str
    topic: str
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    exception: str = ""
    message: str = ""
    # The connector and its task, or the group of consumers.
    who: str = ""
    stage: str = ""
    stack: str = ""

    @property
    def place(self) -> str:
        """``topic-partition@offset``, as far as it is known."""
        partition = "" if self.partition is None else f"-{self.partition}"
        return f"{self.topic}{partition}" + ("" if self.offset is None else f"@{self.offset}")

    @property
    def reason(self) -> str:
        """``DataException: not a number``."""
        name = self.exception.rpartition(".")[2]
        message = " ".join(self.message.split())
        return ": ".join(each for each in (name, message) if each)


def dead_letter(headers: Headers) -> DeadLetter | None:
    """What the headers of a record say, if they say from which topic it is. Of names that stand there more than once
    the last one counts, as in Kafka's ``Headers.lastHeader``."""
    if not headers:
        return None
    said = {name: value for name, value in headers if value is not None and name.startswith(_FAMILIES)}
    if not said:
        return None
    for read in (_of_connect, _of_streams, _of_spring, _of_copy):
        found = read(said)
        if found is not None and found.topic:
            return found
    return None


def redrive_count(headers: Headers) -> int:
    """How often the record was sent back already."""
    return next((_number(value) or 0 for name, value in reversed(headers) if name == REDRIVE_COUNT), 0)


def redriven_headers(headers: Headers, by: str) -> tuple[tuple[str, bytes | None], ...]:
    """Headers of the record as it is sent back: without those of the error, counted. A copy's origin is taken away only
    when it was what told where to."""
    gone = (*_ERRORS, _OWN) if by == "kconsole" else _ERRORS
    kept = [(name, value) for name, value in headers if not name.startswith(gone) and name != REDRIVE_COUNT]
    return (*kept, (REDRIVE_COUNT, b"%d" % (redrive_count(headers) + 1)))


_ERRORS = (_CONNECT, _STREAMS, _SPRING)
_FAMILIES = (*_ERRORS, _OWN)


def _of_connect(said: dict[str, bytes]) -> DeadLetter | None:
    """DeadLetterQueueReporter: all of it is text."""
    topic = _text(said, f"{_CONNECT}topic")
    connector, task = _text(said, f"{_CONNECT}connector.name"), _text(said, f"{_CONNECT}task.id")
    return DeadLetter(
        "Connect",
        topic,
        _number(said.get(f"{_CONNECT}partition")),
        _number(said.get(f"{_CONNECT}offset")),
        None,
        _text(said, f"{_CONNECT}exception.class.name"),
        _text(said, f"{_CONNECT}exception.message"),
        f"{connector}, task {task}" if task else connector,
        " ".join(each for each in (_text(said, f"{_CONNECT}stage"), _text(said, f"{_CONNECT}class.name")) if each),
        _text(said, f"{_CONNECT}exception.stacktrace"),
    )


def _of_streams(said: dict[str, bytes]) -> DeadLetter | None:
    """ExceptionHandlerUtils: all of it is text."""
    return DeadLetter(
        "Streams",
        _text(said, f"{_STREAMS}topic"),
        _number(said.get(f"{_STREAMS}partition")),
        _number(said.get(f"{_STREAMS}offset")),
        None,
        _text(said, f"{_STREAMS}exception"),
        _text(said, f"{_STREAMS}message"),
        stack=_text(said, f"{_STREAMS}stacktrace"),
    )


def _of_spring(said: dict[str, bytes]) -> DeadLetter | None:
    """Numbers are big-endian; of the exceptions the cause tells more than the wrapper around it."""

    def either(name: str) -> str:
        return _text(said, f"{_SPRING}{name}") or _text(said, f"{_SPRING}key-{name}")

    return DeadLetter(
        "Spring",
        _text(said, f"{_SPRING}original-topic"),
        _integer(said.get(f"{_SPRING}original-partition")),
        _integer(said.get(f"{_SPRING}original-offset")),
        _integer(said.get(f"{_SPRING}original-timestamp")),
        either("exception-cause-fqcn") or either("exception-fqcn"),
        either("exception-message"),
        _text(said, f"{_SPRING}original-consumer-group"),
        "",
        either("exception-stacktrace"),
    )


def _of_copy(said: dict[str, bytes]) -> DeadLetter | None:
    return DeadLetter(
        "kconsole", _text(said, ORIGIN_TOPIC), _number(said.get(ORIGIN_PARTITION)), _number(said.get(ORIGIN_OFFSET))
    )


def _text(said: dict[str, bytes], name: str) -> str:
    return said.get(name, b"").decode(errors="replace")


def _number(written: bytes | None) -> int | None:
    """Digits; whatever else stands there is no number."""
    return int(written) if written is not None and written.isdigit() and len(written) < 20 else None


def _integer(data: bytes | None) -> int | None:
    """Big-endian, four or eight bytes; ones that are too small to be any of these are none."""
    if data is None or len(data) not in (4, 8):
        return None
    (value,) = struct.unpack(">i" if len(data) == 4 else ">q", data)
    return int(value) if value >= 0 else None


def letter_columns() -> tuple[Column, ...]:
    """Columns for Records, where there are dead letters."""

    def place(record: RecordView) -> Cell:
        found = dead_letter(record.headers)
        return cell("–", "muted") if found is None else cell(found.place)

    def why(record: RecordView) -> Cell:
        found = dead_letter(record.headers)
        if found is None:
            return cell("–", "muted")
        times = redrive_count(record.headers)
        again = (Span(f"×{times} ", "under_replicated"),) if times else ()
        said = found.reason or ("copied" if found.by == "kconsole" else f"told by {found.by}")
        return (*again, Span(said, "offline" if found.reason else "muted"))

    return (
        Column("from", "CAME FROM", place, 16, max_width=30),
        Column("why", "WHY", why, 18, max_width=60),
    )


def letter_lines(record: RecordView) -> list[Cell]:
    """For the detail of a record: nothing if it is no dead letter."""
    found = dead_letter(record.headers)
    if found is None:
        return []
    times = redrive_count(record.headers)
    facts = (
        ("came from", found.place, "accent"),
        ("told by", " · ".join(each for each in (found.by, found.who, found.stage) if each), "text"),
        ("why", found.reason, "offline"),
        ("sent back", text.plural(times, "time") if times else "", "under_replicated"),
    )
    return [(Span(f"{name:<13}", "muted"), Span(said, tone)) for name, said, tone in facts if said]


def stack_lines(record: RecordView) -> list[Cell]:
    """The stack trace, if there is one."""
    found = dead_letter(record.headers)
    if found is None or not found.stack:
        return []
    lines = [cell(line.expandtabs(4), "muted") for line in found.stack.splitlines()]
    return [cell(""), (Span("STACK TRACE", "title"),), *lines]
