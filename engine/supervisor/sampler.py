"""CPU, resident memory and open files of processes, by psutil. Linux gives all three; others what they have."""

from __future__ import annotations

from typing import NamedTuple


class Usage(NamedTuple):
    """``cpu_percent`` of one core since the sample before; ``None`` in the first one."""

    cpu_percent: float | None
    rss_bytes: int
    open_files: int | None


class Sampler:
    """Remembers processes between samples: psutil measures CPU from one to the next."""

    def __init__(self) -> None:
        # Not needed before the cluster is up, and not cheap to import.
        import psutil

        self._psutil = psutil
        self._processes: dict[int, psutil.Process] = {}

    def sample(self, pid: int) -> Usage | None:
        """One process; ``None`` if it is gone."""
        try:
            process = self._processes.get(pid)
            first = process is None
            if process is None:
                process = self._processes[pid] = self._psutil.Process(pid)
            with process.oneshot():
                cpu = process.cpu_percent(interval=None)
                rss = process.memory_info().rss
                try:
                    files: int | None = process.num_fds()
                except (AttributeError, self._psutil.AccessDenied):
                    files = None
        except self._psutil.Error:
            self._processes.pop(pid, None)
            return None
        return Usage(None if first else cpu, rss, files)

    def forget_all_but(self, pids: set[int]) -> None:
        """Drop processes that are no longer watched."""
        for pid in [pid for pid in self._processes if pid not in pids]:
            del self._processes[pid]
