"""Finding the cluster file, and starting a supervisor as a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from engine.supervisor.broker_process import child_environment, python_command
from engine.supervisor.control_client import ControlClient, NoSupervisor
from engine.supervisor.data_dir import DataDir

_START_S = 30.0
# Its brokers stop one after the other, each with a time-out.
_STOP_S = 180.0


class LaunchFailed(Exception):
    """The supervisor did not come up; ``exit_code`` is its own, the message what it said."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def sample_file() -> str:
    """The sample cluster file: beside the packages in a checkout, inside the package when installed."""
    here = os.path.dirname(os.path.abspath(__file__))
    checkout = os.path.join(os.path.dirname(os.path.dirname(here)), "sample_cluster.yaml")
    return checkout if os.path.exists(checkout) else os.path.join(here, "sample_cluster.yaml")


def spec_file(data_dir: DataDir, config: str | None, fresh: bool) -> str:
    """The file to start with: the one named, else the one that the directory was last started with, else the sample."""
    if config is not None:
        return config
    if not fresh and os.path.exists(data_dir.spec_file):
        return data_dir.spec_file
    return sample_file()


def wait_for_supervisor(data_dir: DataDir) -> bool:
    """Wait until the supervisor that owns the directory answers: it may have been started a moment ago. Returns whether
    it goes on; ``False`` if it has left, or stops the cluster.

    Raises:
        LaunchFailed: it does not answer.
    """
    deadline = time.monotonic() + _START_S
    while data_dir.is_owned():
        with contextlib.suppress(NoSupervisor), ControlClient(data_dir.control_socket()) as control:
            return not control.call("status").get("stopping")
        if time.monotonic() >= deadline:
            raise LaunchFailed(
                1, f"the supervisor of {data_dir.path} does not answer: end it, or use another --data-dir"
            )
        time.sleep(0.01)
    return False


def wait_until_stopped(data_dir: DataDir) -> None:
    """Wait until nobody owns the directory.

    Raises:
        LaunchFailed: the supervisor does not leave.
    """
    deadline = time.monotonic() + _STOP_S
    while data_dir.is_owned():
        if time.monotonic() >= deadline:
            raise LaunchFailed(1, f"the cluster in {data_dir.path} is being stopped, and its supervisor does not end")
        time.sleep(0.05)


def launch_supervisor(data_dir: DataDir, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start ``kconsole up`` detached from this terminal and wait until its control socket answers.

    Raises:
        LaunchFailed: it ended first, or does not answer.
    """
    os.makedirs(data_dir.path, mode=0o700, exist_ok=True)
    log_path = os.path.join(data_dir.path, "supervisor.log")
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            python_command("console.cli", "up", "--data-dir", data_dir.path, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=child_environment(),
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            with open(log_path, encoding="utf-8", errors="replace") as file:
                raise LaunchFailed(code or 1, file.read().strip() or f"the supervisor ended with exit code {code}")
        with contextlib.suppress(NoSupervisor), ControlClient(data_dir.control_socket()):
            return process
        time.sleep(0.01)
    process.terminate()
    raise LaunchFailed(1, f"the supervisor did not answer within {_START_S:.0f} s; see {log_path}")
