"""Whether what a start found after a crash is what was promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.model.topic_partition import TopicPartition
from engine.record.batch import iter_batches
from engine.sim.crash_points.compacted import CompactedLog, check_compacted
from engine.sim.crash_points.expected import Batch, Derived, ExpectedLog
from engine.sim.disk import SimDisk
from engine.storage.checkpoints import (
    CLEAN_SHUTDOWN,
    CLEANER_OFFSETS,
    HIGH_WATERMARKS,
    LOG_START_OFFSETS,
    META_PROPERTIES,
    RECOVERY_POINTS,
)
from engine.storage.leader_epochs import FILE_NAME as LEADER_EPOCHS
from engine.storage.log import Log
from engine.storage.log_dirs import DELETE_SUFFIX, LogDirs
from engine.storage.segment import CLEANED_SUFFIX, SWAP_SUFFIX

# Files that are replaced as a whole.
_REPLACED = (
    *(CLEAN_SHUTDOWN, CLEANER_OFFSETS, HIGH_WATERMARKS, LOG_START_OFFSETS, META_PROPERTIES, RECOVERY_POINTS),
    LEADER_EPOCHS,
    "quorum-state",
)
_MUCH = 1 << 20


class Broken(Exception):
    """A promise does not hold after a crash."""


def watched_files(disk: SimDisk) -> list[str]:
    """The files that are replaced as a whole, in directories that are in use."""
    return [
        path
        for path in disk.paths()
        if path.rpartition("/")[2] in _REPLACED and not path.rpartition("/")[0].endswith(DELETE_SUFFIX)
    ]


def seen_now(disk: SimDisk, seen: dict[str, list[bytes | None]]) -> None:
    """Note what these files hold now, beside what they have held since ``seen`` was begun."""
    now = watched_files(disk)
    for path in now:
        contents = seen.setdefault(path, [None])
        content = disk.read(path)
        if contents[-1] != content:
            contents.append(content)
    for path, contents in list(seen.items()):
        if path in now:
            continue
        if not disk.is_dir(path.rpartition("/")[0]):
            # Its directory has another name, or is gone.
            del seen[path]
        elif contents[-1] is not None:
            contents.append(None)


def check_replaced_files(disk: SimDisk, seen: Mapping[str, list[bytes | None]]) -> None:
    """Each such file holds what it held before, or what it was to hold; never anything else (L5).

    Raises:
        Broken: one does not.
    """
    for path, contents in seen.items():
        content = disk.read(path) if disk.exists(path) else None
        # A directory lasts from its log's first flush on, which check_logs looks after.
        is_gone = content is None and not disk.is_dir(path.rpartition("/")[0])
        if content not in contents and not is_gone:
            raise Broken(f"{path} holds {content!r}, and was to hold one of {contents!r}")


def everything(log: Log) -> list[Batch]:
    """Every batch that can be read."""
    found: list[Batch] = []
    offset = log.log_start_offset
    while data := log.read(offset, _MUCH):
        for header, batch in iter_batches(data):
            found.append(Batch(header.base_offset, header.next_offset, bytes(batch)))
            offset = header.next_offset
    return found


def check_logs(
    dirs: LogDirs, expected: Mapping[TopicPartition, ExpectedLog], optional: set[TopicPartition], now_ms: int
) -> None:
    """All logs are there, online, and hold what they must at this time.

    Raises:
        Broken: they do not.
    """
    if dirs.offline_directories or dirs.offline_logs:
        raise Broken(f"offline after a start: {dirs.offline_directories} {dirs.offline_logs}")
    for topic_partition, each in expected.items():
        log = dirs.get(topic_partition)
        if topic_partition in optional:
            continue
        if log is not None:
            compare(topic_partition, log, each, now_ms)
        elif each.durable > each.begin:
            raise Broken(f"{topic_partition} is gone, and was acknowledged up to {each.durable}")
    strange = [each for each in dirs.logs if each not in expected and each not in optional]
    if strange:
        raise Broken(f"logs of partitions that were deleted are back: {strange}")


def compare(topic_partition: TopicPartition, log: Log, expected: ExpectedLog, now_ms: int) -> list[Batch]:
    """Check one log; returns the history that leads to it, from its first batch ever on.

    Raises:
        Broken: it is not what it must be.
    """

    def broken(what: str) -> Broken:
        return Broken(f"{topic_partition}: {what}")

    found = everything(log)
    history = expected.history_of(found, log.log_end_offset)
    if history is None:
        raise broken(
            f"offsets {[each.base_offset for each in found]} hold what was never there, or not in this order: "
            f"it was {[each.base_offset for each in expected.batches]}"
        )
    start, end = log.log_start_offset, log.log_end_offset
    is_cut_in_gap = isinstance(expected, CompactedLog) and end == expected.cut_to
    if end != (found[-1].next_offset if found else start) and not is_cut_in_gap:
        raise broken(f"what can be read ends before the log's end {end}")
    if not expected.may_begin_anew:
        if end < expected.durable:
            raise broken(f"it ends at {end}, and was acknowledged up to {expected.durable}")
        if start < expected.durable_start:
            raise broken(f"it starts at {start}, and a checkpoint had said {expected.durable_start}")
        is_gap = isinstance(expected, CompactedLog) and all(each.base_offset >= start for each in history)
        if start > expected.start and not expected.may_start_later and not is_gap:
            raise broken(f"it starts at {start}, and nobody moved its start beyond {expected.start}")
    if not start <= log.high_watermark <= end:
        raise broken(f"high watermark {log.high_watermark} is not within {start} and {end}")
    left_over = [name for name in log.disk.list_dir(log.directory) if name.endswith((CLEANED_SUFFIX, SWAP_SUFFIX))]
    if left_over:
        raise broken(f"{left_over} are left over after a start")
    if isinstance(expected, CompactedLog):
        if not expected.may_begin_anew:
            check_compacted(log, expected, history, found, now_ms, broken)
        return history
    _check_epochs(log, history, broken)
    _check_producers(log, history, max(start, expected.start), broken)
    _check_lookups(log, found, broken)
    return history


def _check_epochs(log: Log, history: list[Batch], broken: Callable[[str], Broken]) -> None:
    entries: list[tuple[int, int]] = []
    for epoch, start in Derived(history).epochs:
        if start <= log.log_start_offset:
            entries = [(epoch, log.log_start_offset)]
        else:
            entries.append((epoch, start))
    found = [tuple(each) for each in log.leader_epochs.entries]
    # Where no record is left an epoch may be known, or not.
    if found != entries and log.log_start_offset < log.log_end_offset:
        raise broken(f"its leader epochs are {found}, and its batches have {entries}")


def _check_producers(log: Log, history: list[Batch], known_from: int, broken: Callable[[str], Broken]) -> None:
    """As in a log that never crashed; of what was before ``known_from``, where the log started once, a start may know
    something or nothing."""
    whole = Derived(history)
    rest = Derived([each for each in history if each.base_offset >= known_from])
    entries = log.producers.entries
    for producer_id in rest.producers.keys() - entries.keys():
        raise broken(f"producer {producer_id} is forgotten")
    for producer_id, entry in entries.items():
        wanted = whole.producers.get(producer_id)
        if wanted is None:
            raise broken(f"producer {producer_id} has written nothing")
        batches = [(each.last_sequence, each.last_offset) for each in entry.batches]
        least = rest.producers.get(producer_id)
        least_batches = [] if least is None else least.batches
        if (
            entry.producer_epoch != wanted.epoch
            or batches != wanted.batches[len(wanted.batches) - len(batches) :]
            or batches[len(batches) - len(least_batches) :] != least_batches
        ):
            raise broken(
                f"producer {producer_id} has epoch {entry.producer_epoch} and batches {batches}, "
                f"not {wanted.epoch} and {wanted.batches}"
            )
        least_first = -1 if least is None else least.txn_first
        if entry.current_txn_first_offset not in (wanted.txn_first, least_first) and not any(
            entry.current_txn_first_offset == _txn_first(history[number:], producer_id)
            for number, each in enumerate(history)
            if each.base_offset < known_from
        ):
            raise broken(
                f"producer {producer_id} has a transaction from {entry.current_txn_first_offset} on, "
                f"not from {wanted.txn_first}"
            )
    found = {
        (each.producer_id, each.first_offset, each.last_offset)
        for each in log.aborted_transactions(log.log_start_offset, log.log_end_offset)
        if each.last_offset >= log.log_start_offset
    }
    # Those whose marker is there, from their first record that a start could see, or that was known before.
    aborted = {each for each in whole.aborted if each[2] >= log.log_start_offset}
    must = {(each[0], each[2]) for each in rest.aborted}
    if not found <= {*aborted, *rest.aborted} or not must <= {(each[0], each[2]) for each in found}:
        raise broken(f"aborted transactions {sorted(found)}, not {sorted(aborted)}")


def _txn_first(batches: list[Batch], producer_id: int) -> int:
    """Where a producer's transaction begins for somebody who sees these batches only."""
    seen = Derived(batches).producers.get(producer_id)
    return -1 if seen is None else seen.txn_first


def _check_lookups(log: Log, found: list[Batch], broken: Callable[[str], Broken]) -> None:
    """Indexes lead to the right batches, by offset and by time."""
    for each in found:
        for offset in {max(each.base_offset, log.log_start_offset), each.next_offset - 1}:
            if log.read(offset, 1) != each.data:
                raise broken(f"a read of offset {offset} does not find its batch")
    # Of the first batch, some records may stand before the log's start.
    rest = [each for each in found if each.base_offset >= log.log_start_offset]
    stamps = sorted({each.header.max_timestamp for each in rest})
    for timestamp in {*stamps[:: max(1, len(stamps) // 5)], *stamps[-1:]}:
        wanted = next(each for each in rest if each.header.max_timestamp >= timestamp)
        answer = log.offset_for_timestamp(timestamp, log.log_end_offset)
        if answer is None or (answer[1] >= rest[0].base_offset and not wanted.holds(answer[1])):
            raise broken(f"timestamp {timestamp} leads to {answer}, and is in {wanted[:2]}")
