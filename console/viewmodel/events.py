"""Events as rows: what happened, to what, why."""

from __future__ import annotations

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from engine.supervisor.snapshot import ClusterEvent

_TONES = {
    "in_sync": ("broker_unfenced", "isr_expanded", "group_stable", "process_resumed", "coordinator_loaded"),
    "under_replicated": (
        "isr_shrunk",
        "group_rebalanced",
        "process_paused",
        "member_expired",
        "member_left",
        "produce_refused",
        "log_truncated",
        "coordinator_unloaded",
        "broker_shutdown_started",
    ),
    "offline": (
        "broker_fenced",
        "process_killed",
        "process_exited",
        "log_dir_failed",
        "topic_deleted",
        "broker_unreachable",
        "partition_offline",
    ),
    "controller": (
        "election_started",
        "quorum_leader_elected",
        "quorum_leader_resigned",
        "controller_activated",
        "controller_changed",
    ),
    "leader": ("leader_changed",),
}
_TONE_OF = {kind: tone for tone, kinds in _TONES.items() for kind in kinds}
_GLYPH = {
    "in_sync": "▲",
    "under_replicated": "▼",
    "offline": "✗",
    "controller": "★",
    "leader": "⇄",
    "info": "·",
}


def event_tone(kind: str) -> str:
    """The token of a kind of event."""
    return _TONE_OF.get(kind, "info")


def kind_words(kind: str) -> str:
    """``leader changed``."""
    return kind.replace("_", " ")


def _kind(event: ClusterEvent) -> Cell:
    tone = event_tone(event.kind)
    return (Span(f"{_GLYPH[tone]} {kind_words(event.kind)}", tone),)


def detail_words(event: ClusterEvent) -> str:
    """The numbers behind it."""
    return " ".join(f"{name}={value}" for name, value in event.detail.items() if value not in (None, ""))


EVENT_COLUMNS: tuple[Column, ...] = (
    Column("time", "TIME", lambda event: cell(text.clock_time(event.at_ms), "muted"), 12),
    Column("event", "EVENT", _kind, 23),
    Column("subject", "SUBJECT", lambda event: cell(event.subject), 10, max_width=30),
    Column("why", "WHY", lambda event: cell(event.reason, "text"), 18, max_width=200),
    Column("source", "SOURCE", lambda event: cell(event.source, "muted"), 10, priority=1),
)


def event_key(event: ClusterEvent) -> str:
    """Stable through all changes."""
    return f"{event.source}:{event.sequence}"
