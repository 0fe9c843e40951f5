"""The directory ``__cluster_metadata-0``: log segments, snapshots, quorum-state. Kafka: KafkaMetadataLog.

Everything here may block for as long as the page cache needs; what waits for the device (``flush``, ``write_election``,
``install_snapshot``, ``write_snapshot``) is called through :meth:`engine.world.Disk.run_blocking`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from engine.broker.quorum import quorum_state_file
from engine.broker.quorum.committed_mark import CommittedMark
from engine.broker.quorum.snapshot_files import (
    BOOTSTRAP_FILE_NAME,
    PARTIAL_SUFFIX,
    SnapshotCorrupt,
    decode_snapshot,
    encode_bootstrap,
    parse_snapshot_file_name,
    snapshot_file_name,
)
from engine.broker.quorum.voters import read_voters
from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.core.raft.identity import ElectionState, OffsetAndEpoch, VoterSet
from engine.core.raft.log_view import LogView
from engine.core.raft.voter_history import VotersEntry
from engine.model.errors import KafkaError
from engine.model.ids import METADATA_TOPIC_ID
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.batch import BatchHeader, iter_batches
from engine.storage.failure import LogCorrupt
from engine.storage.file_sync import make_dirs_synced
from engine.storage.log import Log
from engine.wire.message import Message
from engine.world import Buffer, Clock, Disk, File

log = logging.getLogger(__name__)

_PARTITION_METADATA = "partition.metadata"


class MetadataLog:
    """The files of the quorum on one node."""

    def __init__(self, disk: Disk, directory: str, files: Log, snapshots: dict[OffsetAndEpoch, int]) -> None:
        """Use :meth:`open`."""
        self._disk = disk
        self._directory = directory
        self._log = files
        self._snapshots = snapshots
        self._partial: tuple[OffsetAndEpoch, File] | None = None
        # The voters by the log, where it names them itself, as it was opened.
        self.voters: tuple[VotersEntry, ...] = ()
        self.mark = CommittedMark(disk, directory)
        # Why the log begins anew: what was committed was corrupt.
        self.forgot_because: str | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        clock: Clock,
        metadata_log_dir: str,
        config: Any,
        *,
        may_forget: bool = False,
        forgets_because: str | None = None,
    ) -> MetadataLog:
        """Recover the log: keep its valid prefix, drop half-written snapshots, start at a snapshot where they say so.

        ``may_forget``: where what was committed is corrupt the log begins anew, and is copied from the other voters.
        ``forgets_because``: a snapshot is, and it begins anew in any case.

        Raises:
            LogCorrupt: what was committed is not what it was.
            SnapshotCorrupt: the log does not reach back to its beginning and no snapshot fills the gap.
            OSError: the directory cannot be read or written.
        """
        directory = f"{metadata_log_dir}/{METADATA_TOPIC}-0"
        make_dirs_synced(disk, directory)
        mark = CommittedMark(disk, directory)
        reason = None if forgets_because is None else _set_aside(mark, forgets_because, with_snapshots=True)
        snapshots: dict[OffsetAndEpoch, int] = {}
        first_segment = None
        for name in disk.list_dir(directory):
            path = f"{directory}/{name}"
            snapshot_id = parse_snapshot_file_name(name)
            if snapshot_id is not None:
                snapshots[snapshot_id] = disk.file_size(path)
            elif name.endswith(PARTIAL_SUFFIX):
                disk.remove(path)
            elif name.endswith(".log") and first_segment is None:
                first_segment = int(name[:-4])
        if not disk.exists(f"{directory}/{_PARTITION_METADATA}"):
            content = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"
            disk.write_atomic(f"{directory}/{_PARTITION_METADATA}", content)
        voters = read_voters(disk, metadata_log_dir)
        # Who votes would be forgotten with it.
        may_forget = may_forget and not voters and not _names_voters(disk, directory)
        # A snapshot that was fetched replaces the log: the process may have died when there was none.
        start_offset = max((each.offset for each in snapshots), default=0) if first_segment is None else 0
        covering = sorted(each for each in snapshots if each.offset >= (first_segment or 0))
        if first_segment and not covering:
            why = f"{directory}: the log starts at offset {first_segment} and no snapshot covers what was before"
            if not may_forget or not mark.offset:
                raise FileNotFoundError(why)
            # It was being given up when the process died.
            reason, first_segment = _set_aside(mark, why), None
        if first_segment:
            start_offset = covering[0].offset
            for snapshot_id in [each for each in sorted(snapshots) if each.offset < start_offset]:
                disk.remove(f"{directory}/{snapshot_file_name(snapshot_id)}")
                del snapshots[snapshot_id]

        def open_log(start_offset: int) -> Log:
            return Log.open(
                disk,
                directory,
                TopicPartition(METADATA_TOPIC, 0),
                METADATA_TOPIC_ID,
                _log_config(config),
                now_ms=clock.now_ms(),
                clean_shutdown=False,
                recovery_point=mark.offset if reason is None else 0,
                checks_synced=True,
                log_start_offset=start_offset,
            )

        try:
            files = open_log(start_offset)
        except LogCorrupt as corrupt:
            if not may_forget:
                raise LogCorrupt(
                    directory, f"{corrupt.reason}; no other voters are sure to have it: put a copy of it in its place"
                ) from corrupt
            reason = _set_aside(mark, corrupt.reason)
            files = open_log(0)
        opened = cls(disk, directory, files, snapshots)
        opened.forgot_because = reason
        opened._start_at_latest_snapshot_if_needed()
        # What was read may reach behind what was found whole.
        opened.voters = tuple(each for each in voters if each.offset < opened.end_offset)
        return opened

    def _start_at_latest_snapshot_if_needed(self) -> None:
        """A crash may have come between a fetched snapshot's rename and the truncation of the log."""
        if not self._snapshots:
            return
        latest = max(self._snapshots)
        end = self._log.log_end_offset
        fits = latest.offset <= end
        if fits and latest.offset > self._log.log_start_offset:
            fits = self.view(check=False).epoch_at(latest.offset - 1) == latest.epoch
        if not fits:
            log.warning("the log ends at %d: starting anew at snapshot %s", end, latest)
            self._log.truncate_fully_and_start_at(latest.offset)
            self._drop_snapshots_before(latest)

    # -- what the machine knows ---------------------------------------------------------------------------------

    def view(self, *, check: bool = True) -> LogView:
        """The machine's view of what is on disk now."""
        return LogView(
            start_offset=self._log.log_start_offset,
            end_offset=self._log.log_end_offset,
            epoch_starts=[(entry.epoch, entry.start_offset) for entry in self._log.leader_epochs.entries],
            snapshot_ids=self._snapshots
            if check
            else [*self._snapshots, OffsetAndEpoch(self._log.log_start_offset, 0)],
        )

    @property
    def end_offset(self) -> int:
        """Where the next record goes."""
        return self._log.log_end_offset

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments and snapshots."""
        return self._log.size_bytes + sum(self._snapshots.values())

    # -- the log ------------------------------------------------------------------------------------------------

    def append(self, data: Buffer) -> None:
        """Write batches whose offsets and epochs are final."""
        self._log.append_as_follower(data)

    def flush(self, committed: int = 0, now_ms: float | None = None) -> None:
        """fsync everything written so far; note now and then how far it is committed. A failure must not be retried
        (L4)."""
        self._log.flush()
        self.note_committed(committed, now_ms)

    def note_committed(self, committed: int, now_ms: float | None = None) -> None:
        """Note on the disk that everything below is committed, as far as it is synced here; with a time not too often.
        Blocks. Raises ``OSError``."""
        self.mark.advance(min(committed, self._log.durable_end_offset), now_ms)

    @property
    def forgotten_below(self) -> int:
        """Where the log ended that this voter had, if it ends before now; else 0."""
        return self.mark.offset if self.end_offset < self.mark.offset else 0

    def truncate(self, offset: int) -> None:
        """Remove records from ``offset`` on."""
        self._log.truncate_to(offset)

    def read(self, offset: int, end_offset: int, max_bytes: int) -> bytes | memoryview:
        """Whole batches from ``offset``, at least one, none that starts at ``end_offset`` or later."""
        return self._log.read(offset, max_bytes, max_offset=end_offset, min_one_message=True)

    def read_batches(self, offset: int, end_offset: int, max_bytes: int) -> Iterator[tuple[BatchHeader, memoryview]]:
        """The same, batch by batch."""
        return iter_batches(self.read(offset, end_offset, max_bytes))

    def set_high_watermark(self, offset: int) -> None:
        """Tell the log what is committed: it removes nothing above."""
        self._log.set_high_watermark(offset)

    # -- the election state -------------------------------------------------------------------------------------

    def read_election(self) -> ElectionState:
        """What the last process knew; the empty state at the first start.

        Raises:
            QuorumStateError: the file is there and cannot be read.
        """
        with contextlib.suppress(FileNotFoundError):
            return quorum_state_file.decode(self._disk.read(f"{self._directory}/{quorum_state_file.FILE_NAME}"))
        return ElectionState()

    def write_election(self, election: ElectionState, voters: VoterSet, kraft_version: int = 0) -> None:
        """Replace the quorum-state file, durably."""
        content = quorum_state_file.encode(election, voters, kraft_version=kraft_version)
        self._disk.write_atomic(f"{self._directory}/{quorum_state_file.FILE_NAME}", content)

    # -- snapshots ----------------------------------------------------------------------------------------------

    @property
    def snapshot_ids(self) -> list[OffsetAndEpoch]:
        """Snapshots on disk, oldest first."""
        return sorted(self._snapshots)

    def snapshot_size_bytes(self, snapshot_id: OffsetAndEpoch) -> int:
        """Size of a snapshot that is on disk."""
        return self._snapshots[snapshot_id]

    def load_snapshot(self, snapshot_id: OffsetAndEpoch) -> list[Message]:
        """The records of a snapshot. Raises SnapshotCorrupt, MetadataNotUnderstood."""
        path = self._path(snapshot_id)
        try:
            return decode_snapshot(self._disk.read(path))
        except KafkaError as error:
            raise SnapshotCorrupt(
                f"{path} is corrupt ({error}): move it away if an older snapshot is there, the log has what it says"
            ) from error

    def read_snapshot_part(self, snapshot_id: OffsetAndEpoch, position: int, max_bytes: int) -> bytes:
        """Bytes of a snapshot's file, for a follower."""
        file = self._disk.open(self._path(snapshot_id), read_only=True)
        try:
            return file.pread(max_bytes, position)
        finally:
            file.close()

    def write_snapshot(self, snapshot_id: OffsetAndEpoch, batches: Iterable[bytes]) -> int:
        """Write a snapshot so that it is whole or absent; its size in bytes. It is not known before it is added."""
        partial = self._path(snapshot_id) + PARTIAL_SUFFIX
        self._disk.remove(partial)
        file = self._disk.open(partial, append=True, create=True)
        try:
            for batch in batches:
                file.append([batch])
            file.sync()
            size = file.size()
        finally:
            file.close()
        self._disk.rename(partial, self._path(snapshot_id))
        self._disk.sync_dir(self._directory)
        return size

    def add_snapshot(self, snapshot_id: OffsetAndEpoch, size_bytes: int) -> None:
        """A snapshot was written."""
        self._snapshots[snapshot_id] = size_bytes

    def write_snapshot_chunk(self, snapshot_id: OffsetAndEpoch, position: int, data: Buffer) -> None:
        """A part of a snapshot that comes from the leader, in order; position 0 begins it."""
        if position == 0:
            self.abandon_partial_snapshot()
            path = self._path(snapshot_id) + PARTIAL_SUFFIX
            self._disk.remove(path)
            self._partial = (snapshot_id, self._disk.open(path, append=True, create=True))
        assert self._partial is not None and self._partial[0] == snapshot_id, "a chunk of another snapshot"
        file = self._partial[1]
        assert file.size() == position, f"chunk at {position}, the file has {file.size()} bytes"
        file.append([data])

    def install_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        """The fetched snapshot is whole: make it durable and start the log anew at its end."""
        assert self._partial is not None and self._partial[0] == snapshot_id
        file = self._partial[1]
        self._partial = None
        file.sync()
        size = file.size()
        file.close()
        self._disk.rename(self._path(snapshot_id) + PARTIAL_SUFFIX, self._path(snapshot_id))
        self._disk.sync_dir(self._directory)
        self._log.truncate_fully_and_start_at(snapshot_id.offset)
        self._snapshots[snapshot_id] = size
        self._drop_snapshots_before(snapshot_id)

    def abandon_partial_snapshot(self) -> None:
        """Forget a download that does not continue."""
        if self._partial is not None:
            snapshot_id, file = self._partial
            self._partial = None
            file.close()
            self._disk.remove(self._path(snapshot_id) + PARTIAL_SUFFIX)

    def snapshot_to_clean_to(self, now_ms: int, retention_bytes: int, retention_ms: int) -> OffsetAndEpoch | None:
        """The snapshot before which everything may go, if there is too much or it is too old (KafkaMetadataLog).

        The newest snapshot always stays; so does the log after it.
        """
        ids = self.snapshot_ids
        if len(ids) < 2:
            return None
        if 0 <= retention_bytes < self.size_bytes:
            return ids[1]
        if retention_ms >= 0:
            timestamp_ms = self._snapshot_timestamp_ms(ids[0])
            if timestamp_ms is not None and now_ms - timestamp_ms > retention_ms:
                return ids[1]
        return None

    def delete_before(self, snapshot_id: OffsetAndEpoch, now_ms: int) -> None:
        """Start the log at a snapshot: remove older snapshots and the segments that end before it."""
        self._log.increment_log_start_offset(snapshot_id.offset)
        self._log.delete_old_segments(now_ms)
        self._drop_snapshots_before(snapshot_id)

    def _drop_snapshots_before(self, snapshot_id: OffsetAndEpoch) -> None:
        for each in [each for each in sorted(self._snapshots) if each < snapshot_id]:
            self._disk.remove(self._path(each))
            del self._snapshots[each]

    def _snapshot_timestamp_ms(self, snapshot_id: OffsetAndEpoch) -> int | None:
        part = self.read_snapshot_part(snapshot_id, 0, 4096)
        for header, _ in iter_batches(part):
            return header.max_timestamp
        return None

    def _path(self, snapshot_id: OffsetAndEpoch) -> str:
        return f"{self._directory}/{snapshot_file_name(snapshot_id)}"

    def close(self) -> None:
        """Close the files."""
        self.abandon_partial_snapshot()
        self._log.close()


def _names_voters(disk: Disk, directory: str) -> bool:
    """Whether quorum-state says that the log once named the voters: it is of version 1 then."""
    with contextlib.suppress(FileNotFoundError):
        return quorum_state_file.is_reconfigurable(disk.read(f"{directory}/{quorum_state_file.FILE_NAME}"))
    return False


def _set_aside(mark: CommittedMark, why: str, *, with_snapshots: bool = False) -> str:
    """Give the log up; what people are told of it."""
    paths = mark.forget(with_snapshots=with_snapshots)
    reason = f"{why}: it is copied anew from the other voters, without a vote until then"
    log.error("%s; the files are %s", reason, ", ".join(paths))
    return reason


def read_bootstrap_records(disk: Disk, metadata_log_dir: str) -> list[Message]:
    """The feature levels and configs that formatting the directory left (BootstrapDirectory); [] if there are none.

    Raises: SnapshotCorrupt, OSError.
    """
    path = f"{metadata_log_dir}/{BOOTSTRAP_FILE_NAME}"
    try:
        content = disk.read(path)
    except FileNotFoundError:
        return []
    try:
        return decode_snapshot(content)
    except KafkaError as error:
        raise SnapshotCorrupt(f"{path} is corrupt ({error}): put a copy of another node's in its place") from error


def write_bootstrap(disk: Disk, metadata_log_dir: str, records: Iterable[Message], now_ms: int) -> None:
    """The file that formatting the directory leaves, if no cluster has begun there. Raises ``OSError``."""
    path = f"{metadata_log_dir}/{BOOTSTRAP_FILE_NAME}"
    if not disk.exists(path) and not disk.is_dir(f"{metadata_log_dir}/{METADATA_TOPIC}-0"):
        disk.write_atomic(path, encode_bootstrap(records, now_ms))


def _log_config(config: Any) -> LogConfig:
    # Retention is by snapshots; a record batch may be as large as the quorum lets it (8 MiB).
    return LogConfig.from_(
        config,
        {
            "segment.bytes": str(config.metadata_log_segment_bytes),
            "segment.ms": str(config.metadata_log_segment_ms),
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "max.message.bytes": str(8 * 1024 * 1024),
            "cleanup.policy": "delete",
        },
    )
