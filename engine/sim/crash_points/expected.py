"""What a log must hold after a crash: told from the batches that were given to it, without the engine's storage."""

from __future__ import annotations

from typing import NamedTuple

from engine.record.batch import BatchHeader, read_header
from engine.record.control import read_end_transaction_marker

_BATCHES_OF_A_PRODUCER = 5


class Batch(NamedTuple):
    """A batch as it stands in the file."""

    base_offset: int
    next_offset: int
    data: bytes

    @property
    def header(self) -> BatchHeader:
        """Its header."""
        return read_header(self.data)

    def holds(self, offset: int) -> bool:
        """Whether an offset is one of its."""
        return self.base_offset <= offset < self.next_offset


def batch_of(data: bytes) -> Batch:
    """The batch of these bytes."""
    header = read_header(data)
    return Batch(header.base_offset, header.next_offset, data)


class Producer:
    """One producer: epochs, first offset of an open transaction (-1: none), its last batches (last sequence, last
    offset)."""

    __slots__ = ("batches", "coordinator_epoch", "epoch", "txn_first")

    def __init__(self) -> None:
        self.epoch = -1
        self.coordinator_epoch = -1
        self.txn_first = -1
        self.batches: list[tuple[int, int]] = []


class Derived:
    """What follows from batches: leader epochs, producers, aborted transactions (producer, first and last offset)."""

    def __init__(self, batches: list[Batch]) -> None:
        self.epochs: list[tuple[int, int]] = []
        self.producers: dict[int, Producer] = {}
        self.aborted: list[tuple[int, int, int]] = []
        for batch in batches:
            header = batch.header
            epoch = header.partition_leader_epoch
            if not self.epochs or self.epochs[-1][0] != epoch:
                self.epochs.append((epoch, batch.base_offset))
            if header.producer_id >= 0:
                self._note(batch, header)

    def _note(self, batch: Batch, header: BatchHeader) -> None:
        producer = self.producers.setdefault(header.producer_id, Producer())
        if header.producer_epoch != producer.epoch:
            producer.epoch = header.producer_epoch
            producer.batches = []
        if not header.is_control:
            producer.batches = [*producer.batches, (header.last_sequence, header.last_offset)][-_BATCHES_OF_A_PRODUCER:]
            if header.is_transactional and producer.txn_first < 0:
                producer.txn_first = batch.base_offset
            return
        marker = read_end_transaction_marker(batch.data, header)
        if marker is None:
            return
        if producer.txn_first >= 0 and not marker.committed:
            self.aborted.append((header.producer_id, producer.txn_first, batch.base_offset))
        producer.txn_first = -1
        producer.coordinator_epoch = marker.coordinator_epoch


class ExpectedLog:
    """One partition's log as it should be.

    ``batches``: all since it began at ``begin``, those before ``start`` as well, which may come back. Everything
    below ``durable`` was acknowledged; ``durable_start`` is the start that a checkpoint told. While an operation is
    under way ``coming`` is the log that it makes, ``may_begin_anew`` says that it throws everything away,
    ``may_start_later`` that it removes the log's beginning.
    """

    def __init__(self, begin: int = 0) -> None:
        self.begin = self.start = self.durable = self.durable_start = begin
        self.batches: list[Batch] = []
        self.coming: list[Batch] | None = None
        self.may_begin_anew = self.may_start_later = False
        self.leader_epoch = 0

    @property
    def end(self) -> int:
        """The log's end."""
        return self.batches[-1].next_offset if self.batches else self.begin

    def under_way(self, coming: list[Batch], durable: int | None = None) -> None:
        """An operation begins that makes the log this one; so far only ``durable`` offsets of it are promised."""
        self.coming = coming
        if durable is not None:
            self.durable = min(self.durable, durable)

    def done(self) -> None:
        """The operation returned."""
        if self.coming is not None:
            self.batches = self.coming
        self.coming = None
        self.may_begin_anew = self.may_start_later = False

    def history_of(self, found: list[Batch], end: int) -> list[Batch] | None:
        """The history that leads to what was found in a log that ends at ``end``, from the log's beginning on;
        ``None``: there is none."""
        for history in (self.batches, self.coming):
            if history is None:
                continue
            if not found:
                return [each for each in history if each.next_offset <= end]
            bases = [each.base_offset for each in history]
            if found[0].base_offset not in bases:
                continue
            first = bases.index(found[0].base_offset)
            if history[first : first + len(found)] == found:
                return history[: first + len(found)]
        return None
