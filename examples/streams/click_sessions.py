"""Finds when each page is looked at without a break: sessions that end after two seconds of quiet.

kconsole streams run examples.streams.click_sessions:topology
"""

from __future__ import annotations

from typing import Any

from engine.streams import (
    BufferConfig,
    Consumed,
    Grouped,
    Materialized,
    Produced,
    Serdes,
    SessionWindows,
    StreamsBuilder,
    Suppressed,
    Topology,
    Windowed,
)

TEXT, LONG, JSON = Serdes.string(), Serdes.long(), Serdes.json()
QUIET_MS = 2_000
GRACE_MS = 1_000


def topology() -> Topology:
    """``clicks`` -> by page, or by ``user`` where a click has one -> ``click-sessions``: one record a session, once it
    is over."""
    builder = StreamsBuilder()
    clicks = builder.stream("clicks", Consumed(key_serde=TEXT, value_serde=JSON))
    sessions = (
        clicks.group_by(who, Grouped(key_serde=TEXT, value_serde=JSON))
        .windowed_by(SessionWindows.of_inactivity_gap_and_grace(QUIET_MS, GRACE_MS))
        .count(Materialized("sessions", key_serde=TEXT))
        .suppress(Suppressed.until_window_closes(BufferConfig.unbounded()))
    )
    sessions.to_stream().map(session).to("click-sessions", Produced(key_serde=TEXT, value_serde=JSON))
    return builder.build()


def who(_: str | None, click: dict[str, Any]) -> str:
    """Whose session a click belongs to."""
    return str(click.get("user") or click["page"])


def session(key: Windowed[str], clicks: int) -> tuple[str, dict[str, Any]]:
    """A session that is over."""
    start, end = key.window
    return key.key, {"began": start, "lasted_ms": end - start, "clicks": clicks}
