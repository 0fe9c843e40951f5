"""What a worker shows of itself: documents for its HTTP server and for consoles. Counters never fall.

They are made from other threads while the worker works, so they may be a moment old, but no query waits for them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from engine.streams.processors.node import Node
from engine.streams.queries.catalogue import StoreInfo
from engine.streams.runtime.local_stores import task_partitions
from engine.streams.task import StreamTask
from engine.streams.topology import NodeSpec, ProcessorSpec, SinkSpec, SourceSpec

if TYPE_CHECKING:
    from engine.streams.runtime.worker import Worker
    from engine.streams.runtime.worker_task import WorkerTask

T = TypeVar("T")


class Totals:
    """What tasks that have left had counted: added to what those have that are here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: Counter[str] = Counter()
        self._processed = 0
        self._dropped = 0
        self.started_ms = time.time_ns() // 1_000_000

    def leave(self, tasks: dict[Any, WorkerTask], each: WorkerTask) -> None:
        """Take a task out of ``tasks`` and keep its counts."""
        with self._lock:
            del tasks[each.id]
            self._nodes.update(_processed(each.task.nodes))
            self._processed += each.task.processed
            self._dropped += sum(each.task.dropped_records.values())

    def counted(self, worker: Worker) -> dict[str, Any]:
        """All of it."""
        with self._lock:
            nodes = Counter(self._nodes)
            tasks = [each.task for each in steady(lambda: list(worker.tasks.values()))]
            for task in (*tasks, *worker.global_task.tasks()):
                nodes.update(_processed(task.nodes))
            return {
                "processed": self._processed + sum(each.processed for each in tasks),
                "dropped": self._dropped + sum(steady(lambda: _dropped(tasks))),
                "nodes": dict(nodes),
            }


def _processed(nodes: Mapping[str, Node]) -> dict[str, int]:
    return {name: node.processed for name, node in nodes.items()}


def _dropped(tasks: list[StreamTask]) -> list[int]:
    return [sum(each.dropped_records.values()) for each in tasks]


def steady(read: Callable[[], T]) -> T:
    """What ``read`` gives of something that another thread changes: again, when it changed under way."""
    for _ in range(20):
        try:
            return read()
        except RuntimeError:  # dictionary changed size during iteration
            continue
    return read()


def status(worker: Worker) -> dict[str, Any]:
    """What the worker is and does (``/v1/status``)."""
    config, membership = worker.config, worker.membership
    return {
        "application_id": config.application_id,
        "client_id": worker.client_id,
        "process_id": worker.process_id,
        "member_id": membership.member_id,
        "member_epoch": membership.member_epoch,
        "state": worker.state.value,
        "waits_for": membership.status,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "endpoint": None if worker.endpoint is None else str(worker.endpoint),
        "started_ms": worker.totals.started_ms,
        "guarantee": config["processing.guarantee"],
        "commit_interval_ms": config["commit.interval.ms"],
        "committed_ms": worker.committed_ms,
        **worker.totals.counted(worker),
        "tasks": [_task(worker, each) for _, each in sorted(steady(lambda: list(worker.tasks.items())))],
        "unmade_tasks": [{"id": str(at), "role": role} for at, role in dict(worker.unmade).items()],
    }


def _task(worker: Worker, each: WorkerTask) -> dict[str, Any]:
    return {
        **steady(each.snapshot),
        "inputs": steady(each.progress),
        "restore": steady(lambda: worker.changelogs.progress(each)),
    }


def topology(worker: Worker) -> dict[str, Any]:
    """The nodes and what this worker's tasks put through them (``/v1/topology``)."""
    described, application = worker.topology, worker.config.application_id
    counts = worker.totals.counted(worker)["nodes"]
    successors: dict[str, list[str]] = {name: [] for name in described.nodes}
    for name, spec in described.nodes.items():
        for parent in spec.predecessors:
            successors[parent].append(name)

    def on_cluster(topics: tuple[str, ...]) -> list[str]:
        return [described.topic_name(topic, application) for topic in topics]

    def node(name: str, spec: NodeSpec) -> dict[str, Any]:
        found: dict[str, Any] = {"name": name, "kind": "processor", "topics": [], "stores": []}
        if isinstance(spec, SourceSpec):
            found |= {"kind": "source", "topics": on_cluster(spec.topics)}
        elif isinstance(spec, SinkSpec):
            found |= {"kind": "sink", "topics": on_cluster((spec.topic,)) if spec.topic is not None else []}
        elif isinstance(spec, ProcessorSpec):
            found["stores"] = list(spec.stores)
        return {**found, "successors": successors[name], "processed": counts.get(name, 0)}

    return {
        "description": described.describe(),
        "sub_topologies": [
            {
                "id": each.id,
                "is_global": each.is_global,
                "nodes": [node(name, described.nodes[name]) for name in each.nodes],
            }
            for each in worker.sub_topologies.values()
        ],
        "global_stores": [{"name": name, "topic": topic} for name, topic in described.global_topics.items()],
    }


def stores(worker: Worker) -> list[dict[str, Any]]:
    """Every store of the topology, and what of it is here (``/v1/stores``)."""
    return [_store(worker, info) for info in worker.local_stores.catalogue.stores.values()]


def _store(worker: Worker, info: StoreInfo) -> dict[str, Any]:
    active, standby = task_partitions(worker.tasks, info)
    found: dict[str, Any] = {
        "name": info.name,
        "kind": info.kind,
        "is_global": info.is_global,
        "can_be_asked": info.can_be_asked,
        "sub_topology": info.sub_topology,
        "source_topics": list(info.source_topics),
        "partitions": active,
        "standby_partitions": standby,
        "key_serde": None if info.key_serde is None else info.key_serde.name,
        "value_serde": None if info.value_serde is None else info.value_serde.name,
    }
    if info.retention_ms is not None:
        found["retention_ms"] = info.retention_ms
    if info.window_size_ms is not None:
        found["window_size_ms"] = info.window_size_ms
    entries = worker.local_stores.entries(info) if active or info.is_global else None
    if entries is not None:
        found["entries"] = entries
    return found
