"""How far the metadata log was committed, on disk: what a start must not take for a torn end (promise L2).

A start looks at every batch of the metadata log and cuts it where one is wrong, as Kafka does: most likely the power
went before it was synced. But not below this mark, which is written now and then: there it is corrupt, and what is cut
there was acknowledged by this voter, and maybe by a bare majority. Then the files are set aside under names that end
with ``.corrupt``, the mark goes to where the log had ended, and as long as the log ends before the mark this voter
gives no vote (:attr:`engine.core.raft.node.RaftNode.may_vote`).

The mark is an offset checkpoint (replication-offset-checkpoint) in the partition's own directory. Kafka passes over it;
after Kafka worked on the log it is as true as before, for what is committed stays.
"""

from __future__ import annotations

import logging
import threading

from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.model.topic_partition import TopicPartition
from engine.storage.batch_scan import next_like_a_batch, scan_intact_batches
from engine.storage.checkpoints import HIGH_WATERMARKS, CheckpointCorrupt, read_offsets, write_offsets
from engine.world import Disk

log = logging.getLogger(__name__)

CORRUPT_SUFFIX = ".corrupt"
_PARTITION = TopicPartition(METADATA_TOPIC, 0)
_OF_A_LOG = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
_OF_A_SNAPSHOT = ".checkpoint"
_EPOCHS = "leader-epoch-checkpoint"
# The mark is this much behind at most, while records are committed.
_INTERVAL_MS = 5_000


class CommittedMark:
    """The mark of one node."""

    def __init__(self, disk: Disk, directory: str) -> None:
        """Read it: 0 if there is none, or none that can be read."""
        self._disk = disk
        self._directory = directory
        self._path = f"{directory}/{HIGH_WATERMARKS}"
        self._lock = threading.Lock()
        self._written_ms = float("-inf")
        self.offset = 0
        try:
            self.offset = read_offsets(disk, self._path).get(_PARTITION, 0)
        except CheckpointCorrupt as error:
            log.warning("how far the metadata log was committed is not known: %s", error)

    def advance(self, offset: int, now_ms: float | None = None) -> None:
        """Everything below is committed and synced here; blocks. With a time: not too often. Raises ``OSError``."""
        with self._lock:
            if offset <= self.offset or (now_ms is not None and now_ms < self._written_ms + _INTERVAL_MS):
                return
            write_offsets(self._disk, self._path, {_PARTITION: offset})
            self.offset = offset
            if now_ms is not None:
                self._written_ms = now_ms

    def forget(self, *, with_snapshots: bool = False) -> list[str]:
        """Set the log's files aside, the last one first: what a crash leaves of it is shorter than the mark. Returns
        their new paths. Raises ``OSError``."""
        disk, directory = self._disk, self._directory
        endings = (*_OF_A_LOG, _OF_A_SNAPSHOT) if with_snapshots else _OF_A_LOG
        names = [each for each in disk.list_dir(directory) if each.endswith(endings) and each[:20].isdigit()]
        ends = [self._end_of(each) if each.endswith(".log") else int(each[:20]) for each in names]
        # Once a snapshot is gone that the log began at, no start goes on with what is left: the mark says so before.
        self.advance(max(ends, default=0))
        moved = []
        for name in [*sorted(names, reverse=True), _EPOCHS]:
            if disk.exists(f"{directory}/{name}"):
                path = f"{directory}/{name}{CORRUPT_SUFFIX}"
                disk.rename(f"{directory}/{name}", path)
                moved.append(path)
        disk.sync_dir(directory)
        return moved

    def _end_of(self, name: str) -> int:
        """The offset behind the last batch of a segment that is whole, whatever is wrong before it. Reads all of it."""
        file = self._disk.open(f"{self._directory}/{name}", read_only=True)
        try:
            base = int(name[:20])
            size, position, end = file.size(), 0, base
            while position < size:
                for at, header in scan_intact_batches(file, position, size):
                    position = at + header.size_in_bytes
                    # No CRC covers the offset; a record has some bytes.
                    if end <= header.base_offset and header.next_offset <= base + position:
                        end = header.next_offset
                # Over what is wrong, to whatever looks like a batch: the length there may be what is wrong.
                position = next_like_a_batch(file, position + 1, size)
            return end
        finally:
            file.close()
