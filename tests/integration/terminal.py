"""A terminal that tests type into and read from."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, directory: Path, *command: str, width: int = 80, height: int = 24) -> None:
        assert shutil.which("tmux"), "tmux is missing: run `make tools`"
        self._socket = str(directory / "tmux.sock")
        shell = f"cd /; {' '.join(command)}; echo the exit code is $?; sleep 300"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), shell)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p").splitlines()

    def wait_for(self, what: str, holds: Callable[[str], object], timeout_s: float = 30) -> str:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            text = "\n".join(self.lines())
            if holds(text):
                return text
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {timeout_s} s\n" + "\n".join(self.lines()))

    def close(self) -> None:
        self._tmux("kill-server")
