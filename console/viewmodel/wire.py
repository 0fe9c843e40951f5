"""Requests and their answers as they crossed the wire, as rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.connections import role_of

KEPT_ROWS = 5_000


class WireRow(NamedTuple):
    """A request with its answer. Times are microseconds, ``None`` where they are not known; ``broker_id`` is ``None``
    where the console looks at its own requests. ``watch`` tells incarnations of the broker's ring apart."""

    broker_id: int | None
    watch: int
    number: int
    at_ms: int
    connection: int
    peer: str
    listener: str
    client_id: str
    api: str
    version: int
    correlation_id: int
    request_bytes: int
    response_bytes: int | None
    queue_us: int | None
    handle_us: int | None
    send_us: int | None
    throttle_ms: int
    errors: tuple[str, ...]
    note: str = ""

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return f"{self.broker_id}/{self.watch}/{self.number}"

    @property
    def is_healthy(self) -> bool:
        """It was answered, without an error, and nobody was throttled."""
        return not self.errors and not self.throttle_ms and "lost" not in self.note and "closed" not in self.note

    @property
    def is_of_clients(self) -> bool:
        """Whether neither the cluster's nodes asked nor who looks at it; what a console sees of itself always is."""
        return self.broker_id is None or role_of(self.client_id, self.listener) == "client"


class WireBatch(NamedTuple):
    """What came. ``unseen`` passed by meanwhile and was not taken; ``problems`` are of brokers that do not answer;
    ``limits`` says what cannot be seen here at all."""

    rows: tuple[WireRow, ...]
    unseen: int = 0
    problems: tuple[str, ...] = ()
    limits: str = ""


def micros(value: int | None) -> str:
    """``850µs``, ``12.3ms``, ``1.20s``."""
    if value is None:
        return text.UNKNOWN_TEXT
    if value < 1_000:
        return f"{value}µs"
    if value < 10_000:
        return f"{value / 1_000:.1f}ms"
    return f"{value / 1_000:.0f}ms" if value < 1_000_000 else f"{value / 1_000_000:.2f}s"


def _time(name: str) -> Column:
    return Column(
        name,
        {"queue": "QUEUE", "handle": "HANDLE", "send": "SEND"}[name],
        lambda row: cell(micros(getattr(row, f"{name}_us")), "text" if name == "handle" else "muted"),
        6,
        lambda row: getattr(row, f"{name}_us") or 0,
        right=True,
        priority=0 if name == "handle" else 3,
        descending=True,
    )


def _outcome(row: WireRow) -> Cell:
    words = [*row.errors]
    if row.throttle_ms:
        words.append(f"throttled {row.throttle_ms} ms")
    if row.note:
        words.append(row.note)
    return cell(", ".join(words), "muted" if row.is_healthy else "offline") if words else cell("–", "muted")


WIRE_COLUMNS: tuple[Column, ...] = (
    Column("time", "TIME", lambda row: cell(text.clock_time(row.at_ms), "muted"), 12, lambda row: row.at_ms),
    Column(
        "broker",
        "B",
        lambda row: UNKNOWN if row.broker_id is None else cell(row.broker_id),
        2,
        lambda row: row.broker_id or 0,
        right=True,
        priority=1,
    ),
    Column(
        "api",
        "REQUEST",
        lambda row: (Span(row.api), Span(f" v{row.version}", "muted")),
        12,
        lambda row: row.api,
        max_width=32,
    ),
    Column("client", "CLIENT ID", lambda row: cell(row.client_id or "–"), 10, lambda row: row.client_id, max_width=32),
    _time("queue"),
    _time("handle"),
    _time("send"),
    Column(
        "asked",
        "ASKED",
        lambda row: cell(text.size(row.request_bytes)),
        8,
        lambda row: row.request_bytes,
        right=True,
        priority=2,
        descending=True,
    ),
    Column(
        "answered",
        "ANSWERED",
        lambda row: cell(text.size(row.response_bytes)),
        8,
        lambda row: row.response_bytes or 0,
        right=True,
        priority=2,
        descending=True,
    ),
    Column("outcome", "ERRORS", _outcome, 8, lambda row: row.errors, max_width=60),
    Column("peer", "PEER", lambda row: cell(row.peer, "muted"), 15, lambda row: row.peer, max_width=24, priority=5),
    Column(
        "listener", "LISTENER", lambda row: cell(row.listener or "–", "muted"), 10, lambda row: row.listener, priority=6
    ),
    Column(
        "connection",
        "CONN",
        lambda row: cell(row.connection, "muted"),
        5,
        lambda row: row.connection,
        right=True,
        priority=6,
    ),
    Column(
        "correlation",
        "CORREL",
        lambda row: cell(row.correlation_id, "muted"),
        7,
        lambda row: row.correlation_id,
        right=True,
        priority=6,
    ),
)


def facts(row: WireRow) -> list[Cell]:
    """What is known of a request, above what it says."""

    def fact(name: str, value: str) -> Cell:
        return (Span(f"{name:<13}", "muted"), Span(value))

    who = f"{row.client_id or 'no client id'}, {row.peer}, connection {row.connection}"
    answered = text.size(row.response_bytes) if row.response_bytes is not None else "nothing"
    lines = [
        fact("request", f"{row.api} version {row.version}, correlation id {row.correlation_id}"),
        fact("at", text.date_time(row.at_ms)),
        fact(
            "broker", "answers this console" if row.broker_id is None else f"{row.broker_id}, listener {row.listener}"
        ),
        fact("client", who),
        fact("bytes", f"{text.size(row.request_bytes)} asked, {answered} answered"),
        fact("times", f"queued {micros(row.queue_us)}, handled {micros(row.handle_us)}, sent {micros(row.send_us)}"),
    ]
    if row.errors:
        lines.append((Span(f"{'errors':<13}", "muted"), Span(", ".join(row.errors), "offline")))
    if row.throttle_ms:
        lines.append(fact("throttled", f"{row.throttle_ms} ms"))
    if row.note:
        lines.append(fact("note", row.note))
    return lines


def message_cells(lines: Sequence[str]) -> list[Cell]:
    """Decoded lines, names apart from values; what has no indent and no value is a head."""
    cells: list[Cell] = []
    for each in lines:
        name, colon, value = each.partition(":")
        if each.isupper():
            cells += [cell(""), cell(each, "title")]
        else:
            cells.append((Span(name + colon, "muted"), Span(value)))
    return cells
