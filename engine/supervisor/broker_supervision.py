"""The life of one broker: its incarnations, its state, its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

from engine.model.broker_faults import SOUND, BrokerFaults
from engine.supervisor.broker_process import ChildProcess, python_command
from engine.supervisor.broker_questions import CommandError as CommandError
from engine.supervisor.broker_questions import Questions
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.server_properties import Address
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.world import World

# A broker that does not leave within this time is killed.
STOP_TIMEOUT_MS = 20_000
# One that was only told by the end of its input, and does not leave, is told by SIGTERM as well.
_PLAIN_STOP_MS = 5_000
# What a failed start shows of the broker's log.
_LOG_TAIL_BYTES = 4_096
_LOG_TAIL_LINES = 5

_ALIVE = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.PAUSED, ProcessState.STOPPING)


class BrokerSupervision:
    """One broker of the cluster, alive or not."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        broker_id: int,
        address: Address,
        restart: RestartSpec,
        *,
        keep: bool = False,
        command: Callable[[str], list[str]] | None = None,
    ) -> None:
        """``command`` makes the command line from the properties file (tests put a dummy there)."""
        self._world = world
        self._bus = bus
        self._data_dir = data_dir
        self._policy = RestartPolicy(restart)
        self._keep = keep
        self._command = command or (lambda properties: python_command("engine.broker", "--properties", properties))
        self.broker_id = broker_id
        self.address = address
        self.state = ProcessState.STOPPED
        self.child: ChildProcess | None = None
        self.incarnation = 0
        self.restarts = 0
        self.started_at_ms: int | None = None
        self.exit_code: int | None = None
        self.next_restart_at_ms: int | None = None
        self.why = "not started yet"
        # What ended, or will end, the incarnation on purpose.
        self._ending: ProcessState | None = None
        self._why_killed = ""
        self._ended = asyncio.Event()
        self._ended.set()
        self._ready = asyncio.Event()
        self._restart_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._faults = SOUND
        self._questions = Questions(broker_id)
        self.cpu_percent: float | None = None
        self.rss_bytes: int | None = None
        self.open_files: int | None = None

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
        """Whether it crashed and will be started again after its back-off."""
        return self._restart_timer is not None

    @property
    def is_left_down(self) -> bool:
        """Whether there is no process, and nobody will start one by himself."""
        return self._ended.is_set() and self.next_restart_at_ms is None

    @property
    def is_ready(self) -> bool:
        """Whether the living incarnation has said that it serves."""
        return self._ready.is_set()

    # -- commands -----------------------------------------------------------------------------------------------

    async def start(self, why: str) -> None:
        """Start the broker.

        Raises:
            CommandError: it runs already, or cannot be run.
        """
        if self.is_alive:
            raise CommandError(f"broker {self.broker_id} is {self.state}")
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
        self._ending, self._why_killed = ProcessState.KILLED, "SIGKILL, asked for"
        at = child.kill(self._world.clock)
        self._bus.note(
            "process_killed", self._subject, "SIGKILL, asked for", broker_id=self.broker_id, pid=child.pid, mono_ns=at
        )
        await self._ended.wait()
        return at

    async def stop(self, *, controlled: bool = True) -> None:
        """SIGTERM: the broker hands its leaders over and leaves. Without ``controlled`` it closes its files and leaves.

        Raises:
            CommandError: it does not run.
        """
        if self._give_up_restart():
            return
        child = self._living("stopped")
        was_paused = self.state is ProcessState.PAUSED
        self._ending = ProcessState.STOPPED
        self._set_state(ProcessState.STOPPING, "stop was asked for")
        if controlled or self._keep:
            child.signal(signal.SIGTERM)
        else:
            child.end_of_input()
        if was_paused:
            child.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_MS / 1000):
                if not controlled and not await self._ended_within(_PLAIN_STOP_MS):
                    child.signal(signal.SIGTERM)
                await self._ended.wait()
        except TimeoutError:
            late = f"did not stop within {STOP_TIMEOUT_MS // 1000} s"
            self._ending, self._why_killed = ProcessState.KILLED, f"SIGKILL: {late}"
            child.kill(self._world.clock)
            await self._ended.wait()
            raise CommandError(f"broker {self.broker_id} {late} and was killed") from None

    def _give_up_restart(self) -> bool:
        """A crashed broker that waits for its restart is down as soon as nobody restarts it."""
        if self._restart_timer is None:
            return False
        self._cancel_restart()
        self._set_state(ProcessState.STOPPED, "its restart was called off")
        return True

    async def _ended_within(self, timeout_ms: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1000):
                await self._ended.wait()
        return self._ended.is_set()

    def pause(self) -> None:
        """SIGSTOP: the process keeps its sockets and answers nothing.

        Raises:
            CommandError: it does not run, or is paused.
        """
        if self.state not in (ProcessState.RUNNING, ProcessState.STARTING):
            raise CommandError(f"broker {self.broker_id} is {self.state}: only a running one can be paused")
        self._living("paused").signal(signal.SIGSTOP)
        self._set_state(ProcessState.PAUSED, "SIGSTOP, asked for")
        self._bus.note("process_paused", self._subject, "SIGSTOP, asked for", broker_id=self.broker_id, pid=self.pid)

    def resume(self) -> None:
        """SIGCONT.

        Raises:
            CommandError: it is not paused.
        """
        if self.state is not ProcessState.PAUSED:
            raise CommandError(f"broker {self.broker_id} is {self.state}: only a paused one can be resumed")
        self._living("resumed").signal(signal.SIGCONT)
        self._set_state(ProcessState.RUNNING if self.is_ready else ProcessState.STARTING, "SIGCONT, asked for")
        self._bus.note("process_resumed", self._subject, "SIGCONT, asked for", broker_id=self.broker_id, pid=self.pid)

    def crash(self) -> None:
        """SIGKILL as if it had crashed: it is started again by the restart policy, after its back-off.

        Raises:
            CommandError: it does not run.
        """
        self._living("made to crash").kill(self._world.clock)

    async def wait_ended(self) -> None:
        """Wait until there is no process."""
        await self._ended.wait()

    def set_faults(self, faults: BrokerFaults) -> None:
        """All that is wrong with its disk and its links from now on, through its restarts.

        Raises:
            CommandError: it is kept running without its supervisor, so nobody could mend it.
        """
        if self._keep and faults != SOUND:
            raise CommandError(
                f"broker {self.broker_id} hears nothing from its supervisor: the cluster runs with --keep; "
                "start it without"
            )
        self._faults = faults
        if self.child is not None and not self._keep:
            self.child.send(self._faults_command())

    def _faults_command(self) -> dict[str, Any]:
        return {"command": "faults", **self._faults.as_json()}

    async def restart(self) -> None:
        """Stop if it runs, then start.

        Raises:
            CommandError: as for both.
        """
        if self.is_alive:
            await self.stop()
        await self.start("restart was asked for")

    async def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Ask the broker something of itself (:mod:`engine.broker.questions`).

        Raises:
            CommandError: it does not run, is paused, outlives supervisors, or does not answer in time.
        """
        child = self._living("asked")
        if self.state is ProcessState.PAUSED:
            raise CommandError(f"broker {self.broker_id} is paused: it answers nothing")
        if self._keep:
            raise CommandError(
                f"broker {self.broker_id} outlives its supervisor (--keep): it has no line to be asked by"
            )
        return await self._questions.ask(child, question, arguments)

    async def wait_ready(self) -> None:
        """Wait until the broker serves.

        Raises:
            CommandError: it ended first.
        """
        ready = asyncio.ensure_future(self._ready.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        ended.cancel()
        if not self.is_ready:
            last = self._last_log_lines()
            raise CommandError(
                f"broker {self.broker_id} ended while starting ({self.why}); see {self.log_file}"
                + (f", which ends with:\n{last}" if last else "")
            )

    async def close(self) -> None:
        """No more restarts; a living process is left alone."""
        self._closing = True
        self._cancel_restart()

    # -- facts --------------------------------------------------------------------------------------------------

    @property
    def log_file(self) -> str:
        """The incarnation's log."""
        return self._data_dir.broker_log(self.broker_id)

    def _last_log_lines(self) -> str:
        try:
            text = self._world.disk.read(self.log_file)[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-_LOG_TAIL_LINES:])

    @property
    def _subject(self) -> str:
        return f"broker {self.broker_id}"

    def as_fact(self) -> Fact:
        """A ``process`` fact."""
        return {
            "type": "process",
            "broker": self.broker_id,
            "state": str(self.state),
            "pid": self.pid,
            "address": str(self.address),
            "started_at_ms": self.started_at_ms,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "cpu_percent": self.cpu_percent,
            "rss_bytes": self.rss_bytes,
            "open_files": self.open_files,
            "log_dir": self._data_dir.log_dir(self.broker_id),
            "log_file": self.log_file,
            "next_restart_at_ms": self.next_restart_at_ms,
            "why": self.why,
        }

    # -- incarnations -------------------------------------------------------------------------------------------

    def _living(self, done: str) -> ChildProcess:
        if self.child is None or not self.is_alive:
            raise CommandError(f"broker {self.broker_id} is {self.state}: it cannot be {done}")
        return self.child

    def _set_state(self, state: ProcessState, why: str) -> None:
        self.state = state
        self.why = why
        self._bus.publish(self.as_fact())

    def _cancel_restart(self) -> None:
        if self._restart_timer is not None:
            self._restart_timer.cancel()
            self._restart_timer = None
        self.next_restart_at_ms = None

    async def _spawn(self, why: str) -> None:
        self._cancel_restart()
        self._ready.clear()
        self._ended.clear()
        self._ending = None
        self.exit_code = None
        incarnation = self.incarnation = self.incarnation + 1
        try:
            self.child = await ChildProcess.spawn(
                self._command(self._data_dir.properties_file(self.broker_id)),
                log_file=self.log_file,
                on_fact=lambda fact: self._on_fact(incarnation, fact),
                supervised=not self._keep,
                first_command=None if self._faults == SOUND else self._faults_command(),
            )
        except OSError as error:
            self._ended.set()
            self._set_state(ProcessState.CRASHED, f"cannot be run: {error}")
            raise CommandError(f"broker {self.broker_id} cannot be run: {error}") from error
        if self._keep:
            self._data_dir.write_pid(self.broker_id, self.child.pid)
        self.started_at_ms = self._world.clock.now_ms()
        self._set_state(ProcessState.STARTING, why)
        self._bus.note(
            "process_started",
            self._subject,
            why,
            broker_id=self.broker_id,
            pid=self.child.pid,
            incarnation=incarnation,
        )
        self.child.exited.add_done_callback(lambda done: self._on_exit(done.result()))

    def _on_fact(self, incarnation: int, fact: dict[str, Any]) -> None:
        if incarnation != self.incarnation:
            return
        if fact["type"] == "answer":
            self._questions.answered(fact)
            return
        fact["broker"] = self.broker_id
        if fact["type"] == "ready" and self.child is not None:
            self._ready.set()
            if self.state is ProcessState.STARTING:
                self._set_state(ProcessState.RUNNING, "serves")
        self._bus.publish(fact)

    def _on_exit(self, code: int) -> None:
        pid = self.pid
        self.child = None
        self._questions.forget()
        self.exit_code = code
        self.cpu_percent = self.rss_bytes = self.open_files = None
        self._ready.clear()
        ending = self._ending
        if ending is ProcessState.KILLED:
            state, why = ProcessState.KILLED, self._why_killed
        elif ending is ProcessState.STOPPED:
            state, why = ProcessState.STOPPED, f"stopped as asked, exit code {code}"
        else:
            verdict = self._policy.on_exit(self._world.clock.monotonic_ms(), code)
            state, why = ProcessState.STOPPED if code == 0 else ProcessState.CRASHED, verdict.why
            if verdict.delay_ms is not None and not self._closing:
                self._schedule_restart(verdict.delay_ms)
        self._ended.set()
        self._set_state(state, why)
        kind = "process_stopped" if state is ProcessState.STOPPED else "process_exited"
        self._bus.note(
            kind, self._subject, why, broker_id=self.broker_id, pid=pid, exit_code=code, log_file=self.log_file
        )

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
        try:
            await self._spawn(f"restart {self.restarts} after: {self.why}")
        except CommandError:
            return
