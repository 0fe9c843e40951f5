"""A child that somebody else wrote: it knows nothing of a supervisor, and has to go with it nevertheless."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from engine.supervisor.broker_process import ChildProcess, rotate_log

# The kernel closes the pipe that is its standard input when the supervisor ends, however that ends.
_LEASH = 'read -r _; kill -s KILL "$1"'


def spawn_leashed(
    command: Sequence[str], *, log_file: str, environment: Mapping[str, str], leashed: bool = True
) -> ChildProcess:
    """Start ``command``; a small shell beside it kills it as soon as this process is no more.

    Args:
        log_file: takes standard output and error; the old one is kept as ``.1``.
        leashed: without, it outlives this process.

    Raises:
        OSError: it cannot be run.
    """
    rotate_log(log_file)
    log_fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            env=dict(environment),
            # A Ctrl-C at the terminal is the supervisor's alone.
            start_new_session=True,
        )
    finally:
        os.close(log_fd)
    child = ChildProcess.of(process)
    if leashed:
        leash = _Leash(process.pid)
        child.exited.add_done_callback(lambda _: leash.drop())
    return child


class _Leash:
    def __init__(self, pid: int) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, "kconsole-leash", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def drop(self) -> None:
        """Whom it holds is gone: it must not kill who has that pid next."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
