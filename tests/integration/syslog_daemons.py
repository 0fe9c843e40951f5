"""rsyslog and syslog-ng as processes of their own, from what tools/fetch_syslog_daemons.sh unpacked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache" / "syslog-daemons"


class Daemon:
    """A log daemon that takes what is written to ``socket_path`` and forwards it as its config says."""

    def __init__(self, command: list[str], directory: Path, environment: dict[str, str]) -> None:
        self.socket_path = directory / "log.sock"
        self.log_file = directory / "daemon.log"
        with self.log_file.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
        until = time.monotonic() + 10
        while not self.socket_path.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{command[0]} does not run: {self.log_file.read_text()}")
            time.sleep(0.02)

    def log(self, messages: Iterable[str]) -> threading.Thread:
        """A thread writes these as programs do; it waits while the daemon takes no more."""

        def write() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(self.socket_path))
                for message in messages:
                    sender.send(message.encode())

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        return writing

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _environment() -> dict[str, str]:
    assert (UNPACKED / ".complete").exists(), f"{UNPACKED} is missing: run `make syslog-daemons`"
    libraries = {str(path.parent) for path in UNPACKED.rglob("*.so*")}
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}


@contextlib.contextmanager
def rsyslog(directory: Path, actions: str) -> Iterator[Daemon]:
    """rsyslogd; ``actions``: what its config does with each message."""
    directory.mkdir(parents=True)
    config = directory / "rsyslog.conf"
    config.write_text(
        f"""
global(workDirectory="{directory}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{directory}/log.sock" CreatePath="on" RateLimit.Interval="0")
{actions}
"""
    )
    modules = next(UNPACKED.rglob("imuxsock.so")).parent
    command = [str(UNPACKED / "usr/sbin/rsyslogd"), "-n", "-f", str(config), "-i", str(directory / "pid")]
    daemon = Daemon([*command, "-M", str(modules)], directory, _environment())
    try:
        yield daemon
    finally:
        daemon.stop()


@contextlib.contextmanager
def syslog_ng(directory: Path, destinations: str) -> Iterator[Daemon]:
    """syslog-ng; ``destinations``: what its config sends each message to."""
    directory.mkdir(parents=True)
    config = directory / "syslog-ng.conf"
    config.write_text(
        f"""@version: 3.38
options {{ keep-hostname(yes); stats-freq(0); }};
source taken {{ unix-dgram("{directory}/log.sock"); }};
log {{ source(taken); {destinations} flags(flow-control); }};
"""
    )
    modules = next(UNPACKED.rglob("libafsocket.so")).parent
    command = [str(UNPACKED / "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", str(config)]
    files = ("-R", f"{directory}/persist", "-c", f"{directory}/control", "-p", f"{directory}/pid")
    daemon = Daemon([*command, *files, f"--module-path={modules}"], directory, _environment())
    try:
        yield daemon
    finally:
        daemon.stop()
