"""A standalone Connect worker in a thread of the test; its tasks are processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.connect.runtime.herder import TaskId
from engine.connect.runtime.standalone import StandaloneHerder
from engine.connect.runtime.worker_config import WorkerConfig

WAIT_S = 30.0


class ConnectWorker:
    """Calls of the herder, from other threads than its own."""

    def __init__(self, bootstrap: str, directory: Path, **props: str) -> None:
        self._props = {
            "bootstrap.servers": bootstrap,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "offset.storage.file.filename": str(directory / "offsets"),
            "offset.flush.interval.ms": "500",
            **props,
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._start())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    async def _start(self) -> None:
        self.herder = StandaloneHerder(WorkerConfig(self._props))
        await self.herder.start("")

    def start(self, name: str, props: Mapping[str, str]) -> None:
        """Have a connector, and wait until its tasks run."""
        self._call(self.herder.put_config(name, {"name": name, **props}, may_exist=True))
        self.wait_for(f"tasks of {name}", lambda: set(self.states(name)) == {"RUNNING"})

    def states(self, name: str) -> list[str]:
        """Of its tasks.

        Raises:
            AssertionError: one has failed; says why.
        """
        status = self._call(self.herder.status(name))
        for each in (status.connector, *status.tasks.values()):
            assert each.state != "FAILED", each.trace
        return [each.state for each in status.tasks.values()]

    def set_state(self, name: str, state: str) -> None:
        """STARTED, PAUSED or STOPPED."""
        self._call(self.herder.set_target_state(name, state))

    def offsets(self, name: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
        """What is committed."""
        return list(self._call(self.herder.offsets(name)).offsets)

    def wait_for(self, what: str, holds: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        """Poll until it is true, and give it."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            found = holds()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {timeout_s} s")

    def alter_offsets(self, name: str, offsets: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] | None) -> str:
        """Of a connector that is STOPPED; what REST would answer."""
        return str(self._call(self.herder.alter_offsets(name, offsets)))

    def kill_task(self, name: str, task: int = 0) -> None:
        """SIGKILL its process, wait until that is seen, and start it again."""
        pid = self.herder.worker.tasks[TaskId(name, task)].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.wait_for("a FAILED task", lambda: self._task_state(name, task) == "FAILED")
        self._call(self.herder.restart_task(TaskId(name, task)))
        self.wait_for("a task that runs again", lambda: self._task_state(name, task) == "RUNNING")

    def _task_state(self, name: str, task: int) -> str:
        return str(self._call(self.herder.status(name)).tasks[task].state)

    def stop(self) -> None:
        """With everything that it runs."""
        self._call(self.herder.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@contextmanager
def connect_worker(bootstrap: str, directory: Path, **props: str) -> Iterator[ConnectWorker]:
    """One that is stopped at the end; ``props`` are configs with ``__`` for dots."""
    directory.mkdir(parents=True, exist_ok=True)
    worker = ConnectWorker(bootstrap, directory, **{name.replace("__", "."): value for name, value in props.items()})
    try:
        yield worker
    finally:
        worker.stop()
