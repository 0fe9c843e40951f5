"""Batches that have no object for a record until somebody wants one.

A worker without transforms passes a column of values on at once, which costs a fraction of a million records. To
everybody else a batch is a sequence of records like any other.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from engine.connect.data import Schema
from engine.connect.records import SinkRecord, SourceRecord

Record = TypeVar("Record", SourceRecord, SinkRecord)


class _Batch(Sequence[Record], Generic[Record]):
    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    @abstractmethod
    def record(self, index: int) -> Record:
        """The record at an index from 0 on."""

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        chosen = range(len(self.values))[index]
        return self.record(chosen) if isinstance(chosen, int) else [self.record(each) for each in chosen]

    def __iter__(self) -> Iterator[Record]:
        return map(self.record, range(len(self.values)))


class SourceBatch(_Batch[SourceRecord]):
    """What a source's ``poll`` may give: records that differ in their values and offsets alone.

    No keys, no headers, no partition; ``timestamp`` in ms. ``offset_at(index)`` gives the source offset of one record:
    a worker that sends the batch as a whole asks for the last one only.
    """

    __slots__ = ("offset_at", "source_partition", "timestamp", "topic", "value_schema")

    def __init__(
        self,
        topic: str,
        value_schema: Schema | None,
        values: list[Any],
        timestamp: int | None,
        source_partition: Mapping[str, Any],
        offset_at: Callable[[int], Mapping[str, Any]],
    ) -> None:
        super().__init__(values)
        self.topic = topic
        self.value_schema = value_schema
        self.timestamp = timestamp
        self.source_partition = source_partition
        self.offset_at = offset_at

    def record(self, index: int) -> SourceRecord:
        """The record at an index from 0 on."""
        return SourceRecord(
            topic=self.topic,
            value_schema=self.value_schema,
            value=self.values[index],
            timestamp=self.timestamp,
            source_partition=self.source_partition,
            source_offset=self.offset_at(index),
        )


class SinkBatch(_Batch[SinkRecord]):
    """What a worker may hand to a sink's ``put``: converted values, and a way to the record around each."""

    __slots__ = ("record_at",)

    def __init__(self, values: list[Any], record_at: Callable[[int], SinkRecord]) -> None:
        super().__init__(values)
        self.record_at = record_at

    def record(self, index: int) -> SinkRecord:
        """The record at an index from 0 on."""
        return self.record_at(index)
