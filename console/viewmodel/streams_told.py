"""What workers of an application over streams tell (``/v1/status``), kept while they do not answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from console.viewmodel.counter_rates import CounterRates


class RestoreTold(NamedTuple):
    """How far a store's partition is filled from its changelog: offsets. ``remaining`` is ``None`` until its end is
    known."""

    store: str
    partition: int
    begin: int
    position: int
    end: int
    remaining: int | None


class TaskTold(NamedTuple):
    """A task as its worker tells it. ``lag``: records that its inputs hold and that it has not read."""

    task_id: str
    role: str
    phase: str
    lag: int | None
    processed: int
    restore: tuple[RestoreTold, ...]


class WorkerTold(NamedTuple):
    """What a worker tells of itself. ``no_kill`` says why it cannot be killed from here; empty if it can."""

    endpoint: str
    process_id: str
    member_id: str
    state: str
    pid: int | None
    host: str
    started_ms: int
    waits_for: str
    guarantee: str
    tasks: tuple[TaskTold, ...]
    nodes: Mapping[str, int]
    no_kill: str = ""

    @property
    def short(self) -> str:
        """Enough of the process id to tell workers apart."""
        return self.process_id[:8]


def worker_told(endpoint: str, document: Any) -> WorkerTold:
    """Read what ``/v1/status`` answered.

    Raises:
        ValueError: it is no worker's status.
    """
    try:
        tasks = tuple(_task(each) for each in document["tasks"])
        nodes = {str(name): int(count) for name, count in dict(document.get("nodes") or {}).items()}
        pid = document.get("pid")
        waits_for = document.get("waits_for") or ""
        return WorkerTold(
            endpoint,
            str(document["process_id"]),
            str(document.get("member_id") or ""),
            str(document.get("state") or ""),
            None if pid is None else int(pid),
            str(document.get("host") or ""),
            int(document.get("started_ms") or 0),
            waits_for if isinstance(waits_for, str) else ", ".join(map(str, waits_for)),
            str(document.get("guarantee") or ""),
            tasks,
            nodes,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"what {endpoint} answers is no worker's status") from error


def _task(document: Any) -> TaskTold:
    lags = [each["lag"] for each in document.get("inputs") or () if each.get("lag") is not None]
    return TaskTold(
        str(document["id"]),
        str(document.get("role") or "active").lower(),
        str(document.get("phase") or "").lower(),
        sum(map(int, lags)) if lags else None,
        int(document.get("processed") or 0),
        tuple(
            RestoreTold(
                str(each.get("store", "")),
                int(each.get("partition") or 0),
                int(each.get("begin") or 0),
                int(each.get("position") or 0),
                int(each.get("end") or 0),
                None if each.get("remaining") is None else max(0, int(each["remaining"])),
            )
            for each in document.get("restore") or ()
        ),
    )


class KeptWorkers:
    """What each worker told last, and when; what went wrong since."""

    def __init__(self) -> None:
        # Of nodes by their names, of tasks as ``task 0_1``.
        self.rates = CounterRates()
        self._told: dict[str, tuple[WorkerTold, float]] = {}
        self.problems: dict[str, str] = {}

    def take(self, answers: Mapping[str, WorkerTold | str], at_ms: float) -> None:
        """Answers by endpoint; text says why there is none. Endpoints that are not asked any more are forgotten."""
        self._told = {each: told for each, told in self._told.items() if each in answers}
        self.problems = {}
        for endpoint, answer in answers.items():
            if isinstance(answer, str):
                self.problems[endpoint] = answer
                continue
            self._told[endpoint] = (answer, at_ms)
            counters = dict(answer.nodes) | {f"task {each.task_id}": each.processed for each in answer.tasks}
            self.rates.take(endpoint, (answer.process_id, answer.started_ms), at_ms, counters)
        self.rates.keep(at_ms)

    def lags(self) -> dict[str, int]:
        """What each active task has not read, by its name, as far as it is told."""
        return {
            task.task_id: task.lag
            # Who told last is who has it now.
            for told, _ in sorted(self._told.values(), key=lambda each: each[1])
            for task in told.tasks
            if task.role == "active" and task.lag is not None
        }

    def of(self, endpoint: str) -> tuple[WorkerTold | None, float]:
        """What it told last, and when."""
        return self._told.get(endpoint, (None, 0.0))


def restoring(task: TaskTold) -> tuple[float, int | None]:
    """How much of its changelogs a task has read (0 to 1), and how many records it has yet to read; ``None`` while
    nobody knows how many there are."""
    if any(each.remaining is None for each in task.restore):
        return 0.0, None
    remaining = sum(each.remaining or 0 for each in task.restore)
    whole = sum(max(each.end - each.begin, each.remaining or 0) for each in task.restore)
    return (1.0 if not whole else 1 - remaining / whole), remaining
