"""``leader-epoch-checkpoint``: which leader epoch begins where in a log. Kafka: LeaderEpochFileCache."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from engine.storage.checkpoints import CheckpointCorrupt, decode_lines, encode_lines
from engine.world import Disk

FILE_NAME = "leader-epoch-checkpoint"
UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1
_NOWHERE = 2**63


class EpochEntry(NamedTuple):
    """A leader epoch and the offset of its first record."""

    epoch: int
    start_offset: int


class LeaderEpochs:
    """The history of a log's leader epochs, ascending in both fields.

    What a cut changes is on the device when it returns. A new epoch is not: those that begin at ``unsaved_from`` and
    later wait for :meth:`save_new`, which must come before the log's recovery point passes their first record. A log
    that is recovered before that finds its epochs in its batches; an epoch without any is lost, and nobody can have
    records of it.

    Satisfies :class:`engine.core.replica.truncation.EpochHistory`.
    """

    __slots__ = ("_disk", "_log_end_offset", "_path", "_save_lock", "entries", "latest_epoch", "unsaved_from")

    def __init__(self, disk: Disk, directory: str, log_end_offset: Callable[[], int]) -> None:
        """Empty; see :meth:`load`."""
        self._disk = disk
        self._path = f"{directory}/{FILE_NAME}"
        self._log_end_offset = log_end_offset
        self.entries: list[EpochEntry] = []
        # -1 if there is none; read on every append.
        self.latest_epoch = UNDEFINED_EPOCH
        self.unsaved_from = _NOWHERE
        self._save_lock = threading.Lock()

    def load(self) -> bool:
        """Read the file; False if there is none.

        Raises:
            CheckpointCorrupt: it is no such file, or its entries do not ascend.
        """
        try:
            content = self._disk.read(self._path)
        except FileNotFoundError:
            return False
        entries: list[EpochEntry] = []
        for line in decode_lines(self._path, content):
            try:
                epoch, start_offset = (int(each) for each in line.split())
            except ValueError:
                raise CheckpointCorrupt(f"{self._path}: {line!r} is not an epoch and an offset") from None
            if epoch < 0 or start_offset < 0:
                raise CheckpointCorrupt(f"{self._path}: {line!r} is negative")
            if entries and (epoch <= entries[-1].epoch or start_offset <= entries[-1].start_offset):
                raise CheckpointCorrupt(f"{self._path}: {line!r} does not ascend")
            entries.append(EpochEntry(epoch, start_offset))
        self.entries = entries
        self.latest_epoch = entries[-1].epoch if entries else UNDEFINED_EPOCH
        return True

    def move(self, directory: str) -> None:
        """The partition's directory has another name."""
        self._path = f"{directory}/{FILE_NAME}"

    # -- changing -----------------------------------------------------------------------------------------------

    def assign(self, epoch: int, start_offset: int) -> None:
        """The batch at ``start_offset`` has ``epoch``; entries that contradict go. :meth:`save_new` follows."""
        if self.note(epoch, start_offset):
            self.unsaved_from = min(self.unsaved_from, start_offset)

    def note(self, epoch: int, start_offset: int) -> bool:
        """The same for who saves by itself; whether something changed."""
        assert epoch >= 0 and start_offset >= 0, (epoch, start_offset)
        entries = self.entries
        if entries and entries[-1].epoch == epoch and entries[-1].start_offset <= start_offset:
            return False
        # A leader notes its epoch before it writes; another leader's records may come to stand there instead.
        while entries and entries[-1].start_offset >= start_offset:
            entries.pop()
        while entries and entries[-1].epoch > epoch:
            entries.pop()
        if not entries or entries[-1].epoch != epoch:
            entries.append(EpochEntry(epoch, start_offset))
        self.latest_epoch = epoch
        return True

    def forget_from(self, offset: int) -> None:
        """Records from ``offset`` on may be others than the entries speak of; in memory only."""
        while self.entries and self.entries[-1].start_offset >= offset:
            self.entries.pop()
        self.latest_epoch = self.entries[-1].epoch if self.entries else UNDEFINED_EPOCH

    def truncate_from_end(self, end_offset: int) -> None:
        """The log ends at ``end_offset``. Raises ``OSError``."""
        entries = self.entries
        before = len(entries)
        while entries and entries[-1].start_offset >= end_offset:
            entries.pop()
        if len(entries) != before:
            self._changed()

    def truncate_from_start(self, start_offset: int) -> None:
        """The log starts at ``start_offset``: the epoch that it lies in starts there too. Raises ``OSError``."""
        entries = self.entries
        index = bisect_right(entries, start_offset, key=lambda each: each.start_offset) - 1
        if index < 0 or (entries[index].start_offset == start_offset and index == 0):
            return
        self.entries = [EpochEntry(entries[index].epoch, start_offset), *entries[index + 1 :]]
        self._changed()

    def clear(self) -> None:
        """Forget everything. Raises ``OSError``."""
        if self.entries:
            self.entries = []
            self._changed()

    def _changed(self) -> None:
        self.latest_epoch = self.entries[-1].epoch if self.entries else UNDEFINED_EPOCH
        self.save()

    def save(self) -> None:
        """Replace the file, durably. Raises ``OSError``."""
        with self._save_lock:
            self.unsaved_from = _NOWHERE
            entries = list(self.entries)
            self._disk.write_atomic(self._path, encode_lines(f"{epoch} {start}" for epoch, start in entries))

    def save_new(self) -> None:
        """Make epochs that were assigned last. May run in a thread of its own. Raises ``OSError``."""
        if self.is_unsaved:
            self.save()

    @property
    def is_unsaved(self) -> bool:
        """Whether the file lacks an epoch."""
        return self.unsaved_from != _NOWHERE

    # -- answers ------------------------------------------------------------------------------------------------

    def end_offset_for(self, epoch: int) -> tuple[int, int]:
        """The largest epoch ≤ ``epoch`` in the log and the offset where it ends; the latest ends with the log.

        Beyond the latest, or without any history: (-1, -1). Below the first entry: (``epoch``, that entry's start).
        """
        entries = self.entries
        if epoch == UNDEFINED_EPOCH or not entries or epoch > self.latest_epoch:
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        if epoch == self.latest_epoch:
            return epoch, self._log_end_offset()
        index = bisect_right(entries, epoch, key=lambda each: each.epoch)
        end_offset = entries[index].start_offset
        return (epoch if index == 0 else entries[index - 1].epoch), end_offset

    def epoch_for_offset(self, offset: int) -> int:
        """The epoch of the record at ``offset``; -1 if that is before the history begins, or nothing is known."""
        entries = self.entries
        if entries and entries[-1].start_offset <= offset:
            return self.latest_epoch
        index = bisect_right(entries, offset, key=lambda each: each.start_offset) - 1
        return entries[index].epoch if index >= 0 else UNDEFINED_EPOCH
