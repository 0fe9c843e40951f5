"""The life of one embedded ZooKeeper server: its incarnations, its mode, its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from engine.supervisor.broker_process import ChildProcess
from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.leashed_process import spawn_leashed
from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.zookeeper_files import HOST, ServerPorts
from engine.world import World
from engine.zookeeper.errors import ZooKeeperError
from engine.zookeeper.four_letter_words import srvr

# A server leaves at once when it is told: nothing of it is in memory alone.
_STOP_TIMEOUT_S = 5.0
# How often one that does not serve yet is asked; one that serves: see the ensemble.
_POLL_S = 0.03
_ANSWER_TIMEOUT_S = 1.0
_LOG_TAIL_BYTES = 4_096
_LOG_TAIL_LINES = 5

_ALIVE = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.PAUSED, ProcessState.STOPPING)


class ZooKeeperServer:
    """One server of the ensemble, alive or not. ``mode`` is ``leader``, ``follower`` or ``standalone`` as it said last,
    empty while it does not serve: it is up, and looks for a leader or a majority."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        server_id: int,
        ports: ServerPorts,
        command: Callable[[str], list[str]],
        restart: RestartSpec,
        *,
        keep: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``command`` makes the command line from the path of zoo.cfg."""
        self._world = world
        self._bus = bus
        self._data_dir = data_dir
        self._command = command
        self._policy = RestartPolicy(restart)
        self._keep = keep
        self._environment = dict(os.environ if environment is None else environment)
        self.server_id = server_id
        self.ports = ports
        self.state = ProcessState.STOPPED
        self.child: ChildProcess | None = None
        self.mode = ""
        # Of its last transaction: the leader's epoch and a number.
        self.zxid = 0
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
        self._ended = asyncio.Event()
        self._ended.set()
        self._restart_timer: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def address(self) -> str:
        """Where its clients come."""
        return f"{HOST}:{self.ports.client}"

    @property
    def pid(self) -> int | None:
        """Of the living incarnation."""
        return self.child.pid if self.child is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, paused ones included."""
        return self.state in _ALIVE

    @property
    def is_serving(self) -> bool:
        """Whether it said lately that it has a leader, or is one."""
        return bool(self.mode)

    @property
    def awaits_restart(self) -> bool:
        """Whether it ended by itself and will be started again after its back-off."""
        return self._restart_timer is not None

    # -- commands -----------------------------------------------------------------------------------------------

    async def start(self, why: str) -> None:
        """Start it; it need not serve yet.

        Raises:
            CommandError: it runs already, or cannot be run.
        """
        if self.is_alive:
            raise CommandError(f"{self._subject} is {self.state}")
        self._policy.on_asked()
        self._spawn(why)

    async def kill(self) -> int:
        """SIGKILL; it stays down until it is started. Returns monotonic nanoseconds just before the signal.

        Raises:
            CommandError: it does not run.
        """
        if self._give_up_restart():
            return self._world.clock.monotonic_ns()
        child = self._living("killed")
        self._ending = ProcessState.KILLED
        at = child.kill(self._world.clock)
        self._note("zookeeper_killed", "SIGKILL, asked for", pid=child.pid, mode=self.mode, mono_ns=at)
        await self._ended.wait()
        return at

    async def stop(self) -> None:
        """SIGTERM.

        Raises:
            CommandError: it does not run, or had to be killed.
        """
        if self._give_up_restart():
            return
        child = self._living("stopped")
        was_paused = self.state is ProcessState.PAUSED
        self._ending = ProcessState.STOPPED
        self._set_state(ProcessState.STOPPING, "stop was asked for")
        child.signal(signal.SIGTERM)
        if was_paused:
            child.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._ended.wait()
        except TimeoutError:
            self._ending = ProcessState.KILLED
            child.kill(self._world.clock)
            await self._ended.wait()
            raise CommandError(f"{self._subject} did not stop within {_STOP_TIMEOUT_S:.0f} s and was killed") from None

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing.

        Raises:
            CommandError: it does not run, or is paused.
        """
        if self.state not in (ProcessState.RUNNING, ProcessState.STARTING):
            raise CommandError(f"{self._subject} is {self.state}: only a running one can be paused")
        self._living("paused").signal(signal.SIGSTOP)
        mode = self.mode
        self._set_state(ProcessState.PAUSED, "SIGSTOP, asked for")
        self._note("zookeeper_paused", "SIGSTOP, asked for", pid=self.pid, mode=mode)

    def resume(self) -> None:
        """SIGCONT.

        Raises:
            CommandError: it is not paused.
        """
        if self.state is not ProcessState.PAUSED:
            raise CommandError(f"{self._subject} is {self.state}: only a paused one can be resumed")
        self._living("resumed").signal(signal.SIGCONT)
        self._set_state(ProcessState.RUNNING, "SIGCONT, asked for")
        self._note("zookeeper_resumed", "SIGCONT, asked for", pid=self.pid)

    def crash(self) -> None:
        """SIGKILL as if it had crashed: it is started again after its back-off.

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

    async def wait_serving(self) -> None:
        """Wait until it has found a leader, or is one; without a majority that is never.

        Raises:
            CommandError: it ended first.
        """
        while not await self.look():
            if self._ended.is_set():
                last = self._last_log_lines()
                raise CommandError(
                    f"{self._subject} ended while starting ({self.why}); see {self.log_file}"
                    + (f", which ends with:\n{last}" if last else "")
                )
            await asyncio.sleep(_POLL_S)

    async def look(self) -> bool:
        """Ask it for its mode; whether it serves."""
        incarnation = self.incarnation
        mode, zxid = "", self.zxid
        if self.pid is not None and self.state is not ProcessState.PAUSED:
            with contextlib.suppress(ZooKeeperError):
                status = await srvr(HOST, self.ports.client, timeout_s=_ANSWER_TIMEOUT_S)
                mode, zxid = status.mode, status.zxid
        # Meanwhile it may have ended, or been paused.
        if incarnation != self.incarnation or self.child is None or self.state is ProcessState.PAUSED:
            mode = ""
        else:
            self.zxid = zxid
        if mode and self.state is ProcessState.STARTING:
            self.mode = mode
            self._set_state(ProcessState.RUNNING, "serves")
        if mode != self.mode:
            self.mode = mode
            self._bus.publish(self.as_fact())
        return self.is_serving

    async def wait_ended(self) -> None:
        """Wait until there is no process."""
        await self._ended.wait()

    def close(self) -> None:
        """No more restarts; a living process is left alone."""
        self._closing = True
        self._cancel_restart()

    # -- facts --------------------------------------------------------------------------------------------------

    @property
    def log_file(self) -> str:
        """The incarnation's log."""
        return self._data_dir.zookeeper_log(self.server_id)

    def _last_log_lines(self) -> str:
        try:
            text = self._world.disk.read(self.log_file)[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-_LOG_TAIL_LINES:])

    @property
    def _subject(self) -> str:
        return f"ZooKeeper server {self.server_id}"

    def as_fact(self) -> Fact:
        """A ``zookeeper`` fact."""
        return {
            "type": "zookeeper",
            "server": self.server_id,
            "address": self.address,
            "state": str(self.state),
            "mode": self.mode,
            "pid": self.pid,
            "started_at_ms": self.started_at_ms,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "cpu_percent": self.cpu_percent,
            "rss_bytes": self.rss_bytes,
            "log_file": self.log_file,
            "next_restart_at_ms": self.next_restart_at_ms,
            "why": self.why,
        }

    def as_row(self) -> dict[str, Any]:
        """The same as an answer to a command."""
        row = self.as_fact()
        del row["type"]
        return {"id": row.pop("server"), **row}

    def _note(self, kind: str, reason: str, **detail: Any) -> None:
        self._bus.note(kind, self._subject, reason, zookeeper_server=self.server_id, **detail)

    # -- incarnations -------------------------------------------------------------------------------------------

    def _living(self, done: str) -> ChildProcess:
        if self.child is None or not self.is_alive:
            raise CommandError(f"{self._subject} is {self.state}: it cannot be {done}")
        return self.child

    def _set_state(self, state: ProcessState, why: str) -> None:
        if state is not ProcessState.RUNNING:
            self.mode = ""
        self.state = state
        self.why = why
        self._bus.publish(self.as_fact())

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

    def _spawn(self, why: str) -> None:
        self._cancel_restart()
        self._ended.clear()
        self._ending = None
        self.exit_code = None
        incarnation = self.incarnation = self.incarnation + 1
        try:
            self.child = spawn_leashed(
                self._command(self._data_dir.zoo_cfg(self.server_id)),
                log_file=self.log_file,
                environment=self._environment,
                leashed=not self._keep,
            )
        except OSError as error:
            self._ended.set()
            self._set_state(ProcessState.CRASHED, f"cannot be run: {error}")
            raise CommandError(f"{self._subject} cannot be run: {error}") from error
        if self._keep:
            self._data_dir.write_zookeeper_pid(self.server_id, self.child.pid)
        self.started_at_ms = self._world.clock.now_ms()
        self._set_state(ProcessState.STARTING, why)
        self._note("zookeeper_started", why, pid=self.child.pid, incarnation=incarnation)
        self.child.exited.add_done_callback(lambda done: self._on_exit(done.result()))

    def _on_exit(self, code: int) -> None:
        pid, mode = self.pid, self.mode
        self.child = None
        self.exit_code = code
        self.cpu_percent = self.rss_bytes = None
        if self._ending is ProcessState.KILLED:
            state, why = ProcessState.KILLED, "SIGKILL, asked for"
        elif self._ending is ProcessState.STOPPED:
            state, why = ProcessState.STOPPED, f"stopped as asked, exit code {code}"
        else:
            verdict = self._policy.on_exit(self._world.clock.monotonic_ms(), code)
            state, why = ProcessState.CRASHED, verdict.why
            if verdict.delay_ms is not None and not self._closing:
                self._schedule_restart(verdict.delay_ms)
        self._ended.set()
        self._set_state(state, why)
        kind = "zookeeper_stopped" if state is ProcessState.STOPPED else "zookeeper_exited"
        self._note(kind, why, pid=pid, mode=mode, exit_code=code, log_file=self.log_file)

    def _schedule_restart(self, delay_ms: int) -> None:
        self.next_restart_at_ms = self._world.clock.now_ms() + delay_ms

        def fire() -> None:
            self._restart_timer = None
            if self.is_alive or self._closing:
                return
            self.restarts += 1
            with contextlib.suppress(CommandError):
                self._spawn(f"restart {self.restarts} after: {self.why}")

        self._restart_timer = asyncio.get_running_loop().call_later(delay_ms / 1000, fire)
