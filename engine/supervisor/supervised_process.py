"""The life of a process that the supervisor keeps: its incarnations, its state, how it ends, its restarts.

What it is, a subclass says: how an incarnation is started, how it is asked to leave, when it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from abc import ABC, abstractmethod
from typing import Any

from engine.supervisor.broker_process import ChildProcess
from engine.supervisor.broker_questions import CommandError
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.world import World

# What a failed start shows of the log.
_LOG_TAIL_BYTES = 4_096
_LOG_TAIL_LINES = 5

_ALIVE = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.PAUSED, ProcessState.STOPPING)
_ASKED = "SIGKILL, asked for"


class SupervisedProcess(ABC):
    """One process, alive or not. Not for several event loops."""

    def __init__(self, world: World, bus: FactBus, restart: RestartSpec, *, keep: bool, stop_timeout_s: float) -> None:
        """``keep``: it outlives the supervisor. ``stop_timeout_s``: one that was asked to leave is killed then."""
        self._world = world
        self._bus = bus
        self._policy = RestartPolicy(restart)
        self._keep = keep
        self._stop_timeout_s = stop_timeout_s
        self.state = ProcessState.STOPPED
        self.child: ChildProcess | None = None
        self.incarnation = 0
        self.restarts = 0
        self.started_at_ms: int | None = None
        self.exit_code: int | None = None
        self.next_restart_at_ms: int | None = None
        self.why = "not started yet"
        self.cpu_percent: float | None = None
        self.rss_bytes: int | None = None
        # What ended, or will end, the incarnation on purpose.
        self._ending: ProcessState | None = None
        self._why_killed = ""
        self._ended = asyncio.Event()
        self._ended.set()
        self._restart_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- what a subclass says -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it is called in sentences and events: ``broker 2``."""

    @property
    @abstractmethod
    def log_file(self) -> str:
        """The incarnation's log."""

    @abstractmethod
    def as_fact(self) -> Fact:
        """How it stands."""

    @abstractmethod
    def _note(self, act: str, reason: str, **detail: Any) -> None:
        """An event: ``act`` is started, killed, paused, resumed, stopped or exited."""

    @abstractmethod
    async def _make_child(self, incarnation: int) -> ChildProcess:
        """Start an incarnation; OSError if it cannot be run."""

    @abstractmethod
    def _write_pid(self, pid: int) -> None:
        """Of one that outlives the supervisor, for whoever comes after it."""

    @property
    @abstractmethod
    def is_serving(self) -> bool:
        """Whether the living incarnation does what it is for."""

    def _ask_to_leave(self, child: ChildProcess) -> None:
        child.signal(signal.SIGTERM)

    def _detail(self) -> dict[str, Any]:
        """What events say besides of the incarnation."""
        return {}

    def _forget_incarnation(self) -> None:  # noqa: B027  nothing, unless a subclass has something
        """It has ended, or another one begins."""

    # -- how it stands ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the living incarnation."""
        return self.child.pid if self.child is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, paused ones included."""
        return self.state in _ALIVE

    @property
    def awaits_restart(self) -> bool:
        """Whether it ended by itself and will be started again after its back-off."""
        return self._restart_timer is not None

    @property
    def is_left_down(self) -> bool:
        """Whether there is no process, and nobody will start one by himself."""
        return self._ended.is_set() and self.next_restart_at_ms is None

    # -- commands -----------------------------------------------------------------------------------------------

    async def start(self, why: str) -> None:
        """Start it; it need not serve yet.

        Raises:
            CommandError: it runs already, or cannot be run.
        """
        if self.is_alive:
            raise CommandError(f"{self.subject} is {self.state}")
        self._policy.on_asked()
        await self._spawn(why)

    async def kill(self) -> int:
        """SIGKILL; it stays down until it is started. Returns monotonic nanoseconds just before the signal.

        Raises:
            CommandError: it does not run.
        """
        if self._give_up_restart():
            return self._world.clock.monotonic_ns()
        child = self._living("killed")
        self._ending, self._why_killed = ProcessState.KILLED, _ASKED
        # Before it happens: on a busy machine others tell what followed before this process is on again.
        at_ms = self._world.clock.now_ms()
        at = child.kill(self._world.clock)
        self._note("killed", _ASKED, at_ms=at_ms, pid=child.pid, mono_ns=at, **self._detail())
        await self._ended.wait()
        return at

    async def stop(self) -> None:
        """Ask it to leave, and wait until it has.

        Raises:
            CommandError: it does not run, or had to be killed.
        """
        if self._give_up_restart():
            return
        await self._stop(self._living("stopped"))

    async def _stop(self, child: ChildProcess) -> None:
        was_paused = self.state is ProcessState.PAUSED
        self._ending = ProcessState.STOPPED
        self._set_state(ProcessState.STOPPING, "stop was asked for")
        self._ask_to_leave(child)
        if was_paused:
            child.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await self._until_it_left(child)
        except TimeoutError:
            late = f"did not stop within {self._stop_timeout_s:.0f} s"
            self._ending, self._why_killed = ProcessState.KILLED, f"SIGKILL: {late}"
            child.kill(self._world.clock)
            await self._ended.wait()
            raise CommandError(f"{self.subject} {late} and was killed") from None

    async def _until_it_left(self, child: ChildProcess) -> None:
        await self._ended.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its sockets and answers nothing.

        Raises:
            CommandError: it does not run, or is paused.
        """
        if self.state not in (ProcessState.RUNNING, ProcessState.STARTING):
            raise CommandError(f"{self.subject} is {self.state}: only a running one can be paused")
        self._living("paused").signal(signal.SIGSTOP)
        detail = self._detail()
        self._set_state(ProcessState.PAUSED, "SIGSTOP, asked for")
        self._note("paused", "SIGSTOP, asked for", pid=self.pid, **detail)

    def resume(self) -> None:
        """SIGCONT.

        Raises:
            CommandError: it is not paused.
        """
        if self.state is not ProcessState.PAUSED:
            raise CommandError(f"{self.subject} is {self.state}: only a paused one can be resumed")
        self._living("resumed").signal(signal.SIGCONT)
        self._set_state(self._resumed_state(), "SIGCONT, asked for")
        self._note("resumed", "SIGCONT, asked for", pid=self.pid)

    def _resumed_state(self) -> ProcessState:
        return ProcessState.RUNNING if self.is_serving else ProcessState.STARTING

    def crash(self) -> None:
        """SIGKILL as if it had crashed: it is started again by the restart policy, after its back-off.

        Raises:
            CommandError: it does not run.
        """
        self._living("made to crash").kill(self._world.clock)

    async def restart(self) -> None:
        """Stop if it runs, then start.

        Raises:
            CommandError: as for both.
        """
        if self.is_alive:
            await self.stop()
        await self.start("restart was asked for")

    async def wait_ended(self) -> None:
        """Wait until there is no process."""
        await self._ended.wait()

    def close(self) -> None:
        """No more restarts; a living process is left alone."""
        self._closing = True
        self._cancel_restart()

    # -- incarnations -------------------------------------------------------------------------------------------

    def _living(self, done: str) -> ChildProcess:
        if self.child is None or not self.is_alive:
            raise CommandError(f"{self.subject} is {self.state}: it cannot be {done}")
        return self.child

    def _set_state(self, state: ProcessState, why: str) -> None:
        self.state = state
        self.why = why
        self._bus.publish(self.as_fact())

    def _ended_while_starting(self) -> CommandError:
        try:
            text = self._world.disk.read(self.log_file)[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            text = ""
        last = "\n".join(f"  {line}" for line in text.splitlines()[-_LOG_TAIL_LINES:])
        return CommandError(
            f"{self.subject} ended while starting ({self.why}); see {self.log_file}"
            + (f", which ends with:\n{last}" if last else "")
        )

    def _give_up_restart(self) -> bool:
        """One that waits for its restart is down as soon as nobody restarts it."""
        if self._restart_timer is None:
            return False
        self._cancel_restart()
        self._set_state(ProcessState.STOPPED, "its restart was called off")
        return True

    def _cancel_restart(self) -> None:
        if self._restart_timer is not None:
            self._restart_timer.cancel()
            self._restart_timer = None
        self.next_restart_at_ms = None

    async def _spawn(self, why: str) -> None:
        self._cancel_restart()
        self._forget_incarnation()
        self._ended.clear()
        self._ending = None
        self.exit_code = None
        incarnation = self.incarnation = self.incarnation + 1
        try:
            self.child = await self._make_child(incarnation)
        except OSError as error:
            self._ended.set()
            self._set_state(ProcessState.CRASHED, f"cannot be run: {error}")
            raise CommandError(f"{self.subject} cannot be run: {error}") from error
        if self._keep:
            self._write_pid(self.child.pid)
        self.started_at_ms = self._world.clock.now_ms()
        self._set_state(ProcessState.STARTING, why)
        self._note("started", why, pid=self.child.pid, incarnation=incarnation)
        self.child.exited.add_done_callback(lambda done: self._on_exit(done.result()))

    def _on_exit(self, code: int) -> None:
        pid, detail = self.pid, self._detail()
        self.child = None
        self.exit_code = code
        self.cpu_percent = self.rss_bytes = None
        self._forget_incarnation()
        if self._ending is ProcessState.KILLED:
            state, why = ProcessState.KILLED, self._why_killed
        elif self._ending is ProcessState.STOPPED:
            state, why = ProcessState.STOPPED, f"stopped as asked, exit code {code}"
        else:
            verdict = self._policy.on_exit(self._world.clock.monotonic_ms(), code)
            state, why = ProcessState.STOPPED if code == 0 else ProcessState.CRASHED, verdict.why
            if verdict.delay_ms is not None and not self._closing:
                self._schedule_restart(verdict.delay_ms)
        self._ended.set()
        self._set_state(state, why)
        act = "stopped" if state is ProcessState.STOPPED else "exited"
        self._note(act, why, pid=pid, exit_code=code, log_file=self.log_file, **detail)

    def _schedule_restart(self, delay_ms: int) -> None:
        self.next_restart_at_ms = self._world.clock.now_ms() + delay_ms

        def fire() -> None:
            self._restart_timer = None
            task = asyncio.ensure_future(self._restart_after_crash())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._restart_timer = asyncio.get_running_loop().call_later(delay_ms / 1000, fire)

    async def _restart_after_crash(self) -> None:
        if self.is_alive or self._closing:
            return
        self.restarts += 1
        with contextlib.suppress(CommandError):
            await self._spawn(f"restart {self.restarts} after: {self.why}")
