"""Which batches belong to aborted transactions, and which markers end transactions of which nothing is left.

Kafka: CleanedTransactionMetadata. Batches are told to it in the order of their offsets.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from engine.record.batch import BatchHeader, Buffer
from engine.record.control import ControlRecordType, control_type_of
from engine.record.reader import read_records
from engine.storage.txn_index import AbortedTxn


class CleanedTransactions:
    """State of one pass over a log."""

    __slots__ = ("_aborted", "_committed", "_waiting", "kept")

    def __init__(self) -> None:
        # Those that begin later, by first offset.
        self._waiting: list[tuple[int, AbortedTxn]] = []
        # Open ones that will be aborted, by producer: whether a batch of it was met.
        self._aborted: dict[int, tuple[AbortedTxn, bool]] = {}
        # Producers with open transactions that will be committed, of which a batch was met.
        self._committed: set[int] = set()
        # Aborted ones of which a batch is still there: the new segment's index needs them.
        self.kept: list[AbortedTxn] = []

    def add(self, aborted: Iterable[AbortedTxn]) -> None:
        """Aborted transactions that the indexes name for the part that follows."""
        for each in aborted:
            heapq.heappush(self._waiting, (each.first_offset, each))

    def _begin_up_to(self, offset: int) -> None:
        while self._waiting and self._waiting[0][0] <= offset:
            each = heapq.heappop(self._waiting)[1]
            self._aborted.setdefault(each.producer_id, (each, False))

    def on_data(self, header: BatchHeader) -> bool:
        """A batch of records; whether its transaction was aborted, so that they can go."""
        self._begin_up_to(header.last_offset)
        if not header.is_transactional:
            return False
        found = self._aborted.get(header.producer_id)
        if found is None:
            self._committed.add(header.producer_id)
            return False
        self._aborted[header.producer_id] = (found[0], True)
        return True

    def on_control(self, header: BatchHeader, batch: Buffer) -> bool:
        """A control batch; whether nothing of what it ends was met, so that it can go once its time is over.

        Raises:
            KafkaError: INVALID_RECORD, CORRUPT_MESSAGE.
        """
        self._begin_up_to(header.last_offset)
        record = next(iter(read_records(batch, header)), None)
        if record is None:
            # Emptied before.
            return True
        kind = control_type_of(record.key)
        if kind is ControlRecordType.ABORT:
            found = self._aborted.pop(header.producer_id, None)
            if found is not None and found[1]:
                self.kept.append(found[0])
                return False
            return True
        if kind is ControlRecordType.COMMIT:
            if header.producer_id in self._committed:
                self._committed.remove(header.producer_id)
                return False
            return True
        return False
