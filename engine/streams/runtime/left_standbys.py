"""Standbys in memory that were given up a moment ago: what they hold is lost with them, and may be wanted at once.

A group takes a standby away before it gives the same task as an active one (the member says in between that it has
let go). Stores on disk are there again then; those in memory would be restored from the beginning. So such a standby
follows its changelogs for a while longer, though the group knows nothing of it.
"""

from __future__ import annotations

import time
from typing import Final

from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.worker_task import Phase, WorkerTask

KEEP_S: Final = 30.0


class LeftStandbys:
    """By task, until they are taken back or are over."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._kept: dict[TaskId, tuple[WorkerTask, float]] = {}

    def keeps(self, each: WorkerTask) -> bool:
        """Take a task that is given up; False when it is none that would be missed."""
        stores = each.task.stores.values()
        if each.is_active or each.phase is not Phase.RUNNING or any(store.persistent for store in stores):
            return False
        if not stores:
            return False
        self._kept[each.id] = each, time.monotonic() + self._keep_s
        return True

    def take_back(self, task_id: TaskId, role: str) -> WorkerTask | None:
        """The task, if it is still here; it begins anew in its role, with what its stores have."""
        found = self._kept.pop(task_id, None)
        if found is None:
            return None
        task = found[0]
        task.role = role
        if task.is_active:
            task.phase = Phase.CREATED
        return task

    def over(self, *, everything: bool = False) -> list[WorkerTask]:
        """Those whose time has come, to be closed; they are kept no more."""
        if not self._kept:
            return []
        now = time.monotonic()
        gone = [task for task, until in self._kept.values() if everything or now >= until]
        for each in gone:
            del self._kept[each.id]
        return gone
