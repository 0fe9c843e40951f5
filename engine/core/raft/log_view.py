"""What the machine knows of its log: offsets, epochs, snapshots; never a record."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from engine.core.raft.identity import OffsetAndEpoch


class ValidationKind(Enum):
    """Kafka: ValidOffsetAndEpoch.Kind."""

    VALID = "valid"
    DIVERGING = "diverging"
    SNAPSHOT = "snapshot"


class Validation(NamedTuple):
    """Whether a replica's end fits on our log, and if not, where to go from: our end of its epoch, or a snapshot."""

    kind: ValidationKind
    offset_and_epoch: OffsetAndEpoch


class LogView:
    """Offsets of the metadata log. ``end_offset`` is what was written, ``flushed_offset`` what an fsync covered.

    ``snapshot_ids`` are ascending; if ``start_offset`` is above 0, one of them ends exactly there (KIP-630).
    """

    __slots__ = ("_epoch_starts", "_epochs", "end_offset", "flushed_offset", "snapshot_ids", "start_offset")

    def __init__(
        self,
        *,
        start_offset: int = 0,
        end_offset: int = 0,
        epoch_starts: Iterable[tuple[int, int]] = (),
        snapshot_ids: Iterable[OffsetAndEpoch] = (),
    ) -> None:
        """``epoch_starts``: (epoch, start offset), ascending. All of the log counts as flushed."""
        assert 0 <= start_offset <= end_offset, (start_offset, end_offset)
        self.start_offset = start_offset
        self.end_offset = end_offset
        self.flushed_offset = end_offset
        self.snapshot_ids: list[OffsetAndEpoch] = sorted(snapshot_ids)
        self._epochs: list[int] = []
        self._epoch_starts: list[int] = []
        for epoch, start in epoch_starts:
            self._note_epoch(epoch, start)
        assert start_offset == 0 or any(each.offset == start_offset for each in self.snapshot_ids), (
            f"the log starts at {start_offset} but no snapshot ends there"
        )

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def latest_epoch(self) -> int:
        """The epoch of the last record, or of the snapshot that the log starts at, or 0."""
        if self._epochs:
            return self._epochs[-1]
        start = self._snapshot_at_start()
        return 0 if start is None else start.epoch

    @property
    def end(self) -> OffsetAndEpoch:
        """End offset and the epoch of the last record."""
        return OffsetAndEpoch(self.end_offset, self.latest_epoch)

    @property
    def latest_snapshot_id(self) -> OffsetAndEpoch | None:
        """The newest snapshot."""
        return self.snapshot_ids[-1] if self.snapshot_ids else None

    def epoch_starts(self) -> list[tuple[int, int]]:
        """(epoch, start offset), ascending."""
        return list(zip(self._epochs, self._epoch_starts, strict=True))

    def epoch_at(self, offset: int) -> int:
        """The epoch of the record at ``offset``, which must be in the log."""
        assert self.start_offset <= offset < self.end_offset, (self.start_offset, offset, self.end_offset)
        return self._epochs[bisect_right(self._epoch_starts, offset) - 1]

    def end_offset_for_epoch(self, epoch: int) -> OffsetAndEpoch:
        """The largest known epoch that is not above ``epoch``, and where it ends (KafkaMetadataLog)."""
        index = bisect_right(self._epochs, epoch) - 1
        if index < 0:
            start = self._snapshot_at_start()
            return OffsetAndEpoch(self.start_offset, 0 if start is None else start.epoch)
        end = self._epoch_starts[index + 1] if index + 1 < len(self._epochs) else self.end_offset
        return OffsetAndEpoch(end, self._epochs[index])

    def validate(self, offset: int, epoch: int) -> Validation:
        """Check a replica's end against this log (ReplicatedLog.validateOffsetAndEpoch)."""
        if self.start_offset == 0 and offset == 0 and epoch == 0:
            return Validation(ValidationKind.VALID, OffsetAndEpoch(0, 0))
        start = self._snapshot_at_start()
        if start is not None and (
            offset < start.offset or (offset == start.offset and epoch != start.epoch) or epoch < start.epoch
        ):
            assert self.latest_snapshot_id is not None
            return Validation(ValidationKind.SNAPSHOT, self.latest_snapshot_id)
        end = self.end_offset_for_epoch(epoch)
        if end.epoch != epoch or end.offset < offset:
            return Validation(ValidationKind.DIVERGING, end)
        return Validation(ValidationKind.VALID, OffsetAndEpoch(offset, epoch))

    def truncation_offset(self, diverging: OffsetAndEpoch) -> int:
        """Where to cut so that this log ends where the leader's ``diverging`` epoch does (ReplicatedLog)."""
        ours = self.end_offset_for_epoch(diverging.epoch)
        if ours.epoch == diverging.epoch:
            return max(self.start_offset, min(ours.offset, diverging.offset))
        return max(self.start_offset, ours.offset)

    # -- changing -----------------------------------------------------------------------------------------------

    def append(self, base_offset: int, end_offset: int, epoch: int) -> None:
        """Note that a batch was written."""
        assert base_offset == self.end_offset < end_offset, (base_offset, self.end_offset, end_offset)
        assert epoch >= self.latest_epoch, f"epoch {epoch} after {self.latest_epoch}"
        self._note_epoch(epoch, base_offset)
        self.end_offset = end_offset

    def flushed(self, offset: int) -> None:
        """Note that an fsync covered everything below ``offset``."""
        self.flushed_offset = max(self.flushed_offset, min(offset, self.end_offset))

    def truncate(self, offset: int) -> None:
        """Note that records from ``offset`` on are gone."""
        assert self.start_offset <= offset <= self.end_offset, (self.start_offset, offset, self.end_offset)
        self.end_offset = offset
        self.flushed_offset = min(self.flushed_offset, offset)
        while self._epoch_starts and self._epoch_starts[-1] >= offset:
            self._epoch_starts.pop()
            self._epochs.pop()

    def add_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        """Note a snapshot that was made or fetched."""
        if snapshot_id not in self.snapshot_ids:
            insort(self.snapshot_ids, snapshot_id)

    def start_at(self, snapshot_id: OffsetAndEpoch) -> None:
        """Note that the whole log was replaced by a snapshot (follower that was too far behind)."""
        self.add_snapshot(snapshot_id)
        self.start_offset = self.end_offset = self.flushed_offset = snapshot_id.offset
        self._epochs = []
        self._epoch_starts = []

    def delete_before(self, snapshot_id: OffsetAndEpoch) -> None:
        """Note that the log now starts at a snapshot, and that older snapshots are gone (KafkaMetadataLog)."""
        assert snapshot_id in self.snapshot_ids
        assert self.start_offset <= snapshot_id.offset <= self.end_offset
        self.start_offset = snapshot_id.offset
        self.snapshot_ids = [each for each in self.snapshot_ids if each >= snapshot_id]
        while len(self._epochs) > 1 and self._epoch_starts[1] <= self.start_offset:
            del self._epochs[0], self._epoch_starts[0]
        if self._epochs:
            if self.end_offset == self.start_offset:
                self._epochs, self._epoch_starts = [], []
            else:
                self._epoch_starts[0] = max(self._epoch_starts[0], self.start_offset)

    # -- inside -------------------------------------------------------------------------------------------------

    def _note_epoch(self, epoch: int, start: int) -> None:
        if not self._epochs or epoch > self._epochs[-1]:
            self._epochs.append(epoch)
            self._epoch_starts.append(start)

    def _snapshot_at_start(self) -> OffsetAndEpoch | None:
        if self.start_offset == 0:
            return None
        for each in self.snapshot_ids:
            if each.offset == self.start_offset:
                return each
        raise AssertionError(f"the log starts at {self.start_offset} but no snapshot ends there")

    def __repr__(self) -> str:
        return f"LogView({self.start_offset}..{self.end_offset}, flushed {self.flushed_offset}, {self.epoch_starts()})"
