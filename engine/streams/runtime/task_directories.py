"""The directories of a worker's tasks: who waits for one, for how long, and when old ones go."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from engine.streams.runtime.group_topology import TaskId
from engine.streams.stores.errors import TaskLockedError
from engine.streams.stores.state_directory import StateDirectory, TaskDirectory

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 2.0
"""Who gives a task up in order has let go of its directory; who was stopped in the midst of it may hold it for long."""


class TaskDirectories:
    """Of one worker. Not for several threads."""

    def __init__(self, root: Path, cleanup_delay_ms: int) -> None:
        """``root`` is ``<state.dir>/<application.id>``."""
        self._root = StateDirectory(root)
        self._delay_ms = cleanup_delay_ms
        # Not at once: the group has not told yet what this worker gets, whose stores may be old but are wanted.
        self._next_clean_up = time.monotonic() + cleanup_delay_ms / 1000
        self._held: dict[TaskId, TaskDirectory] = {}
        self._waits_since: dict[TaskId, float] = {}

    def acquire(self, task_id: TaskId, *, is_active: bool) -> Path:
        """The directory of a task, this worker's until :meth:`release`. A standby has one beside the active task's.

        Raises:
            TaskLockedError: another worker has it; try again. In the end there is one beside it as well.
            StateStoreError: it cannot be made.
        """
        now = time.monotonic()
        waits = self._waits_since.get(task_id)
        try:
            held = self._root.acquire(
                str(task_id), beside=not is_active or (waits is not None and now > waits + _PATIENCE_S)
            )
        except TaskLockedError as error:
            if waits is None:
                self._waits_since[task_id] = now
                log.info("%s", error)
            raise
        self._waits_since.pop(task_id, None)
        self._held[task_id] = held
        return held.path

    def release(self, task_id: TaskId) -> None:
        """Let others have it; nothing, where there is none."""
        held = self._held.pop(task_id, None)
        if held is not None:
            held.release()

    def forget(self, task_id: TaskId) -> None:
        """The task is not wanted any more, or not yet."""
        self._waits_since.pop(task_id, None)

    def clean(self) -> None:
        """Delete what tasks left here that have long been elsewhere, now and then."""
        if time.monotonic() >= self._next_clean_up:
            self._next_clean_up = time.monotonic() + self._delay_ms / 1000
            self._root.clean(time.time_ns() // 1_000_000, self._delay_ms)
