"""Groups of all types and their positions as rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.history import History
from console.viewmodel.pace import Pace, going_column, reads_column, together
from engine.supervisor.snapshot import ClusterSnapshot, GroupOffset, GroupState, MemberState, StreamsTasks

TREND_WIDTH = 12


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group and where its lag is going."""

    group: GroupState
    history: tuple[float, ...]
    age_ms: float
    pace: Pace | None = None

    @property
    def key(self) -> str:
        """The group's id."""
        return self.group.group_id

    @property
    def is_healthy(self) -> bool:
        """Stable (or empty on purpose), without much lag, and no member stuck."""
        if self.pace is not None and self.pace.stuck and self.group.members:
            return False
        return self.group.state.lower() in ("stable", "empty") and lag_tone(self.group.total_lag) != "lag_high"


def group_rows(snapshot: ClusterSnapshot, history: History) -> list[GroupRow]:
    """Sorted by id."""
    return [
        GroupRow(
            group,
            history.of(("lag", group.group_id)),
            text.age_ms(snapshot.at_ms, group.observed_at_ms),
            _pace_of(group, history),
        )
        for group in sorted(snapshot.groups, key=lambda each: each.group_id)
    ]


def _pace_of(group: GroupState, history: History) -> Pace | None:
    # Without members nobody is stuck, and nothing goes anywhere: it is not read.
    return together(history.paces.of(group.group_id).values()) if group.members else None


def lag_tone(lag: int | None) -> str:
    """The token of a lag."""
    if lag is None:
        return "muted"
    if lag <= 0:
        return "lag_none"
    if lag < 100:
        return "lag_low"
    return "lag_medium" if lag < 10_000 else "lag_high"


# A trend is that of the last so many seconds.
_TREND_SAMPLES = 10
# Less than that comes and goes with the batches of producers and commits.
_NOISE = 5.0


def growth_per_s(history: tuple[float, ...]) -> float | None:
    """How fast a lag grows (falls: negative); 0 where it is level, ``None`` where too little is remembered."""
    recent = history[-_TREND_SAMPLES:]
    if len(recent) < 4:
        return None
    half = len(recent) // 2
    earlier, later = sum(recent[:half]) / half, sum(recent[-half:]) / half
    if abs(later - earlier) <= max(_NOISE, 0.1 * earlier):
        return 0.0
    # A sample is a second; the middles of the halves are so many apart.
    return (later - earlier) / (len(recent) - half)


def trend(history: tuple[float, ...]) -> tuple[str, str]:
    """``(sign, tone)``: falling, level or growing over the last seconds."""
    growth = growth_per_s(history)
    if growth is None:
        return "", "muted"
    if not growth:
        return "→", "muted"
    return ("↗", "under_replicated") if growth > 0 else ("↘", "in_sync")


def outlook(lag: int | None, history: tuple[float, ...]) -> str:
    """Where a lag is going, in words; empty while it is level."""
    growth = growth_per_s(history)
    if not growth or lag is None:
        return ""
    if growth > 0:
        return f"falls behind by {growth:,.0f}/s" if growth >= 1 else "falls behind"
    return f"caught up in {text.age(max(2.0, lag / -growth) * 1000)}"


_STATE = {
    "stable": ("in_sync", "●"),
    "empty": ("muted", "○"),
    "preparingrebalance": ("under_replicated", "◐"),
    "completingrebalance": ("under_replicated", "◑"),
    "assigning": ("under_replicated", "◐"),
    "reconciling": ("under_replicated", "◑"),
    "notready": ("offline", "◌"),
    "dead": ("offline", "✗"),
}


def state_cell(group: GroupState) -> Cell:
    """Its state, with the sign of it."""
    tone, glyph = _STATE.get(group.state.lower(), ("info", "●"))
    return (Span(f"{glyph} {group.state or 'unknown'}", tone),)


def _members(row: GroupRow) -> Cell:
    # One that is listed and was never described: how many it has is not known.
    return UNKNOWN if row.group.error and not row.group.members else cell(len(row.group.members))


def _lag(lag: int | None, history: tuple[float, ...]) -> Cell:
    sign, tone = trend(history)
    if lag is None:
        return (*UNKNOWN, Span("  "))
    return (Span(text.count(lag), lag_tone(lag)), Span(f" {sign}" if sign in ("↗", "↘") else "  ", tone))


def _lag_of_partition(row: OffsetRow) -> Cell:
    cells = _lag(row.offset.lag, row.history)
    return (*cells[:-1], Span(" ■", "offline")) if row.pace is not None and row.pace.stuck else cells


def _trend(history: tuple[float, ...]) -> Cell:
    growth = growth_per_s(history)
    _, tone = trend(history)
    rate = f" {growth:+,.0f}/s" if growth and abs(growth) >= 1 else ""
    return (Span(text.spark(history, TREND_WIDTH), "info"), Span(rate, tone))


def _topics(row: GroupRow) -> Cell:
    names = sorted({offset.topic for offset in row.group.offsets})
    return cell(", ".join(names) or "–", "muted")


_GOING = going_column(2)
_READS = reads_column(3)

GROUP_COLUMNS: tuple[Column, ...] = (
    Column("group", "GROUP", lambda row: cell(row.group.group_id), 16, lambda row: row.group.group_id, max_width=44),
    Column(
        "state", "STATE", lambda row: state_cell(row.group), 10, lambda row: row.group.state, flashes=True, max_width=21
    ),
    Column(
        "type",
        "TYPE",
        lambda row: cell(row.group.group_type, "muted"),
        8,
        lambda row: row.group.group_type,
        priority=1,
        flashes=True,
    ),
    Column(
        "members",
        "MEMBERS",
        _members,
        7,
        lambda row: len(row.group.members),
        right=True,
        flashes=True,
    ),
    Column(
        "lag",
        "LAG  ",
        lambda row: _lag(row.group.total_lag, row.history),
        11,
        lambda row: row.group.total_lag or 0,
        right=True,
        descending=True,
    ),
    _GOING,
    _READS,
    Column(
        "trend",
        "TREND",
        lambda row: _trend(row.history),
        TREND_WIDTH,
        priority=3,
        max_width=TREND_WIDTH + 9,
        drops_spans=True,
    ),
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
        lambda row: cell(row.group.protocol or "–", "muted"),
        14,
        lambda row: row.group.protocol,
        priority=4,
        max_width=24,
    ),
    Column("topics", "TOPICS", _topics, 16, priority=5, max_width=50),
)


@dataclass(frozen=True, slots=True)
class OffsetRow:
    """A group's position in one partition, and who reads it: one member, of a share group several."""

    offset: GroupOffset
    members: tuple[MemberState, ...]
    history: tuple[float, ...]
    age_ms: float
    pace: Pace | None = None

    @property
    def key(self) -> str:
        """``topic-partition``."""
        return f"{self.offset.topic}-{self.offset.partition}"

    @property
    def is_healthy(self) -> bool:
        """Read by somebody who gets on, without much lag."""
        return bool(self.members) and not (self.pace and self.pace.stuck) and lag_tone(self.offset.lag) != "lag_high"


def epochs(group: GroupState) -> str:
    """The epochs of a consumer group in words; empty for another one."""
    if group.group_epoch is None:
        return ""
    if group.assignment_epoch in (None, group.group_epoch):
        return f"epoch {group.group_epoch}"
    return f"epoch {group.group_epoch}, targets of {group.assignment_epoch}"


def find_group(snapshot: ClusterSnapshot, group_id: str) -> GroupState | None:
    """The group of that id."""
    return next((group for group in snapshot.groups if group.group_id == group_id), None)


def offset_rows(snapshot: ClusterSnapshot, group_id: str, history: History) -> list[OffsetRow]:
    """Sorted by topic and partition; partitions that are assigned but never committed are there too."""
    group = find_group(snapshot, group_id)
    if group is None:
        return []
    members = {member.member_id: member for member in group.members}
    readers: dict[tuple[str, int], list[MemberState]] = {}
    for member in group.members:
        for topic, partitions in member.assignment:
            for partition in partitions:
                readers.setdefault((topic, partition), []).append(member)
    found = {(offset.topic, offset.partition): offset for offset in group.offsets}
    for place in readers:
        found.setdefault(place, GroupOffset(*place, None, None, None, None))
    age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
    paces = history.paces.of(group_id)
    rows = [
        OffsetRow(
            offset,
            tuple(readers.get(place) or [members[each] for each in (offset.member_id,) if each in members]),
            history.of(("lag", group_id, *place)),
            age,
            paces.get(place),
        )
        for place, offset in sorted(found.items())
    ]
    # What nobody reads is told by READ BY; it is not stuck.
    return [row if row.members else replace(row, pace=None) for row in rows]


# A thread of Kafka Streams: what its application is called by default, its process's UUID, its number.
_STREAM_THREAD = re.compile(r"(?:.*-)?([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f-]{22}-(StreamThread-\d+)-consumer")


def client_name(member: MemberState) -> str:
    """The client's id, or the one that a static member has. Of a thread of Kafka Streams only what tells it apart from
    those of the same application: ``22ec778a-StreamThread-1``."""
    if member.instance_id:
        return member.instance_id
    thread = _STREAM_THREAD.fullmatch(member.client_id) if member.tasks is not None else None
    return f"{thread[1]}-{thread[2]}" if thread else member.client_id


def member_name(member: MemberState) -> str:
    """``client-id@host``, which people know, rather than the member id."""
    return f"{client_name(member)}{member.host.replace('/', '@', 1) if member.host else ''}"


def _number(value: int | None) -> Cell:
    return UNKNOWN if value is None else cell(text.count(value))


def readers_text(row: OffsetRow) -> str:
    """Who reads a partition. Of several members of one host the host is told once."""
    if not row.members:
        return "–"
    if len(row.members) == 1:
        return member_name(row.members[0])
    names = sorted(client_name(member) for member in row.members)
    hosts = sorted({member.host.removeprefix("/") for member in row.members if member.host})
    several = f"{len(names)}×{names[0]}" if len(set(names)) == 1 else ", ".join(names)
    return several + (f"@{hosts[0]}" if len(hosts) == 1 else f" on {len(hosts)} hosts" if hosts else "")


def assignment_text(member: MemberState) -> str:
    """What a member has, and what it shall have where that is something else: partitions, of a streams group tasks."""
    if member.tasks is not None:
        has, shall = tasks_text(member.tasks), member.target_tasks and tasks_text(member.target_tasks)
    else:
        has, shall = _partitions(member.assignment), None if member.target is None else _partitions(member.target)
    return has if shall is None or shall == has else f"{has or 'nothing'} → {shall or 'nothing'}"


def tasks_text(tasks: StreamsTasks) -> str:
    """``0[1,3] 1[0] standby 0[2]``: subtopologies with their partitions."""
    kinds = ((_partitions(each), name) for each, name in zip(tasks, ("", "standby ", "warm-up "), strict=True))
    return " ".join(f"{name}{parts}" for parts, name in kinds if parts)


def topology_text(group: GroupState) -> str:
    """A streams group's topology in words; empty for another group."""
    if not group.is_streams:
        return ""
    if group.topology is None:
        return "no topology yet"
    again = f" (topology epoch {group.topology.epoch})" if group.topology.epoch else ""
    if group.topology.subtopologies is None:
        return f"not ready: source topics are missing, or their partitions do not fit{again}"
    parts = len(group.topology.subtopologies)
    return f"{parts} subtopolog{'y' if parts == 1 else 'ies'}{again}"


def _partitions(parts: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    return " ".join(f"{topic}[{text.id_list(partitions)}]" for topic, partitions in parts)


def member_id_text(row: OffsetRow) -> str:
    """The id of the member that reads a partition, its long middle left out."""
    if len(row.members) == 1:
        return text.shorten_middle(row.members[0].member_id, 28)
    return text.plural(len(row.members), "member") if row.members else "–"


def _dealt_with_ahead(offset: GroupOffset) -> int | None:
    """Of a share group: records past the start that are dealt with while one before them is not."""
    if offset.committed_offset is None or offset.log_end_offset is None or offset.lag is None:
        return None
    # The three were not seen at the same moment.
    return max(0, offset.log_end_offset - offset.committed_offset - offset.lag)


OFFSET_COLUMNS: tuple[Column, ...] = (
    Column(
        "partition",
        "PARTITION",
        lambda row: cell(row.key),
        12,
        lambda row: (row.offset.topic, row.offset.partition),
        max_width=40,
        cut_middle=True,
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
        "LAG  ",
        lambda row: _lag_of_partition(row),
        9,
        lambda row: row.offset.lag or 0,
        right=True,
        descending=True,
    ),
    _GOING,
    _READS,
    Column(
        "trend",
        "TREND",
        lambda row: _trend(row.history),
        TREND_WIDTH,
        priority=3,
        max_width=TREND_WIDTH + 9,
        drops_spans=True,
    ),
    Column(
        "member",
        "READ BY",
        lambda row: cell(readers_text(row), "text" if row.members else "offline"),
        16,
        readers_text,
        priority=1,
        max_width=36,
        flashes=True,
    ),
    Column("member-id", "MEMBER ID", lambda row: cell(member_id_text(row), "muted"), 16, priority=3, max_width=28),
)

# Of a share group: no position that is committed, but where it starts and what is dealt with beyond.
SHARE_OFFSET_COLUMNS: tuple[Column, ...] = (
    OFFSET_COLUMNS[0],
    replace(OFFSET_COLUMNS[1], key="start", title="START"),
    OFFSET_COLUMNS[2],
    OFFSET_COLUMNS[3],
    Column(
        "ahead",
        "DONE AHEAD",
        lambda row: _number(_dealt_with_ahead(row.offset)),
        10,
        lambda row: _dealt_with_ahead(row.offset) or 0,
        right=True,
        priority=2,
    ),
    *(each for each in OFFSET_COLUMNS[4:] if each not in (_GOING, _READS)),
)


def offset_columns(group: GroupState | None) -> tuple[Column, ...]:
    """Those of the group's type."""
    return SHARE_OFFSET_COLUMNS if group is not None and group.group_type == "share" else OFFSET_COLUMNS
