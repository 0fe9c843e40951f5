"""What a broker does to its log directories, as a seed has it, and what must be there after each step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import STAMP_BYTES, read_header, stamp_prefix
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.sim.crash_points.compacted import CompactedLog
from engine.sim.crash_points.expected import Batch, ExpectedLog, batch_of
from engine.sim.crash_points.judge import Broken, check_logs, compare, everything, seen_now, watched_files
from engine.sim.disk import SimDisk, Survivors
from engine.sim.world import EPOCH_MS, SimRandom
from engine.storage.cleaner import clean
from engine.storage.cleaner_plan import plan
from engine.storage.log import Log
from engine.storage.log_dirs import LogDirs
from engine.world import Clock, Disk, Listener, Network, Random

PATHS = ("/disks/one/data", "/disks/two/data")
NODE_ID = 1
CLUSTER_ID = "crash-points"
_PLAIN, _TRANSACTIONS, _FOLLOWED = "orders", "payments", "copied"
# Compacted ones: one that is led, and one whose leader has gaps.
_KEYED, _MIRRORED = "keyed", "mirrored"
_COMPACTED = (_KEYED, _MIRRORED)
_TOPICS = (_PLAIN, _TRANSACTIONS, _FOLLOWED, _KEYED, _MIRRORED, "made", "more")
_DELETE_RETENTION_MS = 8_000
_KEYS = (b"a", b"bb", b"ccc", b"dddd")
_MOST_LATER_MS = 1_000_000

# Kinds of operations, and how often each is chosen.
KINDS = {
    "append": 24,
    "append as follower": 8,
    "append keys": 12,
    "clean": 8,
    "flush": 9,
    "roll": 5,
    "epoch": 4,
    "save epochs": 2,
    "producer snapshot": 2,
    "checkpoint": 6,
    "truncate": 5,
    "truncate fully": 2,
    "delete records": 4,
    "retention": 4,
    "remove deleted": 3,
    "create": 2,
    "delete": 2,
    "clean restart": 3,
    "recovery after SIGKILL": 3,
    "recovery after a power cut": 4,
}


class FixedClock:
    """Time that the script moves."""

    def __init__(self) -> None:
        self.at_ms = EPOCH_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_ms(self) -> float:
        return float(self.at_ms)

    def monotonic_ns(self) -> int:
        return self.at_ms * 1_000_000


class _NoNetwork:
    async def listen(self, *_: Any, **__: Any) -> Listener:
        raise OSError("there is no network")

    async def connect(self, *_: Any, **__: Any) -> Any:
        raise OSError("there is no network")


class DiskWorld:
    """A world of a disk and a clock."""

    def __init__(self, disk: SimDisk, clock: FixedClock, rng: random.Random) -> None:
        self.clock: Clock = clock
        self.random: Random = SimRandom(rng)
        self.disk: Disk = disk
        self.network: Network = _NoNetwork()

    def environment(self) -> Iterable[tuple[str, str]]:
        return ()


def config_for(topic: str) -> LogConfig:
    """Small segments, so that a few appends fill them."""
    texts = {
        "internal.segment.bytes": "700" if topic in (_FOLLOWED, *_COMPACTED) else "1500",
        "cleanup.policy": "compact" if topic in _COMPACTED else "delete",
        "delete.retention.ms": str(_DELETE_RETENTION_MS),
        "index.interval.bytes": "200",
        "retention.ms": "-1",
        "retention.bytes": "2500",
    }
    return LogConfig.from_(None, texts)


def _expected_for(topic: str, begin: int) -> ExpectedLog:
    return CompactedLog(begin) if topic in _COMPACTED else ExpectedLog(begin)


class BrokerScript:
    """Steps over the logs of one broker. ``operation`` is the kind that is under way; ``expected`` what must be there.

    ``optional`` partitions may be there or not: they are being made or deleted. ``seen`` are the contents that the
    files which are replaced as a whole had since the operation began (``None``: no file).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"crash points {seed}")
        self.disk = SimDisk(random.Random(f"crash points, disk {seed}"))
        self.clock = FixedClock()
        self.expected: dict[TopicPartition, ExpectedLog] = {}
        self.optional: set[TopicPartition] = set()
        self.seen: dict[str, list[bytes | None]] = {}
        self.operation = ""
        self.paths = PATHS[: self.rng.choice((1, 1, 2))]
        self._uuids = 0
        self._dirs: LogDirs | None = None
        self._coordinator_epoch = 0
        self._producer_epochs: dict[tuple[str, int], int] = {}

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Begin, and do so many operations. Raises ``Broken`` if what a restart finds is wrong."""
        self._do("first start", self._start)
        for topic in (_PLAIN, _TRANSACTIONS, _FOLLOWED, *_COMPACTED):
            self._do("create", lambda topic=topic: self._create(topic))  # type: ignore[misc]
        kinds, weights = list(KINDS), list(KINDS.values())
        for _ in range(steps):
            self.clock.at_ms += self.rng.randrange(1, 2000)
            # A loss of power may have taken all of them: none was flushed.
            kind = self.rng.choices(kinds, weights)[0] if self.dirs.logs else "create"
            self._do(kind, self._acts()[kind])
        self._do("clean shutdown", self._close)

    def _acts(self) -> dict[str, Callable[[], None]]:
        return {
            "append": self._append,
            "append as follower": self._append_as_follower,
            "append keys": self._append_keys,
            "clean": self._clean,
            "flush": self._flush,
            "roll": lambda: self._some_log()[1].roll(self.clock.at_ms),
            "epoch": self._new_epoch,
            "save epochs": lambda: self._some_log()[1].save_epochs(),
            "producer snapshot": lambda: self._some_log()[1].take_producer_snapshot(),
            "checkpoint": self._checkpoint,
            "truncate": self._truncate,
            "truncate fully": self._truncate_fully,
            "delete records": self._delete_records,
            "retention": self._retention,
            "remove deleted": self._remove_deleted,
            "create": lambda: self._create(self.rng.choice(_TOPICS)),
            "delete": self._delete,
            "clean restart": self._restart,
            "recovery after SIGKILL": self._recover_after_kill,
            "recovery after a power cut": self._recover_after_power_cut,
        }

    def _do(self, kind: str, act: Callable[[], None]) -> None:
        self.operation = kind
        self.seen = {path: [self.disk.read(path)] for path in watched_files(self.disk)}
        act()
        for each in self.expected.values():
            each.done()
        self.optional = set()

    def note_files(self) -> None:
        """Look at the files that are replaced as a whole, before the next operation of the disk."""
        seen_now(self.disk, self.seen)

    @property
    def dirs(self) -> LogDirs:
        """The log directories of the present process."""
        assert self._dirs is not None
        return self._dirs

    def _world(self, disk: SimDisk) -> DiskWorld:
        self._uuids += 1
        return DiskWorld(disk, self.clock, random.Random(f"crash points, ids {self.seed} {self._uuids}"))

    # -- judging ------------------------------------------------------------------------------------------------

    def start_on(self, disk: SimDisk) -> LogDirs:
        """What a process finds that starts on this disk."""
        dirs = LogDirs.open(self._world(disk), self.paths, node_id=NODE_ID, cluster_id=CLUSTER_ID, max_open_files=16)
        dirs.load(config_for, self.clock.at_ms)
        return dirs

    def check(self, found: LogDirs) -> None:
        """Raises ``Broken`` if that is not what was promised."""
        check_logs(found, self.expected, self.optional, self.clock.at_ms)

    def go_on(self, disk: SimDisk, found: LogDirs, rng: random.Random) -> None:
        """What is appended and flushed after a start lasts, as what was there before it does. Raises ``Broken``."""
        if not found.logs:
            return
        topic_partition = rng.choice(sorted(found.logs))
        log = found.logs[topic_partition]
        before = everything(log)
        known = self.expected.get(topic_partition)
        epoch = max(log.leader_epochs.latest_epoch, 0 if known is None else known.leader_epoch) + 1
        log.append_as_leader(build_batch([NewRecord(b"k", b"after")]), epoch, now_ms=self.clock.at_ms)
        log.flush()
        wanted = everything(log)
        assert len(wanted) == len(before) + 1
        disk.on_power_lost(rng.choice((Survivors.NONE, Survivors.SOME)))
        again = self.start_on(disk)
        later = again.get(topic_partition)
        batches = [] if later is None else everything(later)
        if batches[-len(wanted) :] != wanted:
            raise Broken(
                f"{topic_partition}: {len(wanted)} batches were flushed after the start, "
                f"{len(batches)} are there after the next one {again.offline_logs}"
            )

    # -- logs ---------------------------------------------------------------------------------------------------

    def _some_log(self, topic: str | None = None) -> tuple[TopicPartition, Log]:
        found = sorted(self.dirs.logs)
        topic_partition = self.rng.choice(found) if topic is None else TopicPartition(topic, 0)
        if topic_partition not in self.dirs.logs:
            topic_partition = self.rng.choice(found)
        return topic_partition, self.dirs.logs[topic_partition]

    def _start(self) -> None:
        self._dirs = self.start_on(self.disk)

    def _create(self, topic: str) -> None:
        topic_partition = TopicPartition(topic, 0)
        if topic_partition in self.dirs.logs:
            return
        self.optional = {topic_partition}
        self.expected[topic_partition] = _expected_for(topic, 0)
        topic_id = self.rng.randbytes(16)
        self.dirs.get_or_create(topic_partition, topic_id, config_for(topic), self.clock.at_ms)

    def _delete(self) -> None:
        if len(self.dirs.logs) < 3:
            return
        topic_partition = self._some_log()[0]
        self.optional = {topic_partition}
        self.dirs.delete(topic_partition, self.clock.at_ms)
        del self.expected[topic_partition]

    def _batch(self, topic: str, log: Log) -> bytes:
        rng = self.rng
        now = self.clock.at_ms
        is_keyed = topic in _COMPACTED
        many = [
            NewRecord(
                rng.choice(_KEYS if is_keyed else (None, *_KEYS[:3])),
                None if is_keyed and rng.random() < 0.2 else rng.randbytes(rng.choice((0, 5, 40, 120))),
                timestamp=now + rng.randrange(-500, 500),
            )
            for _ in range(rng.choice((1, 1, 2, 4)))
        ]
        compression = rng.choice(list(Compression))
        if topic in (_PLAIN, _KEYED) and rng.random() < 0.5:
            return build_batch(many, compression=compression)
        producer_id = rng.choice((1, 7, 8, 9) if topic in (_TRANSACTIONS, _KEYED) else (1, 2, 3))
        entry = log.producers.entries.get(producer_id)
        epoch = 0 if entry is None else max(entry.producer_epoch, 0)
        is_open = entry is not None and entry.current_txn_first_offset >= 0
        sequence = 0 if entry is None else entry.last_sequence + 1
        if entry is not None and not is_open and rng.random() < 0.1:
            epoch, sequence = epoch + 1, 0
        # A producer that the log forgot does not go back by itself.
        known = self._producer_epochs.get((topic, producer_id), 0)
        if known > epoch and not is_open:
            epoch, sequence = known, 0
        self._producer_epochs[topic, producer_id] = epoch
        return build_batch(
            many,
            compression=compression,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            is_transactional=producer_id >= 7,
        )

    def _append(self) -> None:
        self._append_to(*self._some_log(self.rng.choice((_PLAIN, _TRANSACTIONS, None))))

    def _append_keys(self) -> None:
        if self.rng.random() < 0.3:
            self._append_copies(*self._some_log(_MIRRORED))
        else:
            self._append_to(*self._some_log(_KEYED))

    def _append_to(self, topic_partition: TopicPartition, log: Log) -> None:
        expected = self.expected[topic_partition]
        epoch = max(expected.leader_epoch, log.leader_epochs.latest_epoch)
        open_txns = [each for each in log.producers.entries.values() if each.current_txn_first_offset >= 0]
        if open_txns and self.rng.random() < 0.4:
            ending = self.rng.choice(open_txns)
            data = build_end_transaction_marker(
                committed=self.rng.random() < 0.5,
                producer_id=ending.producer_id,
                producer_epoch=ending.producer_epoch,
                coordinator_epoch=self._coordinator_epoch,
                timestamp=self.clock.at_ms,
            )
            origin = "coordinator"
        else:
            data, origin = self._batch(topic_partition.topic, log), "client"
        header = read_header(data)
        stamped = stamp_prefix(header, log.log_end_offset, epoch) + data[STAMP_BYTES:]
        expected.under_way([*expected.batches, batch_of(stamped)])
        log.append_as_leader(data, epoch, now_ms=self.clock.at_ms, origin=origin)

    def _append_as_follower(self) -> None:
        self._append_copies(*self._some_log(_FOLLOWED))

    def _append_copies(self, topic_partition: TopicPartition, log: Log) -> None:
        expected = self.expected[topic_partition]
        epoch = max(expected.leader_epoch, log.leader_epochs.latest_epoch)
        offset, added = log.log_end_offset, list[Batch]()
        for _ in range(self.rng.choice((1, 2, 5))):
            if self.rng.random() < 0.15:
                epoch += 1
            if topic_partition.topic in _COMPACTED and self.rng.random() < 0.2:
                # The leader compacted what was here.
                offset += self.rng.choice((1, 3, 30))
            data = build_batch(
                [NewRecord(self.rng.choice(_KEYS), self.rng.randbytes(60), timestamp=self.clock.at_ms)],
                base_offset=offset,
                leader_epoch=epoch,
            )
            added.append(batch_of(data))
            offset = added[-1].next_offset
        expected.leader_epoch = epoch
        expected.under_way([*expected.batches, *added])
        log.append_as_follower(b"".join(each.data for each in added), now_ms=self.clock.at_ms)

    def _flush(self) -> None:
        topic_partition, log = self._some_log()
        log.flush()
        self.expected[topic_partition].durable = log.log_end_offset

    def _new_epoch(self) -> None:
        topic_partition, log = self._some_log()
        expected = self.expected[topic_partition]
        expected.leader_epoch = max(expected.leader_epoch, log.leader_epochs.latest_epoch) + self.rng.choice((1, 1, 3))
        if self.rng.random() < 0.5:
            # A leader notes its epoch before it writes.
            log.leader_epochs.assign(expected.leader_epoch, log.log_end_offset)
            log.save_epochs()

    def _checkpoint(self) -> None:
        for _, log in sorted(self.dirs.logs.items()):
            log.set_high_watermark(self.rng.randint(log.log_start_offset, log.log_end_offset))
        self.dirs.checkpoint()
        for topic_partition, log in self.dirs.logs.items():
            self.expected[topic_partition].durable_start = log.log_start_offset

    # -- cutting ------------------------------------------------------------------------------------------------

    def _truncate(self) -> None:
        topic_partition, log = self._some_log()
        expected = self.expected[topic_partition]
        is_compacted = isinstance(expected, CompactedLog)
        # What was cleaned was committed, and is never cut.
        first = max(log.log_start_offset, expected.cleaned_to if isinstance(expected, CompactedLog) else 0)
        there = [each for each in expected.batches if each.base_offset >= first]
        if not there:
            return
        offset = self.rng.choice(there[-6:]).base_offset
        stays = [each for each in expected.batches if each.base_offset < offset]
        # Behind a gap no record is promised between its two ends.
        end = (stays[-1].next_offset if stays else expected.begin) if is_compacted else offset
        expected.under_way(stays, durable=end)
        expected.durable_start = min(expected.durable_start, offset)
        if isinstance(expected, CompactedLog):
            expected.cut_to = offset
        log.truncate_to(offset)
        expected.leader_epoch = max(expected.leader_epoch, log.leader_epochs.latest_epoch) + 1

    # -- compacting -----------------------------------------------------------------------------------------------

    def _clean(self) -> None:
        """What the cleaner does to a log, while others go on with it between its pieces."""
        topic_partition, log = self._some_log(self.rng.choice((_KEYED, _KEYED, _MIRRORED)))
        expected = self.expected[topic_partition]
        if not isinstance(expected, CompactedLog):
            return
        if self.rng.random() < 0.7:
            # Most of it is committed and synced, and no segment of it takes appends.
            if log.segments[-1].size:
                log.roll(self.clock.at_ms)
            log.flush()
            expected.durable = log.log_end_offset
            log.set_high_watermark(log.log_end_offset)
        to_clean = plan(log, self.clock.at_ms)
        if not to_clean.cleanable_bytes:
            return
        expected.note_cleaning(min(log.high_watermark, expected.durable), self.clock.at_ms + _DELETE_RETENTION_MS)
        cleaning = clean(to_clean, self.clock.at_ms, self.rng.choice((800, 1 << 20)))
        try:
            work = next(cleaning)
            while True:
                work = cleaning.send(work())
                if self.rng.random() < 0.15:
                    self._meanwhile()
        except StopIteration as stop:
            if stop.value is None:
                return
            log.first_dirty_offset = stop.value.end_offset
        self.dirs.checkpoint()

    def _meanwhile(self) -> None:
        kind = self.rng.choice(
            ("append keys", "append keys", "flush", "roll", "truncate", "checkpoint", "truncate fully")
        )
        operation = self.operation
        self._do(kind, self._acts()[kind])
        self.operation = operation

    def _truncate_fully(self) -> None:
        topic_partition, log = self._some_log()
        expected = self.expected[topic_partition]
        offset = log.log_end_offset + self.rng.choice((0, 1, 40))
        expected.may_begin_anew = True
        log.truncate_fully_and_start_at(offset)
        anew = self.expected[topic_partition] = _expected_for(topic_partition.topic, offset)
        anew.leader_epoch = expected.leader_epoch + 1

    def _delete_records(self) -> None:
        topic_partition, log = self._some_log()
        expected = self.expected[topic_partition]
        # Of a topic that is only compacted none can be deleted (POLICY_VIOLATION).
        if log.log_start_offset == log.log_end_offset or isinstance(expected, CompactedLog):
            return
        log.set_high_watermark(log.log_end_offset)
        expected.start = self.rng.randint(log.log_start_offset, log.log_end_offset)
        log.increment_log_start_offset(expected.start)

    def _retention(self) -> None:
        topic_partition, log = self._some_log()
        log.set_high_watermark(self.rng.randint(log.log_start_offset, log.log_end_offset))
        expected = self.expected[topic_partition]
        expected.may_start_later = True
        log.delete_old_segments(self.clock.at_ms)
        expected.start = log.log_start_offset

    def _remove_deleted(self) -> None:
        self.dirs.remove_deleted(self.clock.at_ms + _MOST_LATER_MS)

    # -- ends and beginnings ------------------------------------------------------------------------------------

    def _close(self) -> None:
        self.dirs.close(clean=True, broker_epoch=self.rng.randrange(100))
        for topic_partition, log in self.dirs.logs.items():
            expected = self.expected[topic_partition]
            expected.durable, expected.durable_start = expected.end, log.log_start_offset
        self._dirs = None

    def _restart(self) -> None:
        self._close()
        self._start()
        self._adopt(is_whole=True)

    def _recover_after_kill(self) -> None:
        self.disk.on_process_died()
        self._start()
        self._adopt(is_whole=True)

    def _recover_after_power_cut(self) -> None:
        self.disk.on_power_lost()
        for path, contents in self.seen.items():
            # Whatever was under way is over: what a file holds now, it keeps.
            contents[:] = [self.disk.read(path) if self.disk.exists(path) else None]
        self._start()
        self._adopt(is_whole=False)

    def _adopt(self, *, is_whole: bool) -> None:
        """Go on from what a start has found."""
        for topic_partition, log in self.dirs.logs.items():
            expected = self.expected[topic_partition]
            history = compare(topic_partition, log, expected, self.clock.at_ms)
            found = everything(log)
            if is_whole and log.log_end_offset != expected.end:
                raise Broken(f"{topic_partition} ends at {log.log_end_offset} after a start, not at {expected.end}")
            ends_history = bool(history) and history[-1].next_offset == log.log_end_offset
            if not found and not ends_history and log.log_end_offset != expected.end:
                anew = self.expected[topic_partition] = _expected_for(topic_partition.topic, log.log_end_offset)
                anew.leader_epoch = expected.leader_epoch + 1
                continue
            if found or ends_history:
                expected.batches = history
            expected.start = log.log_start_offset
            expected.leader_epoch = max(expected.leader_epoch, log.leader_epochs.latest_epoch) + 1
        missing = [each for each in self.expected if each not in self.dirs.logs]
        for topic_partition in missing:
            if self.expected[topic_partition].durable > self.expected[topic_partition].begin:
                raise Broken(f"{topic_partition} is gone after a start: {self.dirs.offline_logs}")
            del self.expected[topic_partition]
