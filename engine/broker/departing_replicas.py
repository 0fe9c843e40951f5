"""Replicas that go: their disk fails, their bytes are not what was written, their partition is of others by now. Who
waits for them hears of it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

from engine.broker.replica import CommitWaiter, Replica
from engine.core.controller.directory_ids import LOST, MIGRATING, UNASSIGNED
from engine.core.replica.outputs import AppendCommitted, PartitionEffects
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Detail, Note, NoteKind
from engine.storage.failure import LogCorrupt, LogDirFailure

if TYPE_CHECKING:
    from engine.broker.corrupt_replicas import CorruptReplicas
    from engine.broker.directory_assignments import DirectoryAssignments
    from engine.broker.log_dir_moves import LogDirMoves
    from engine.broker.replica_fetchers import ReplicaFetchers
    from engine.core.controller.image import MetadataImage
    from engine.core.controller.topic_image import PartitionImage, TopicImage
    from engine.model.broker_config import BrokerConfig
    from engine.model.ids import Uuid
    from engine.model.topic_partition import TopicPartition
    from engine.storage.log_dirs import LogDirs
    from engine.world import Clock

log = logging.getLogger(__name__)


class DepartingReplicas:
    """The half of :class:`engine.broker.replica_manager.ReplicaManager` by which replicas go; it owns all that is named
    here."""

    _by_id: dict[tuple[Uuid, int], Replica]
    _clock: Clock
    _directories: DirectoryAssignments
    _failed_log_dirs: set[str]
    _image: MetadataImage | None
    _on_log_dir_failed: Callable[[str, BaseException], None]
    _publish: Callable[[Iterable[Note]], None]
    _replicas: dict[tuple[str, int], Replica]
    config: BrokerConfig
    corrupt: CorruptReplicas
    fetchers: ReplicaFetchers | None
    log_dirs: LogDirs
    moves: LogDirMoves

    # -- log directories ----------------------------------------------------------------------------------------

    def on_disk_failed(self, replica: Replica, error: BaseException) -> None:
        """What a worker thread did with the replica's log failed."""
        self._log_dir_failed(replica.log_dir, error)

    def read_failed(self, replica: Replica, error: OSError) -> KafkaError:
        """The disk could not be read: its directory goes offline (UnifiedLog.read). Returns what clients are told."""
        # Descriptors that ran out say nothing about the disk.
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            self._log_dir_failed(replica.log_dir, error)
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{replica.topic_partition} cannot be read: {error}")

    def on_log_dir_failure(self, topic_partition: TopicPartition, failure: LogDirFailure) -> None:
        """What was done to files of a directory failed."""
        log_dir = self._log_dir_of(topic_partition, failure)
        if log_dir is not None:
            self._log_dir_failed(log_dir, failure)

    def _log_dir_failed(self, log_dir: str, error: BaseException) -> None:
        """Nothing in the directory is served any more: what was written last may not be what a reader finds (L4)."""
        if log_dir in self._failed_log_dirs:
            return
        self._failed_log_dirs.add(log_dir)
        self.log_dirs.mark_offline(log_dir, error)
        self.moves.on_log_dir_failed(log_dir)
        failed = [each for each in self._replicas.values() if each.log_dir == log_dir]
        for each in failed:
            self._take_offline(each)
        reason = f"{error}: what was written last may be lost, so nothing is served from it any more"
        detail: Detail = {"directory": log_dir, "replicas": len(failed)}
        self._publish([Note(NoteKind.LOG_DIR_FAILED, log_dir, reason, detail)])
        self._on_log_dir_failed(log_dir, error)

    def _is_out_of_reach(self, topic: TopicImage, topic_partition: TopicPartition) -> bool:
        """Whether the log is in a directory that was offline when this process began, or may be: no other one is made
        instead, which would be an empty log of a member of the ISR."""
        offline = self.log_dirs.offline_directories
        if not offline or topic_partition in self.log_dirs.logs:
            return False
        number = topic_partition.partition
        state = topic.partitions[number]
        directory = state.directory(self.config.node_id)
        if directory == LOST:
            return False
        if directory in (UNASSIGNED, MIGRATING):
            # Nobody was told where it is. One that is new is nowhere yet, one that is added has nothing to lose.
            is_out = state.partition_epoch > 0 and self.config.node_id in state.isr
            if is_out:
                self._tell_directory(topic.topic_id, number, state, next(iter(offline)))
        else:
            is_out = directory not in self.log_dirs.online_directory_ids
        if is_out:
            log.error("%s is offline with its log directory, one of %s", topic_partition, ", ".join(offline))
        return is_out

    def _log_dir_of(self, topic_partition: TopicPartition, failure: Exception) -> str | None:
        """The directory that a log could not be opened in; None if there was none left to try."""
        if isinstance(failure, LogDirFailure):
            for path in self.log_dirs.directory_ids:
                if f"{failure.directory}/".startswith(f"{path.rstrip('/')}/"):
                    return path
        try:
            return self.log_dirs.path_of(topic_partition)
        except KeyError:
            return None

    def _tell_directory(self, topic_id: Uuid, number: int, state: PartitionImage, log_dir: str) -> None:
        directory_id = self.log_dirs.directory_ids[log_dir]
        if state.directory(self.config.node_id) != directory_id:
            self._directories.submit(topic_id, number, directory_id)

    # -- rot ----------------------------------------------------------------------------------------------------

    def _on_corrupt_later(self, replica: Replica, corrupt: LogCorrupt) -> None:
        """A read found it, somewhere within an answer that is being made."""
        asyncio.get_running_loop().call_soon(self.on_corrupt, replica, corrupt)

    def on_corrupt(self, replica: Replica, corrupt: KafkaError) -> None:
        """The replica's bytes are not what was written: it alone goes offline (L2)."""
        if replica.is_offline or self._replicas.get(replica.topic_partition) is not replica:
            return
        self.moves.cancel(replica.topic_partition)
        self._take_offline(replica)
        self.corrupt.on_found(
            replica.topic_partition, replica.topic_id, corrupt, leader_epoch=replica.partition.leader_epoch
        )

    def has_others_in_sync(self, replica: Replica) -> bool:
        """Whether other brokers have everything that was committed."""
        state = None if self._image is None else self._image.partition(*replica.topic_partition)
        return state is not None and any(each != self.config.node_id for each in state.isr)

    # -- replicas of somebody else, or of nobody ------------------------------------------------------------------

    def _drop(self, topic_partition: TopicPartition, topic_id: Uuid, reason: str) -> None:
        replica = self._replicas.get(topic_partition)
        if replica is None or replica.topic_id != topic_id:
            return
        log.info("dropping %s: %s", topic_partition, reason)
        self._forget(replica)
        self.corrupt.forget(topic_partition, topic_id)
        if self.fetchers is not None:
            self.fetchers.remove(replica)
        replica.is_offline = True
        self._end(replica, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        self.moves.cancel(topic_partition)
        try:
            self.log_dirs.delete(topic_partition, self._clock.now_ms())
        except LogDirFailure as failure:
            self._log_dir_failed(replica.log_dir, failure)

    def _forget(self, replica: Replica) -> None:
        del self._replicas[replica.topic_partition]
        self._by_id.pop((replica.topic_id, replica.topic_partition.partition), None)

    # -- whoever waits ------------------------------------------------------------------------------------------

    def _take_offline(self, replica: Replica) -> None:
        replica.is_offline = True
        if self.fetchers is not None:
            self.fetchers.remove(replica)
        self._end(replica, ErrorCode.KAFKA_STORAGE_ERROR)

    def _end(self, replica: Replica, error: ErrorCode) -> None:
        """Answer all who wait for this replica."""
        self._reply(replica.partition.on_stop(error))
        self._answer_synced(replica, float("inf"), error)
        replica.on_changed()

    @staticmethod
    def _reply(effects: PartitionEffects) -> None:
        """Answer who waited for acks=all."""
        for token, answer in effects.reply:
            cast(CommitWaiter, token).on_committed(cast(AppendCommitted, answer))

    @staticmethod
    def _answer_synced(replica: Replica, end_offset: float, error: ErrorCode) -> None:
        """Answer who waits for a sync up to ``end_offset``."""
        waiters, answer = replica.sync_waiters, AppendCommitted(replica.topic_partition, error)
        while waiters and waiters[0][0] <= end_offset:
            waiters.popleft()[1].on_committed(answer)
