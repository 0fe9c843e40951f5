"""Who is connected to brokers, as rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell
from engine.supervisor.snapshot import ClusterSnapshot

# Of consoles and supervisors; what kconsole's workload and probe do is what clients do.
_OWN_CLIENTS = frozenset(("kconsole-admin", "kconsole-observer", "kconsole-reader", "kconsole-supervisor"))


class ConnectionRow(NamedTuple):
    """A connection. ``None`` is what nobody tells; ``role`` says what it is for, where it can be told."""

    broker_id: int | None
    number: int
    address: str
    listener: str
    client_id: str
    software: str = ""
    role: str = ""
    opened_at_ms: int | None = None
    requests: int | None = None
    bytes_received: int | None = None
    bytes_sent: int | None = None
    in_flight: int | None = None
    idle_ms: float | None = None
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return f"{'-' if self.broker_id is None else self.broker_id}/{self.number}/{self.address}/{self.client_id}"


class ConnectionsFound(NamedTuple):
    """What was told; ``problems`` of brokers that did not; ``limits`` says what cannot be told here at all."""

    rows: tuple[ConnectionRow, ...]
    problems: tuple[str, ...] = ()
    limits: str = ""


def role_of(client_id: str, listener: str) -> str:
    """``broker`` for connections of the cluster's own nodes, as their client ids say, ``console`` for those that look
    at it; otherwise ``client``."""
    if listener == "CONTROLLER" or client_id.startswith(("broker-", "raft-client-", "controller-")):
        return "broker"
    return "console" if client_id in _OWN_CLIENTS else "client"


def members_as_rows(snapshot: ClusterSnapshot) -> list[ConnectionRow]:
    """Members of groups, which is what Kafka's protocol tells of who is connected: the coordinator's side of it."""
    rows = []
    for group in snapshot.groups:
        for number, member in enumerate(group.members):
            rows.append(
                ConnectionRow(
                    group.coordinator,
                    number,
                    member.host.lstrip("/"),
                    "",
                    member.client_id,
                    role=f"member of {group.group_id}",
                )
            )
    return rows


def summary(rows: Iterable[ConnectionRow]) -> str:
    """How many, of how many clients."""
    rows = list(rows)
    if not rows:
        return ""
    clients = {(row.client_id, row.address.rpartition(":")[0]) for row in rows if row.role == "client"}
    waiting = sum(row.in_flight or 0 for row in rows)
    said = f"{text.plural(len(rows), 'connection')}"
    said += f" · {text.plural(len(clients), 'client')}" if clients else ""
    return said + (f" · {waiting:,} in flight" if waiting else "")


def _count(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.count(value))


def _size(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.size(value))


def _since(row: ConnectionRow) -> Cell:
    return UNKNOWN if row.opened_at_ms is None else cell(text.clock_time(row.opened_at_ms)[:8], "muted")


def _idle(row: ConnectionRow) -> Cell:
    return UNKNOWN if row.idle_ms is None else cell(text.age(row.idle_ms), "muted")


CONNECTION_COLUMNS: tuple[Column, ...] = (
    Column(
        "broker",
        "BROKER",
        lambda row: UNKNOWN if row.broker_id is None else cell(row.broker_id),
        6,
        lambda row: -1 if row.broker_id is None else row.broker_id,
        right=True,
    ),
    Column("client", "CLIENT ID", lambda row: cell(row.client_id or "–"), 16, lambda row: row.client_id, max_width=40),
    Column("address", "ADDRESS", lambda row: cell(row.address or "–"), 15, lambda row: row.address, max_width=28),
    Column(
        "requests",
        "REQUESTS",
        lambda row: _count(row.requests),
        8,
        lambda row: row.requests or 0,
        right=True,
        descending=True,
    ),
    Column(
        "in_flight",
        "OPEN",
        lambda row: _count(row.in_flight),
        4,
        lambda row: row.in_flight or 0,
        right=True,
        descending=True,
    ),
    Column(
        "role", "WHAT", lambda row: cell(row.role or "–", "muted"), 8, lambda row: row.role, max_width=24, priority=1
    ),
    Column(
        "received",
        "IN",
        lambda row: _size(row.bytes_received),
        9,
        lambda row: row.bytes_received or 0,
        right=True,
        priority=2,
        descending=True,
    ),
    Column(
        "sent",
        "OUT",
        lambda row: _size(row.bytes_sent),
        9,
        lambda row: row.bytes_sent or 0,
        right=True,
        priority=2,
        descending=True,
    ),
    Column("since", "SINCE", _since, 8, lambda row: row.opened_at_ms or 0, priority=3),
    Column("idle", "IDLE", _idle, 4, lambda row: row.idle_ms or 0, right=True, priority=4),
    Column("listener", "LISTENER", lambda row: cell(row.listener or "–"), 10, lambda row: row.listener, priority=5),
    Column(
        "software",
        "SOFTWARE",
        lambda row: cell(row.software or "–", "muted"),
        12,
        lambda row: row.software,
        max_width=44,
        priority=6,
    ),
)
