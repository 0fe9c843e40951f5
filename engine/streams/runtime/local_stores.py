"""The stores that this worker has, for those who read them from other threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from engine.streams.errors import InvalidStateStoreError
from engine.streams.queries.answers import Answers, PartitionAnswer
from engine.streams.queries.catalogue import Catalogue, StoreInfo
from engine.streams.queries.errors import NotReady
from engine.streams.queries.query import Query
from engine.streams.queries.reading import Entry, read_entries
from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.store_gate import GateBusy, StoreGate
from engine.streams.runtime.worker_task import Phase, WorkerTask
from engine.streams.stores.key_value import KeyValueStore, TimestampedKeyValueStore
from engine.streams.stores.state_store import StateStore
from engine.streams.stores.ttl import TtlKeyValueStore

T = TypeVar("T")

GATE_TIMEOUT_S: Final = 1.0
GLOBAL: Final = -1
"""The partition that global stores answer as."""

_COUNT_TIMEOUT_S: Final = 0.2
_COUNT_AGAIN: Final = 100
"""Entries are counted again after so many times what counting took: sqlite reads the whole store for it."""


class LocalStores:
    """Reads of the stores of a worker's tasks, each in a gap of its work."""

    def __init__(
        self,
        catalogue: Catalogue,
        gate: StoreGate,
        tasks: Mapping[TaskId, WorkerTask],
        global_stores: Mapping[str, StateStore],
        unmade: Callable[[], Iterable[TaskId]],
        answers: Callable[[], bool],
        is_sure: Callable[[], bool],
    ) -> None:
        """``unmade`` are active tasks that cannot begin yet; ``answers`` is whether the worker works at all.

        ``is_sure`` is whether its tasks are its own for certain.
        """
        self.catalogue = catalogue
        self._gate = gate
        self._tasks = tasks
        self._global = global_stores
        self._unmade = unmade
        self._answers = answers
        self._is_sure = is_sure
        self._counts: dict[tuple[str, tuple[int, ...]], tuple[int, float]] = {}

    def in_gap(self, work: Callable[[], T], timeout_s: float = GATE_TIMEOUT_S) -> T:
        """Do something with the stores.

        Raises:
            NotReady: the worker does not work (yet, any more), or has no time.
        """
        if not self._answers():
            raise NotReady("the worker has not begun yet, or has ended", "NOT_RUNNING")
        try:
            return self._gate.run(work, timeout_s)
        except GateBusy as error:
            raise NotReady(f"{error}: its records take long", "BUSY") from None

    def has(self, info: StoreInfo, partition: int) -> bool:
        """Whether the store's partition is this worker's to answer for, now or soon."""
        at = TaskId(info.sub_topology, partition)
        task = self._tasks.get(at)
        return (task is not None and task.is_active) or (task is None and at in set(self._unmade()))

    def read(self, query: Query, partitions: Iterable[int] | None, worker: str, *, stale: bool) -> Answers:
        """Ask the partitions that are here, or these.

        Raises:
            NotReady, WrongKind.
        """
        info = self.catalogue[query.store]
        read, missing = self.in_gap(lambda: self._read(info, query, partitions, stale))
        found = {}
        for partition, (entries, truncated, is_standby) in read.items():
            of = None if info.is_global else partition
            documents = [each.document(info, of) for each in entries]
            found[partition] = PartitionAnswer(documents, truncated, worker, is_standby)
        return Answers(found, missing)

    def _read(
        self, info: StoreInfo, query: Query, partitions: Iterable[int] | None, stale: bool
    ) -> tuple[dict[int, tuple[list[Entry], bool, bool]], dict[int, str]]:
        if info.is_global:
            return {GLOBAL: (*read_entries(self._global[info.name], info, query), False)}, {}
        if partitions is None:
            of_store = [at for at in (*self._tasks, *self._unmade()) if at.sub_topology == info.sub_topology]
            partitions = [
                at.partition for at in of_store if stale or at not in self._tasks or self._tasks[at].is_active
            ]
        found: dict[int, tuple[list[Entry], bool, bool]] = {}
        missing: dict[int, str] = {}
        for partition in partitions:
            task = self._tasks.get(TaskId(info.sub_topology, partition))
            state = self._state(info, partition, task)
            if task is not None and (state == "" or (stale and task.task.stores)):
                entries, truncated = read_entries(task.task.stores[info.name], info, query)
                found[partition] = entries, truncated, state != ""
            else:
                missing[partition] = state
        return found, missing

    def _state(self, info: StoreInfo, partition: int, task: WorkerTask | None) -> str:
        """Why a partition does not answer; empty when it does."""
        if task is None:
            return "RESTORING" if TaskId(info.sub_topology, partition) in set(self._unmade()) else "ABSENT"
        if not task.is_active:
            return "STANDBY"
        if task.phase is not Phase.RUNNING:
            return "RESTORING"
        return "" if self._is_sure() else "UNSURE"

    # -- Worker.store() -----------------------------------------------------------------------------------------

    def stores_of(self, info: StoreInfo) -> list[StateStore]:
        """The store of each active task that is here; call it in a gap.

        Raises:
            InvalidStateStoreError: one of them is still restored, or there is none.
        """
        if info.is_global:
            return [self._global[info.name]]
        found = []
        for at, task in self._tasks.items():
            if at.sub_topology == info.sub_topology and task.is_active:
                if task.phase is not Phase.RUNNING:
                    raise InvalidStateStoreError(f"store {info.name}: task {at} is still {task.phase}; try again")
                found.append(task.task.stores[info.name])
        if not found:
            raise InvalidStateStoreError(f"store {info.name}: no partition of it is here; it may be elsewhere")
        return found

    def entries(self, info: StoreInfo) -> int | None:
        """About how many items a key-value store has here; None for others, or while the worker has no time."""
        of = info.name, tuple(task_partitions(self._tasks, info)[0])
        known = self._counts.get(of)
        if known is not None and time.monotonic() < known[1]:
            return known[0]

        def count() -> int | None:
            stores = (
                [self._global[info.name]]
                if info.is_global
                else [
                    each.task.stores[info.name]
                    for at, each in self._tasks.items()
                    if at.sub_topology == info.sub_topology and each.is_active
                ]
            )
            total = 0
            for each in stores:
                if not isinstance(each, KeyValueStore | TimestampedKeyValueStore | TtlKeyValueStore):
                    return None
                total += each.approximate_num_entries()
            return total

        began = time.monotonic()
        try:
            found = self.in_gap(count, _COUNT_TIMEOUT_S)
        except NotReady:
            return known[0] if known is not None else None
        if found is not None:
            now = time.monotonic()
            self._counts = {each: told for each, told in self._counts.items() if each[0] != info.name}
            self._counts[of] = found, now + min(60.0, (now - began) * _COUNT_AGAIN)
        return found


def task_partitions(tasks: Mapping[TaskId, WorkerTask], info: StoreInfo) -> tuple[list[int], list[int]]:
    """Partitions of a store that are here: active ones, and those of standbys and warm-ups."""
    own = [(at.partition, each.is_active) for at, each in list(tasks.items()) if at.sub_topology == info.sub_topology]
    return sorted(at for at, active in own if active), sorted(at for at, active in own if not active)
