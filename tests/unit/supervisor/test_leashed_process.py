"""A process that somebody else wrote ends with the one that started it, however that ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

# It hangs as well: a signal that can be handled would wait for it.
_SUPERVISOR = """
import asyncio, os, psutil, signal, sys
from engine.supervisor.leashed_process import spawn_leashed

async def main():
    child = spawn_leashed(["sleep", "300"], log_file=sys.argv[1], environment=os.environ)
    child.signal(signal.SIGSTOP)
    print(child.pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    child.signal(signal.SIGKILL)
    code = await child.exited
    await asyncio.sleep(0)
    print(code, len(psutil.Process().children()))

asyncio.run(main())
"""


def supervise(directory: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _SUPERVISOR, str(directory / "log"), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_it_goes_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    done = supervise(tmp_path, "killed")
    assert done.returncode == -9, done.stderr
    with contextlib.suppress(psutil.NoSuchProcess):
        # Whoever is its parent now takes its time to notice.
        while psutil.Process(int(done.stdout)).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


def test_its_end_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    done = supervise(tmp_path, "lives")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["-9", "0"], "the leash is gone while who held it lives"
