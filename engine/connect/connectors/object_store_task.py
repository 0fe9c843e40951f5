"""The task of an object store sink: a :class:`PartitionWriter` for each partition it has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from engine.connect.connector import Props, SinkTask, TopicPartition
from engine.connect.connectors.object_store import parsed
from engine.connect.connectors.storage_files import Store
from engine.connect.connectors.storage_partitioners import make_partitioner
from engine.connect.connectors.storage_writer import PartitionWriter
from engine.connect.errors import ConnectError, DataError, RetriableError
from engine.connect.records import SinkRecord

# What another try does not change.
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


class ObjectStoreSinkTask(SinkTask):
    """Commits to Kafka only offsets before which everything is in the store."""

    def start(self, props: Props) -> None:
        self._values: dict[str, Any] = parsed(props)
        self._store = Store(self._values)
        self._zone = ZoneInfo(self._values["timezone"])
        self._writers: dict[TopicPartition, PartitionWriter] = {}
        self._reporter = self.context.errant_record_reporter()

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        """Continue where the store says, whatever the group's offsets say."""
        offsets: dict[TopicPartition, int] = {}
        for each in partitions:
            writer = self._open(each)
            if writer.committed is not None:
                offsets[each] = writer.committed
        if offsets:
            self.context.offset(offsets)

    def _open(self, partition: TopicPartition) -> PartitionWriter:
        self._store.refresh()
        partitioner = make_partitioner(self._values, self._zone)
        try:
            writer = PartitionWriter(partition, self._store, partitioner, self._values)
        except OSError as error:
            raise ConnectError(
                f"{partition.topic}-{partition.partition} cannot be opened in the store: {error}"
            ) from error
        self._writers[partition] = writer
        return writer

    def close(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            writer = self._writers.pop(each, None)
            if writer is not None:
                writer.discard()

    def stop(self) -> None:
        for each in self._writers.values():
            each.discard()
        self._writers.clear()

    def put(self, records: Sequence[SinkRecord]) -> None:
        now_ms = int(time.time() * 1000)
        try:
            for record in records:
                partition = TopicPartition(record.original_topic, record.original_partition)
                writer = self._writers.get(partition) or self._open(partition)
                try:
                    writer.add(record, now_ms)
                except DataError as error:
                    if self._reporter is None:
                        where = f"{record.topic}-{record.partition}@{record.offset}"
                        raise DataError(f"{where} cannot be written: {error}") from error
                    self._reporter.report(record, error)
                    writer.leave_out(record)
            for writer in self._writers.values():
                writer.on_time(now_ms)
        except _FINAL as error:
            raise ConnectError(f"the store refused: {error}") from error
        except OSError as error:
            self.context.timeout_ms(self._values["retry.backoff.ms"])
            raise RetriableError(f"the store failed: {error}") from error

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """What is in files, or left out."""
        return {each: safe for each, writer in self._writers.items() if (safe := writer.safe) is not None}
