"""A broker by itself: ``kconsole broker`` in a process of the test, on directories and properties of its own."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from engine.wire.messages.api_versions_request import ApiVersionsRequest
from tests.integration.conftest import KCONSOLE
from tests.integration.raw_client import RawConnection, wait_until


def properties_of(directory: Path, port: int, controller_port: int, **more: str) -> dict[str, str]:
    """What a single combined node needs; ``more`` has underscores for dots."""
    return {
        "process.roles": "broker,controller",
        "node.id": "7",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"7@127.0.0.1:{controller_port}",
        "log.dirs": str(directory / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def write_properties(file: Path, properties: Mapping[str, str]) -> Path:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return file


class Alone:
    """A broker in the foreground of nobody."""

    def __init__(
        self,
        properties: Path,
        address: tuple[str, int],
        *prefix: str,
        waits: bool = True,
        max_files: int | None = None,
        cluster_id: str | None = None,
    ) -> None:
        self.log = properties.with_suffix(".log")
        self.address = address
        # The log goes on where an earlier broker of the same file left it.
        self._log_from = self.log.stat().st_size if self.log.exists() else 0

        def limit() -> None:
            if max_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))

        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    *(str(KCONSOLE), "broker", "--properties", str(properties)),
                    *(("--cluster-id", cluster_id) if cluster_id else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=limit,
            )
        if waits:
            self.wait_ready()

    def own_log(self) -> str:
        """What this process wrote."""
        return self.log.read_text()[self._log_from :]

    def wait_ready(self) -> None:
        """Wait until it serves clients."""
        wait_until(
            "the end of the start", lambda: self.process.poll() is not None or "serves clients" in self.own_log()
        )
        assert self.process.poll() is None, self.own_log()

    def answers(self) -> bool:
        """Whether a new connection is served."""
        with suppress(OSError, ConnectionError), RawConnection(self.address) as connection:
            return bool(connection.ask(ApiVersionsRequest(), 0).error_code == 0)
        return False

    @property
    def bootstrap(self) -> str:
        return "{}:{}".format(*self.address)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
