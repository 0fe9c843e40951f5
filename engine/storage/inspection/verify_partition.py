"""One partition's directory: every batch, and everything that is derived from the batches, compared with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from engine.model.errors import KafkaError
from engine.model.ids import Uuid
from engine.record.batch import BatchHeader
from engine.record.reader import read_records
from engine.storage.checkpoints import PARTITION_METADATA, CheckpointCorrupt, decode_lines, read_partition_metadata
from engine.storage.inspection.batches import FoundBatch, Stop, walk
from engine.storage.inspection.findings import (
    BROKER_CUTS,
    COPY_ANEW,
    DELETE_FILE,
    RESTORE,
    Entry,
    finding,
    note,
)
from engine.storage.inspection.index_checks import OffsetIndexCheck, OpenTransactions, TimeIndexCheck, TxnIndexCheck
from engine.storage.leader_epochs import FILE_NAME as LEADER_EPOCHS
from engine.storage.leader_epochs import EpochEntry
from engine.storage.producer_snapshot import SUFFIX as SNAPSHOT_SUFFIX
from engine.storage.producer_snapshot import SnapshotCorrupt, decode
from engine.storage.segment import INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX
from engine.world import Disk

BatchCheck = Callable[[str, FoundBatch], Iterator[Entry]]
_MOST_EPOCH_FINDINGS = 5


class Expected(NamedTuple):
    """What the log directory's checkpoints say of the partition, read before its log; ``None`` where they say nothing.

    ``is_settled``: the broker was stopped in order, so nothing may be half done.
    """

    recovery_point: int | None = None
    high_watermark: int | None = None
    log_start_offset: int | None = None
    is_settled: bool = False


class Verified:
    """What was counted and learnt of a partition."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.topic_id: Uuid | None = None
        self.segments = self.batches = self.records = self.control_records = self.bytes = 0
        self.start_offset = 0
        self.end_offset = 0
        self.last_epoch = -1
        # Whether every batch was reached: behind a damage nobody knows where batches begin.
        self.is_whole = True
        self.has_gaps = False

    def entry(self, expected: Expected) -> Entry:
        """For JSON."""
        topic, _, partition = os.path.basename(self.directory).rpartition("-")
        return {
            "kind": "partition",
            "directory": self.directory,
            "topic": topic,
            "partition": int(partition) if partition.isdigit() else None,
            "segments": self.segments,
            "batches": self.batches,
            "records": self.records,
            "controlRecords": self.control_records,
            "bytes": self.bytes,
            "logStartOffset": self.start_offset,
            "logEndOffset": self.end_offset,
            "highWatermark": expected.high_watermark,
            "lastLeaderEpoch": self.last_epoch,
            "isWhole": self.is_whole,
        }


class PartitionVerifier:
    """Verifies one directory, once."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        expected: Expected,
        *,
        deep: bool = False,
        check_batch: BatchCheck | None = None,
        is_dense: bool = False,
    ) -> None:
        """``deep``: unpack every batch and count its records. ``check_batch``: what else to look for in each batch.
        ``is_dense``: nothing removes records from the middle of this log."""
        self._disk = disk
        self._directory = directory
        self._expected = expected
        self._deep = deep
        self._check_batch = check_batch
        self._is_dense = is_dense
        self._transactions = OpenTransactions()
        self._epochs: list[EpochEntry] = []
        self._has_epochs = False
        self._epochs_missing = False
        self._epoch_at = -1
        self._epoch_findings = 0
        self.result = Verified(directory)

    def verify(self) -> Iterator[Entry]:
        """Findings and notes, then ``result`` is complete. Raises ``OSError``."""
        names = self._disk.list_dir(self._directory)
        yield from self._read_metadata(names)
        yield from self._read_epochs(names)
        bases = sorted(int(name[:-4]) for name in names if name.endswith(LOG_SUFFIX) and name[:-4].isdigit())
        self.result.start_offset = max(bases[0] if bases else 0, self._expected.log_start_offset or 0)
        self.result.end_offset = bases[0] if bases else 0
        self._transactions.is_complete = self.result.end_offset == 0
        for number, base in enumerate(bases):
            following = bases[number + 1] if number + 1 < len(bases) else None
            try:
                yield from self._verify_segment(base, following, set(names))
            except FileNotFoundError as error:
                # Retention may have removed it meanwhile.
                if self._expected.is_settled or error.filename is None or self._disk.exists(error.filename):
                    raise
                yield note(error.filename, None, "it was deleted while it was read")
        yield from self._compare_with_checkpoints(bases)
        for name in names:
            if name.endswith(SNAPSHOT_SUFFIX):
                yield from self._verify_producers(name)

    # -- small files --------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _read_metadata(self, names: list[str]) -> Iterator[Entry]:
        path = self._path(PARTITION_METADATA)
        try:
            self.result.topic_id = read_partition_metadata(self._disk, self._directory)
        except (CheckpointCorrupt, UnicodeDecodeError):
            yield finding(path, 0, "it names no topic id", RESTORE)
        else:
            if self.result.topic_id is None:
                yield finding(path, None, "it is missing, so nobody knows whose records these are", RESTORE)

    def _read_epochs(self, names: list[str]) -> Iterator[Entry]:
        path = self._path(LEADER_EPOCHS)
        self._epochs_missing = LEADER_EPOCHS not in names
        if self._epochs_missing:
            return
        try:
            content = self._disk.read(path)
            for line in decode_lines(path, content):
                entry = EpochEntry(*(int(each) for each in line.split()))
                if self._epochs and (
                    entry.epoch <= self._epochs[-1].epoch or entry.start_offset <= self._epochs[-1].start_offset
                ):
                    at = max(content.find(f"\n{line}\n".encode()) + 1, 0)
                    yield finding(path, at, f"{line!r} does not ascend", DELETE_FILE)
                    return
                self._epochs.append(entry)
        except (CheckpointCorrupt, ValueError, TypeError) as error:
            said = str(error).removeprefix(f"{path} ") if isinstance(error, CheckpointCorrupt) else "it is no such file"
            yield finding(path, 0, said, DELETE_FILE)
            return
        self._has_epochs = True

    def _verify_producers(self, name: str) -> Iterator[Entry]:
        path = self._path(name)
        stem = name.removesuffix(SNAPSHOT_SUFFIX)
        try:
            entries = decode(path, self._disk.read(path))
        except SnapshotCorrupt as error:
            said = str(error).replace(path, "the file")
            yield finding(path, 2 if "CRC" in said else 0, said, DELETE_FILE)
            return
        except FileNotFoundError:
            return
        if not stem.isdigit():
            yield finding(path, None, "its name is no offset", DELETE_FILE)
            return
        for number, entry in enumerate(entries):
            if entry.last_offset >= int(stem):
                what = f"producer {entry.producer_id} wrote offset {entry.last_offset}, behind the snapshot"
                yield finding(path, 10 + 42 * number, what, DELETE_FILE)

    # -- segments -----------------------------------------------------------------------------------------------

    def _verify_segment(self, base: int, following: int | None, names: set[str]) -> Iterator[Entry]:
        result, disk = self.result, self._disk
        prefix = self._path(f"{base:020d}")
        path = prefix + LOG_SUFFIX
        is_last = following is None
        is_growing = is_last and not self._expected.is_settled
        if base < result.end_offset:
            what = f"the segment before it ends at offset {result.end_offset}, behind this one's base"
            yield finding(path, 0, what, COPY_ANEW)
        elif base > result.end_offset:
            result.has_gaps = True
            self._transactions.is_complete = False
            if self._is_dense and result.is_whole:
                what = f"the segment before it ends at offset {result.end_offset}: what is between them is missing"
                yield finding(path, 0, what, COPY_ANEW)
        result.end_offset = max(result.end_offset, base)
        offsets, times = None, None
        file = disk.open(path, read_only=True)
        try:
            end = file.size()
            result.segments += 1
            result.bytes += end
            for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX):
                if os.path.basename(prefix) + suffix not in names and end and not is_growing:
                    what = "it is missing"
                    yield finding(prefix + suffix, None, what, "nothing: it is made again at the next start")
            with suppress(FileNotFoundError):
                offsets = OffsetIndexCheck(disk, prefix + INDEX_SUFFIX, base)
            with suppress(FileNotFoundError):
                times = TimeIndexCheck(disk, prefix + TIME_INDEX_SUFFIX, base)
            exists = disk.exists(prefix + TXN_INDEX_SUFFIX)
            aborted = TxnIndexCheck(disk, prefix + TXN_INDEX_SUFFIX, self._transactions, exists=exists)
            end_position = 0
            for found in walk(file, 0, end):
                if isinstance(found, Stop):
                    result.is_whole = self._transactions.is_complete = False
                    yield self._stopped(path, found, is_last=is_last)
                    break
                end_position = found.end_position
                yield from self._verify_batch(path, found, base, following)
                if offsets is not None:
                    yield from offsets.on_batch(found)
                if times is not None:
                    yield from times.on_batch(found)
                yield from aborted.on_batch(found)
        finally:
            file.close()
        may_be_ahead = is_growing or not result.is_whole
        if offsets is not None:
            yield from offsets.finish(end_position, may_be_ahead=may_be_ahead)
        if times is not None:
            yield from times.finish(result.end_offset, may_be_ahead=may_be_ahead)
        yield from aborted.finish(may_be_ahead=may_be_ahead)

    def _stopped(self, path: str, stop: Stop, *, is_last: bool) -> Entry:
        offset = self.result.end_offset
        what = f"{stop.reason}; {stop.bytes_left} bytes from offset {offset} on are no batches"
        if not (is_last and stop.is_tail):
            return finding(path, stop.position, what, COPY_ANEW)
        recovery_point = self._expected.recovery_point or 0
        if self._expected.is_settled or offset < recovery_point:
            return finding(path, stop.position, what, COPY_ANEW)
        return note(path, stop.position, f"the tail is not complete: {what}; if no broker is writing it, {BROKER_CUTS}")

    def _verify_batch(self, path: str, found: FoundBatch, base: int, following: int | None) -> Iterator[Entry]:
        result, header = self.result, found.header
        result.batches += 1
        if header.is_control:
            result.control_records += header.record_count
        else:
            result.records += header.record_count
        at = f"the batch of offsets {header.base_offset} to {header.last_offset}"
        if not found.crc_matches:
            yield finding(path, found.position, f"{at} does not match its CRC", COPY_ANEW)
        elif self._deep:
            yield from self._unpack(path, found, at)
        if header.last_offset_delta < 0 or not 0 <= header.record_count <= header.last_offset_delta + 1:
            what = f"{at} cannot have {header.record_count} records"
            yield finding(path, found.position, what, COPY_ANEW)
        if header.base_offset < result.end_offset:
            what = f"{at} follows offset {result.end_offset - 1}: offsets do not ascend"
            yield finding(path, found.position, what, COPY_ANEW)
        elif header.base_offset > result.end_offset:
            result.has_gaps = True
            if self._is_dense:
                what = f"{at} follows offset {result.end_offset - 1}: what is between them is missing"
                yield finding(path, found.position, what, COPY_ANEW)
        if header.record_count != header.last_offset_delta + 1:
            result.has_gaps = True
        if result.has_gaps:
            self._transactions.is_complete = False
        if following is not None and header.last_offset >= following:
            what = f"{at} reaches into the next segment, which begins at {following}"
            yield finding(path, found.position, what, COPY_ANEW)
        if header.base_offset - base > 0x7FFFFFFF:
            what = f"{at} is too far from the segment's base {base}"
            yield finding(path, found.position, what, COPY_ANEW)
        epoch = header.partition_leader_epoch
        if epoch < result.last_epoch:
            what = f"{at} has leader epoch {epoch} after {result.last_epoch}: epochs fall"
            yield finding(path, found.position, what, COPY_ANEW)
        result.last_epoch = max(result.last_epoch, epoch)
        yield from self._compare_epoch(path, found)
        result.end_offset = max(result.end_offset, header.next_offset)
        if self._check_batch is not None and found.crc_matches:
            yield from self._check_batch(path, found)

    def _unpack(self, path: str, found: FoundBatch, at: str) -> Iterator[Entry]:
        if found.data is None:
            yield note(path, found.position, f"{at} is too large to be unpacked")
            return
        count = 0
        try:
            for record in read_records(found.data, found.header):
                count += 1
                if not found.header.base_offset <= record.offset <= found.header.last_offset:
                    yield finding(path, found.position, f"{at} has a record of offset {record.offset}", COPY_ANEW)
                    return
        except KafkaError as error:
            yield finding(path, found.position, f"{at}: {error.message}", COPY_ANEW)

    def _compare_epoch(self, path: str, found: FoundBatch) -> Iterator[Entry]:
        header, epochs = found.header, self._epochs
        if not self._has_epochs or not self._is_epoch_saved(header) or header.partition_leader_epoch < 0:
            return
        first = max(header.base_offset, self.result.start_offset)
        while self._epoch_at + 1 < len(epochs) and epochs[self._epoch_at + 1].start_offset <= first:
            self._epoch_at += 1
        said = epochs[self._epoch_at].epoch if self._epoch_at >= 0 else -1
        if said != header.partition_leader_epoch and self._epoch_findings < _MOST_EPOCH_FINDINGS:
            self._epoch_findings += 1
            of_file = f"epoch {said}" if said >= 0 else "no epoch"
            what = (
                f"it has {of_file} for offset {first}, and the batch at byte {found.position} of "
                f"{os.path.basename(path)} has {header.partition_leader_epoch}"
            )
            yield finding(self._path(LEADER_EPOCHS), None, what, DELETE_FILE)

    def _is_epoch_saved(self, header: BatchHeader) -> bool:
        """Epochs are saved before the recovery point passes them; those before the log's start are forgotten."""
        if header.last_offset < self.result.start_offset:
            return False
        return self._expected.is_settled or header.base_offset < (self._expected.recovery_point or 0)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _compare_with_checkpoints(self, bases: list[int]) -> Iterator[Entry]:
        expected, result = self._expected, self.result
        if not bases:
            if expected.is_settled or expected.recovery_point:
                yield finding(self._directory, None, "it has no segment", COPY_ANEW)
            return
        if self._epochs_missing and expected.is_settled and result.last_epoch >= 0:
            # A log without a record can do without it.
            path = self._path(LEADER_EPOCHS)
            yield finding(path, None, "it is missing", "nothing: it is made again at the next start")
        if self._has_epochs and self._epochs and expected.is_settled and result.is_whole:
            last = self._epochs[-1]
            if last.start_offset > result.end_offset:
                what = f"epoch {last.epoch} begins at {last.start_offset}, behind the log's end {result.end_offset}"
                yield finding(self._path(LEADER_EPOCHS), None, what, DELETE_FILE)
        log = self._path(f"{bases[-1]:020d}{LOG_SUFFIX}")
        for name, offset in (
            ("recovery point", expected.recovery_point),
            ("high watermark", expected.high_watermark),
            ("log start", expected.log_start_offset),
        ):
            if offset is not None and offset > result.end_offset:
                size = 0
                with suppress(FileNotFoundError):
                    size = self._disk.file_size(log)
                what = f"the log ends at offset {result.end_offset}, before the {name} {offset} of the checkpoint"
                yield finding(log, size, what, COPY_ANEW)
        high_watermark, start = expected.high_watermark, expected.log_start_offset
        if expected.is_settled and high_watermark is not None and start is not None and start > high_watermark:
            yield finding(log, None, f"the log start {start} is behind the high watermark {high_watermark}", COPY_ANEW)
