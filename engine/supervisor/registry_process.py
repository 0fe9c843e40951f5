"""The schema registry of an embedded cluster: one process (:mod:`engine.registry`), started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
from collections.abc import Callable
from typing import Any

from engine.supervisor.broker_process import ChildProcess, child_environment, python_command
from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import FactBus
from engine.supervisor.leashed_process import spawn_leashed
from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.world import World

HOST = "127.0.0.1"
# What the extra ``registry`` brings, by the names of modules.
_NEEDED = ("aiohttp", "google.protobuf", "grpc_tools", "jsonschema")
_START_TIMEOUT_S = 45.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05
_ANSWER_TIMEOUT_S = 2.0
_LOG_TAIL_BYTES = 2_048
# As engine.registry.__main__ has them: another start would change nothing, or take the topic from whoever has it now.
_NOT_AGAIN = {2: "wrong configs", 3: "another registry has taken its topic over"}


def missing_modules() -> str:
    """What to do so that a registry can be run here; empty if it can."""
    for name in _NEEDED:
        with contextlib.suppress(ModuleNotFoundError):
            if importlib.util.find_spec(name) is not None:
                continue
        return f"a schema registry needs {name}: pip install 'kconsole[registry]', or leave `registry:` out"
    return ""


class RegistryProcess:
    """The registry, alive or not."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        port: int,
        bootstrap_servers: Callable[[], str],
        restart: RestartSpec,
    ) -> None:
        """``bootstrap_servers`` is asked at each start: brokers come and go."""
        self._world = world
        self._bus = bus
        self._directory = data_dir.registry_dir()
        self._bootstrap_servers = bootstrap_servers
        self._policy = RestartPolicy(restart)
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._ended.set()
        self._closing = False
        self.port = port
        self.child: ChildProcess | None = None
        self.state = ProcessState.STOPPED
        self.why = "not started yet"
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where clients come (``schema.registry.url``)."""
        return f"http://{HOST}:{self.port}"

    @property
    def log_file(self) -> str:
        """What the running (or last) incarnation wrote; the one before it has ``.1`` at the end."""
        return os.path.join(self._directory, "registry.log")

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            CommandError: it cannot be run, ended, or does not serve in time.
        """
        self._spawn("the cluster starts")
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while self.state is not ProcessState.RUNNING:
                    if self.child is None:
                        raise CommandError(f"the schema registry ended while starting ({self.why}){self._log_tail()}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise CommandError(
                f"the schema registry does not serve after {_START_TIMEOUT_S:.0f} s; see {self.log_file}"
            ) from None

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL; no more restarts."""
        self._closing = True
        for each in (self._timer, self._looking):
            if each is not None:
                each.cancel()
        child = self.child
        if child is None:
            return
        child.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._ended.wait()
        except TimeoutError:
            child.kill(self._world.clock)
            await self._ended.wait()

    def as_row(self) -> dict[str, Any]:
        """What ``status`` says of it."""
        return {
            "url": self.url,
            "state": str(self.state),
            "pid": None if self.child is None else self.child.pid,
            "restarts": self.restarts,
            "log_file": self.log_file,
            "why": self.why,
        }

    # -- incarnations -------------------------------------------------------------------------------------------

    def _spawn(self, why: str) -> None:
        disk = self._world.disk
        disk.make_dirs(self._directory)
        config = os.path.join(self._directory, "registry.properties")
        text = f"bootstrap.servers={self._bootstrap_servers()}\nlisten={HOST}:{self.port}\n"
        disk.write_atomic(config, text.encode())
        self._ended.clear()
        try:
            child = spawn_leashed(
                python_command("engine.registry", "--config", config),
                log_file=self.log_file,
                environment=child_environment(),
            )
        except OSError as error:
            self._ended.set()
            self._set_state(ProcessState.CRASHED, f"cannot be run: {error}")
            raise CommandError(f"the schema registry cannot be run: {error}") from error
        self.child = child
        self._set_state(ProcessState.STARTING, why)
        self._bus.note("registry_started", "schema registry", why, pid=child.pid, url=self.url)
        child.exited.add_done_callback(lambda done: self._on_exit(done.result()))
        self._looking = asyncio.ensure_future(self._until_it_serves(child))

    async def _until_it_serves(self, child: ChildProcess) -> None:
        while self.child is child:
            if await _answers(self.port):
                self._set_state(ProcessState.RUNNING, "serves")
                return
            await asyncio.sleep(_POLL_S)

    def _on_exit(self, code: int) -> None:
        self.child = None
        if self._looking is not None:
            self._looking.cancel()
        self._ended.set()
        if self._closing:
            self._set_state(ProcessState.STOPPED, f"stopped as asked, exit code {code}")
            return
        final = _NOT_AGAIN.get(code)
        delay_ms, why = (None, f"{final}: not started again") if final else self._verdict(code)
        self._set_state(ProcessState.CRASHED, why)
        self._bus.note("registry_exited", "schema registry", why, exit_code=code, log_file=self.log_file)
        if delay_ms is not None:
            self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._restart, why)

    def _verdict(self, code: int) -> tuple[int | None, str]:
        verdict = self._policy.on_exit(self._world.clock.monotonic_ms(), code)
        return verdict.delay_ms, verdict.why

    def _restart(self, why: str) -> None:
        self._timer = None
        if not self._closing:
            self.restarts += 1
            with contextlib.suppress(CommandError):
                self._spawn(f"restart {self.restarts} after: {why}")

    def _set_state(self, state: ProcessState, why: str) -> None:
        self.state, self.why = state, why
        self._bus.publish({"type": "registry", **self.as_row()})

    def _log_tail(self) -> str:
        try:
            text = self._world.disk.read(self.log_file)[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        last = "\n".join(f"  {line}" for line in text.splitlines()[-5:])
        return f"; see {self.log_file}" + (f", which ends with:\n{last}" if last else "")


async def _answers(port: int) -> bool:
    """Whether a registry serves there."""
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET /health HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
