"""What a task asks of its worker, answered without one: for tests of the contract between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.connect.connector import (
    ErrantRecordReporter,
    OffsetStorageReader,
    Props,
    SinkTaskContext,
    SourceTask,
    SourceTaskContext,
    TopicPartition,
)
from engine.connect.records import SinkRecord, SourceRecord


class Offsets(OffsetStorageReader):
    """Source offsets in memory."""

    def __init__(self) -> None:
        self._offsets: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}

    def put(self, partition: Mapping[str, Any], offset: Mapping[str, Any]) -> None:
        self._offsets[tuple(sorted(partition.items()))] = dict(offset)

    def offset(self, partition: Mapping[str, Any]) -> dict[str, Any] | None:
        return self._offsets.get(tuple(sorted(partition.items())))

    def offsets(self, partitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        return [self.offset(each) for each in partitions]


class SourceContext(SourceTaskContext):
    def __init__(self, props: Props, offsets: Offsets) -> None:
        self._props, self._offsets = props, offsets

    def configs(self) -> Props:
        return self._props

    def offset_storage_reader(self) -> Offsets:
        return self._offsets


class Reporter(ErrantRecordReporter):
    def __init__(self) -> None:
        self.reported: list[tuple[SinkRecord, Exception]] = []

    def report(self, record: SinkRecord, error: Exception) -> None:
        self.reported.append((record, error))


class SinkContext(SinkTaskContext):
    def __init__(self, props: Props, reporter: Reporter | None = None) -> None:
        self._props, self._reporter = props, reporter
        self.asked_timeout_ms: int | None = None

    def configs(self) -> Props:
        return self._props

    def offset(self, offsets: Mapping[TopicPartition, int]) -> None:
        raise NotImplementedError

    def timeout_ms(self, timeout_ms: int) -> None:
        self.asked_timeout_ms = timeout_ms

    def assignment(self) -> set[TopicPartition]:
        return set()

    def pause(self, *partitions: TopicPartition) -> None:
        raise NotImplementedError

    def resume(self, *partitions: TopicPartition) -> None:
        raise NotImplementedError

    def request_commit(self) -> None:
        raise NotImplementedError

    def errant_record_reporter(self) -> Reporter | None:
        return self._reporter


def started(task: Any, props: Props, offsets: Offsets | None = None) -> Any:
    """A source's task that a worker would have started with these offsets."""
    task.initialize(SourceContext(props, offsets or Offsets()))
    task.start(props)
    return task


def polled(task: SourceTask, records: int, offsets: Offsets | None = None, polls: int = 50) -> list[SourceRecord]:
    """So many records, and whatever comes with the last; their offsets are kept as a worker does that got acks."""
    found: list[SourceRecord] = []
    for _ in range(polls):
        found += task.poll() or ()
        if len(found) >= records:
            break
    if offsets is not None:
        for each in found:
            offsets.put(each.source_partition, each.source_offset)
    return found
