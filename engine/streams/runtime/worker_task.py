"""A task as its worker has it: the pure StreamTask, and how far it is on its way to processing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Final

from engine.streams.runtime.clients import Partition
from engine.streams.runtime.coordinator import Committed
from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.offset_metadata import decode_metadata, encode_metadata
from engine.streams.task import StreamTask

_BATCH: Final = 1_000
_BATCH_MS: Final = 100


class Phase(StrEnum):
    """Where a task stands, in Kafka's words."""

    CREATED = "CREATED"
    """The committed offsets of its input are being asked."""
    RESTORING = "RESTORING"
    """Its stores are filled from their changelogs."""
    RUNNING = "RUNNING"
    """It processes; a standby or warm-up follows its changelogs."""


class WorkerTask:
    """One task of a worker. ``role`` is active, standby or warmup."""

    def __init__(self, task_id: TaskId, role: str, task: StreamTask, inputs: Iterable[Partition]) -> None:
        self.id = task_id
        self.role = role
        self.task = task
        self.inputs = frozenset(inputs)
        self.phase = Phase.CREATED
        self.offsets: Future[dict[Partition, Committed]] | None = None
        """Committed offsets, asked."""
        self.committed: dict[Partition, int] = {}
        """The next offset of each input partition, as committed last."""
        self.positions: dict[Partition, int] = {}
        """How far the input was read past what can be processed (transaction markers)."""
        self.at_end: set[Partition] = set()
        """Input partitions that were read to their end since their last record."""
        self.paused: set[Partition] = set()
        self.log_ends: dict[Partition, int] = {}
        self._least = max((node.concurrency for node in task.nodes.values()), default=1)
        self.batch = self._least
        """How many records to process at once: few, until it is known how long they take."""
        self.restored = 0
        """Records that its stores took from their changelogs before it could process, as an active task."""
        self._idle_since: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether the task is to process."""
        return self.role == "active"

    def resume(self, committed: dict[Partition, Committed]) -> None:
        """Go on, once the stores are restored, where these commits were, in time as well."""
        self.committed = {at: each.offset for at, each in committed.items()}
        for each in committed.values():
            partition_time, times = decode_metadata(each.metadata)
            self.task.stream_time = max(self.task.stream_time, partition_time)
            known = self.task.processor_metadata
            known.update({name: max(time, known.get(name, time)) for name, time in times.items()})

    def to_commit(self, *, always: bool = False) -> dict[Partition, Committed]:
        """What :meth:`changes` says, or ``always`` what was committed last, with the times that go with it."""
        changes = self.changes()
        if always:
            changes = {**self.committed, **changes}
        if not changes:
            return {}
        metadata = encode_metadata(self.task.stream_time, self.task.processor_metadata)
        return {at: Committed(offset, metadata) for at, offset in changes.items()}

    def changes(self) -> dict[Partition, int]:
        """Offsets that differ from what is committed."""
        offsets = self.task.offsets_to_commit()
        waiting = self.task.buffered()
        for at, position in self.positions.items():
            if not waiting.get(at) and position > offsets.get(at, -1):
                offsets[at] = position
        return {at: offset for at, offset in offsets.items() if self.committed.get(at) != offset}

    def may_process(self, max_idle_ms: int) -> bool:
        """Whether records may be taken although other partitions of the task have none (``max.task.idle.ms``).

        With 0 the task waits for partitions that have more on their broker, with -1 for none; with more than 0 it
        waits so long for partitions that have nothing, too.
        """
        if max_idle_ms < 0 or len(self.inputs) == 1:
            return True
        waiting = self.task.buffered()
        empty = [at for at in self.inputs if not waiting.get(at)]
        if not empty:
            self._idle_since = None
            return True
        if len(empty) == len(self.inputs):
            return False
        if any(at not in self.at_end for at in empty):
            return False
        if max_idle_ms == 0:
            return True
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return (now - self._idle_since) * 1000 >= max_idle_ms

    def fit_batch(self, count: int, took_ms: int) -> None:
        """Batches of slow functions are smaller, so that commits, the group and queries do not wait for one.

        They grow only by what was seen: single records that come now and then say nothing about a thousand. What
        works on several records at once always gets so many: fewer would take as long.
        """
        if took_ms > _BATCH_MS:
            self.batch = max(self._least, min(self.batch, count * _BATCH_MS // took_ms))
        elif count >= self.batch:
            self.batch = min(_BATCH, self.batch * 2)

    def lag(self) -> int | None:
        """Records between what is committed and what is known of the ends of the input, None when nothing is known."""
        if not self.log_ends:
            return None
        return sum(max(0, end - self.committed.get(at, end)) for at, end in self.log_ends.items())

    def progress(self) -> list[dict[str, Any]]:
        """How far each input partition is processed, and where it ends as far as is known."""
        processed = {**self.committed, **self.task.offsets_to_commit()}
        waiting = self.task.buffered()
        found = []
        for at in sorted(self.inputs):
            position, end = processed.get(at), self.log_ends.get(at)
            if not waiting.get(at) and self.positions.get(at, -1) > (position or -1):
                position = self.positions[at]
            lag = None if end is None or position is None else max(0, end - position)
            found.append({"topic": at[0], "partition": at[1], "position": position, "end": end, "lag": lag})
        return found

    def snapshot(self) -> dict[str, Any]:
        """What is shown of the task."""
        return {
            "id": str(self.id),
            "role": self.role,
            "phase": self.phase.value,
            "processed": self.task.processed,
            "dropped": sum(self.task.dropped_records.values()),
            "lag": self.lag(),
            "restored": self.restored,
            "committed": {f"{topic}-{number}": offset for (topic, number), offset in sorted(self.committed.items())},
            "nodes": {name: node.processed for name, node in self.task.nodes.items()},
        }
