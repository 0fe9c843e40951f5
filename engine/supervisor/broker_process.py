"""One incarnation of a child process: its pipes, its log file, its end.

The child inherits the write end of a pipe for facts (``--facts-fd``), and as standard input the read end of a pipe
that the supervisor holds: when the supervisor dies, however it dies, the kernel closes it and the child leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.world import Clock

# A line longer than this is no fact.
_MAX_LINE_BYTES = 4 << 20
_ENGINE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def python_command(module: str, *arguments: str) -> list[str]:
    """Run a module of ours with this interpreter; ``-P`` keeps the working directory out of the module path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """This environment, with our own packages found first and glibc kept from one heap a thread."""
    environment = dict(os.environ)
    paths = [_ENGINE_PARENT, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    return environment


def rotate_log(path: str) -> None:
    """Keep the previous incarnation's log as ``.1``."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, path + ".1")


class ChildProcess:
    """A running child. Made by :meth:`spawn`; ``exited`` is done with the exit code (negative: by a signal)."""

    def __init__(self, process: subprocess.Popen[bytes], facts: Facts, stdin_fd: int | None) -> None:
        self._process = process
        self._facts = facts
        self._stdin_fd = stdin_fd
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        *,
        log_file: str,
        on_fact: Callable[[dict[str, Any]], None],
        supervised: bool = True,
        environment: Mapping[str, str] | None = None,
        wants_commands: bool = False,
        first_command: dict[str, Any] | None = None,
    ) -> ChildProcess:
        """Start ``command`` with ``--facts-fd N`` (and ``--supervised``) added.

        Args:
            log_file: takes standard output and error; the old one is kept as ``.1``.
            supervised: the child ends when this process does.
            wants_commands: :meth:`send` will be used (a workload, a probe).
            first_command: stands in a supervised child's standard input before it begins.

        Raises:
            OSError: the command cannot be run.
        """
        loop = asyncio.get_running_loop()
        rotate_log(log_file)
        log_fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        read_fd, write_fd = os.pipe()
        stdin_read, stdin_write = os.pipe()
        held = supervised or wants_commands
        if first_command is not None and held:
            os.write(stdin_write, _command_line(first_command))
        try:
            process = subprocess.Popen(  # noqa: ASYNC220  a fork and exec, nothing to wait for
                [*command, "--facts-fd", str(write_fd), *(["--supervised"] if supervised else [])],
                stdin=stdin_read if held else subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=(write_fd,),
                env=dict(environment) if environment is not None else child_environment(),
                # A Ctrl-C at the terminal is the supervisor's alone: it stops the brokers in order.
                start_new_session=True,
            )
        except OSError:
            os.close(read_fd)
            os.close(stdin_write)
            raise
        finally:
            os.close(log_fd)
            os.close(write_fd)
            os.close(stdin_read)
        if not held:
            os.close(stdin_write)
        facts = Facts(on_fact)
        child = cls(process, facts, stdin_write if held else None)
        await loop.connect_read_pipe(lambda: facts, os.fdopen(read_fd, "rb", buffering=0))
        child._watch(loop)
        return child

    @classmethod
    def of(cls, process: subprocess.Popen[bytes]) -> ChildProcess:
        """A child that was started elsewhere, and neither reports nor listens to anything."""
        child = cls(process, Facts(lambda fact: None), None)
        child._watch(asyncio.get_running_loop())
        return child

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if hasattr(os, "pidfd_open"):
            pidfd = os.pidfd_open(self.pid)

            def ended() -> None:
                loop.remove_reader(pidfd)
                os.close(pidfd)
                self._finish(self._process.wait())

            loop.add_reader(pidfd, ended)
        else:
            waiting = loop.run_in_executor(None, self._process.wait)
            waiting.add_done_callback(lambda done: self._finish(done.result()))

    def _finish(self, code: int) -> None:
        self.end_of_input()
        if not self.exited.done():
            self.exited.set_result(code)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. A child that has ended is no error: its pid is not reused before we have reaped it."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self, clock: Clock) -> int:
        """SIGKILL. Returns the monotonic nanoseconds just before."""
        at = clock.monotonic_ns()
        self.signal(signal.SIGKILL)
        return at

    def end_of_input(self) -> None:
        """Close the child's standard input: a supervised child leaves."""
        if self._stdin_fd is not None:
            os.close(self._stdin_fd)
            self._stdin_fd = None

    def send(self, message: dict[str, Any]) -> None:
        """Write one command line to the child's standard input; a child that is gone is no error."""
        if self._stdin_fd is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._stdin_fd, _command_line(message))


def _command_line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Facts(asyncio.Protocol):
    """Splits a pipe into JSON lines. What is no JSON object is dropped: a child may be killed in the middle of one."""

    def __init__(self, on_fact: Callable[[dict[str, Any]], None]) -> None:
        self._on_fact = on_fact
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if b"\n" not in data:
            if len(self._buffer) > _MAX_LINE_BYTES:
                self._buffer.clear()
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            try:
                fact = json.loads(line)
            except ValueError:
                continue
            if isinstance(fact, dict) and "type" in fact:
                self._on_fact(fact)
