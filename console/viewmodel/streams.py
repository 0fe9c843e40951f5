"""Applications over streams (streams groups, KIP-1071), each with its topology, as rows of a tree. Pure.

Brokers know of a topology what its members tell them: sub-topologies with the topics that they read, the repartition
topics that they write, and the changelogs of their stores. Topics that sinks write are not among it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from console.viewmodel import text
from console.viewmodel.cells import EMPTY, UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.group_members import TaskRow, task_rows
from console.viewmodel.groups import lag_tone, state_cell, topology_text
from console.viewmodel.pace import Pace, Paces, together
from console.viewmodel.streams_told import KeptWorkers
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, Subtopology

_CHANGELOG = "-changelog"


@dataclass(frozen=True, slots=True)
class StreamsRow:
    """An application, or (with ``subtopology``) a part of it; ``tasks`` are those of what it is."""

    group: GroupState
    tasks: tuple[TaskRow, ...]
    age_ms: float
    subtopology: Subtopology | None = None
    is_last: bool = False
    rate: float | None = None
    told_lag: int | None = None

    @property
    def key(self) -> str:
        """The group's id, and the part's after a line break, which no group's id has."""
        return self.group.group_id + ("" if self.subtopology is None else f"\n{self.subtopology.subtopology_id}")

    @property
    def is_healthy(self) -> bool:
        """Whether all tasks run, as far as anybody knows."""
        return not self.group.error and all(each.is_healthy for each in self.tasks)

    @property
    def running(self) -> int:
        """Tasks that some member runs."""
        return sum(each.is_healthy for each in self.tasks)

    @property
    def workers(self) -> int:
        """Processes that have, or could have, active tasks of it."""
        members = (
            self.group.members if self.subtopology is None else [each for task in self.tasks for each in task.active]
        )
        return len({each.process_id or each.member_id for each in members})

    @property
    def lag(self) -> int | None:
        """Of all partitions that its tasks read; ``None`` where nobody knows any of them. Workers know what was read,
        brokers what was committed."""
        if self.told_lag is not None:
            return self.told_lag
        known = [each.lag for each in self.tasks if each.lag is not None]
        return sum(known) if known else None

    def short(self, topic: str) -> str:
        """A topic's name without what the application's own begin with."""
        return topic.removeprefix(f"{self.group.group_id}-")


def streams_rows(
    snapshot: ClusterSnapshot,
    only: str = "",
    *,
    paces: Paces | None = None,
    workers: Mapping[str, KeptWorkers] = MappingProxyType({}),
) -> list[StreamsRow]:
    """Each application by its name, and below it its parts.

    Args:
        only: this application alone.
        paces: how fast groups read, by what they commit.
        workers: what those of each application told.
    """
    rows: list[StreamsRow] = []
    for group in sorted(snapshot.groups, key=lambda each: each.group_id):
        if not group.is_streams or (only and group.group_id != only):
            continue
        age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
        tasks = task_rows(snapshot, group)
        reads = paces.of(group.group_id) if paces is not None and group.members else {}
        kept = workers.get(group.group_id)
        rows.append(_with_rates(StreamsRow(group, tuple(tasks), age), reads.values(), kept))
        parts = (group.topology.subtopologies or ()) if group.topology is not None else ()
        for number, part in enumerate(parts, 1):
            its = tuple(each for each in tasks if each.subtopology is part)
            topics = {*part.source_topics, *part.repartition_source_topics}
            own = [each for (topic, _), each in reads.items() if topic in topics]
            rows.append(_with_rates(StreamsRow(group, its, age, part, number == len(parts)), own, kept))
    return rows


def _with_rates(row: StreamsRow, paces: Iterable[Pace], kept: KeptWorkers | None) -> StreamsRow:
    """Workers tell at once how fast they read; an application may commit every 30 s only."""
    told = None if kept is None else kept.rates.together(f"task {each.key}" for each in row.tasks)
    lags = kept.lags() if kept is not None else {}
    lag = sum(lags[each.key] for each in row.tasks) if all(each.key in lags for each in row.tasks) else None
    rate = together(paces).reads_per_s if told is None else told
    return replace(row, rate=rate, told_lag=lag if row.tasks else None)


def streams_remark(rows: Sequence[StreamsRow]) -> str:
    """What stands below the table."""
    applications = [each for each in rows if each.subtopology is None]
    if not applications:
        return ""
    idle = sum(len(each.tasks) - each.running for each in applications)
    return text.plural(len(applications), "application") + (
        f" · {text.plural(idle, 'task')} without a member" if idle else ""
    )


def _name(row: StreamsRow) -> Cell:
    if row.subtopology is None:
        return cell(row.group.group_id)
    return (Span("└ " if row.is_last else "├ ", "muted"), Span(row.subtopology.subtopology_id))


def _tasks(row: StreamsRow) -> Cell:
    if not row.tasks:
        return UNKNOWN
    return cell(f"{row.running}/{len(row.tasks)}", "text" if row.running == len(row.tasks) else "offline")


def _copies(row: StreamsRow) -> Cell:
    number = sum(len(each.standby) + len(each.warmup) for each in row.tasks)
    return cell(number, "text" if number else "muted")


def _workers(row: StreamsRow) -> Cell:
    if row.group.error and not row.group.members:
        return UNKNOWN
    return cell(row.workers, "text" if row.subtopology is None else "muted")


def _rate(row: StreamsRow) -> Cell:
    return UNKNOWN if row.rate is None else cell(text.per_second(row.rate), "text" if row.rate else "muted")


def _lag(row: StreamsRow) -> Cell:
    return UNKNOWN if row.lag is None else cell(text.count(row.lag), lag_tone(row.lag))


def _named(names: Callable[[StreamsRow, Subtopology], Iterable[str]], mark: str = "") -> Callable[[StreamsRow], Cell]:
    def of(row: StreamsRow) -> Cell:
        if row.subtopology is None:
            return EMPTY
        found = ", ".join(names(row, row.subtopology))
        return cell(mark + found, "text") if found else UNKNOWN

    return of


def _reads(row: StreamsRow) -> Cell:
    if row.subtopology is None:
        # Why there is nothing below it stands where there would be something.
        return EMPTY if row.tasks else cell(row.group.error or topology_text(row.group), "muted")
    names = (*row.subtopology.source_topics, *row.subtopology.repartition_source_topics)
    return cell(", ".join(map(row.short, names)))


STREAMS_COLUMNS: tuple[Column, ...] = (
    Column("application", "APPLICATION", _name, 16, max_width=32),
    Column("state", "STATE", lambda row: EMPTY if row.subtopology else state_cell(row.group), 13, flashes=True),
    Column("tasks", "TASKS", _tasks, 7, right=True, flashes=True),
    Column("workers", "WORKERS", _workers, 7, right=True, flashes=True),
    Column("copies", "STANDBY", _copies, 7, right=True, flashes=True, priority=3),
    Column("lag", "LAG", _lag, 9, right=True),
    Column("rate", "RATE", _rate, 8, right=True),
    Column("reads", "READS", _reads, 12, priority=1, max_width=44),
    Column(
        "writes",
        "REPARTITIONS",
        _named(lambda row, part: map(row.short, part.repartition_sink_topics), "▶ "),
        14,
        priority=2,
        max_width=44,
    ),
    Column(
        "stores",
        "STORES",
        _named(lambda row, part: (row.short(each).removesuffix(_CHANGELOG) for each in part.changelog_topics)),
        10,
        priority=2,
        max_width=30,
    ),
)
