"""Whether batches that are about to be served are what was written (promise L2).

A CRC covers a batch but for its offset, its length and its leader epoch. Those are held against what is known besides:
the offset that was looked for, the batch that follows, the leader epochs of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from struct import Struct
from typing import NoReturn

from engine.record.batch import CRC_START, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, Buffer
from engine.record.checksum import crc32c
from engine.storage.failure import LogCorrupt
from engine.storage.leader_epochs import EpochEntry

# Base offset, length, leader epoch, magic, CRC, last offset delta.
_HEAD = Struct(">qiibI2xi")
_NEVER = 1 << 63


class BatchCheck:
    """Looks at batches that follow one another in a segment's file, piece by piece.

    ``offset`` is the one that was looked for, ``following`` the base offset of what comes behind the last batch.
    ``is_dense``: nobody knows of gaps between offsets; where there is one all the same ``has_gaps`` is asked whether
    somebody else compacted the log. An epoch that ``epochs`` do not know is taken as it is.
    """

    __slots__ = (
        "_directory",
        "_epoch",
        "_epoch_end",
        "_epochs",
        "_following",
        "_has_gaps",
        "_is_dense",
        "_log_path",
        "_next_offset",
        "_wanted",
    )

    def __init__(
        self,
        directory: str,
        log_path: str,
        offset: int,
        following: int,
        *,
        is_dense: bool,
        epochs: Sequence[EpochEntry],
        has_gaps: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._has_gaps = has_gaps
        self._log_path = log_path
        self._wanted = offset
        self._following = following
        self._is_dense = is_dense
        self._epochs = epochs
        self._next_offset = -1
        # That of the batches below _epoch_end; None if it is not known.
        self._epoch: int | None = None
        self._epoch_end = -1

    def check(self, data: Buffer, position: int) -> int:
        """Look at the whole batches in ``data``, which begin at ``position`` in the file; returns their bytes.

        Raises:
            LogCorrupt: one is not what it was.
        """
        view = memoryview(data)
        total, at = len(view), 0
        next_offset, epoch, epoch_end = self._next_offset, self._epoch, self._epoch_end
        unpack, checksum = _HEAD.unpack_from, crc32c
        while total - at >= HEADER_BYTES:
            base, length, batch_epoch, magic, crc, delta = unpack(view, at)
            end = at + LOG_OVERHEAD_BYTES + length
            if length < HEADER_BYTES - LOG_OVERHEAD_BYTES:
                self._fail(position + at, f"a batch of {length} bytes")
            if end > total:
                break
            if magic != MAGIC or checksum(view[at + CRC_START : end]) != crc:
                self._fail(position + at, "a batch whose CRC does not match")
            if base != next_offset and not self._may_follow(base, base + delta, next_offset):
                self._fail(position + at, f"offsets {base} to {base + delta}")
            if base >= epoch_end:
                epoch, epoch_end = self._epoch_at(base)
            if epoch is not None and batch_epoch != epoch:
                self._fail(position + at, f"leader epoch {batch_epoch} where leader-epoch-checkpoint has {epoch}")
            next_offset = base + delta + 1
            at = end
        self._next_offset, self._epoch, self._epoch_end = next_offset, epoch, epoch_end
        return at

    def finish(self, position: int) -> None:
        """All were looked at, up to ``position``: does what follows fit? Raises: LogCorrupt."""
        after = self._following
        if after < self._next_offset or (after != self._next_offset and not self._may_have_gap()):
            self._fail(position, f"offset {after} behind {self._next_offset - 1}")

    def _may_follow(self, base: int, last: int, next_offset: int) -> bool:
        if next_offset >= 0:
            return base >= next_offset and self._may_have_gap()
        return last >= self._wanted and base >= 0 and (base <= self._wanted or self._may_have_gap())

    def _may_have_gap(self) -> bool:
        if self._is_dense and self._has_gaps():
            self._is_dense = False
        return not self._is_dense

    def _epoch_at(self, offset: int) -> tuple[int | None, int]:
        epochs = self._epochs
        number = bisect_right(epochs, offset, key=lambda each: each.start_offset) - 1
        end = epochs[number + 1].start_offset if number + 1 < len(epochs) else _NEVER
        return (epochs[number].epoch if number >= 0 else None), end

    def _fail(self, position: int, what: str) -> NoReturn:
        raise LogCorrupt(self._directory, f"{self._log_path} holds {what} at byte {position}")

    def missing(self, position: int) -> NoReturn:
        """The bytes end where there should be a batch. Raises: LogCorrupt."""
        self._fail(position, "no whole batch")
