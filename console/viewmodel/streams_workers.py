"""One application over streams: its workers, and its tasks with who has each, what it lacks and where it came from.

Who has which task is what the group's coordinator tells of any cluster; process, phase, restore and rates are what
workers tell themselves, where they can be asked (``application.server``). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.group_members import task_rows
from console.viewmodel.groups import lag_tone
from console.viewmodel.streams_told import KeptWorkers, TaskTold, WorkerTold, restoring
from console.viewmodel.task_moves import Move, worker_name
from engine.supervisor.snapshot import ClusterSnapshot, GroupState, MemberState

NO_ENDPOINT = "it tells no endpoint: application.server has it answer questions"
# How long a task that came from somewhere else is marked.
MOVED_SHOWN_MS = 120_000


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process of the application; a Java one may have several members, a thread each. One that was killed is there
    until the group gives it up, beside the one that was started in its place, which has the same process id."""

    key: str
    members: tuple[MemberState, ...]
    told: WorkerTold | None
    problem: str
    rate: float | None
    age_ms: float

    @property
    def endpoint(self) -> str:
        """Where it answers; empty if nowhere."""
        return endpoint_of(self.members)

    @property
    def name(self) -> str:
        """As tasks name it."""
        first = self.members[0]
        return first.process_id[:8] or worker_name(first)

    @property
    def remaining(self) -> int | None:
        """Records that its tasks have yet to restore."""
        return None if self.told is None else sum(restoring(each)[1] or 0 for each in self.told.tasks)

    @property
    def is_healthy(self) -> bool:
        """Whether it answers, and runs; one that cannot be asked counts as healthy."""
        return not self.endpoint or (not self.problem and self.told is not None and self.told.state == "RUNNING")


def endpoint_of(members: Sequence[MemberState]) -> str:
    """Of a process."""
    return next((each.user_endpoint for each in members if each.user_endpoint), "")


NO_WORKERS = "no worker runs: `kconsole streams run` starts one"


def has_workers(group: GroupState | None) -> bool:
    """Whether there is anybody to be asked; True while that is not known."""
    return group is None or bool(group.members)


def endpoints_of(group: GroupState | None) -> list[str]:
    """Where a group's workers answer."""
    return sorted({each.user_endpoint for each in group.members if each.user_endpoint}) if group is not None else []


def holders_of(group: GroupState, subtopology: str) -> dict[int, str]:
    """Which worker has each active task of a part, by partition."""
    return {
        number: worker_name(member)
        for member in group.members
        for name, numbers in (member.tasks.active if member.tasks is not None else ())
        if name == subtopology
        for number in numbers
    }


def _is_of(told: WorkerTold, member: MemberState, group: GroupState) -> bool:
    """Whether it is this member that told it: members of the same endpoint may be one after the other."""
    if told.process_id != (member.process_id or told.process_id):
        return False
    return told.member_id in ("", member.member_id) or all(each.member_id != told.member_id for each in group.members)


def worker_rows(group: GroupState, kept: KeptWorkers, now_ms: float) -> list[WorkerRow]:
    """One row a process, by its name."""
    processes: dict[tuple[str, str, bool], list[MemberState]] = {}
    for member in sorted(group.members, key=lambda each: each.member_id):
        told, _ = kept.of(member.user_endpoint)
        is_other = told is not None and not _is_of(told, member, group)
        processes.setdefault((member.process_id or member.member_id, member.user_endpoint, is_other), []).append(member)
    rows = []
    for (process_id, endpoint, is_other), members in sorted(processes.items()):
        told, at_ms = kept.of(endpoint)
        if is_other:
            # Another process has the endpoint of one that the group has not given up yet.
            problem, told = f"{endpoint} is another worker's by now", None
        else:
            problem = kept.problems.get(endpoint, "") if endpoint else NO_ENDPOINT
        rate = (
            None
            if told is None or problem
            else kept.rates.together((f"task {each.task_id}" for each in told.tasks), endpoint)
        )
        age = now_ms - at_ms if told is not None else 0.0
        key = f"{process_id} {endpoint}{' gone' if is_other else ''}"
        rows.append(WorkerRow(key, tuple(members), told, problem, rate, age))
    return rows


@dataclass(frozen=True, slots=True)
class StreamsTaskRow:
    """A task in one of its roles."""

    subtopology: str
    partition: int
    role: str
    member: MemberState | None
    told: TaskTold | None
    lag: int | None
    rate: float | None
    move: Move | None
    moved_ms: float
    reads: tuple[str, ...]
    age_ms: float

    @property
    def task_id(self) -> str:
        """Kafka Streams' name of it: ``0_3``."""
        return f"{self.subtopology}_{self.partition}"

    @property
    def key(self) -> str:
        """An active task stays the same row whoever has it; of standbys there may be several."""
        member = self.member
        return self.task_id if self.role == "active" else f"{self.task_id} {self.role} {member and member.member_id}"

    @property
    def phase(self) -> str:
        """What it does now, as its worker tells; where nobody tells, whether somebody has it."""
        if self.told is not None:
            return self.told.phase
        return "" if self.member is not None else "nobody has it"

    @property
    def is_healthy(self) -> bool:
        """Whether somebody has it, and it is restored."""
        return self.member is not None and (self.told is None or self.told.phase == "running" or self.role != "active")


def streams_task_rows(
    snapshot: ClusterSnapshot,
    group: GroupState,
    kept: KeptWorkers,
    moves: Mapping[tuple[str, int], Move],
    now_ms: float,
) -> list[StreamsTaskRow]:
    """Tasks by their names, each active one before its copies."""
    rows: list[StreamsTaskRow] = []
    for each in task_rows(snapshot, group):
        name, number = each.subtopology.subtopology_id, each.partition
        reads = (*each.subtopology.source_topics, *each.subtopology.repartition_source_topics)
        roles: list[tuple[str, MemberState | None]] = [("active", member) for member in each.active or (None,)]
        roles += [("standby", member) for member in each.standby] + [("warmup", member) for member in each.warmup]
        for role, member in roles:
            endpoint = member.user_endpoint if member is not None else ""
            worker, at_ms = kept.of(endpoint)
            if worker is not None and member is not None and not _is_of(worker, member, group):
                worker = None
            told = next(
                (
                    task
                    for task in (worker.tasks if worker is not None else ())
                    if task.task_id == each.key and task.role == role
                ),
                None,
            )
            is_active = role == "active"
            move = moves.get((name, number)) if is_active else None
            lag = (told.lag if told is not None and told.lag is not None else each.lag) if is_active else None
            silent_ms = now_ms - at_ms if told is not None and endpoint in kept.problems else 0.0
            rows.append(
                StreamsTaskRow(
                    name,
                    number,
                    role,
                    member,
                    told,
                    lag,
                    kept.rates.of(f"task {each.key}", endpoint) if is_active and told is not None else None,
                    move,
                    text.age_ms(snapshot.at_ms, move.at_ms) if move is not None else 0.0,
                    reads,
                    max(each.age_ms, silent_ms),
                )
            )
    return rows


def application_words(
    workers: Sequence[WorkerRow], tasks: Sequence[StreamsTaskRow], group: GroupState
) -> list[tuple[str, int]]:
    """What stands at the lower edge, with how much each part matters."""
    active = [each for each in tasks if each.role == "active"]
    running = sum(each.member is not None for each in active)
    remaining = sum(each.remaining or 0 for each in workers)
    silent = [each for each in workers if each.problem and each.endpoint]
    # Of what is read; the group's lag is that of what was committed.
    lags = [each.lag for each in active if each.lag is not None]
    rates = [each.rate for each in workers if each.rate is not None]
    return [
        (f"! {silent[0].name}: {silent[0].problem}" if silent else "", 10),
        (group.state, 9),
        (f"{running}/{len(active)} tasks", 5),
        (f"lag {text.count(sum(lags) if lags else group.total_lag)}", 7),
        (text.per_second(sum(rates)) if rates else "", 4),
        (f"{text.count(remaining)} to restore" if remaining else "", 8),
        (f"not described: {group.error}" if group.error else "", 8),
    ]


_STATE_TONES = {"RUNNING": "in_sync", "REBALANCING": "under_replicated", "CREATED": "under_replicated"}


def _state(row: WorkerRow) -> Cell:
    if not row.endpoint:
        return cell("not asked", "muted")
    if row.problem:
        return cell("○ no answer", "offline")
    if row.told is None:
        return cell("not told", "muted")
    tone = _STATE_TONES.get(row.told.state, "offline")
    return cell(f"{'●' if tone == 'in_sync' else '◑'} {row.told.state.lower()}", tone)


def _tasks_of(row: WorkerRow) -> Cell:
    parts = [each.tasks for each in row.members if each.tasks is not None]
    active, standby, warmup = (sum(len(numbers) for tasks in parts for _, numbers in tasks[kind]) for kind in (0, 1, 2))
    copies = standby + warmup
    return (Span(str(active), "text" if active else "muted"), Span(f" +{copies}" if copies else "", "muted"))


def _remaining(row: WorkerRow) -> Cell:
    if row.remaining is None:
        return UNKNOWN
    return cell(text.count(row.remaining), "under_replicated") if row.remaining else cell("done", "in_sync")


def _rate(row: WorkerRow | StreamsTaskRow) -> Cell:
    return UNKNOWN if row.rate is None else cell(text.per_second(row.rate))


def _pid(row: WorkerRow) -> Cell:
    return UNKNOWN if row.told is None or row.told.pid is None else cell(row.told.pid)


WORKER_COLUMNS: tuple[Column, ...] = (
    Column("worker", "WORKER", lambda row: cell(row.name, "accent"), 9, lambda row: row.name, max_width=28),
    Column("pid", "PID", _pid, 8, right=True, flashes=True),
    Column("state", "STATE", _state, 14, lambda row: row.told.state if row.told else "", flashes=True),
    Column("tasks", "TASKS", _tasks_of, 7, right=True, flashes=True),
    Column("rate", "RATE", _rate, 9, lambda row: row.rate or 0.0, right=True, descending=True),
    Column("restore", "TO RESTORE", _remaining, 10, right=True),
    Column("endpoint", "ENDPOINT", lambda row: cell(row.endpoint or "–", "muted"), 15, priority=1, max_width=28),
    Column(
        "host",
        "HOST",
        lambda row: cell((row.told.host if row.told else "") or row.members[0].host.lstrip("/"), "muted"),
        12,
        priority=3,
        max_width=24,
    ),
    Column(
        "said",
        "WHAT IT WAITS FOR",
        lambda row: cell(row.problem if row.problem else row.told.waits_for if row.told else "", "muted"),
        18,
        priority=4,
        max_width=80,
    ),
)

_PHASE_TONES = {"running": "in_sync", "restoring": "under_replicated", "created": "under_replicated"}
_BAR = 4


def _phase(row: StreamsTaskRow) -> Cell:
    if row.member is None:
        return cell("nobody", "offline")
    if row.told is None:
        return UNKNOWN
    return cell(row.phase, _PHASE_TONES.get(row.phase, "text"))


def _restore(row: StreamsTaskRow) -> Cell:
    if row.told is None:
        return UNKNOWN
    fraction, remaining = restoring(row.told)
    if not row.told.restore:
        return cell("")
    if remaining is None:
        return cell("begins", "under_replicated")
    if not remaining:
        return cell("complete", "muted")
    bar = text.bar(fraction, _BAR)
    return (
        Span(bar, "under_replicated"),
        Span("░" * (_BAR - len(bar)), "muted"),
        Span(f" {_short(remaining)}", "under_replicated"),
    )


def _short(number: int) -> str:
    """Short: ``43,500``, ``812k``, ``1.2M``."""
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"


def _moved(row: StreamsTaskRow) -> Cell:
    if row.move is None or row.moved_ms > MOVED_SHOWN_MS:
        return cell("")
    # A worker that was started again has the process id of the one before.
    again = row.member is not None and row.move.before == worker_name(row.member)
    before = "restart" if again else row.move.before
    return (Span(f"⇠ {before}", "leader"), Span(f" {text.age(row.moved_ms)}", "muted"))


_ROLE_TONES = {"active": "text", "standby": "muted", "warmup": "under_replicated"}

STREAMS_TASK_COLUMNS: tuple[Column, ...] = (
    Column("task", "TASK", lambda row: cell(row.task_id), 6, lambda row: (row.subtopology, row.partition, row.role)),
    Column("role", "ROLE", lambda row: cell(row.role, _ROLE_TONES[row.role]), 7, lambda row: row.role),
    Column("phase", "PHASE", _phase, 9, lambda row: row.phase, priority=1, flashes=True),
    Column(
        "worker",
        "WORKER",
        lambda row: cell(worker_name(row.member), "accent") if row.member else cell("nobody", "offline"),
        9,
        lambda row: worker_name(row.member) if row.member else "",
        max_width=28,
        flashes=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: UNKNOWN if row.lag is None else cell(text.count(row.lag), lag_tone(row.lag)),
        7,
        lambda row: row.lag or 0,
        right=True,
        descending=True,
    ),
    Column("moved", "MOVED FROM", _moved, 14, lambda row: -(row.move.at_ms if row.move else 0), max_width=34),
    Column("restore", "RESTORE", _restore, 11),
    Column("rate", "RATE", _rate, 9, lambda row: row.rate or 0.0, right=True, priority=2, descending=True),
    Column("reads", "READS", lambda row: cell(", ".join(row.reads), "muted"), 14, priority=3, max_width=50),
)
