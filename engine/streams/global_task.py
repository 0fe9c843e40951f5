"""The task that fills the global stores of a worker with the whole of their topics (``GlobalStateUpdateTask``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.streams.error_handlers import ErrorHandlers
from engine.streams.records import ChangelogRecord, InputRecord, OutputRecord
from engine.streams.stores.engines import Engines
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.state_store import StateStore
from engine.streams.task import StreamTask
from engine.streams.topology import Topology


class _Nowhere:
    """The collector of tasks that write nothing."""

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        """Global sub-topologies have no sinks."""
        raise AssertionError(f"a global task has nothing to send to {topic}")

    def log_changes(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        """Global stores are not logged: their topic is their changelog."""

    def partitions_of(self, topic: str) -> int:
        """Nobody asks."""
        return 1


class GlobalTask:
    """The global stores of a worker. All partitions of :attr:`topics` are read from the beginning, by every worker.

    The stores are given to every StreamTask of the worker. While they are restored before processing begins, and ever
    after, records go through :meth:`process`.
    """

    def __init__(
        self,
        topology: Topology,
        config: Mapping[str, Any],
        *,
        engines: Engines | None = None,
        directory: Path | None = None,
        handlers: ErrorHandlers | None = None,
    ) -> None:
        made = engines or MemoryEngines()
        self.stores: dict[str, StateStore] = {}
        self.topics: dict[str, str] = {}
        """Topics to read, and the store each fills."""
        self._tasks: dict[str, StreamTask] = {}
        for number, group in enumerate(topology.node_groups()):
            if not any(topology.is_global_source(name) for name in group):
                continue
            task = StreamTask(
                topology,
                config,
                sub_topology=number,
                partition=0,
                collector=_Nowhere(),
                engines=made,
                directory=directory,
                handlers=handlers,
            )
            self.stores.update(task.stores)
            for store in task.stores:
                topic = topology.global_topics[store]
                self.topics[topic] = store
                self._tasks[topic] = task

    def tasks(self) -> list[StreamTask]:
        """One task for each global sub-topology, as they are counted."""
        return list({id(each): each for each in self._tasks.values()}.values())

    def init(self, now_ms: int) -> None:
        """Make ready to process."""
        for task in self._tasks.values():
            task.init(now_ms)

    def restore(self, topic: str, records: Iterable[ChangelogRecord]) -> None:
        """Put bytes of a topic straight into its store; quick, for tables without a processor of the user's."""
        self.stores[self.topics[topic]].restore(records)

    def process(self, topic: str, partition: int, records: list[InputRecord], now_ms: int) -> None:
        """Take records of a topic."""
        task = self._tasks[topic]
        task.add_records(topic, partition, records)
        while task.process(now_ms, limit=len(records)):
            pass

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read, by partition."""
        return {at: offset for task in self._tasks.values() for at, offset in task.offsets_to_commit().items()}

    def commit(self) -> None:
        """Make the stores durable."""
        for store in self.stores.values():
            store.commit(None)

    def close(self) -> None:
        """Close the stores."""
        for task in self._tasks.values():
            task.close()
