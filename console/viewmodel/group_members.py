"""Members of a group, and the tasks of a streams group, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell
from console.viewmodel.groups import assignment_text, client_name, lag_tone
from console.viewmodel.pace import Pace, Place, going_column, pace_of_member, reads_column
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, MemberState, Subtopology


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member with the sum of its lag."""

    member: MemberState
    lag: int | None
    age_ms: float
    pace: Pace | None = None

    @property
    def key(self) -> str:
        """The member's id."""
        return self.member.member_id

    @property
    def is_healthy(self) -> bool:
        """Whether it has something to do, and does it."""
        return bool(_share(self.member)) and not (self.pace and self.pace.stuck)


def member_rows(
    snapshot: ClusterSnapshot, group: GroupState, paces: Mapping[Place, Pace] = MappingProxyType({})
) -> list[MemberRow]:
    """Sorted by client and id; ``paces`` by partition."""
    lags = {(offset.topic, offset.partition): offset.lag for offset in group.offsets}
    age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
    rows = [
        MemberRow(
            member,
            _sum(lags.get(place) for place in _places(member.assignment)),
            age,
            pace_of_member(member, paces),
        )
        for member in group.members
    ]
    return sorted(rows, key=lambda row: (row.member.client_id, row.member.member_id))


def _places(parts: tuple[tuple[str, tuple[int, ...]], ...]) -> Iterator[tuple[str, int]]:
    for name, numbers in parts:
        for number in numbers:
            yield name, number


def _sum(lags: Iterator[int | None]) -> int | None:
    known = [lag for lag in lags if lag is not None]
    return sum(known) if known else None


def _share(member: MemberState) -> int:
    """Partitions that it reads; of a streams group, tasks of all kinds."""
    parts = member.assignment if member.tasks is None else tuple(each for kind in member.tasks for each in kind)
    return sum(1 for _ in _places(parts))


def _assignment(row: MemberRow) -> Cell:
    told = assignment_text(row.member)
    return cell(told or "nothing", "text" if _share(row.member) else "under_replicated")


def _epoch(row: MemberRow) -> str:
    return "–" if row.member.member_epoch is None else str(row.member.member_epoch)


_CLIENT = Column(
    "client",
    "CLIENT",
    lambda row: cell(client_name(row.member)),
    16,
    lambda row: row.member.client_id,
    max_width=30,
)
_HOST = Column(
    "host",
    "HOST",
    lambda row: cell(row.member.host.lstrip("/"), "muted"),
    12,
    lambda row: row.member.host,
    priority=2,
    max_width=24,
)
_COUNT = Column(
    "partitions",
    "PARTITIONS",
    lambda row: cell(_share(row.member)),
    10,
    lambda row: _share(row.member),
    right=True,
    flashes=True,
)
_LAG = Column(
    "lag",
    "LAG",
    lambda row: cell(text.count(row.lag), lag_tone(row.lag)),
    9,
    lambda row: row.lag or 0,
    right=True,
    descending=True,
)
_GOING = going_column(1)
_READS = reads_column(2)
_ASSIGNMENT = Column("assignment", "ASSIGNMENT", _assignment, 20, priority=1, max_width=80, flashes=True)
_EPOCH = Column(
    "epoch",
    "EPOCH",
    lambda row: cell(_epoch(row), "muted"),
    5,
    lambda row: row.member.member_epoch or 0,
    right=True,
    priority=2,
    flashes=True,
)
_SPEAKS = Column("speaks", "PROTOCOL", lambda row: cell(row.member.protocol or "classic", "muted"), 8, priority=3)
_MEMBER_ID = Column(
    "member-id", "MEMBER ID", lambda row: cell(text.shorten_middle(row.member.member_id, 28), "muted"), 28, priority=3
)
_PROCESS = Column(
    "process", "PROCESS", lambda row: cell(text.shorten_middle(row.member.process_id, 17), "muted"), 17, priority=4
)

_PACE = (_LAG, _GOING, _READS)
MEMBER_COLUMNS: tuple[Column, ...] = (_CLIENT, _HOST, _COUNT, *_PACE, _ASSIGNMENT, _EPOCH, _SPEAKS, _MEMBER_ID)
# Members of a share group read partitions together: none of them has a lag, or a pace, of its own.
_SHARE_MEMBER_COLUMNS = tuple(each for each in MEMBER_COLUMNS if each not in _PACE)
# Those of a streams group are threads, several a process.
_STREAMS_MEMBER_COLUMNS = (
    replace(_CLIENT, width=23),
    _HOST,
    replace(_COUNT, key="tasks", title="TASKS", width=5),
    *_PACE,
    _ASSIGNMENT,
    _EPOCH,
    _SPEAKS,
    _MEMBER_ID,
    _PROCESS,
)


def member_columns(group: GroupState | None) -> tuple[Column, ...]:
    """Those of the group's type."""
    by_type = {"share": _SHARE_MEMBER_COLUMNS, "streams": _STREAMS_MEMBER_COLUMNS}
    return MEMBER_COLUMNS if group is None else by_type.get(group.group_type, MEMBER_COLUMNS)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of a streams group: a partition of a subtopology, and the members that have it."""

    subtopology: Subtopology
    partition: int
    active: tuple[MemberState, ...]
    standby: tuple[MemberState, ...]
    warmup: tuple[MemberState, ...]
    lag: int | None
    age_ms: float

    @property
    def key(self) -> str:
        """Kafka Streams' own name of a task (TaskId): ``0_3``."""
        return f"{self.subtopology.subtopology_id}_{self.partition}"

    @property
    def is_healthy(self) -> bool:
        """Whether some member runs it."""
        return bool(self.active)


def task_rows(snapshot: ClusterSnapshot, group: GroupState) -> list[TaskRow]:
    """Sorted by subtopology and partition. Tasks that nobody has are there too, where the topics tell of them."""
    topology = group.topology
    if topology is None or topology.subtopologies is None:
        return []
    sizes = {topic.name: len(topic.partitions) for topic in snapshot.topics}
    lags = {(offset.topic, offset.partition): offset.lag for offset in group.offsets}
    age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
    holders: tuple[dict[tuple[str, int], list[MemberState]], ...] = ({}, {}, {})
    for member in group.members:
        for kind, parts in zip(holders, member.tasks or (), strict=False):
            for task in _places(parts):
                kind.setdefault(task, []).append(member)
    rows: list[TaskRow] = []
    for each in topology.subtopologies:
        sources = (*each.source_topics, *each.repartition_source_topics)
        had = [number for kind in holders for name, number in kind if name == each.subtopology_id]
        for number in range(
            max([sizes.get(topic, 0) for topic in sources] + [number + 1 for number in had], default=0)
        ):
            active, standby, warmup = (tuple(kind.get((each.subtopology_id, number), ())) for kind in holders)
            lag = _sum(lags.get((topic, number)) for topic in sources)
            rows.append(TaskRow(each, number, active, standby, warmup, lag, age))
    return rows


def _names(members: tuple[MemberState, ...], tone: str) -> Cell:
    if not members:
        return UNKNOWN
    return cell(", ".join(map(client_name, members)), tone)


def _topics(names: tuple[str, ...]) -> Cell:
    return cell(", ".join(names), "muted") if names else UNKNOWN


TASK_COLUMNS: tuple[Column, ...] = (
    Column("task", "TASK", lambda row: cell(row.key), 6, lambda row: (row.subtopology.subtopology_id, row.partition)),
    Column(
        "active",
        "ACTIVE ON",
        lambda row: _names(row.active, "text") if row.active else cell("nobody", "offline"),
        23,
        lambda row: [each.client_id for each in row.active],
        max_width=44,
        flashes=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: cell(text.count(row.lag), lag_tone(row.lag)),
        9,
        lambda row: row.lag or 0,
        right=True,
        descending=True,
    ),
    Column(
        "standby",
        "STANDBY",
        lambda row: _names(row.standby, "text"),
        12,
        priority=1,
        max_width=44,
        flashes=True,
    ),
    Column(
        "warmup",
        "WARM-UP",
        lambda row: _names(row.warmup, "text"),
        12,
        priority=2,
        max_width=44,
        flashes=True,
    ),
    Column(
        "reads",
        "READS",
        lambda row: _topics((*row.subtopology.source_topics, *row.subtopology.repartition_source_topics)),
        14,
        priority=1,
        max_width=50,
    ),
    Column(
        "writes",
        "REPARTITIONS TO",
        lambda row: _topics(row.subtopology.repartition_sink_topics),
        15,
        priority=4,
        max_width=50,
    ),
    Column(
        "stores",
        "CHANGELOGS",
        lambda row: _topics(row.subtopology.changelog_topics),
        14,
        priority=3,
        max_width=50,
    ),
)
