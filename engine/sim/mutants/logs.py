"""Changes of what is in the logs and on the disk."""

from __future__ import annotations

from typing import Any

from engine.sim.mutants.mutant import CRASHES, POWER, Mutant, Undo, all_of, replace


def _serves_uncommitted() -> Undo:
    from engine.storage.log import Log

    before = Log.read

    def read(self: Any, offset: int, max_bytes: int, *, max_offset: Any = None, min_one_message: bool = True) -> Any:
        return before(self, offset, max_bytes, min_one_message=min_one_message)

    return replace(Log, "read", read)


def _forgets_duplicates() -> Undo:
    from engine.storage.producer_state import ProducerAppendInfo, ProducerStateManager

    undo_first = replace(ProducerStateManager, "duplicate_of", lambda self, header: None)
    undo_second = replace(ProducerAppendInfo, "_check_sequence", lambda self, *arguments: None)

    return all_of(undo_first, undo_second)


def _claims_fsync() -> Undo:
    from engine.storage.log import Log

    def flush(self: Any) -> None:
        self.recovery_point = max(self.recovery_point, self.log_end_offset)

    return replace(Log, "flush", flush)


def _trusts_torn_tails() -> Undo:
    from engine.storage import recovery
    from engine.storage.batch_scan import scan_headers

    return replace(recovery, "scan_intact_batches", lambda file, start, end: scan_headers(file, start, end))


def _leaves_a_gap() -> Undo:
    """A leader that skips an offset now and then."""
    from engine.storage.log import Log

    before = Log.append_as_leader

    def append(self: Any, records: Any, leader_epoch: int, **more: Any) -> Any:
        if self.log_end_offset % 50 == 49:
            self.log_end_offset += 1
        return before(self, records, leader_epoch, **more)

    return replace(Log, "append_as_leader", append)


def _keeps_epochs_of_what_it_cut() -> Undo:
    from engine.storage.leader_epochs import LeaderEpochs

    undo_end = replace(LeaderEpochs, "truncate_from_end", lambda self, end_offset: None)
    undo_forget = replace(LeaderEpochs, "forget_from", lambda self, offset: None)
    return all_of(undo_end, undo_forget)


def _takes_any_high_watermark() -> Undo:
    """A follower that believes in the leader's high watermark before it has the records."""
    from engine.core.replica.partition import Partition
    from engine.storage.log import Log

    def on_follower_append(self: Any, end: int, durable: int, leader_high_watermark: int) -> None:
        self.log_end_offset, self.durable_end_offset = end, durable
        self.high_watermark = max(self.high_watermark, leader_high_watermark)

    def set_high_watermark(self: Any, offset: int) -> None:
        self.high_watermark = offset

    return all_of(
        replace(Partition, "on_follower_append", on_follower_append),
        replace(Log, "set_high_watermark", set_high_watermark),
    )


def _removes_what_is_not_committed() -> Undo:
    """Retention that looks at nobody's high watermark."""
    from engine.storage import retention

    return replace(retention, "REASONS", (lambda log, now_ms: len(log._segments) - 1,))


def _compacts_the_last_of_each_key() -> Undo:
    from engine.storage.offset_map import OffsetMap

    before = OffsetMap.put
    return replace(OffsetMap, "put", lambda self, key, offset: before(self, key, offset + 1))


def _forgets_producers_at_restart() -> Undo:
    from engine.storage.producer_state import ProducerStateManager

    def load(self: Any, log_start_offset: int, end_offset: int, now_ms: int) -> int:
        before(self, log_start_offset, end_offset, now_ms)
        self._clear()
        return end_offset

    before = ProducerStateManager.load
    return replace(ProducerStateManager, "load", load)


def _replaces_files_without_a_sync() -> Undo:
    from engine.world import replacement

    def replace_file(disk: Any, path: str, data: Any) -> None:
        beside = path + replacement.BESIDE_SUFFIX
        file = disk.open(beside, append=True, create=True)
        file.truncate(0)
        file.append((data,))
        file.close()
        disk.rename(beside, path)

    return replace(replacement, "replace_file", replace_file)


def _compacts_without_a_sync() -> Undo:
    from engine.storage.segment import CLEANED_SUFFIX, Segment

    before = Segment.sync

    def sync(self: Any) -> None:
        if self.log_path.endswith(CLEANED_SUFFIX):
            self.unsynced = False
        else:
            before(self)

    return replace(Segment, "sync", sync)


def _serves_what_nobody_looked_at() -> Undo:
    from engine.storage.batch_check import BatchCheck

    return all_of(
        replace(BatchCheck, "check", lambda self, data, position: len(data)),
        replace(BatchCheck, "finish", lambda self, position: None),
    )


def _remembers_what_was_lost() -> Undo:
    """A leader that goes on to count what a follower had before its log was found corrupt."""
    from engine.core.replica.remote_replica import RemoteReplica

    before = RemoteReplica.on_new_leader_epoch

    def on_new_leader_epoch(self: Any, end: int, now_ms: float, *, leads_anew: bool, is_in_sync: bool) -> None:
        before(self, end, now_ms, leads_anew=leads_anew, is_in_sync=is_in_sync or not leads_anew)

    return replace(RemoteReplica, "on_new_leader_epoch", on_new_leader_epoch)


# The controller must be faster than the first fetch of a new log: one that is held up, with nothing else on its way.
_LONG_AND_LIGHT = {"load": "light", "seconds": 120.0, "fault_interval_s": 2.0, "brokers": 3, "segment_bytes": 4096}

MUTANTS = (
    Mutant("leaves a gap", ("L1",), _leaves_a_gap, CRASHES),
    Mutant("trusts torn tails", ("L2",), _trusts_torn_tails, POWER, "fsync"),
    Mutant("serves what nobody looked at", ("L2",), _serves_what_nobody_looked_at, ("rot",)),
    Mutant("remembers what was lost", ("L2", "R3"), _remembers_what_was_lost, ("rot", "hold"), more=_LONG_AND_LIGHT),
    Mutant("keeps the epochs of what it cut", ("L3", "R6"), _keeps_epochs_of_what_it_cut, CRASHES),
    Mutant("claims fsync", ("L4", "R9"), _claims_fsync, POWER, "fsync"),
    Mutant("replaces files without a sync", ("L5",), _replaces_files_without_a_sync, POWER, "fsync"),
    Mutant("takes any high watermark", ("L6",), _takes_any_high_watermark, CRASHES),
    Mutant("removes what is not committed", ("L7",), _removes_what_is_not_committed, CRASHES),
    Mutant("compacts the last of each key", ("L7",), _compacts_the_last_of_each_key, CRASHES),
    Mutant("compacts without a sync", ("L4", "L7"), _compacts_without_a_sync, POWER, "fsync", compacted=True),
    Mutant("serves what is not committed", ("R5",), _serves_uncommitted, CRASHES),
    Mutant("forgets duplicates", ("T1",), _forgets_duplicates, ("kill", "reset", "cut", "hiccup")),
    Mutant("forgets producers at a restart", ("T1",), _forgets_producers_at_restart, ("kill", "stop", "reset")),
)
