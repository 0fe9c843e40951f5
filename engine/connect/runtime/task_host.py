"""The worker's side of a task: its process started, listened to, stopped, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from engine.connect.errors import ConnectError
from engine.connect.runtime.herder import Status, TaskId
from engine.connect.runtime.task_pipe import WorkerEnd

log = logging.getLogger(__name__)

_AFTER_KILL_S = 10.0


class TaskOwner(Protocol):
    """Who runs tasks: answers what they ask, and hears how they are."""

    worker_id: str

    async def read_offsets(self, task: TaskId, partitions: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """Source offsets."""

    async def write_offsets(self, task: TaskId, offsets: list[Any]) -> None:
        """Keep source offsets: ``[[partition, offset], …]``."""

    async def still_mine(self, task: TaskId, generation: int) -> None:
        """Raises ConnectError if the task is somebody else's, or has other configs now."""

    def task_status(self, host: TaskHost, status: Status) -> None:
        """A task is in another state."""

    def task_topic(self, task: TaskId, topic: str) -> None:
        """A task uses a topic."""


class TaskHost:
    """One task's process."""

    def __init__(self, owner: TaskOwner, task: TaskId, generation: int) -> None:
        """``generation`` is that of the group (statuses say it), or of the task's configs (exactly once)."""
        self.task = task
        self.status: Status | None = None
        self.records = 0
        """How many records went through."""
        self.records_per_s = 0.0
        self.config_generation = 0
        self.version: str | None = None
        """Of the task's class, for its states."""
        self._owner = owner
        self._generation = generation
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: WorkerEnd | None = None
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False
        self._failed = False
        self._counted_at = 0.0
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """Of the process, or None."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def start(self, message: Mapping[str, Any]) -> None:
        """Have the process started with this.

        Raises:
            OSError: it cannot be.
        """
        mine, its = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "engine.connect.runtime.task_process",
                str(its.fileno()),
                pass_fds=(its.fileno(),),
                # A standalone worker's input is its connectors', as in Java: FileStreamSource without a file reads it.
                stdin=asyncio.subprocess.DEVNULL if "group.id" in message["worker"] else None,
                # A Ctrl-C at the terminal is the worker's alone.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
            )
        except BaseException:
            mine.close()
            raise
        finally:
            its.close()
        self._pipe = await WorkerEnd.open(mine)
        self._pipe.send(
            {
                "connector_name": self.task.connector,
                "task": self.task.task,
                "log_level": logging.getLevelName(logging.getLogger().getEffectiveLevel()),
                "path": [each for each in sys.path if each],
                **message,
            }
        )
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    def set_target(self, state: str) -> None:
        """STARTED or PAUSED."""
        if self._pipe is not None:
            self._pipe.send({"do": "target", "state": state})

    def forget_topics(self) -> None:
        """The topics that the connector uses were reset."""
        if self._pipe is not None:
            self._pipe.send({"do": "forget_topics"})

    async def stop(self, timeout_s: float) -> bool:
        """Have it end, in order if it does so within the time; whether it did."""
        self._stopping = True
        process, pipe = self._process, self._pipe
        well = True
        if process is not None and process.returncode is None and pipe is not None:
            pipe.send({"do": "stop"})
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
            except TimeoutError:
                well = False
                log.error("Graceful stop of task %s failed.", self.task)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AFTER_KILL_S):
                        await process.wait()
        if self._listening is not None:
            await self._listening
        return well

    def kill(self) -> None:
        """At once."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _listen(self) -> None:
        assert self._pipe is not None and self._process is not None
        while (message := await self._pipe.receive()) is not None:
            self._hear(message)
        code = await self._process.wait()
        for each in list(self._answers):
            each.cancel()
        self._pipe.close()
        if not self._stopping and not self._failed:
            how = f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
            self._set("FAILED", f"The task's process (pid {self._process.pid}) {how}")

    def _hear(self, message: dict[str, Any]) -> None:
        if "status" in message:
            self._failed = message["status"] == "FAILED"
            self._set(message["status"], message["trace"])
        elif "ask" in message:
            answering = asyncio.get_running_loop().create_task(self._answer(message))
            self._answers.add(answering)
            answering.add_done_callback(self._answers.discard)
        elif "topic" in message:
            self._owner.task_topic(self.task, message["topic"])
        elif "records" in message:
            now = asyncio.get_running_loop().time()
            passed = now - self._counted_at
            if self._counted_at and passed > 0:
                self.records_per_s = (message["records"] - self.records) / passed
            self._counted_at = now
            self.records = message["records"]

    async def _answer(self, message: dict[str, Any]) -> None:
        assert self._pipe is not None
        owner = self._owner
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "read_offsets": lambda: owner.read_offsets(self.task, message["partitions"]),
            "write_offsets": lambda: owner.write_offsets(self.task, message["offsets"]),
            "still_mine": lambda: owner.still_mine(self.task, self.config_generation),
        }
        try:
            result = await asked[message["what"]]()
            self._pipe.send({"answer": message["ask"], "result": result})
        except ConnectError as error:
            self._pipe.send({"answer": message["ask"], "error": str(error)})
        except Exception as error:
            log.exception("%s of task %s", message["what"], self.task)
            self._pipe.send({"answer": message["ask"], "error": f"{type(error).__name__}: {error}"})

    def _set(self, state: str, trace: str | None) -> None:
        self.status = Status(state, self._owner.worker_id, self._generation, trace, self.version)
        self._owner.task_status(self, self.status)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
