"""What a compacted log must hold after a crash: of each key the last record, whatever a cleaning had got to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.record.reader import Record, read_records
from engine.sim.crash_points.expected import Batch, Derived, ExpectedLog
from engine.storage.log import Log

# Why a check failed, as an exception to raise.
Complaint = Callable[[str], Exception]


class CompactedLog(ExpectedLog):
    """One whose records of the past may be gone, if a later one has their key.

    ``cleaned_to``: nothing from here on was ever given to a cleaning. ``tombstone_horizons``: by offset the time until
    which a tombstone stays at least. ``cut_to``: where the log ends although no batch ends there, for it was cut within
    a gap.
    """

    def __init__(self, begin: int = 0) -> None:
        super().__init__(begin)
        self.cleaned_to = self.cut_to = begin
        self.tombstone_horizons: dict[int, int] = {}

    def note_cleaning(self, limit: int, horizon_ms: int) -> None:
        """A cleaning begins, of what is below ``limit``: that is committed and synced. Tombstones that it meets for the
        first time stay until ``horizon_ms``."""
        self.cleaned_to = max(self.cleaned_to, limit)
        for batch in self.batches:
            if batch.next_offset <= limit:
                for each in _records(batch):
                    if each.value is None and not batch.header.is_control:
                        self.tombstone_horizons.setdefault(each.offset, horizon_ms)

    @property
    def end(self) -> int:
        """The log's end."""
        return max(super().end, self.cut_to)

    def history_of(self, found: list[Batch], end: int) -> list[Batch] | None:
        """The batches that were written, those included that a cleaning took, up to the log's end."""
        for history in (self.batches, self.coming):
            if history is None:
                continue
            known = {each.base_offset: each for each in history if each.next_offset <= end}
            if all(each.base_offset in known and self._is_left_of(each, known[each.base_offset]) for each in found):
                return list(known.values())
        return None

    def _is_left_of(self, found: Batch, written: Batch) -> bool:
        """Whether a batch is another one as it was, or as a cleaning leaves it."""
        if found.data == written.data:
            return True
        before, now = written.header, found.header
        if (
            written.next_offset > self.cleaned_to
            or found.next_offset != written.next_offset
            or (now.partition_leader_epoch, now.producer_id, now.producer_epoch, now.base_sequence)
            != (before.partition_leader_epoch, before.producer_id, before.producer_epoch, before.base_sequence)
        ):
            return False
        whole = {each.offset: each for each in _records(written)}
        return all(whole.get(each.offset) == each for each in _records(found))


def check_compacted(
    log: Log, expected: CompactedLog, history: list[Batch], found: list[Batch], now_ms: int, broken: Complaint
) -> None:
    """Check what is left of ``history``. Raises what ``broken`` makes."""
    _check_records(log, expected, history, found, now_ms, broken)
    for each in found:
        epoch = log.leader_epochs.epoch_for_offset(each.base_offset)
        if epoch != each.header.partition_leader_epoch:
            raise broken(f"offset {each.base_offset} is of epoch {each.header.partition_leader_epoch}, not of {epoch}")
        for offset in (each.base_offset, each.next_offset - 1):
            if log.read(offset, 1) != each.data:
                raise broken(f"a read of offset {offset} does not find its batch")
    _check_producers(log, history, broken)


def _check_records(
    log: Log, expected: CompactedLog, history: list[Batch], found: list[Batch], now_ms: int, broken: Complaint
) -> None:
    derived = Derived(history)
    stable = min(
        [each.txn_first for each in derived.producers.values() if each.txn_first >= 0], default=log.log_end_offset
    )
    wanted = _committed(history, derived.aborted, stable)
    aborted = log.aborted_transactions(log.log_start_offset, log.log_end_offset)
    here = _committed(found, [(each.producer_id, each.first_offset, each.last_offset) for each in aborted], stable)
    last: dict[bytes | None, Record] = {each.key: each for each in wanted}
    offsets = {each.offset for each in here}
    for each in last.values():
        is_spent = each.value is None and expected.tombstone_horizons.get(each.offset, 0) <= now_ms
        if each.offset not in offsets and not (is_spent and each.offset < expected.cleaned_to):
            raise broken(f"the last record of key {each.key!r}, at offset {each.offset}, is gone")
    values = {key: each.value for key, each in last.items() if each.value is not None}
    left = {each.key: each.value for each in here}
    if values != {key: value for key, value in left.items() if value is not None}:
        raise broken(f"a reader of it all ends up with {left}, not with {values}")
    untouched = [each for each in history if each.base_offset >= expected.cleaned_to]
    if untouched != [each for each in found if each.base_offset >= expected.cleaned_to]:
        raise broken(f"batches from {expected.cleaned_to} on are gone, which no cleaning was given")


def _committed(batches: Sequence[Batch], aborted: Sequence[tuple[int, int, int]], stable: int) -> list[Record]:
    """What a reader of committed records is given."""
    found: list[Record] = []
    for batch in batches:
        header = batch.header
        is_aborted = header.is_transactional and any(
            producer_id == header.producer_id and first <= batch.base_offset <= last
            for producer_id, first, last in aborted
        )
        if batch.base_offset < stable and not header.is_control and not is_aborted:
            found += _records(batch)
    return found


def _check_producers(log: Log, history: list[Batch], broken: Complaint) -> None:
    """All are known, each with its last batch, though of those before it a start may find none."""
    wanted = Derived(history).producers
    entries = log.producers.entries
    if entries.keys() != wanted.keys():
        raise broken(f"it knows producers {sorted(entries)}, and {sorted(wanted)} have written")
    for producer_id, entry in entries.items():
        known = wanted[producer_id]
        batches = [(each.last_sequence, each.last_offset) for each in entry.batches]
        if (
            (entry.producer_epoch, entry.current_txn_first_offset) != (known.epoch, known.txn_first)
            or batches[-1:] != known.batches[-1:]
            or not set(batches) <= set(known.batches)
        ):
            raise broken(
                f"producer {producer_id} has epoch {entry.producer_epoch}, batches {batches} and a transaction from "
                f"{entry.current_txn_first_offset} on, not {known.epoch}, {known.batches} and {known.txn_first}"
            )


def _records(batch: Batch) -> list[Record]:
    return list(read_records(batch.data, batch.header)) if batch.header.record_count else []
