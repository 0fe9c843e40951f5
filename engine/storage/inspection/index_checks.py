"""A segment's indexes, compared with its batches while these go by: bounded memory, one pass."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.errors import KafkaError
from engine.record.batch import NO_TIMESTAMP
from engine.record.control import transaction_outcome
from engine.storage.inspection.batches import FoundBatch
from engine.storage.inspection.findings import DELETE_FILE, Entry, finding
from engine.storage.inspection.index_entries import (
    AbortedEntry,
    IndexEntry,
    aborted_entries,
    offset_entries,
    time_entries,
)
from engine.world import Disk

# An index that is wrong throughout is told so many times.
_MOST_FINDINGS = 5


class _Reader:
    """Entries one by one, with what is wrong among themselves."""

    def __init__(self, path: str, entries: Iterator[IndexEntry | str]) -> None:
        self.path = path
        self._entries = entries
        self._last: IndexEntry | None = None
        self._told = 0
        self.found: list[Entry] = []
        self.current = self._next()

    def complain(self, position: int, what: str) -> None:
        if self._told < _MOST_FINDINGS:
            self._told += 1
            self.found.append(finding(self.path, position, what, DELETE_FILE))

    def advance(self) -> None:
        self.current = self._next()

    def _next(self) -> IndexEntry | None:
        entry = next(self._entries, None)
        if isinstance(entry, str):
            self.complain(self._last.position if self._last else 0, entry)
            return None
        last = self._last
        if entry is not None and last is not None and (entry.first <= last.first or entry.second <= last.second):
            what = f"the entry ({entry.first}, {entry.second}) does not ascend after ({last.first}, {last.second})"
            self.complain(entry.position, what)
        self._last = entry
        return entry

    def taken(self) -> list[Entry]:
        found, self.found = self.found, []
        return found


class OffsetIndexCheck:
    """``.index``: each entry has the position of a batch, and its last offset.

    Kafka before 4 appended what it had fetched as one, with one entry: the first batch's position and the last one's
    last offset. That is as good for a reader.
    """

    def __init__(self, disk: Disk, path: str, base_offset: int) -> None:
        self._reader = _Reader(path, offset_entries(disk, path))
        self._base_offset = base_offset
        # An entry whose offset is behind the batch that it leads to.
        self._ahead: IndexEntry | None = None

    def on_batch(self, batch: FoundBatch) -> list[Entry]:
        reader, header = self._reader, batch.header
        if self._ahead is not None:
            self._check_offset(self._ahead, batch)
        while reader.current is not None and reader.current.second <= batch.position:
            entry = reader.current
            if entry.second < batch.position:
                offset = self._base_offset + entry.first
                reader.complain(entry.position, f"offset {offset} leads to byte {entry.second}, where no batch begins")
            elif self._base_offset + entry.first < header.base_offset:
                self._complain(entry, batch)
            else:
                self._check_offset(entry, batch)
            reader.advance()
        return reader.taken()

    def _check_offset(self, entry: IndexEntry, batch: FoundBatch) -> None:
        offset, last_offset = self._base_offset + entry.first, batch.header.last_offset
        self._ahead = entry if offset > last_offset else None
        if offset < last_offset:
            self._complain(entry, batch)

    def _complain(self, entry: IndexEntry, batch: FoundBatch) -> None:
        self._reader.complain(
            entry.position,
            f"offset {self._base_offset + entry.first} leads to byte {entry.second} and is not the last of a batch: "
            f"the one at byte {batch.position} has {batch.header.base_offset} to {batch.header.last_offset}",
        )

    def finish(self, end_position: int, *, may_be_ahead: bool) -> list[Entry]:
        """The last batch went by. ``may_be_ahead``: the log is being written."""
        reader = self._reader
        left = [] if self._ahead is None else [self._ahead]
        while reader.current is not None:
            left.append(reader.current)
            reader.advance()
            if may_be_ahead:
                break
        for entry in left if not may_be_ahead else []:
            offset = self._base_offset + entry.first
            what = f"offset {offset} leads to byte {entry.second}, and the batches end at byte {end_position} before it"
            reader.complain(entry.position, what)
        return reader.taken()


class TimeIndexCheck:
    """``.timeindex``: no record up to an entry's offset is later than its timestamp, and one has just that."""

    def __init__(self, disk: Disk, path: str, base_offset: int) -> None:
        self._reader = _Reader(path, time_entries(disk, path))
        self._base_offset = base_offset
        self._max_timestamp = NO_TIMESTAMP
        self._is_sure = True

    def on_batch(self, batch: FoundBatch) -> list[Entry]:
        reader = self._reader
        header = batch.header
        self._is_sure = self._is_sure and batch.crc_matches
        self._max_timestamp = max(self._max_timestamp, header.max_timestamp)
        while reader.current is not None and self._base_offset + reader.current.second <= header.last_offset:
            entry = reader.current
            offset = self._base_offset + entry.second
            if offset < header.base_offset:
                reader.complain(entry.position, f"timestamp {entry.first} leads to offset {offset}, which no batch has")
            elif self._is_sure and entry.first != self._max_timestamp:
                reader.complain(
                    entry.position,
                    f"timestamp {entry.first} leads to offset {offset}, and the latest up to there is "
                    f"{self._max_timestamp}",
                )
            reader.advance()
        return reader.taken()

    def finish(self, end_offset: int, *, may_be_ahead: bool) -> list[Entry]:
        """The last batch went by."""
        reader = self._reader
        while reader.current is not None and not may_be_ahead:
            entry = reader.current
            reader.complain(
                entry.position,
                f"timestamp {entry.first} leads to offset {self._base_offset + entry.second}, and the segment's "
                f"batches end before {end_offset}",
            )
            reader.advance()
        return reader.taken()


class OpenTransactions:
    """First offsets of transactions that have begun and not ended, by their producers. Spans the segments of a log.

    ``is_complete``: none can be unknown, since the log was read from its first record on and has no gap.
    """

    def __init__(self) -> None:
        self.first_offsets: dict[int, int] = {}
        self.is_complete = True


class TxnIndexCheck:
    """``.txnindex``: each entry's last offset is the marker that aborted it, and no aborted transaction is missing."""

    def __init__(self, disk: Disk, path: str, transactions: OpenTransactions, *, exists: bool) -> None:
        self.path = path
        self._transactions = transactions
        self._entries = aborted_entries(disk, path) if exists else iter(())
        self._exists = exists
        self._found: list[Entry] = []
        self._current = self._next()

    def _next(self) -> AbortedEntry | None:
        entry = next(self._entries, None)
        if isinstance(entry, str):
            self._complain(0, entry)
            return None
        if entry is not None and (entry.version != 0 or not 0 <= entry.first_offset <= entry.last_offset):
            self._complain(
                entry.position,
                f"an entry of version {entry.version} for offsets {entry.first_offset} to {entry.last_offset}",
            )
        return entry

    def _complain(self, position: int, what: str) -> None:
        if len(self._found) < _MOST_FINDINGS:
            self._found.append(finding(self.path, position, what, DELETE_FILE))

    def on_batch(self, batch: FoundBatch) -> list[Entry]:
        header = batch.header
        aborts = False
        if header.is_control and header.is_transactional and batch.data is not None and batch.crc_matches:
            try:
                aborts = transaction_outcome(batch.data) is False
            except KafkaError as error:
                self._complain(0, f"the marker at offset {header.base_offset} of the log: {error.message}")
        is_indexed = False
        while self._current is not None and self._current.last_offset <= header.last_offset:
            entry = self._current
            # Of a marker that compaction removed nothing is left.
            if entry.last_offset >= header.base_offset:
                is_indexed = self._check(entry, batch, aborts) or is_indexed
            self._current = self._next()
        first_offset = self._transactions.first_offsets
        if header.is_transactional and not header.is_control:
            first_offset.setdefault(header.producer_id, header.base_offset)
        elif header.is_control and header.is_transactional:
            began = first_offset.pop(header.producer_id, None)
            if aborts and began is not None and not is_indexed:
                what = f"the transaction of producer {header.producer_id} that was aborted at offset "
                what += f"{header.base_offset} is not in it" + ("" if self._exists else ": the file is missing")
                self._complain(0, what)
        found, self._found = self._found, []
        return found

    def _check(self, entry: AbortedEntry, batch: FoundBatch, aborts: bool) -> bool:
        header = batch.header
        if not batch.crc_matches:
            return True
        if not aborts or header.producer_id != entry.producer_id:
            self._complain(
                entry.position,
                f"producer {entry.producer_id} aborted nothing at offset {entry.last_offset}",
            )
            return False
        opened = self._transactions.first_offsets
        began = opened.get(entry.producer_id)
        is_complete = self._transactions.is_complete
        if began is not None and (entry.first_offset > began or (is_complete and entry.first_offset < began)):
            self._complain(
                entry.position,
                f"the transaction that producer {entry.producer_id} aborted at offset {entry.last_offset} began at "
                f"{began}, not at {entry.first_offset}",
            )
        others = [first for producer_id, first in opened.items() if producer_id != entry.producer_id]
        stable = min([entry.last_offset + 1, *others])
        if is_complete and entry.last_stable_offset != stable:
            self._complain(
                entry.position,
                f"the last stable offset after the abort at offset {entry.last_offset} was {stable}, not "
                f"{entry.last_stable_offset}",
            )
        return True

    def finish(self, *, may_be_ahead: bool) -> list[Entry]:
        """The last batch went by."""
        while self._current is not None and not may_be_ahead:
            self._complain(
                self._current.position,
                f"a transaction was aborted at offset {self._current.last_offset}, which the segment does not have",
            )
            self._current = self._next()
        found, self._found = self._found, []
        return found
