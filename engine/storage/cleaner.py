"""Compaction of one log: the last record of each key stays. Kafka: Cleaner.

First the dirty part is read into an :class:`~engine.storage.offset_map.OffsetMap`, then everything before the end of
that part is written anew, group by group of segments, and takes the old ones' place. A crash leaves the old or the new:

1. the new segment is written and synced under ``.cleaned`` names: those are thrown away at a start;
2. it gets its ``.swap`` names, synced: from here on a start lets it take the old ones' place;
3. it is read from, the old ones get their ``.deleted`` names, synced;
4. it gets its final names.

The owner of the log drives it: what a generator here yields is work that waits for the disk and may run in a thread of
its own, in bounded pieces; between the pieces the generator itself runs where the log lives.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import HEADER_BYTES, LOG_OVERHEAD_BYTES, BatchHeader, is_intact, read_header
from engine.record.compaction import delete_horizon_of, emptied_batch, scan_records, thinned_batch
from engine.record.reader import unpacked
from engine.storage.cleaner_plan import LogToClean, group_segments
from engine.storage.cleaner_transactions import CleanedTransactions
from engine.storage.file_pool import FilePool
from engine.storage.local_log import CleaningGuard
from engine.storage.log import Log
from engine.storage.offset_map import OffsetMap
from engine.storage.segment import CLEANED_SUFFIX, Segment
from engine.storage.txn_index import AbortedTxn
from engine.world import Disk

# Bytes that one piece of work reads, and bytes of one read: a thread gives way to others between its reads.
_STEP_BYTES = 1 << 20
_READ_BYTES = 64 * 1024
_WRITE_BYTES = 256 * 1024


class Piece(NamedTuple):
    """What one piece of work did: whether it was the last of its kind, and how many bytes it read and wrote."""

    is_last: bool
    bytes: int


Work: TypeAlias = Callable[[], Piece]


class CleaningStopped(Exception):
    """Thrown into a cleaning whose broker is leaving: it removes what it made, and ends."""


class CleanedLog(NamedTuple):
    """What a cleaning did. Sizes are those of the ``.log`` files that it wrote anew, ``keys`` those of its map."""

    end_offset: int
    bytes_before: int
    bytes_after: int
    bytes_read: int
    keys: int


class _LastRecord(NamedTuple):
    """Where an active producer's last batch is: -1 if a marker alone is left of it (LastRecord)."""

    last_data_offset: int
    producer_epoch: int


Cleaning: TypeAlias = Generator[Work, Piece, CleanedLog | None]


def clean(to_clean: LogToClean, now_ms: int, map_bytes: int) -> Cleaning:
    """Compact a log; yields pieces of work, and wants to be sent what each did, or have thrown what it raised.

    Returns ``None`` if the log was cut or deleted meanwhile, which ends it. ``map_bytes`` is the memory for keys.

    Raises:
        KafkaError: records cannot be read, or a key has no room in the memory.
        LogDirFailure, OSError: the disk fails.
    """
    log = to_clean.log
    guard = log.begin_cleaning(to_clean.segments)
    try:
        if log.first_dirty_offset is None:
            log.first_dirty_offset = to_clean.first_dirty_offset
        if log.before_gap is not None:
            yield from _in_one(log.before_gap)
        offsets = OffsetMap(map_bytes)
        start_offset = to_clean.first_dirty_offset
        ends = [*[each.base_offset for each in to_clean.segments[1:]], to_clean.end_offset]
        dirty = [(each, end) for each, end in zip(to_clean.segments, ends, strict=True) if end > start_offset]
        aborted = log.aborted_transactions(start_offset, to_clean.end_offset)
        yield from _in_pieces(_index(log.disk, dirty, start_offset, aborted, offsets), guard)
        if guard.is_void:
            return None
        end_offset = offsets.latest_offset + 1
        if end_offset <= start_offset:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"{log.topic_partition}: not even the key at offset {start_offset} fits into "
                f"{map_bytes} bytes: set log.cleaner.dedupe.buffer.size higher",
            )
        segments = [each for each in to_clean.segments if each.base_offset < end_offset]
        upper = ends[len(segments) - 1]
        before = after = 0
        transactions = CleanedTransactions()
        transactions.add(log.aborted_transactions(segments[0].base_offset, upper))
        for group in group_segments(segments, upper, log.config.segment_bytes, log.config.segment_index_bytes):
            old_bytes = sum(each.size for each in group)
            new = yield from _clean_group(log, guard, group, to_clean, offsets, transactions, now_ms)
            if new is None:
                return None
            before += old_bytes
            after += new.size
        log.end_cleaning(guard)
        return CleanedLog(end_offset, before, after, before + sum(each.size for each, _ in dirty), len(offsets))
    # Not in "finally": a generator that nobody remembers, because its process died, must not touch the disk any more.
    except (OSError, KafkaError):
        if guard.is_void:
            return None
        log.end_cleaning(guard)
        raise
    except Exception:
        log.end_cleaning(guard)
        raise


def run(cleaning: Cleaning) -> CleanedLog | None:
    """Do all of it here and now: for tests and tools."""
    try:
        work = next(cleaning)
        while True:
            try:
                done = work()
            except Exception as error:
                work = cleaning.throw(error)
            else:
                work = cleaning.send(done)
    except StopIteration as stop:
        result: CleanedLog | None = stop.value
        return result


def _in_pieces(steps: Iterator[int], guard: CleaningGuard) -> Generator[Work, Piece, None]:
    """Each step is a piece and says how many bytes it read and wrote."""

    def piece() -> Piece:
        found = next(steps, None)
        return Piece(True, 0) if found is None else Piece(False, found)

    while not guard.is_void and not (yield piece).is_last:
        pass


def _in_one(work: Callable[[], object]) -> Generator[Work, Piece, None]:
    def piece() -> Piece:
        work()
        return Piece(True, 0)

    yield piece


# -- reading --------------------------------------------------------------------------------------------------------


def _batches(disk: Disk, segment: Segment) -> Iterator[tuple[BatchHeader, bytes]]:
    """Every batch of a segment that takes no appends, through a descriptor of its own.

    Raises:
        KafkaError: CORRUPT_MESSAGE where the bytes are no whole batch: they must not get a CRC that makes them right.
    """
    size = segment.size
    file = disk.open(segment.log_path, read_only=True)
    try:
        chunk, base, position = b"", 0, 0
        while position < size:
            if position + HEADER_BYTES > base + len(chunk):
                base, chunk = position, file.pread(min(_READ_BYTES, size - position), position)
                if len(chunk) < HEADER_BYTES:
                    _corrupt(segment, position)
            header = read_header(chunk, position - base)
            length = header.batch_length + LOG_OVERHEAD_BYTES
            if length < HEADER_BYTES or position + length > size:
                _corrupt(segment, position)
            if position + length > base + len(chunk):
                base, chunk = position, file.pread(min(max(length, _READ_BYTES), size - position), position)
            batch = chunk[position - base : position - base + length]
            if len(batch) < length or not is_intact(header, batch):
                _corrupt(segment, position)
            yield header, batch
            position += length
    finally:
        file.close()


def _corrupt(segment: Segment, position: int) -> None:
    raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{segment.log_path}: no intact batch at byte {position}")


def _index(
    disk: Disk,
    segments: Sequence[tuple[Segment, int]],
    start_offset: int,
    aborted: Sequence[AbortedTxn],
    offsets: OffsetMap,
) -> Iterator[int]:
    """Fill the map from the dirty segments, each with its end, as far as there is room (Cleaner.buildOffsetMap)."""
    transactions = CleanedTransactions()
    transactions.add(aborted)
    step = 0
    for segment, end_offset in segments:
        for header, batch in _batches(disk, segment):
            if header.is_control:
                transactions.on_control(header, batch)
            elif not transactions.on_data(header) and header.last_offset >= start_offset:
                base = header.base_offset
                for span in scan_records(unpacked(batch, header), header.record_count):
                    key, offset = span[6], base + span[5]
                    if key is not None and offset >= start_offset and not offsets.put(key, offset):
                        # Within a batch, too: one with more keys than there is room for takes several passes.
                        offsets.latest_offset = max(offsets.latest_offset, offset - 1)
                        return
            if header.last_offset >= start_offset:
                offsets.latest_offset = header.last_offset
            step += len(batch)
            if step >= _STEP_BYTES:
                yield step
                step = 0
        # What a compaction took from the segment's end counts as read.
        offsets.latest_offset = end_offset - 1
    yield step


# -- writing --------------------------------------------------------------------------------------------------------


def _clean_group(
    log: Log,
    guard: CleaningGuard,
    group: list[Segment],
    to_clean: LogToClean,
    offsets: OffsetMap,
    transactions: CleanedTransactions,
    now_ms: int,
) -> Generator[Work, Piece, Segment | None]:
    producers = {
        each.producer_id: _LastRecord(each.last_data_offset, each.producer_epoch)
        for each in log.producers.entries.values()
    }
    rules = _Rules(offsets, transactions, producers, to_clean.end_offset, now_ms, log.config.delete_retention_ms)
    had_txn_index = any(each.txn_index.exists() for each in group)
    # A pool of its own: the log's is the loop's.
    pool = FilePool(log.disk, 4)
    new = Segment.create(
        pool,
        log.directory,
        group[0].base_offset,
        log.config.index_interval_bytes,
        group[-1].created_ms,
        suffix=CLEANED_SUFFIX,
    )
    try:
        yield from _in_pieces(_write(log.disk, group, new, rules, had_txn_index), guard)
        if guard.is_void:
            new.remove_files()
            return None
        log.name_replacement(guard, new)
    except Exception:
        new.remove_files()
        raise
    finally:
        pool.close()
    sync = partial(log.disk.sync_dir, log.directory)
    yield from _in_one(sync)
    if guard.is_void:
        return None
    log.use_replacement(guard, group, new, now_ms)
    for each in group[1:]:
        # Nothing begins there any more (UnifiedLog.replaceSegments).
        if each.base_offset in log.producers.snapshots.offsets:
            log.producers.snapshots.remove(each.base_offset)
    yield from _in_one(sync)
    log.settle_replacement(new)
    yield from _in_one(sync)
    return None if guard.is_void and new.is_deleted else new


class _Rules:
    """What stays of a batch (the RecordFilter of Cleaner.cleanInto)."""

    __slots__ = ("delete_retention_ms", "end_offset", "now_ms", "offsets", "producers", "transactions")

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: CleanedTransactions,
        producers: dict[int, _LastRecord],
        end_offset: int,
        now_ms: int,
        delete_retention_ms: int,
    ) -> None:
        self.offsets = offsets
        self.transactions = transactions
        self.producers = producers
        self.end_offset = end_offset
        self.now_ms = now_ms
        self.delete_retention_ms = delete_retention_ms

    def apply(self, header: BatchHeader, batch: bytes) -> tuple[BatchHeader, bytes] | None:
        """The batch as it goes on: itself, another one with the same offsets, or none."""
        horizon = delete_horizon_of(header)
        is_over = horizon is not None and horizon <= self.now_ms
        if header.is_control:
            ends_nothing = self.transactions.on_control(header, batch)
            discards = ends_nothing and is_over
        else:
            ends_nothing = False
            discards = self.transactions.on_data(header)
        data, kept, has_tombstone = b"", [], False
        if not discards and header.record_count:
            data = unpacked(batch, header)
            if header.is_control:
                kept = list(scan_records(data, header.record_count))
            else:
                latest, last = self.offsets.latest_offset, self.offsets.offsets
                base = header.base_offset
                for span in scan_records(data, header.record_count):
                    offset, key, has_value = base + span[5], span[6], span[7]
                    if offset <= latest and (
                        key is None or offset < last.get(key, -1) or not (has_value or not is_over)
                    ):
                        continue
                    kept.append(span)
                    if not has_value:
                        has_tombstone = True
        if not kept:
            is_needed = header.next_offset == self.end_offset or self._is_last_of_producer(header)
            return emptied_batch(header) if is_needed else None
        if horizon is None and (has_tombstone or ends_nothing):
            return thinned_batch(header, data, kept, self.now_ms + self.delete_retention_ms)
        if len(kept) == header.record_count:
            return header, batch
        return thinned_batch(header, data, kept, horizon)

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        """Whether the producer's sequence, or its epoch, would be lost with the batch."""
        last = self.producers.get(header.producer_id) if header.has_producer_id else None
        if last is None:
            return False
        if last.last_data_offset >= 0:
            return header.last_offset == last.last_data_offset
        return header.is_control and header.producer_epoch == last.producer_epoch


def _write(
    disk: Disk,
    group: Sequence[Segment],
    new: Segment,
    rules: _Rules,
    has_txn_index: bool,
) -> Iterator[int]:
    """Write what stays of a group's segments, and sync it."""
    headers: list[BatchHeader] = []
    parts: list[bytes] = []
    waiting = step = 0
    for segment in group:
        for header, batch in _batches(disk, segment):
            step += len(batch)
            stays = rules.apply(header, batch)
            if stays is not None:
                headers.append(stays[0])
                parts.append(stays[1])
                waiting += len(stays[1])
                step += len(stays[1])
                if waiting >= _WRITE_BYTES:
                    new.append_final(b"".join(parts), headers)
                    headers, parts, waiting = [], [], 0
            if step >= _STEP_BYTES:
                yield step
                step = 0
    yield step
    if headers:
        new.append_final(b"".join(parts), headers)
    for each in rules.transactions.kept:
        new.txn_index.append(each)
    rules.transactions.kept.clear()
    if has_txn_index:
        new.txn_index.make()
        new.txn_index.unsynced = True
    new.save_indexes()
    new.sync()
    disk.sync_dir(new.log_path.rpartition("/")[0])
