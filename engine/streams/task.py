"""A task: one partition of a sub-topology with its stores, as a pure state machine.

The task is told everything: records, the time of day, when to punctuate and when to commit. What comes out goes to a
:class:`Collector`. It does no I/O but that of its stores' engines. Kafka's ``StreamTask``, ``PartitionGroup`` and
``GlobalStateUpdateTask`` are the models.

    task = StreamTask(topology, config, sub_topology=0, partition=3, collector=…, engines=…)
    task.restore(store, records); …; task.init(now)
    task.add_records(topic, partition, records)
    while task.process(now, limit=1000): task.punctuate_stream_time(now)
    task.punctuate_wall_clock(now)
    task.prepare_commit(); (write offsets: task.offsets_to_commit()); task.committed(changelog_offsets)
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Protocol

from engine.streams.batching import batchable_sources
from engine.streams.caching import TaskCache
from engine.streams.error_handlers import ErrorContext, ErrorHandlers
from engine.streams.errors import (
    InvalidStateStoreError,
    ProcessingError,
    SerdeMissingError,
    StreamsSerializationError,
)
from engine.streams.processors.endpoints import SinkNode, SourceNode
from engine.streams.processors.node import Node
from engine.streams.punctuation import STREAM_TIME, Cancellable, PunctuationQueue
from engine.streams.records import NO_TIMESTAMP, ChangelogRecord, InputRecord, OutputRecord, Row
from engine.streams.serdes import Serde
from engine.streams.stores.builders import BuildContext, StoreBuilder
from engine.streams.stores.engines import Engines
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.state_store import StateStore
from engine.streams.topology import ProcessorSpec, SinkSpec, SourceSpec, Topology

# Keys of the processors' metadata, beside those of Kafka's own, which are names of stores.
_TASK_TIME = "kconsole.stream-time"
_NODE_TIME = "kconsole.stream-time."
_STORE_TIME = "kconsole.store-time."


class Collector(Protocol):
    """Where the output of tasks goes: to a producer, or to a test."""

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        """Records for a sink topic, in order."""

    def log_changes(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        """Records for a changelog topic, in order. They come before the commit that covers them."""

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""


class _Queue:
    """The fetched records of one partition that wait, as rows, and what of them was processed."""

    __slots__ = ("batchable", "node", "order", "partition", "position", "raw", "rows", "time", "topic", "unread")

    def __init__(self, topic: str, partition: int, node: SourceNode, batchable: bool) -> None:
        self.topic = topic
        self.partition = partition
        self.node = node
        self.batchable = batchable
        self.rows: deque[Row] = deque()
        self.unread: deque[tuple[InputRecord, Exception]] = deque()
        """Records that could not be deserialized, until it is their turn."""
        self.raw: list[list[InputRecord]] = []
        self.order = 0
        self.time = NO_TIMESTAMP
        self.position: int | None = None

    def failed_to_deserialize(
        self, node: str, topic: str, partition: int, record: InputRecord, error: Exception
    ) -> None:
        """It waits for its turn: what is told of it is then covered by the same commit as its offset."""
        self.unread.append((record, error))

    def readable(self, limit: int) -> int:
        """How many of up to ``limit`` rows come before the next record that could not be read."""
        if not self.unread:
            return limit
        end = self.unread[0][0].offset
        return sum(1 for _ in takewhile(lambda row: row[4] < end, islice(self.rows, limit)))


class StreamTask:
    """One task; see the module. ``sub_topology`` None takes every node at once, as a TopologyTestDriver does."""

    def __init__(
        self,
        topology: Topology,
        config: Mapping[str, Any],
        *,
        sub_topology: int | None,
        partition: int,
        collector: Collector,
        engines: Engines | None = None,
        engines_by_type: Mapping[str, Engines] | None = None,
        directory: Path | None = None,
        handlers: ErrorHandlers | None = None,
        global_stores: Mapping[str, StateStore] | None = None,
        batching: bool = True,
        cache_max_bytes: int = 0,
    ) -> None:
        self.topology = topology
        self.config: dict[str, Any] = dict(config)
        self.application_id: str = config["application.id"]
        self.sub_topology = sub_topology
        self.task_id = f"{sub_topology or 0}_{partition}"
        self.topic: str | None = None
        self.partition = partition
        self.task_partition = partition
        self.stream_time = NO_TIMESTAMP
        self.processor_metadata: dict[str, int] = {}
        """What nodes want to find again: to be committed with the offsets, and set before :meth:`init`."""
        self.row: Row | None = None
        self.dropped_records: dict[str, int] = {}
        """Metric ``dropped-records-total``, by node or store."""
        self.nodes: dict[str, Node] = {}
        self.stores: dict[str, StateStore] = {}
        self.global_stores = dict(global_stores or {})
        self.processed = 0
        self._initialized: list[str] = []
        self._batching = batching
        self._collector = collector
        self._handlers = handlers or ErrorHandlers()
        self._now = 0
        self._punctuation_time: int | None = None
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._order = 0
        self._stream_punctuators = PunctuationQueue()
        self._wall_punctuators = PunctuationQueue()
        self._sources: dict[str, SourceNode] = {}
        self._patterns: list[tuple[re.Pattern[str], SourceNode]] = []
        self._changelogs: dict[str, str] = {}
        self._batchable = batchable_sources(topology)
        self._cache = TaskCache(cache_max_bytes)
        self._cached_nodes: dict[str, tuple[Serde[Any], bool]] = {}
        self._build(engines or MemoryEngines(), engines_by_type or {}, directory)

    # Building.

    def _build(self, engines: Engines, by_type: Mapping[str, Engines], directory: Path | None) -> None:
        groups = self.topology.node_groups()
        if self.sub_topology is None:
            names = [name for group in groups for name in group if not self._is_global(group)]
            self._ordered = [name for name in self.topology.nodes if name in set(names)]
        else:
            self._ordered = groups[self.sub_topology]
        mine = set(self._ordered)
        children: dict[str, list[Node]] = {name: [] for name in self._ordered}
        for name in self._ordered:
            spec = self.topology.nodes[name]
            node = self._node(spec)
            node.name = name
            self.nodes[name] = node
            for parent in spec.predecessors:
                if parent in mine:
                    children[parent].append(node)
        for name, node in self.nodes.items():
            node.children = tuple(children[name])
        wanted = dict.fromkeys(
            store
            for name in self._ordered
            for spec in [self.topology.nodes[name]]
            if isinstance(spec, ProcessorSpec)
            for store in spec.stores
        )
        for store in wanted:
            builder = self.topology.store_builders.get(store) or self.topology.global_store_builders[store]
            topic = self.topology.changelog_name(store, self.application_id)
            context = BuildContext(
                engines,
                directory,
                self.config.get("default.key.serde"),
                self.config.get("default.value.serde"),
                topic,
                by_type,
            )
            self.stores[store] = builder.build(context)
            if builder.logging_enabled:
                self._changelogs[store] = topic
            if builder.caching_enabled and not builder.versioned and self._cache.max_bytes > 0:
                self._cache_store(builder, builder.serdes(context)[0])
        self._hold_forwards()

    def _cache_store(self, builder: StoreBuilder, key: Serde[Any]) -> None:
        """Hold back the store's changelog, and what the node of its table hands on, until the next commit."""
        if builder.logging_enabled:
            self._cache.hold(builder.name)
        for name in self._ordered:
            table = self.nodes[name].cached_table()
            if table is not None and table[0] == builder.name:
                self._cached_nodes[name] = key, table[1]

    def _hold_forwards(self) -> None:
        for name in self._ordered:
            if name in self._cached_nodes:
                key, send_old = self._cached_nodes[name]
                batchable = self._batching and self._sources_above(name) <= self._batchable
                self._cache.hold_forwards(
                    self.nodes[name], self, key.serialize, send_old_values=send_old, batchable=batchable
                )

    def _sources_above(self, name: str) -> set[str]:
        parents = self.topology.nodes[name].predecessors
        return {name} if not parents else set().union(*map(self._sources_above, parents))

    def _is_global(self, group: list[str]) -> bool:
        return any(self.topology.is_global_source(name) for name in group)

    def _node(self, spec: SourceSpec | ProcessorSpec | SinkSpec) -> Node:
        if isinstance(spec, ProcessorSpec):
            return spec.factory()
        key = spec.key_serde or self._default_serde("key", spec.name)
        value = spec.value_serde or self._default_serde("value", spec.name)
        if isinstance(spec, SinkSpec):
            topic = None if spec.topic is None else self.topology.topic_name(spec.topic, self.application_id)
            return SinkNode(spec, topic, key, value)
        source = SourceNode(spec, key, value, self.config.get("default.timestamp.extractor"))
        for topic in spec.topics:
            self._sources[self.topology.topic_name(topic, self.application_id)] = source
        if spec.pattern is not None:
            self._patterns.append((re.compile(spec.pattern), source))
        return source

    def _default_serde(self, which: str, node: str) -> Serde[Any]:
        found: Serde[Any] | None = self.config.get(f"default.{which}.serde")
        if found is None:
            raise SerdeMissingError(
                f"{node}: no {which} serde; give one (Consumed, Produced, Grouped…) or set default.{which}.serde"
            )
        return found

    # The life of a task.

    def changelog_topics(self) -> dict[str, str]:
        """Each store that is restored, and the topic it is restored from, as on the cluster."""
        from_source = {
            store: self.topology.changelog_name(store, self.application_id)
            for store in self.stores
            if store in self.topology.source_topic_of_store
        }
        return {**self._changelogs, **from_source}

    def restore(self, store: str, records: Iterable[ChangelogRecord]) -> None:
        """Put a batch of a changelog into a store, before :meth:`init`."""
        self.stores[store].restore(records)

    def init(self, now_ms: int) -> None:
        """Every store is restored: make the nodes ready to process."""
        self._now = now_ms
        for name, store in self.stores.items():
            store.init(self)
            time = self.processor_metadata.get(f"{_STORE_TIME}{name}")
            if time is not None:
                store.resume_time(time)
        self.stream_time = max(self.stream_time, self.processor_metadata.get(_TASK_TIME, NO_TIMESTAMP))
        for name in self._ordered:
            node = self.nodes[name]
            node.init(self)
            self._initialized.append(name)
            time = self.processor_metadata.get(f"{_NODE_TIME}{name}")
            if time is not None:
                node.resume_time(time)

    def close(self, *, wipe: bool = False) -> None:
        """Close nodes that were made ready, then stores. What was not committed may be lost; ``wipe`` makes sure of it.

        Raises:
            ProcessingError: a processor of the user's did not let itself be closed; all the others are.
        """
        failed: ProcessingError | None = None
        for name in self._initialized:
            try:
                self.nodes[name].close()
            except Exception as error:
                told = f"task {self.task_id}, node {name}: close(): {type(error).__name__}: {error}"
                failed = failed or _caused(ProcessingError(told, name), error)
        for store in self.stores.values():
            if wipe:
                store.wipe()
            store.close()
        if failed is not None:
            raise failed

    # Records in.

    def source_of(self, topic: str) -> SourceNode:
        """The source node that reads a topic; KeyError when none does."""
        found = self._sources.get(topic)
        if found is None:
            for pattern, node in self._patterns:
                if pattern.fullmatch(topic):
                    self._sources[topic] = node
                    return node
            raise KeyError(f"no source of the topology reads {topic}")
        return found

    def add_records(self, topic: str, partition: int, records: list[InputRecord]) -> int:
        """Take fetched records; how many now wait in that partition (for pausing the fetch)."""
        queue = self._queues.get((topic, partition))
        if queue is None:
            node = self.source_of(topic)
            queue = _Queue(topic, partition, node, self._batching and node.name in self._batchable)
            self._queues[topic, partition] = queue
        if not records:
            return len(queue.rows)
        rows = queue.node.read(topic, partition, records, queue.time, queue)
        if not rows:
            self._tell_unread(queue)
            if not queue.rows:  # else what waits would count as processed
                queue.position = records[-1].offset + 1
            return len(queue.rows)
        if not queue.rows:
            self._order += 1
            queue.order = self._order
        waiting_from = queue.rows[0][4] if queue.rows else rows[0][4]
        while queue.raw and queue.raw[0][-1].offset < waiting_from:
            del queue.raw[0]
        queue.rows.extend(rows)
        queue.raw.append(records)
        queue.time = max(queue.time, max(row[2] for row in rows))
        self._tell_unread(queue)
        return len(queue.rows)

    def _tell_unread(self, queue: _Queue) -> None:
        """The handler decides on what could not be read before the next record that is to be processed."""
        while queue.unread and (not queue.rows or queue.unread[0][0].offset < queue.rows[0][4]):
            record, error = queue.unread.popleft()
            self._failed_to_deserialize(queue, record, error)
            queue.position = record.offset + 1

    def buffered(self) -> dict[tuple[str, int], int]:
        """How many records wait, by partition (those that were ever given any)."""
        return {at: len(queue.rows) + len(queue.unread) for at, queue in self._queues.items()}

    # Processing.

    def process(self, now_ms: int, limit: int = 1) -> int:
        """Process up to ``limit`` waiting records of the partition whose head is earliest; how many were processed.

        Ends earlier where another partition's head is due, so that partitions go in the order of time, and after the
        first record when the stream-time punctuators are due. 0: nothing waits.
        """
        first: _Queue | None = None
        second: int | None = None
        for queue in self._queues.values():
            if not queue.rows:
                continue
            if first is None or (queue.rows[0][2], queue.order) < (first.rows[0][2], first.order):
                if first is not None:
                    second = first.rows[0][2] if second is None else min(second, first.rows[0][2])
                first = queue
            else:
                second = queue.rows[0][2] if second is None else min(second, queue.rows[0][2])
        if first is None:
            return 0
        rows = self._take(first, first.readable(limit), second)
        self._now = now_ms
        self.topic, self.partition = first.topic, first.partition
        node = first.node
        node.processed += len(rows)
        if first.batchable:
            latest = max(row[2] for row in rows)
            if latest > self.stream_time:
                self.stream_time = latest
            node.process(rows)
        else:
            for row in rows:
                if row[2] > self.stream_time:
                    self.stream_time = row[2]
                self.row = row
                node.process([row])
            self.row = None
        self.topic = None
        first.position = rows[-1][4] + 1
        self.processed += len(rows)
        self._log_changes()
        if first.unread:
            self._tell_unread(first)
        return len(rows)

    def _take(self, queue: _Queue, limit: int, before: int | None) -> list[Row]:
        waiting = queue.rows
        due = self._stream_punctuators.next_due()
        if before is None and due is None:
            if limit >= len(waiting):
                rows = list(waiting)
                waiting.clear()
                return rows
            rows = list(islice(waiting, limit))
            for _ in range(limit):
                waiting.popleft()
            return rows
        rows = [waiting.popleft()]
        while waiting and len(rows) < limit:
            head = waiting[0][2]
            if before is not None and head >= before:
                break
            if due is not None and rows[-1][2] >= due:
                break
            rows.append(waiting.popleft())
        self._order += 1
        queue.order = self._order
        return rows

    def _log_changes(self) -> None:
        for name, store in self.stores.items():
            if store.changes:
                changes = store.take_changes()
                if not self._cache.add(name, changes):
                    self._collector.log_changes(self._changelogs[name], self.task_partition, changes)
        if self._cache.is_full():
            self._flush_cache()

    def _flush_cache(self) -> None:
        """Hand on, and log, what was held back of updates."""
        self._cache.forward()
        for name, store in self.stores.items():
            changes = self._cache.take_changes(name)
            changes += store.take_changes()
            if changes:
                self._collector.log_changes(self._changelogs[name], self.task_partition, changes)

    # Time.

    def punctuate_stream_time(self, now_ms: int) -> int:
        """Call the stream-time punctuators that are due; how many were."""
        if self.stream_time == NO_TIMESTAMP:
            return 0
        return self._punctuate(self._stream_punctuators, self.stream_time, now_ms)

    def punctuate_wall_clock(self, now_ms: int) -> int:
        """Call the wall-clock punctuators that are due; how many were."""
        return self._punctuate(self._wall_punctuators, now_ms, now_ms)

    def next_wall_clock_punctuation(self) -> int | None:
        """When :meth:`punctuate_wall_clock` has something to do next (ms), None for never."""
        return self._wall_punctuators.next_due()

    def _punctuate(self, queue: PunctuationQueue, time: int, now_ms: int) -> int:
        due = queue.next_due()
        if due is None or due > time:
            return 0
        self._now = now_ms
        self.topic, self.row = None, None
        self._punctuation_time = time
        called = queue.punctuate(time, lambda punctuator, at: punctuator.callback(at))
        self._punctuation_time = None
        self._log_changes()
        return called

    def schedule(self, node: Node, interval_ms: int, kind: str, callback: Callable[[int], None]) -> Cancellable:
        """A node wants to be called every ``interval_ms``."""
        punctuator = Cancellable(node, interval_ms, callback)
        if kind == STREAM_TIME:
            # The first one is due at once, whatever the first record's time is (StreamTask.schedule).
            self._stream_punctuators.schedule(0, punctuator)
        else:
            self._wall_punctuators.schedule(self._now + interval_ms, punctuator)
        return punctuator

    # Commit.

    def prepare_commit(self) -> None:
        """Flush the cache and the stores, so that the collector has everything that the offsets cover."""
        self._flush_cache()
        for store in self.stores.values():
            store.flush()
        self._log_changes()
        if self.stream_time != NO_TIMESTAMP:
            self.processor_metadata[_TASK_TIME] = self.stream_time
        for name, store in self.stores.items():
            time = store.time_to_keep()
            if time is not None and time != NO_TIMESTAMP:
                self.processor_metadata[f"{_STORE_TIME}{name}"] = time
        for name, node in self.nodes.items():
            time = node.time_to_keep()
            if time is not None and time != NO_TIMESTAMP:
                self.processor_metadata[f"{_NODE_TIME}{name}"] = time

    def offsets_to_commit(self) -> dict[tuple[str, int], int]:
        """The next offset to process, by partition; only of partitions of which something was processed."""
        return {at: queue.position for at, queue in self._queues.items() if queue.position is not None}

    def committed(self, changelog_offsets: Mapping[str, int] | None = None) -> None:
        """The offsets are committed: make the stores durable, each as of its changelog's next offset (by store)."""
        offsets = changelog_offsets or {}
        for name, store in self.stores.items():
            store.commit(offsets.get(name))

    # What nodes and stores ask (TaskContext).

    def wall_clock_ms(self) -> int:
        """The time of day, as of the batch or punctuation in work."""
        return self._now

    def timestamp(self) -> int:
        """The time of the record, or of the punctuation, in work."""
        if self.row is not None:
            return self.row[2]
        return self.stream_time if self._punctuation_time is None else self._punctuation_time

    def dropped(self, where: str, count: int = 1) -> None:
        """Count dropped records."""
        self.dropped_records[where] = self.dropped_records.get(where, 0) + count

    def store(self, name: str) -> StateStore:
        """A store of the task, or a global one."""
        found = self.stores.get(name, self.global_stores.get(name))
        if found is None:
            raise InvalidStateStoreError(f"task {self.task_id} has no store {name}")
        return found

    def send(self, topic: str, records: list[OutputRecord], node: str) -> None:
        """Hand records of a sink to the collector."""
        self._collector.send(topic, records)

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""
        return self._collector.partitions_of(topic)

    def _error(self, kind: str, node: str, row: Row, sink: str | None = None) -> ErrorContext:
        key, value, timestamp, headers, offset = row
        return ErrorContext(
            kind,
            node,
            self.task_id,
            self.topic,
            self.partition,
            offset,
            key,
            value,
            timestamp,
            headers,
            self._source(offset),
            sink,
        )

    def _source(self, offset: int) -> InputRecord | None:
        if self.topic is None:
            return None
        # Of its own partition: what a cache held back, or a join, goes on while records of another are in work.
        queue = self._queues.get((self.topic, self.partition))
        fetches = [] if queue is None else queue.raw
        return next((record for fetch in fetches for record in fetch if record.offset == offset), None)

    def failed(self, node: str, row: Row, error: Exception) -> None:
        """A function of the user failed on ``row``, or a serde of a store; a store that fails fails for all records."""
        if isinstance(error, ProcessingError | StateStoreError):
            raise error
        if not self._handlers.processing(self._error("processing", node, row), error):
            where = f"{self.topic}-{self.partition} offset {row[4]}" if self.topic is not None else "a punctuation"
            raise ProcessingError(
                f"task {self.task_id}, node {node}, record of {where}: {type(error).__name__}: {error}", node
            ) from error
        self.dropped(node)

    def failed_to_serialize(self, node: str, topic: str, row: Row, error: Exception) -> None:
        """A row could not be serialized for a sink."""
        if not self._handlers.production(self._error("production", node, row, topic), error):
            raise StreamsSerializationError(
                f"task {self.task_id}, node {node}: cannot serialize key {row[0]!r} and value {row[1]!r} for topic "
                f"{topic}: {error}; give the sink (Produced) serdes that fit"
            ) from error
        self.dropped(node)

    def _failed_to_deserialize(self, queue: _Queue, record: InputRecord, error: Exception) -> None:
        node, topic, partition = queue.node.name, queue.topic, queue.partition
        offset, timestamp, key, value, headers = record
        context = ErrorContext(
            "deserialization", node, self.task_id, topic, partition, offset, key, value, timestamp, headers, record
        )
        if not self._handlers.deserialization(context, error):
            raise StreamsSerializationError(
                f"task {self.task_id}, node {node}: cannot deserialize {topic}-{partition} offset {offset}: {error}; "
                "give the source (Consumed) serdes that fit, or set deserialization.exception.handler to go on"
            ) from error
        self.dropped(node)


def _caused(failed: ProcessingError, cause: Exception) -> ProcessingError:
    failed.__cause__ = cause
    return failed
