"""Opening a log: what is in its directory, how far its bytes are good, what its producers had written.

Kafka: LogLoader. Differences, for promise L2: bad bytes below the recovery point are
never cut, they make the log unusable (:class:`LogCorrupt`); and a gap between two segments that were not synced, as a
loss of power leaves it, ends the log.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from engine.model.errors import KafkaError
from engine.model.topic_config import LogConfig
from engine.record.batch import NO_LEADER_EPOCH, BatchHeader
from engine.storage.batch_scan import scan_intact_batches
from engine.storage.checkpoints import CheckpointCorrupt
from engine.storage.failure import LogCorrupt
from engine.storage.file_pool import FilePool
from engine.storage.leader_epochs import EpochEntry, LeaderEpochs
from engine.storage.producer_snapshot import SUFFIX as SNAPSHOT_SUFFIX
from engine.storage.producer_snapshot import snapshot_offsets
from engine.storage.producer_state import ProducerStateManager
from engine.storage.rebuild import rebuild_producers
from engine.storage.segment import (
    CLEANED_SUFFIX,
    DELETED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    MAX_RELATIVE_OFFSET,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    Segment,
    file_name,
)
from engine.world import Disk
from engine.world.replacement import BESIDE_SUFFIX

log = logging.getLogger(__name__)

# KRaft's snapshots that wait to be removed are the metadata log's business.
_METADATA_SNAPSHOT = ".checkpoint"
# More than this is a segment that begins where no index of the one before reaches to.
_NOT_LOST_OFFSETS = MAX_RELATIVE_OFFSET // 2


class LoadedLog(NamedTuple):
    """What an opened log starts with. ``segments`` has one at least, the last of which takes appends.

    ``is_changed``: something was cut or removed, which is not on the device yet.
    """

    segments: list[Segment]
    log_start_offset: int
    log_end_offset: int
    recovery_point: int
    is_changed: bool


class LogLoader:
    """Loads one log."""

    def __init__(
        self,
        pool: FilePool,
        directory: str,
        config: LogConfig,
        epochs: LeaderEpochs,
        producers: ProducerStateManager,
        *,
        clean_shutdown: bool,
        recovery_point: int,
        log_start_offset: int,
        is_dense: bool,
        compacted_to: float,
        checks_synced: bool,
        now_ms: int,
    ) -> None:
        """``is_dense``: offsets without a gap are sure to have been written, see the module. Where it is not, segments
        below ``compacted_to`` may end before the next one begins. ``checks_synced``: look at what was synced, too."""
        self._pool = pool
        self._disk = pool.disk
        self._directory = directory
        self._config = config
        self._epochs = epochs
        self._producers = producers
        self._clean_shutdown = clean_shutdown
        self._recovery_point = recovery_point
        self._log_start_offset = log_start_offset
        self._is_dense = is_dense
        self._compacted_to = compacted_to
        self._checks_synced = checks_synced
        self._now_ms = now_ms
        self._segments: list[Segment] = []
        # The segment whose end was cut.
        self._cut: Segment | None = None
        self._is_changed = False

    def load(self) -> LoadedLog:
        """Do it.

        Raises:
            LogCorrupt: bytes that were synced are not what they were.
            OSError: the directory cannot be read or written.
        """
        names = finish_swaps(self._disk, self._directory)
        self._producers.snapshots.offsets = snapshot_offsets(names)
        self._find_segments(names)
        saved_epochs = self._load_epochs()
        first = self._check_synced_segments()
        end_offset = self._recover(first)
        segments = self._segments
        if end_offset < self._recovery_point:
            raise LogCorrupt(
                self._directory, f"it was synced up to offset {self._recovery_point} and ends at {end_offset}"
            )
        if segments and end_offset < self._log_start_offset:
            log.warning(
                "%s ends at %d, before its start %d: it begins anew",
                self._directory,
                end_offset,
                self._log_start_offset,
            )
            for segment in segments:
                _remove_segment(self._disk, segment)
            segments.clear()
            self._epochs.clear()
        if not segments:
            end_offset = self._log_start_offset
            segments.append(
                Segment.create(self._pool, self._directory, end_offset, self._config.index_interval_bytes, self._now_ms)
            )
            self._is_changed = True
        segments[-1].is_active = True
        start_offset = max(self._log_start_offset, segments[0].base_offset)
        self._settle_epochs(saved_epochs, start_offset, end_offset)
        self._load_producers(start_offset, end_offset)
        recovery_point = end_offset if self._clean_shutdown else min(self._recovery_point, end_offset)
        for segment in segments:
            # What was cut, now or by a process that was killed before it synced that, must not be back behind a clean
            # shutdown, which has nobody look at it again.
            segment.unsynced = segment is self._cut or (
                not self._clean_shutdown
                and (segment is segments[-1] or (recovery_point < end_offset and segment.unsynced))
            )
        return LoadedLog(segments, start_offset, end_offset, recovery_point, self._is_changed)

    # -- files --------------------------------------------------------------------------------------------------

    def _find_segments(self, names: list[str]) -> None:
        bases = sorted(int(name[:-4]) for name in names if name.endswith(LOG_SUFFIX) and name[:-4].isdigit())
        known = set(bases)
        for name in names:
            stem, _, suffix = name.partition(".")
            if not stem.isdigit():
                continue
            if suffix.endswith(BESIDE_SUFFIX):
                self._disk.remove(f"{self._directory}/{name}")
            elif "." + suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX) and int(stem) not in known:
                log.warning("removed %s/%s: there is no log file of that name", self._directory, name)
                self._disk.remove(f"{self._directory}/{name}")
        interval = self._config.index_interval_bytes
        for base in bases:
            size = self._disk.file_size(f"{self._directory}/{file_name(base)}{LOG_SUFFIX}")
            self._segments.append(Segment(self._pool, self._directory, base, interval, self._now_ms, size))

    # -- bytes --------------------------------------------------------------------------------------------------

    def _check_synced_segments(self) -> int:
        """Look at the ends of segments that were synced as a whole; returns the first one's number that was not."""
        segments = self._segments
        if not segments:
            return 0
        first = len(segments) - 1
        if self._checks_synced:
            return 0
        if not self._clean_shutdown:
            # One that ends there was still taking appends when its records were synced: its indexes were not.
            bases = [each.base_offset for each in segments]
            first = max(bisect_left(bases, self._recovery_point) - 1, 0)
        for number in range(first):
            segment, following = segments[number], segments[number + 1]
            end = self._end_of(segment)
            if end is not None and end <= following.base_offset:
                continue
            if following.base_offset >= self._recovery_point and not self._clean_shutdown:
                # It was cut, there or before, which was not synced and is undone.
                return number
            raise LogCorrupt(self._directory, f"{segment.log_path} does not end with a whole batch")
        return first

    def _end_of(self, segment: Segment) -> int | None:
        """The offset after the last batch; ``None`` if the file does not end with a batch."""
        if not segment.size:
            return segment.base_offset
        try:
            found = segment.last_end_within(0, segment.size)
        except KafkaError:
            return None
        return None if found is None or found[0] != segment.size else found[1]

    def _recover(self, first: int) -> int:
        """Keep the longest valid prefix of what was not synced; returns the log's end."""
        segments = self._segments
        if not segments:
            return self._log_start_offset
        if self._clean_shutdown:
            end = self._end_of(segments[-1])
            if end is not None:
                return end
            log.warning("%s does not end with a whole batch after a clean shutdown", segments[-1].log_path)
        end_offset = segments[first].base_offset
        number = first
        while number < len(segments):
            segment = segments[number]
            segment.unsynced = True
            end_position, end_offset = self._recover_segment(segment)
            following = segments[number + 1] if number + 1 < len(segments) else None
            is_torn = end_position < segment.size
            if is_torn and end_offset < self._recovery_point:
                raise LogCorrupt(
                    self._directory,
                    f"{segment.log_path} holds no valid batch at offset {end_offset} (byte {end_position}), "
                    f"and was synced up to offset {self._recovery_point}",
                )
            if is_torn:
                log.warning(
                    "%s: cut %d bytes behind the last valid batch; the log goes on at offset %d",
                    segment.log_path,
                    segment.size - end_position,
                    end_offset,
                )
                segment.truncate(end_position, end_offset)
                self._cut, self._is_changed = segment, True
            elif following is not None:
                gap = following.base_offset - end_offset
                if gap and self._checks_synced and end_offset < self._recovery_point:
                    raise LogCorrupt(
                        self._directory,
                        f"offset {following.base_offset} follows {end_offset - 1} in {following.log_path}",
                    )
                is_gap = gap > 0 and (end_offset < self._recovery_point or self._may_be_gap(following, gap))
                if (gap == 0 or is_gap) and not self._is_of_the_past(following):
                    segment.save_indexes()
                    number += 1
                    continue
                # The end was lost, or a cut that was not synced is undone.
                log.warning("%s: the offsets from %d on do not go on", self._directory, end_offset)
            for each in segments[number + 1 :]:
                log.warning("removed %s: it follows on bytes that are lost", each.log_path)
                _remove_segment(self._disk, each)
                self._is_changed = True
            del segments[number + 1 :]
            break
        return end_offset

    def _may_be_gap(self, following: Segment, gap: int) -> bool:
        """Whether the offsets between a segment that was not synced and the next one were compacted, not lost.

        A segment begins where the log ended, also in a replica of a log with gaps: only compaction removes its end.
        That takes what is below the recovery point, and the checkpoints know of it before it takes anything.
        """
        if self._is_dense:
            return False
        return following.base_offset <= self._compacted_to or gap > _NOT_LOST_OFFSETS

    def _is_of_the_past(self, following: Segment) -> bool:
        """Whether a segment that was not synced is back from before a cut, and what was written after the cut is there
        as well: leader epochs do not fall in a log."""
        if following.base_offset < self._recovery_point:
            return False
        first = next((header for _, header in following.headers()), None)
        return first is not None and 0 <= first.partition_leader_epoch < self._epochs.latest_epoch

    def _recover_segment(self, segment: Segment) -> tuple[int, int]:
        """Check every batch that may not have been synced; returns where the valid ones end, and the next offset."""
        try:
            segment.txn_index.entries()
        except ValueError as error:
            # A loss of power tore it; it is made again with the producers.
            log.warning("%s", error)
            segment.txn_index.reset()
        unsynced_from = segment.base_offset if self._checks_synced else self._recovery_point
        start = segment.begin_recovery(max(unsynced_from, segment.base_offset))
        end_position, end_offset = start, segment.base_offset
        epochs, last_epoch = self._epochs, NO_LEADER_EPOCH
        for position, header in scan_intact_batches(segment.reader(), start, segment.size):
            epoch = header.partition_leader_epoch
            # What the CRC does not cover.
            if header.base_offset < end_offset or not segment.fits(header.last_offset):
                break
            if (
                self._is_dense
                and position
                and (epoch < last_epoch or (header.base_offset > end_offset and position > start))
            ):
                break
            if last_epoch == NO_LEADER_EPOCH:
                # A cut that was not synced is undone, and the epochs were those of what followed on it.
                epochs.forget_from(header.base_offset)
            last_epoch = epoch
            segment.recovered(position, header)
            if epoch > epochs.latest_epoch:
                epochs.note(epoch, header.base_offset)
            end_position, end_offset = position + header.size_in_bytes, header.next_offset
        return end_position, end_offset

    # -- epochs -------------------------------------------------------------------------------------------------

    def _load_epochs(self) -> list[EpochEntry] | None:
        """What the file says; ``None`` if it says nothing."""
        try:
            return list(self._epochs.entries) if self._epochs.load() else None
        except CheckpointCorrupt as error:
            log.warning("the leader epochs are made from the log: %s", error)
            return None

    def _settle_epochs(self, saved: list[EpochEntry] | None, start_offset: int, end_offset: int) -> None:
        epochs = self._epochs
        known = epochs.entries if saved is not None else []
        # A log may begin before its epochs: segments that retention had removed are back after a loss of power.
        known_from = known[0].start_offset if known else end_offset
        if known_from > start_offset:
            known = list(known)
            epochs.forget_from(0)
            for segment in self._segments:
                if segment.base_offset >= known_from:
                    break
                for _, header in segment.headers():
                    if header.base_offset < known_from and header.partition_leader_epoch > epochs.latest_epoch:
                        epochs.note(header.partition_leader_epoch, header.base_offset)
            for entry in known:
                epochs.note(entry.epoch, entry.start_offset)
        if epochs.entries != (saved or []):
            # The next flush saves them, before the recovery point passes what they were made from. Here thousands of
            # logs would wait for the device, one after the other.
            epochs.unsaved_from = 0
        epochs.truncate_from_end(end_offset)
        epochs.truncate_from_start(start_offset)

    # -- producers ----------------------------------------------------------------------------------------------

    def _load_producers(self, start_offset: int, end_offset: int) -> None:
        """From the last good snapshot and the batches that follow it; lost transaction indexes are made again."""
        segments, producers = self._segments, self._producers
        producers.snapshots.remove_stray([each.base_offset for each in segments])
        rebuild_from = end_offset if self._clean_shutdown else min(self._recovery_point, end_offset)
        ends = [*[each.base_offset for each in segments[1:]], end_offset]
        lost: list[tuple[Segment, int]] = []
        for segment, end in zip(segments, ends, strict=True):
            try:
                self._check_aborted(segment)
            except ValueError as error:
                log.warning("the aborted transactions are made from the log: %s", error)
                segment.txn_index.reset()
                rebuild_from = min(rebuild_from, segment.base_offset)
            if segment.txn_index.is_missing and segment.size and producers.snapshots.knows_transactions(end):
                lost.append((segment, end))
                rebuild_from = min(rebuild_from, segment.base_offset)
        for segment in segments:
            segment.txn_index.begin_rebuild(rebuild_from)
        rebuild_producers(producers, segments, start_offset, end_offset, rebuild_from, self._now_ms)
        for segment in segments:
            segment.txn_index.end_rebuild()
        for segment, end in lost:
            if end < end_offset and producers.snapshots.knows_transactions(end):
                segment.txn_index.make()

    def _check_aborted(self, segment: Segment) -> None:
        """Hold the index of aborted transactions, which bears no checksum, against the batches that it speaks of. In a
        compacted log they may be gone.

        Raises:
            ValueError: it is not what it was, or the log has lost what it speaks of.
        """
        for entry in segment.txn_index.entries():
            if not self._is_dense:
                return
            marker = self._batch_at(entry.last_offset)
            begun = self._batch_at(entry.first_offset)
            is_right = marker is not None and marker.is_control and marker.producer_id == entry.producer_id
            if begun is not None and (begun.is_control or begun.producer_id != entry.producer_id):
                is_right = False
            if entry.last_stable_offset <= entry.last_offset:
                # Another transaction was open, which began there.
                other = self._batch_at(entry.last_stable_offset)
                is_right = is_right and (other is None or (other.is_transactional and not other.is_control))
            if not is_right:
                raise ValueError(f"{segment.txn_index.path}: the batches say something else than {entry}")

    def _batch_at(self, offset: int) -> BatchHeader | None:
        """The batch that begins at an offset; ``None`` before the first segment.

        Raises:
            ValueError: none begins there.
        """
        number = bisect_right(self._segments, offset, key=lambda each: each.base_offset) - 1
        if number < 0:
            return None
        segment = self._segments[number]
        header = next((each for _, each in segment.headers(segment.position_of(offset))), None)
        if header is None or header.base_offset != offset:
            raise ValueError(f"{segment.log_path}: no batch begins at offset {offset}")
        return header


def finish_swaps(disk: Disk, directory: str) -> list[str]:
    """Bring the files to what they were before, or to what they should be after, a compaction that a crash cut off.

    ``.deleted`` and ``.cleaned`` files go; ``.swap`` files take the place of the segments that they are made from
    (LogLoader.removeTempFilesAndCollectSwapFiles). Returns the names that remain.
    """
    names = disk.list_dir(directory)
    cleaned = [name for name in names if name.endswith(CLEANED_SUFFIX)]
    first_cleaned = min((_offset_of(name) for name in cleaned), default=None)
    swaps: list[str] = []
    for name in names:
        if (name.endswith(DELETED_SUFFIX) and _METADATA_SNAPSHOT not in name) or name.endswith(CLEANED_SUFFIX):
            disk.remove(f"{directory}/{name}")
        elif name.endswith(SWAP_SUFFIX):
            if first_cleaned is not None and _offset_of(name) >= first_cleaned:
                disk.remove(f"{directory}/{name}")
            else:
                swaps.append(name)
    if swaps:
        _swap_in(disk, directory, swaps)
    return disk.list_dir(directory)


def _swap_in(disk: Disk, directory: str, swaps: list[str]) -> None:
    """Remove the segments whose batches the swap files hold, then give those their names."""
    pool = FilePool(disk, 4)
    low, high = None, -1
    for name in swaps:
        if not name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
            continue
        base = _offset_of(name)
        end = base
        path = f"{directory}/{name}"
        for _, header in scan_intact_batches(pool.file(path), 0, disk.file_size(path)):
            end = header.next_offset
        low = base if low is None else min(low, base)
        high = max(high, end)
    pool.close()
    if low is not None:
        for name in disk.list_dir(directory):
            stem = name.partition(".")[0]
            is_old = stem.isdigit() and low <= int(stem) < high and not name.endswith(SWAP_SUFFIX)
            if is_old and not name.endswith(SNAPSHOT_SUFFIX):
                disk.remove(f"{directory}/{name}")
    for name in swaps:
        log.info("%s/%s takes its place", directory, name)
        disk.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix(SWAP_SUFFIX)}")
    disk.sync_dir(directory)


def _offset_of(name: str) -> int:
    stem = name.partition(".")[0]
    return int(stem) if stem.isdigit() else -1


def _remove_segment(disk: Disk, segment: Segment) -> None:
    for path in segment.rename_deleted():
        disk.remove(path)
    segment.close()
