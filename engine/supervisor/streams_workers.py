"""The workers of a streams application: one process each (:mod:`engine.streams.runtime`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.worker_processes import RESTART, WorkerEvent, WorkerProcesses, WorkerProcessesError
from engine.world import Clock

__all__ = ("StreamsWorkers", "StreamsWorkersError", "WorkerEvent")

_TOLD = r"state .*|has active .*|stopped .*|answers queries .*"
StreamsWorkersError = WorkerProcessesError


class StreamsWorkers(WorkerProcesses):
    """Some workers of one application."""

    def __init__(
        self,
        command: Sequence[str],
        number: int,
        log_directory: str,
        clock: Clock,
        on_event: Callable[[WorkerEvent], None],
        *,
        restart: RestartSpec = RESTART,
        patience_s: float = 60.0,
    ) -> None:
        super().__init__(
            command,
            number,
            log_directory,
            clock,
            on_event,
            told=_TOLD,
            started_by="`kconsole streams run` of this application",
            restart=restart,
            patience_s=patience_s,
        )
