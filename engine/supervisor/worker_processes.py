"""Workers that do one work together, of a streams application or of Connect: processes, started again if they die.

They end with this process, however it ends; what they log stands in a file each, and what matters of it is told.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.supervisor.broker_process import ChildProcess, child_environment
from engine.supervisor.leashed_process import spawn_leashed
from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.spec_types import RestartSpec
from engine.world import Clock

RESTART = RestartSpec("on-failure", 500, 10_000, 5, 60_000)
# How workers end that were called wrongly, or whose group refuses what they want.
_WRONG_USE = 2
_LOOK_S = 0.2


class WorkerProcessesError(Exception):
    """The workers cannot be started; the message says why and what to do."""


class WorkerEvent(NamedTuple):
    """Something about one worker: ``kind`` is started, ended, stopped, or what it says itself (log)."""

    worker: int
    pid: int
    kind: str
    detail: str


@dataclass(slots=True)
class _Slot:
    number: int
    log_file: str
    policy: RestartPolicy
    child: ChildProcess | None = None
    read: int = 0


class WorkerProcesses:
    """Some workers of one application or group."""

    def __init__(
        self,
        command: Sequence[str],
        number: int,
        log_directory: str,
        clock: Clock,
        on_event: Callable[[WorkerEvent], None],
        *,
        told: str,
        started_by: str,
        restart: RestartSpec = RESTART,
        patience_s: float = 60.0,
    ) -> None:
        """Nothing runs before :meth:`run`.

        Args:
            command: of one worker.
            number: how many of them.
            told: a regular expression of what workers log as INFO and matters; warnings and errors always do.
            started_by: the command that has such workers, for whoever starts it twice.
            log_directory: takes ``worker-N.log``, and ``worker-N.log.1`` of the one before.
            patience_s: how long a graceful stop may take before SIGKILL.

        Raises:
            WorkerProcessesError: the directory cannot be used, or somebody uses it.
        """
        self._command = list(command)
        self._told = re.compile(rf"\S+ \S+ (?:(WARNING|ERROR) (.*)|INFO ({told}))")
        self._clock = clock
        self._on_event = on_event
        self._patience_s = patience_s
        self._stopping = asyncio.Event()
        try:
            os.makedirs(log_directory, exist_ok=True)
            self._lock = os.open(os.path.join(log_directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WorkerProcessesError(f"cannot use {log_directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise WorkerProcessesError(
                f"another {started_by} uses {log_directory}: give that one more --workers"
            ) from None
        self._slots = [
            _Slot(each, os.path.join(log_directory, f"worker-{each}.log"), RestartPolicy(restart))
            for each in range(1, number + 1)
        ]

    def stop(self) -> None:
        """End gracefully: each worker commits and leaves the group. Once more: SIGKILL."""
        if self._stopping.is_set():
            for slot in self._slots:
                if slot.child is not None:
                    slot.child.signal(signal.SIGKILL)
        self._stopping.set()

    async def run(self) -> bool:
        """Until :meth:`stop`, or until no worker is left; whether all of them ended well."""
        try:
            return all(await asyncio.gather(*(self._keep(slot) for slot in self._slots)))
        finally:
            os.close(self._lock)

    async def _keep(self, slot: _Slot) -> bool:
        """One worker after the other in a slot."""
        while not self._stopping.is_set():
            try:
                child = slot.child = spawn_leashed(
                    self._command, log_file=slot.log_file, environment=child_environment()
                )
            except OSError as error:
                self._on_event(WorkerEvent(slot.number, 0, "ended", f"cannot be started: {error.strerror}"))
                return False
            slot.read = 0
            self._on_event(WorkerEvent(slot.number, child.pid, "started", slot.log_file))
            code = await self._until_it_ends(slot, child)
            slot.child = None
            if self._stopping.is_set():
                # One that was not ready yet to stop in order dies of the signal, and had nothing.
                well = code in (0, -signal.SIGTERM)
                how = "" if well else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                self._on_event(WorkerEvent(slot.number, child.pid, "stopped", how))
                return well
            if code == _WRONG_USE:
                self._on_event(WorkerEvent(slot.number, child.pid, "ended", "wrong use, not started again"))
                return False
            verdict = slot.policy.on_exit(self._clock.monotonic_ms(), code)
            self._on_event(WorkerEvent(slot.number, child.pid, "ended", verdict.why))
            if verdict.delay_ms is None:
                return code == 0
            try:
                async with asyncio.timeout(verdict.delay_ms / 1000):
                    await self._stopping.wait()
            except TimeoutError:
                pass
        return True

    async def _until_it_ends(self, slot: _Slot, child: ChildProcess) -> int:
        asked: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        told = False
        until_s = 0.0
        try:
            while not child.exited.done():
                waited: set[asyncio.Future[Any]] = {child.exited} if told else {child.exited, asked}
                await asyncio.wait(waited, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                self._tell(slot, child.pid)
                now_s = self._clock.monotonic_ms() / 1000
                if self._stopping.is_set() and not told:
                    told, until_s = True, now_s + self._patience_s
                    child.signal(signal.SIGTERM)
                elif told and now_s > until_s:
                    child.signal(signal.SIGKILL)
        finally:
            asked.cancel()
        self._tell(slot, child.pid)
        return child.exited.result()

    def _tell(self, slot: _Slot, pid: int) -> None:
        """What is new in a worker's log and matters."""
        with open(slot.log_file, "rb") as file:
            file.seek(slot.read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        slot.read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            found = self._told.fullmatch(line)
            if found is not None:
                self._on_event(WorkerEvent(slot.number, pid, "log", found[2] or found[3]))
            elif not line[:1].isdigit() and line[:1].strip() and "Traceback" not in line:
                # The last line of an error that nobody caught, or of wrong use.
                self._on_event(WorkerEvent(slot.number, pid, "log", line))
