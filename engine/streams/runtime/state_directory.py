"""The directory of a worker's stores, held by one process at a time (``StateDirectory``)."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from pathlib import Path

from engine.streams.errors import StreamsError
from engine.streams.runtime.group_topology import TaskId

_LOCK = ".lock"
_PROCESS = "kafka-streams-process-metadata"


class StateDirectory:
    """``<state.dir>/<application.id>``: a directory a task, and the id of the process that owns them."""

    def __init__(self, path: Path) -> None:
        """Take the directory.

        Raises:
            StreamsError: it cannot be made, or another worker has it.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StreamsError(f"state.dir: {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StreamsError(
                f"state.dir: {path} belongs to another worker that runs; give each worker a state.dir of its own"
            ) from None
        self.process_id = self._read_process_id()

    def _read_process_id(self) -> str:
        file = self.path / _PROCESS
        try:
            return str(uuid.UUID(json.loads(file.read_text())["processId"]))
        except (OSError, ValueError, KeyError, TypeError):
            made = str(uuid.uuid4())
            file.write_text(json.dumps({"version": 1, "processId": made}))
            return made

    def of_task(self, task: TaskId) -> Path:
        """The directory of a task's stores, made if need be."""
        path = self.path / str(task)
        path.mkdir(exist_ok=True)
        return path

    def release(self) -> None:
        """Let others have it."""
        os.close(self._lock)
