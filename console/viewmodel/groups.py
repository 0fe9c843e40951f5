"""Consumer groups, their positions and their members as rows."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.history import History
from engine.supervisor.snapshot import ClusterSnapshot, GroupOffset, GroupState, MemberState

TREND_WIDTH = 12


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group and where its lag is going."""

    group: GroupState
    history: tuple[float, ...]
    age_ms: float

    @property
    def key(self) -> str:
        """The group's id."""
        return self.group.group_id

    @property
    def is_healthy(self) -> bool:
        """Stable (or empty on purpose) and without much lag."""
        return self.group.state.lower() in ("stable", "empty") and lag_tone(self.group.total_lag) != "lag_high"


def group_rows(snapshot: ClusterSnapshot, history: History) -> list[GroupRow]:
    """Sorted by id."""
    return [
        GroupRow(
            group,
            history.of(("lag", group.group_id)),
            text.age_ms(snapshot.at_ms, group.observed_at_ms),
        )
        for group in sorted(snapshot.groups, key=lambda each: each.group_id)
    ]


def lag_tone(lag: int | None) -> str:
    """The token of a lag."""
    if lag is None:
        return "muted"
    if lag <= 0:
        return "lag_none"
    if lag < 100:
        return "lag_low"
    return "lag_medium" if lag < 10_000 else "lag_high"


def trend(history: tuple[float, ...]) -> tuple[str, str]:
    """``(sign, tone)``: falling, level or growing over what is remembered."""
    if len(history) < 4:
        return "", "muted"
    half = len(history) // 2
    earlier, later = sum(history[:half]) / half, sum(history[-half:]) / half
    if abs(later - earlier) <= max(2.0, 0.1 * earlier):
        return "→", "muted"
    return ("↗", "under_replicated") if later > earlier else ("↘", "in_sync")


_STATE = {
    "stable": ("in_sync", "●"),
    "empty": ("muted", "○"),
    "preparingrebalance": ("under_replicated", "◐"),
    "completingrebalance": ("under_replicated", "◑"),
    "assigning": ("under_replicated", "◐"),
    "reconciling": ("under_replicated", "◑"),
    "dead": ("offline", "✗"),
}


def _state(row: GroupRow) -> Cell:
    tone, glyph = _STATE.get(row.group.state.lower(), ("info", "●"))
    return (Span(f"{glyph} {row.group.state or 'unknown'}", tone),)


def _lag(row: GroupRow) -> Cell:
    return (
        UNKNOWN if row.group.total_lag is None else cell(text.count(row.group.total_lag), lag_tone(row.group.total_lag))
    )


def _trend(history: tuple[float, ...]) -> Cell:
    sign, tone = trend(history)
    # A level of nothing is drawn as nothing.
    return (Span(text.spark(history, TREND_WIDTH), "info"), Span(f" {sign}" if sign else "  ", tone))


def _topics(row: GroupRow) -> Cell:
    names = sorted({offset.topic for offset in row.group.offsets})
    return cell(", ".join(names) or "–", "muted")


GROUP_COLUMNS: tuple[Column, ...] = (
    Column("group", "GROUP", lambda row: cell(row.group.group_id), 18, lambda row: row.group.group_id, max_width=44),
    Column("state", "STATE", _state, 10, lambda row: row.group.state, flashes=True, max_width=21),
    Column(
        "members",
        "MEMBERS",
        lambda row: cell(len(row.group.members)),
        7,
        lambda row: len(row.group.members),
        right=True,
        flashes=True,
    ),
    Column("lag", "LAG", _lag, 9, lambda row: row.group.total_lag or 0, right=True, descending=True),
    Column("trend", "TREND", lambda row: _trend(row.history), TREND_WIDTH + 2, priority=1),
    Column(
        "coordinator",
        "COORDINATOR",
        lambda row: cell("–" if row.group.coordinator is None else row.group.coordinator),
        11,
        lambda row: row.group.coordinator or -1,
        right=True,
        priority=3,
        flashes=True,
    ),
    Column(
        "protocol",
        "PROTOCOL",
        lambda row: cell(row.group.protocol or row.group.group_type, "muted"),
        14,
        lambda row: row.group.protocol,
        priority=4,
        max_width=24,
    ),
    Column("topics", "TOPICS", _topics, 16, priority=5, max_width=50),
)


@dataclass(frozen=True, slots=True)
class OffsetRow:
    """A group's position in one partition, and the member that reads it."""

    offset: GroupOffset
    member: MemberState | None
    history: tuple[float, ...]
    age_ms: float

    @property
    def key(self) -> str:
        """``topic-partition``."""
        return f"{self.offset.topic}-{self.offset.partition}"

    @property
    def is_healthy(self) -> bool:
        """Read by somebody, without much lag."""
        return self.member is not None and lag_tone(self.offset.lag) != "lag_high"


def find_group(snapshot: ClusterSnapshot, group_id: str) -> GroupState | None:
    """The group of that id."""
    return next((group for group in snapshot.groups if group.group_id == group_id), None)


def offset_rows(snapshot: ClusterSnapshot, group_id: str, history: History) -> list[OffsetRow]:
    """Sorted by topic and partition; partitions that are assigned but never committed are there too."""
    group = find_group(snapshot, group_id)
    if group is None:
        return []
    members = {member.member_id: member for member in group.members}
    owner: dict[tuple[str, int], MemberState] = {}
    for member in group.members:
        for topic, partitions in member.assignment:
            for partition in partitions:
                owner[topic, partition] = member
    found = {(offset.topic, offset.partition): offset for offset in group.offsets}
    for place in owner:
        found.setdefault(place, GroupOffset(*place, None, None, None, None))
    age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
    return [
        OffsetRow(
            offset,
            owner.get(place) or members.get(offset.member_id or ""),
            history.of(("lag", group_id, *place)),
            age,
        )
        for place, offset in sorted(found.items())
    ]


def member_name(member: MemberState | None) -> str:
    """``client-id@host``, which people know, rather than the member id."""
    if member is None:
        return "–"
    return f"{member.instance_id or member.client_id}{member.host.replace('/', '@', 1) if member.host else ''}"


def _number(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.count(value))


def member_id_text(member: MemberState | None) -> str:
    """The member's id, its long middle left out."""
    return "–" if member is None else text.shorten_middle(member.member_id, 28)


OFFSET_COLUMNS: tuple[Column, ...] = (
    Column(
        "partition",
        "PARTITION",
        lambda row: cell(row.key),
        12,
        lambda row: (row.offset.topic, row.offset.partition),
        max_width=40,
    ),
    Column(
        "committed",
        "COMMITTED",
        lambda row: _number(row.offset.committed_offset),
        10,
        lambda row: row.offset.committed_offset or 0,
        right=True,
    ),
    Column(
        "end",
        "LOG END",
        lambda row: _number(row.offset.log_end_offset),
        10,
        lambda row: row.offset.log_end_offset or 0,
        right=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: UNKNOWN if row.offset.lag is None else cell(text.count(row.offset.lag), lag_tone(row.offset.lag)),
        7,
        lambda row: row.offset.lag or 0,
        right=True,
        descending=True,
    ),
    Column("trend", "TREND", lambda row: _trend(row.history), TREND_WIDTH + 2, priority=2),
    Column(
        "member",
        "READ BY",
        lambda row: cell(member_name(row.member), "text" if row.member else "offline"),
        16,
        lambda row: member_name(row.member),
        priority=1,
        max_width=36,
        flashes=True,
    ),
    Column(
        "member-id", "MEMBER ID", lambda row: cell(member_id_text(row.member), "muted"), 16, priority=3, max_width=28
    ),
)
