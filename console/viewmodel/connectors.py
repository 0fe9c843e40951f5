"""Connectors, their tasks and their offsets as rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import EMPTY, UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.connect_told import ConnectorTold, TaskTold, first_line
from console.viewmodel.groups import lag_tone
from engine.supervisor.snapshot import ClusterSnapshot, GroupState

_TONES = {
    "RUNNING": ("●", "in_sync"),
    "PAUSED": ("‖", "under_replicated"),
    "STOPPED": ("■", "muted"),
    "FAILED": ("✗", "offline"),
    "UNASSIGNED": ("○", "under_replicated"),
    "RESTARTING": ("↻", "under_replicated"),
}


class TaskCount(NamedTuple):
    """What a worker of kconsole tells of a task that it runs; Java's tells no such thing."""

    records: int
    records_per_s: float
    pid: int | None


class ConnectorRow(NamedTuple):
    """One connector of a group of workers. ``lag`` is a sink's, known by its consumer group."""

    group: str
    told: ConnectorTold
    topics: tuple[str, ...] | None
    counts: Mapping[int, TaskCount]
    lag: int | None = None
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Unique among all groups."""
        return f"{self.group}\n{self.told.name}"

    @property
    def is_healthy(self) -> bool:
        """Nothing of it has failed."""
        return self.told.state not in ("FAILED", "UNASSIGNED") and not self.told.failed

    @property
    def records_per_s(self) -> float | None:
        """Of all tasks; None where no worker tells."""
        if not self.counts:
            return None if self.told.running else 0.0
        return sum(each.records_per_s for each in self.counts.values())

    @property
    def dead_letters(self) -> str:
        """The topic of its dead letters; empty if it has none."""
        return self.told.config.get("errors.deadletterqueue.topic.name", "").strip()


class ConnectTaskRow(NamedTuple):
    """One task of a connector."""

    told: TaskTold
    count: TaskCount | None
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Its number."""
        return str(self.told.number)

    @property
    def is_healthy(self) -> bool:
        """It has not failed."""
        return self.told.state not in ("FAILED", "UNASSIGNED")


class OffsetRow(NamedTuple):
    """How far a connector is in one partition of its own, or of a topic."""

    partition: Mapping[str, Any]
    offset: Mapping[str, Any] | None
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """The partition as JSON."""
        return json.dumps(self.partition, sort_keys=True, ensure_ascii=False)


def sink_group(told: ConnectorTold) -> str:
    """The consumer group of a sink."""
    return told.config.get("consumer.override.group.id") or f"connect-{told.name}"


def with_lag(rows: Sequence[ConnectorRow], snapshot: ClusterSnapshot) -> list[ConnectorRow]:
    """Sinks with what their groups have still to read."""
    groups = {each.group_id: each for each in snapshot.groups}
    return [
        row._replace(lag=_lag_of(row.told, groups.get(sink_group(row.told)))) if row.told.type == "sink" else row
        for row in sorted(rows, key=lambda row: (row.group, row.told.name))
    ]


def _lag_of(told: ConnectorTold, group: GroupState | None) -> int | None:
    """Of the sink's topics: the group remembers those that the sink read once and no longer does, too."""
    if group is None:
        return None
    named = {each.strip() for each in told.config.get("topics", "").split(",")} - {""}
    if not named:
        return group.total_lag
    lags = [each.lag for each in group.offsets if each.topic in named and each.lag is not None]
    return sum(lags) if lags else None


def connectors_words(rows: Sequence[ConnectorRow]) -> str:
    """All in one line."""
    if not rows:
        return ""
    tasks = sum(len(row.told.tasks) for row in rows)
    failed = sum(row.told.failed + (row.told.state == "FAILED") for row in rows)
    said = f"{text.plural(tasks, 'task')}"
    return said + (f" · {failed} failed" if failed else "")


def state_cell(state: str) -> Cell:
    """A state with its sign."""
    sign, tone = _TONES.get(state, ("?", "muted"))
    return cell(f"{sign} {state.lower()}", tone)


def _tasks(row: ConnectorRow) -> Cell:
    told = row.told
    tone = "in_sync" if told.running == len(told.tasks) else "under_replicated"
    found = [Span(f"{told.running}/{len(told.tasks)}", tone if told.tasks else "muted")]
    if told.failed:
        found.append(Span(f" {told.failed}✗", "offline"))
    return tuple(found)


def _rate(value: float | None) -> Cell:
    if value is None:
        return UNKNOWN
    return cell(f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s", "text" if value else "muted")


def _lag(row: ConnectorRow) -> Cell:
    if row.told.type != "sink":
        return EMPTY
    return UNKNOWN if row.lag is None else cell(text.count(row.lag), lag_tone(row.lag))


def _topics(row: ConnectorRow) -> Cell:
    return (
        UNKNOWN if row.topics is None else cell(", ".join(row.topics) or "none yet", "text" if row.topics else "muted")
    )


def _trace(row: ConnectorRow) -> Cell:
    found = [row.told.trace, *(each.trace for each in row.told.tasks)]
    said = next((first_line(each) for each in found if each), "")
    return cell(said, "offline") if said else EMPTY


CONNECTOR_COLUMNS: tuple[Column, ...] = (
    Column("name", "CONNECTOR", lambda row: cell(row.told.name), 14, lambda row: row.told.name, max_width=40),
    Column("type", "TYPE", lambda row: cell(row.told.type), 6, lambda row: row.told.type, priority=1),
    Column("state", "STATE", lambda row: state_cell(row.told.state), 12, lambda row: row.told.state, flashes=True),
    Column("tasks", "TASKS", _tasks, 7, lambda row: row.told.failed, descending=True),
    Column(
        "rate",
        "RECORDS",
        lambda row: _rate(row.records_per_s),
        9,
        lambda row: row.records_per_s or 0,
        True,
        descending=True,
    ),
    Column("lag", "LAG", _lag, 7, lambda row: row.lag or 0, True, descending=True),
    Column("topics", "TOPICS", _topics, 12, lambda row: row.topics or (), max_width=40, priority=3),
    Column(
        "worker",
        "WORKER",
        lambda row: cell(row.told.worker or "–", "muted"),
        16,
        lambda row: row.told.worker,
        max_width=30,
        priority=4,
    ),
    Column("class", "CLASS", lambda row: cell(row.told.kind), 16, lambda row: row.told.kind, max_width=34, priority=5),
    Column("error", "ERROR", _trace, 20, None, max_width=120, priority=2),
    Column("group", "GROUP", lambda row: cell(row.group, "muted"), 12, lambda row: row.group, max_width=24, priority=6),
)

TASK_COLUMNS: tuple[Column, ...] = (
    Column("task", "TASK", lambda row: cell(row.told.number), 4, lambda row: row.told.number, True),
    Column("state", "STATE", lambda row: state_cell(row.told.state), 12, lambda row: row.told.state, flashes=True),
    Column("worker", "WORKER", lambda row: cell(row.told.worker or "–"), 16, lambda row: row.told.worker, max_width=30),
    Column(
        "rate",
        "RECORDS",
        lambda row: _rate(None if row.count is None else row.count.records_per_s),
        9,
        lambda row: row.count.records_per_s if row.count else 0,
        True,
        descending=True,
    ),
    Column(
        "records",
        "IN ALL",
        lambda row: UNKNOWN if row.count is None else cell(f"{row.count.records:,}"),
        9,
        lambda row: row.count.records if row.count else 0,
        True,
        priority=1,
        descending=True,
    ),
    Column(
        "pid",
        "PID",
        lambda row: UNKNOWN if row.count is None or row.count.pid is None else cell(row.count.pid, "muted"),
        7,
        lambda row: row.count.pid or 0 if row.count else 0,
        True,
        priority=2,
    ),
    Column(
        "error",
        "ERROR",
        lambda row: cell(first_line(row.told.trace), "offline") if row.told.trace else EMPTY,
        20,
        lambda row: row.told.trace,
        max_width=160,
    ),
)


def _offset(row: OffsetRow) -> Cell:
    if row.offset is None:
        return UNKNOWN
    if set(row.offset) == {"kafka_offset"}:
        return cell(f"{row.offset['kafka_offset']:,}")
    return cell(json.dumps(row.offset, ensure_ascii=False))


def _partition(row: OffsetRow) -> Cell:
    found = row.partition
    if set(found) == {"kafka_topic", "kafka_partition"}:
        return cell(f"{found['kafka_topic']}-{found['kafka_partition']}")
    return cell(json.dumps(found, ensure_ascii=False))


OFFSET_COLUMNS: tuple[Column, ...] = (
    Column("partition", "PARTITION", _partition, 30, lambda row: row.key, max_width=100, cut_middle=True),
    Column("offset", "OFFSET", _offset, 24, lambda row: json.dumps(row.offset), max_width=80),
)
