"""Our Connect workers as processes of their own, asked over REST."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.clusters import free_port

ROOT = Path(__file__).parents[2]
STRING = "org.apache.kafka.connect.storage.StringConverter"
_START_S = 30.0


def standalone(bootstrap: str, directory: Path, **more: str) -> dict[str, str]:
    """Configs of a worker alone; a dot is written as two underscores."""
    return _common(bootstrap) | {"offset.storage.file.filename": str(directory / "offsets")} | _dotted(more)


def distributed(bootstrap: str, group: str, **more: str) -> dict[str, str]:
    """Configs of a worker of a group that notices and shares within seconds."""
    configs = _common(bootstrap) | {
        "group.id": group,
        "session.timeout.ms": "2000",
        "heartbeat.interval.ms": "200",
        "scheduled.rebalance.max.delay.ms": "1000",
        "offset.storage.partitions": "3",
        "status.storage.partitions": "2",
    }
    for each in ("config", "offset", "status"):
        configs[f"{each}.storage.topic"] = f"{group}-{each}s"
        configs[f"{each}.storage.replication.factor"] = "1"
    return configs | _dotted(more)


def _common(bootstrap: str) -> dict[str, str]:
    return {
        "bootstrap.servers": bootstrap,
        "key.converter": STRING,
        "value.converter": STRING,
        "offset.flush.interval.ms": "300",
        "rest.auth": "none",
        "consumer.session.timeout.ms": "2000",
        "consumer.heartbeat.interval.ms": "200",
        "consumer.topic.metadata.refresh.interval.ms": "500",
    }


def _dotted(configs: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("__", "."): value for name, value in configs.items()}


class ConnectWorker:
    """One, from :meth:`start` to :meth:`stop` or :meth:`kill`."""

    def __init__(self, configs: Mapping[str, str], directory: Path, name: str = "worker") -> None:
        self.port = free_port()
        self.log = directory / f"{name}.log"
        self._file = directory / f"{name}.properties"
        lines = {**configs, "listeners": f"http://127.0.0.1:{self.port}"}
        self._file.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def worker_id(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the worker's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> ConnectWorker:
        """In the background; :meth:`ready` waits."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine.connect.runtime", str(self._file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        return self

    def ready(self) -> ConnectWorker:
        """When it is in its group."""
        self.until(lambda: self.ask("GET", "/connectors")[0] == 200, _START_S, "the worker does not come up")
        return self

    def until(self, holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait for something; what the worker logged is told if it does not come."""
        until = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (OSError, http.client.HTTPException):
                pass
            assert self._process is None or self._process.poll() is None, f"the worker ended: {self.tail()}"
            assert time.monotonic() < until, f"{otherwise}: {self.tail()}"
            time.sleep(0.05)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def create(self, name: str, **config: str) -> None:
        """A connector; again while the group is in a round."""
        wanted = {"name": name, "config": _dotted(config)}

        def made() -> bool:
            status, answer = self.ask("POST", "/connectors", wanted)
            assert status in (201, 409), answer
            return status == 201

        self.until(made, 20, f"{name} is not created")

    def status(self, name: str) -> dict[str, Any]:
        """States of a connector and its tasks; empty while there are none."""
        code, answer = self.ask("GET", f"/connectors/{name}/status")
        return answer if code == 200 else {}

    def states(self, name: str) -> list[str]:
        """Its state, then its tasks'."""
        found = self.status(name)
        return [found["connector"]["state"], *(each["state"] for each in found["tasks"])] if found else []

    def stop(self) -> int:
        """In order; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(20)

    def kill(self) -> None:
        """SIGKILL; its tasks end with it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def end(self) -> None:
        """However it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def task_pids(self) -> list[int]:
        """Of the processes of its tasks."""
        assert self._process is not None
        try:
            found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        pids = []
        for each in found:
            # One that is ending has none any more.
            with contextlib.suppress(OSError):
                if b"engine.connect.runtime.task_process" in Path(f"/proc/{each}/cmdline").read_bytes():
                    pids.append(int(each))
        return pids


def lines_of(file: Path) -> list[str]:
    """Whole lines of a file that is written to."""
    return file.read_text().splitlines() if file.exists() else []
