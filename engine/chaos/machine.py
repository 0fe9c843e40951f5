"""What this machine can do to a process: some faults need root, or programs that are not everywhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from glob import glob

FAULTS = ("kill", "pause", "restart", "partition", "tamper", "disk-full", "eio", "clock")
"""All faults by their names on the command line."""
ZOOKEEPER = "zookeeper"
"""One more where ZooKeeper coordinates."""

_TOOL_TIMEOUT_S = 10


class Machine:
    """Which of the faults asked for are possible here, and why the others are not."""

    def __init__(self, asked: frozenset[str]) -> None:
        self.libfaketime = _libfaketime()
        self.missing: dict[str, str] = {}
        """Fault -> why it cannot be made here."""
        if "disk-full" in asked:
            self._miss("disk-full", _why_no_mount())
        if "eio" in asked:
            self._miss("eio", _why_no_tracing())
        if "clock" in asked and self.libfaketime is None:
            self._miss("clock", "libfaketime is not installed (`make tools`)")
        self.faults = asked - self.missing.keys()

    def _miss(self, fault: str, why: str) -> None:
        if why:
            self.missing[fault] = why

    def warnings(self) -> list[str]:
        """What is not tried, for people who would take silence for success."""
        return [f"NOT POSSIBLE HERE: {fault}: {why}" for fault, why in sorted(self.missing.items())]

    def faked_clock(self, clock_file: str) -> Mapping[str, str]:
        """The environment in which a process reads its wall clock's error from ``clock_file``."""
        assert self.libfaketime is not None, "there is libfaketime"
        return {
            "LD_PRELOAD": self.libfaketime,
            "FAKETIME_TIMESTAMP_FILE": clock_file,
            # Its file is read once a second: at every call would cost more than all else that a broker does.
            "FAKETIME_CACHE_DURATION": "1",
            # Time that passes is what it is: only the wall clock jumps, as when somebody sets it.
            "DONT_FAKE_MONOTONIC": "1",
            # What it does for an old glibc makes every timed wait return at once: threads of Python would spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }


def _libfaketime() -> str | None:
    places = (
        "/usr/lib/*/faketime/libfaketime.so.1",
        "/usr/lib*/faketime/libfaketime.so.1",
        "/usr/local/lib/faketime/*.1",
    )
    found = sorted(path for place in places for path in glob(place) if "MT" not in path)
    return found[0] if found else None


def _why_no_mount() -> str:
    if os.geteuid() != 0:
        return "a file system of a broker's own takes root"
    if shutil.which("mount") is None:
        return "there is no `mount`"
    with tempfile.TemporaryDirectory(prefix="kconsole-chaos-") as directory:
        tried = _run("mount", "-t", "tmpfs", "-o", "size=64k", "kconsole-chaos", directory)
        if tried.returncode == 0:
            _run("umount", directory)
            return ""
    return f"mount of a tmpfs fails: {tried.stderr.strip()}"


def _why_no_tracing() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed (`make tools`)"
    tried = _run("strace", "-qq", "-o", os.devnull, "-e", "inject=fsync:error=EIO", "true")
    return "" if tried.returncode == 0 else f"strace cannot inject errors: {tried.stderr.strip()}"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False)


def forget_faked_clock(pid: int) -> None:
    """Remove what libfaketime keeps of a process that was killed."""
    for name in ("faketime_shm", "sem.faketime_sem"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/shm/{name}_{pid}")


class OwnDisk:
    """A file system in memory for one broker's logs, as large as is asked for at the moment."""

    def __init__(self, directory: str, size_bytes: int) -> None:
        self.directory = directory
        self._size = size_bytes
        os.makedirs(directory, exist_ok=True)
        done = _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "kconsole-chaos", directory)
        if done.returncode:
            raise OSError(f"cannot mount a tmpfs at {directory}: {done.stderr.strip()}")

    def fill(self, left_bytes: int) -> None:
        """Nothing but ``left_bytes`` is free any more."""
        for _ in range(5):
            about = os.statvfs(self.directory)
            used = (about.f_blocks - about.f_bfree) * about.f_frsize
            if self._resize(used + left_bytes):
                return
        raise OSError(f"{self.directory} grows faster than it can be made full")

    def free(self) -> None:
        """There is room again."""
        if not self._resize(self._size):
            raise OSError(f"{self.directory} cannot be made larger again")

    def _resize(self, size_bytes: int) -> bool:
        return _run("mount", "-o", f"remount,size={size_bytes}", self.directory).returncode == 0

    def unmount(self, *, keep: bool) -> None:
        """It is gone; with ``keep`` its contents are in a directory of the same name."""
        kept = f"{self.directory}.kept"
        if keep:
            shutil.copytree(self.directory, kept)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if _run("umount", self.directory).returncode:
                # A process that still lives in it keeps it until its end.
                _run("umount", "-l", self.directory)
        if keep:
            os.rmdir(self.directory)
            os.rename(kept, self.directory)
