"""Which source offsets may be committed: those of records that brokers have acknowledged (``SubmittedRecords``).

Kept a batch at a time: an offset becomes committable when all of its batch and of the batches before it are
acknowledged. A batch that lies in several topics never lets an offset pass that a record behind it still needs.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.connect.batches import SourceBatch
from engine.connect.records import SourceRecord

Offsets = dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Source partition and offset, by the partition's JSON."""


def last_offsets(records: Sequence[SourceRecord]) -> Offsets:
    """The last offset of each source partition."""
    if isinstance(records, SourceBatch):
        partition = records.source_partition
        return {partition_key(partition): (partition, records.offset_at(len(records) - 1))} if records else {}
    # Connectors mostly give the same object again and again.
    last: dict[int, SourceRecord] = {}
    for record in records:
        last[id(record.source_partition)] = record
    found: Offsets = {}
    for record in sorted(last.values(), key=_Positions(records, last)) if len(last) > 1 else last.values():
        found[partition_key(record.source_partition)] = (record.source_partition, record.source_offset)
    return found


class _Positions:
    # Two equal partitions that are different objects: the later record counts.
    def __init__(self, records: Sequence[SourceRecord], last: Mapping[int, SourceRecord]) -> None:
        wanted = {id(each) for each in last.values()}
        self._at = {id(each): index for index, each in enumerate(records) if id(each) in wanted}

    def __call__(self, record: SourceRecord) -> int:
        return self._at[id(record)]


def partition_key(partition: Mapping[str, Any]) -> str:
    """A text that is the same for equal source partitions, in whatever order they have their fields."""
    return json.dumps(partition, sort_keys=True, separators=(",", ":"))


class Batch:
    """Records of one poll; :attr:`pending` of them are not acknowledged."""

    __slots__ = ("offsets", "pending", "size")

    def __init__(self, offsets: Offsets, pending: int) -> None:
        self.offsets = offsets
        self.pending = pending
        self.size = pending


class Committable(NamedTuple):
    """Offsets that may be committed, and how many records are still on their way."""

    offsets: Offsets
    pending: int


class SubmittedRecords:
    """Batches in the order of their polls. The caller sees to it that only one thread at a time is in here."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._failed = False

    def fail(self) -> None:
        """A record is lost: nothing that is not committable yet ever will be."""
        self._failed = True

    def submit(self, records: Sequence[SourceRecord], pending: int) -> Batch:
        """A batch of which ``pending`` records go to brokers; the others were dropped on the way."""
        batch = Batch(last_offsets(records), pending)
        self._batches.append(batch)
        return batch

    @property
    def pending(self) -> int:
        """Records that are not acknowledged."""
        return sum(each.pending for each in self._batches)

    def committable(self) -> Committable:
        """Takes out what is acknowledged from the front on."""
        offsets: Offsets = {}
        while self._batches and self._batches[0].pending == 0 and not self._failed:
            offsets.update(self._batches.popleft().offsets)
        return Committable(offsets, self.pending)
