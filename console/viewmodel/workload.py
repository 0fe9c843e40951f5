"""The workload of the embedded cluster as rows."""

from __future__ import annotations

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from engine.supervisor.snapshot import ClusterSnapshot, WorkloadMember


def workload_rows(snapshot: ClusterSnapshot) -> list[WorkloadMember]:
    """Producers first."""
    if snapshot.workload is None:
        return []
    return sorted(snapshot.workload.parts, key=lambda part: (part.kind != "producer", part.name))


def workload_key(part: WorkloadMember) -> str:
    """Stable through all changes."""
    return f"{part.kind}:{part.name}"


def _state(part: WorkloadMember) -> Cell:
    return (Span("● running", "in_sync"),) if part.running else (Span("○ stopped", "muted"),)


WORKLOAD_COLUMNS: tuple[Column, ...] = (
    Column("name", "NAME", lambda part: cell(part.name), 16, lambda part: part.name, max_width=30),
    Column(
        "kind",
        "KIND",
        lambda part: cell(part.kind, "bytes_in" if part.kind == "producer" else "bytes_out"),
        8,
        lambda part: part.kind,
    ),
    Column("state", "STATE", _state, 9, lambda part: not part.running, flashes=True),
    Column("topic", "TOPIC", lambda part: cell(part.topic), 14, lambda part: part.topic, max_width=40),
    Column(
        "members",
        "MEMBERS",
        lambda part: cell(part.members if part.kind == "group" else "–", "text" if part.kind == "group" else "muted"),
        7,
        lambda part: part.members,
        right=True,
        flashes=True,
    ),
    Column(
        "rate",
        "RATE",
        lambda part: cell(text.per_second(part.rate_per_s)),
        9,
        lambda part: part.rate_per_s or 0,
        right=True,
        descending=True,
    ),
    Column(
        "latency",
        "LATENCY",
        lambda part: cell(text.milliseconds(part.latency_median_ms)),
        9,
        lambda part: part.latency_median_ms or 0,
        right=True,
        descending=True,
        priority=1,
    ),
    Column(
        "total",
        "RECORDS",
        lambda part: cell(text.count(part.total)),
        10,
        lambda part: part.total,
        right=True,
        priority=1,
        descending=True,
    ),
    Column(
        "errors",
        "ERRORS",
        lambda part: cell(text.count(part.errors), "offline" if part.errors else "muted"),
        7,
        lambda part: part.errors,
        right=True,
        flashes=True,
        descending=True,
        priority=2,
    ),
)
