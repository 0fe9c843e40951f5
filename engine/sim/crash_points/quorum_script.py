"""What a node of the metadata quorum does to its files: records, votes, snapshots that it writes and fetches."""

from __future__ import annotations

import random

from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.snapshot_files import encode_snapshot
from engine.core.raft.identity import ElectionState, OffsetAndEpoch, ReplicaKey, VoterSet
from engine.model.broker_config import BrokerConfig
from engine.record.builder import NewRecord, build_batch
from engine.sim.crash_points.expected import Batch, Derived, ExpectedLog, batch_of
from engine.sim.crash_points.judge import Broken, everything, seen_now, watched_files
from engine.sim.crash_points.script import FixedClock
from engine.sim.disk import SimDisk, Survivors
from engine.storage.log import Log

_PATH = "/disks/one/metadata"
_VOTERS = VoterSet((1, 2, 3))
# Kinds of steps, and how often each is chosen.
KINDS = {
    "quorum append": 20,
    "quorum flush": 10,
    "quorum roll": 4,
    "quorum truncate": 4,
    "quorum vote": 8,
    "quorum snapshot": 5,
    "quorum snapshot fetched": 3,
    "quorum cleaning": 4,
    "quorum recovery after SIGKILL": 3,
    "quorum recovery after a power cut": 3,
}


class QuorumScript:
    """Steps over ``__cluster_metadata-0`` of one node; see :class:`~engine.sim.crash_points.campaign.Script`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"crash points of the quorum {seed}")
        self.disk = SimDisk(random.Random(f"crash points of the quorum, disk {seed}"))
        self.clock = FixedClock()
        self.operation = ""
        self.seen: dict[str, list[bytes | None]] = {}
        self._config = BrokerConfig.from_properties(
            {
                "process.roles": "controller",
                "node.id": "1",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": "1@one:1,2@two:1,3@three:1",
                "listeners": "CONTROLLER://one:1",
                "log.dirs": _PATH,
            }
        )
        self._expected = ExpectedLog()
        # Votes that were told, or are about to be; the last one is the newest.
        self._elections = [ElectionState()]
        # Snapshots that must be there, those that may be, and what they all hold.
        self._snapshots: set[OffsetAndEpoch] = set()
        self._maybe: set[OffsetAndEpoch] = set()
        self._content: dict[OffsetAndEpoch, bytes] = {}
        self._installing: OffsetAndEpoch | None = None
        self._metadata: MetadataLog | None = None

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Begin, and do so many steps. Raises ``Broken``."""
        self._do("quorum start")
        kinds, weights = list(KINDS), list(KINDS.values())
        for _ in range(steps):
            self.clock.at_ms += self.rng.randrange(1, 2000)
            self._do(self.rng.choices(kinds, weights)[0])

    def _do(self, kind: str) -> None:
        self.operation = kind
        self.seen = {path: [self.disk.read(path)] for path in watched_files(self.disk)}
        acts = {
            "quorum start": self._start,
            "quorum append": self._append,
            "quorum flush": self._flush,
            "quorum roll": lambda: self._log.roll(self.clock.at_ms),
            "quorum truncate": self._truncate,
            "quorum vote": self._vote,
            "quorum snapshot": self._snapshot,
            "quorum snapshot fetched": self._fetch_snapshot,
            "quorum cleaning": self._clean,
            "quorum recovery after SIGKILL": self._recover_after_kill,
            "quorum recovery after a power cut": self._recover_after_power_cut,
        }
        acts[kind]()
        self._expected.done()
        self._maybe = set()
        self._installing = None

    def note_files(self) -> None:
        """Look at the files that are replaced as a whole."""
        seen_now(self.disk, self.seen)

    @property
    def _opened(self) -> MetadataLog:
        assert self._metadata is not None
        return self._metadata

    @property
    def _log(self) -> Log:
        # The script rolls the log by itself: the quorum's own segments have 8 MiB at least.
        return self._opened._log

    def _start(self) -> None:
        self._metadata = self.start_on(self.disk)

    # -- steps --------------------------------------------------------------------------------------------------

    def _append(self) -> None:
        expected, added = self._expected, list[Batch]()
        offset = expected.end
        for _ in range(self.rng.choice((1, 1, 3))):
            if self.rng.random() < 0.1:
                expected.leader_epoch += 1
            many = [NewRecord(None, self.rng.randbytes(50), timestamp=self.clock.at_ms)] * self.rng.choice((1, 3))
            added.append(batch_of(build_batch(many, base_offset=offset, leader_epoch=expected.leader_epoch)))
            offset = added[-1].next_offset
        expected.under_way([*expected.batches, *added])
        self._opened.append(b"".join(each.data for each in added))

    def _flush(self) -> None:
        # As far as the others have it, too.
        committed = self.rng.randint(self._log.high_watermark, self._expected.end)
        self._opened.flush(committed)
        self._expected.durable = self._expected.end
        self._opened.set_high_watermark(committed)

    def _truncate(self) -> None:
        expected = self._expected
        # What is committed is never cut.
        there = [each for each in expected.batches if each.base_offset >= self._log.high_watermark]
        if there:
            offset = self.rng.choice(there).base_offset
            expected.under_way([each for each in expected.batches if each.base_offset < offset], durable=offset)
            self._opened.truncate(offset)
            expected.leader_epoch += 1

    def _vote(self) -> None:
        epoch = self._elections[-1].epoch + self.rng.choice((0, 1))
        voted = self.rng.choice((None, ReplicaKey(2), ReplicaKey(3)))
        election = ElectionState(epoch, 2 if voted is None else None, voted)
        self._elections = [self._elections[-1], election]
        self._opened.write_election(election, _VOTERS)
        self._elections = [election]

    def _new_snapshot(self, offset: int, epoch: int) -> tuple[OffsetAndEpoch, list[bytes]]:
        snapshot_id = OffsetAndEpoch(offset, epoch)
        batches = list(
            encode_snapshot([], epoch=epoch, last_contained_log_timestamp_ms=self.clock.at_ms, now_ms=self.clock.at_ms)
        )
        batches.insert(1, build_batch([NewRecord(None, self.rng.randbytes(200))], base_offset=1, leader_epoch=epoch))
        self._content[snapshot_id] = b"".join(batches)
        self._maybe.add(snapshot_id)
        return snapshot_id, batches

    def _snapshot(self) -> None:
        ends = [each for each in self._expected.batches if self._log.log_start_offset < each.next_offset]
        ends = [each for each in ends if each.next_offset <= self._log.high_watermark]
        if not ends:
            return
        last = self.rng.choice(ends[-3:])
        if any(each.offset >= last.next_offset for each in self._snapshots):
            return
        snapshot_id, batches = self._new_snapshot(last.next_offset, last.header.partition_leader_epoch)
        self._opened.add_snapshot(snapshot_id, self._opened.write_snapshot(snapshot_id, batches))
        self._snapshots.add(snapshot_id)

    def _fetch_snapshot(self) -> None:
        expected = self._expected
        offset = expected.end + self.rng.choice((5, 30))
        snapshot_id, batches = self._new_snapshot(offset, expected.leader_epoch)
        content, position = b"".join(batches), 0
        while position < len(content):
            self._opened.write_snapshot_chunk(snapshot_id, position, content[position : position + 150])
            position += 150
        if self.rng.random() < 0.2:
            self._opened.abandon_partial_snapshot()
            return
        self._installing = snapshot_id
        expected.may_begin_anew = True
        self._maybe |= self._snapshots
        self._opened.install_snapshot(snapshot_id)
        self._snapshots = {snapshot_id}
        epoch = expected.leader_epoch
        self._expected = ExpectedLog(offset)
        self._expected.leader_epoch = epoch

    def _clean(self) -> None:
        ids = sorted(self._snapshots)
        if len(ids) < 2 or ids[1].offset > self._log.high_watermark:
            return
        self._maybe = {ids[0]}
        self._snapshots.remove(ids[0])
        self._expected.start = ids[1].offset
        self._opened.delete_before(ids[1], self.clock.at_ms)

    def _recover_after_kill(self) -> None:
        self.disk.on_process_died()
        self._start()
        if self._opened.end_offset != self._expected.end:
            raise Broken(f"the metadata log ends at {self._opened.end_offset}, not at {self._expected.end}")
        self._adopt()

    def _recover_after_power_cut(self) -> None:
        self.disk.on_power_lost()
        for path, contents in self.seen.items():
            contents[:] = [self.disk.read(path) if self.disk.exists(path) else None]
        self._start()
        self._adopt()

    def _adopt(self) -> None:
        self.check(self._opened)
        expected, found = self._expected, everything(self._log)
        history = expected.history_of(found, self._log.log_end_offset)
        assert history is not None
        expected.batches, expected.start = history, self._log.log_start_offset
        expected.leader_epoch += 1
        self._snapshots = set(self._opened.snapshot_ids)
        # A voter knows what is committed from others.
        self._opened.set_high_watermark(expected.durable)

    # -- judging ------------------------------------------------------------------------------------------------

    def start_on(self, disk: SimDisk) -> MetadataLog:
        """What a node finds that starts on this disk."""
        return MetadataLog.open(disk, self.clock, _PATH, self._config, may_forget=True)

    def check(self, found: MetadataLog) -> None:
        """Raises ``Broken`` if that is not what was promised."""
        log, expected = found._log, self._expected
        if found.forgot_because is not None or found.forgotten_below:
            raise Broken(f"what the power cut off is taken for rot below {found.mark.offset}: {found.forgot_because}")
        batches = everything(log)
        history = expected.history_of(batches, log.log_end_offset)
        is_installed = self._installing is not None and log.log_start_offset == self._installing.offset
        if history is None:
            raise Broken(f"the metadata log holds {[each.base_offset for each in batches]}, which never was so")
        if not is_installed:
            if log.log_end_offset < expected.durable:
                raise Broken(f"the metadata log ends at {log.log_end_offset}, and was synced up to {expected.durable}")
            if log.log_start_offset > expected.start:
                raise Broken(f"the metadata log starts at {log.log_start_offset}, not at {expected.start}")
        elif batches or log.log_end_offset != log.log_start_offset:
            raise Broken(f"the metadata log goes on with other records after a snapshot: {batches}")
        epochs = [tuple(each) for each in log.leader_epochs.entries]
        wanted = [each for each in Derived(history).epochs if each[1] > log.log_start_offset]
        if batches and epochs[len(epochs) - len(wanted) :] != wanted:
            raise Broken(f"the metadata log has the epochs {epochs}, and its batches {Derived(history).epochs}")
        if found.read_election() not in self._elections:
            raise Broken(f"the node remembers {found.read_election()}, and wrote {self._elections}")
        ids = set(found.snapshot_ids)
        if not is_installed and not self._snapshots <= ids | self._maybe:
            raise Broken(f"snapshots {sorted(self._snapshots - ids)} are gone")
        for each in ids:
            content = found.read_snapshot_part(each, 0, 1 << 20)
            if content != self._content.get(each):
                raise Broken(f"snapshot {each} is not what was written: {len(content)} bytes")
        if log.log_start_offset and not any(each.offset >= log.log_start_offset for each in ids):
            raise Broken(f"the metadata log starts at {log.log_start_offset}, and there is no snapshot of before")
        if any(each.offset > log.log_end_offset for each in ids):
            raise Broken(f"the metadata log ends at {log.log_end_offset}, before its snapshot {max(ids)}")

    def go_on(self, disk: SimDisk, found: MetadataLog, rng: random.Random) -> None:
        """Records and a vote that were synced after a start are there after the next one. Raises ``Broken``."""
        end = found.end_offset
        data = build_batch([NewRecord(None, b"after")], base_offset=end, leader_epoch=self._expected.leader_epoch + 1)
        found.append(data)
        found.flush()
        election = ElectionState(self._elections[-1].epoch + 1, None, ReplicaKey(3))
        found.write_election(election, _VOTERS)
        disk.on_power_lost(rng.choice((Survivors.NONE, Survivors.SOME)))
        again = self.start_on(disk)
        if again.end_offset != end + 1 or bytes(again.read(end, end + 1, 1)) != data:
            raise Broken(
                f"a record at {end} was synced after a start; after the next one the log ends {again.end_offset}"
            )
        if again.read_election() != election:
            raise Broken(f"{election} was written after a start; after the next one it is {again.read_election()}")
