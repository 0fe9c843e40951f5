"""The log directories of a broker and the logs in them. Kafka: LogManager.

Each directory of ``log.dirs`` is locked, carries its own identity (``meta.properties``) and fails alone: the others go
on (KIP-112, KIP-858).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import (
    CLEAN_SHUTDOWN,
    CLEANER_OFFSETS,
    HIGH_WATERMARKS,
    LOG_START_OFFSETS,
    NO_BROKER_EPOCH,
    RECOVERY_POINTS,
    CheckpointCorrupt,
    read_clean_shutdown,
    read_offsets,
    write_clean_shutdown,
    write_offsets,
)
from engine.storage.failure import LogDirFailure
from engine.storage.file_pool import FilePool
from engine.storage.file_sync import make_dirs_synced
from engine.storage.log import Log
from engine.storage.log_directory import METADATA_DIRECTORY, CheckpointValues, LogDirectory, identify, lock
from engine.storage.segment import LOG_SUFFIX
from engine.world import Disk, World

log = logging.getLogger(__name__)

DELETE_SUFFIX = "-delete"
FUTURE_SUFFIX = "-future"
STRAY_SUFFIX = "-stray"
_PARTITION_DIRECTORY = re.compile(r"(.+)-([0-9]+)", re.ASCII)
_FUTURE_DIRECTORY = re.compile(rf"(.+)-([0-9]+)\.[0-9a-f]{{32}}{FUTURE_SUFFIX}", re.ASCII)
_MAX_NAME_BYTES = 255
_MOST_PREFERRED = 10_000


class _Removal(NamedTuple):
    """A directory that waits for its removal."""

    due_ms: int
    path: str


class LogDirs:
    """Open with :meth:`open`, then :meth:`load`."""

    def __init__(self, world: World, directories: list[LogDirectory], cluster_id: str, max_open_files: int) -> None:
        """Use :meth:`open`."""
        self._world = world
        self._disk = world.disk
        self._directories = directories
        self._pool = FilePool(world.disk, max_open_files)
        self._checkpoint_lock = threading.Lock()
        self._directory_of: dict[TopicPartition, LogDirectory] = {}
        self._removals: list[_Removal] = []
        # Logs that were being copied to another directory when the last process ended, and where to.
        self._interrupted: list[tuple[TopicPartition, LogDirectory, str, CheckpointValues]] = []
        self._preferred: dict[TopicPartition, LogDirectory] = {}
        self._producer_id_expiration_ms = 86_400_000
        self.cluster_id = cluster_id
        self.logs: dict[TopicPartition, Log] = {}
        # Logs that are out of reach, and why. Their directories stay as they are.
        self.offline_logs: dict[TopicPartition, str] = {}
        # Paths of directories that take no new logs (cordoned.log.dirs).
        self.cordoned: frozenset[str] = frozenset()
        # Those of them that are corrupt; with a log that was open.
        self._corrupt: dict[TopicPartition, Log | None] = {}

    @classmethod
    def open(
        cls,
        world: World,
        paths: Sequence[str],
        *,
        node_id: int,
        cluster_id: str | None = None,
        may_found_cluster: bool = False,
        under_zookeeper: bool = False,
        max_open_files: int = 256,
        producer_id_expiration_ms: int = 86_400_000,
    ) -> LogDirs:
        """Make and lock the directories and learn whose they are; one that was never formatted becomes this node's.

        ``cluster_id``: the one that they must have. Where nobody knows it (``None``, and none is formatted) and
        ``may_found_cluster`` they begin a new cluster. ``under_zookeeper``: ZooKeeper coordinates it, not a quorum.

        Raises:
            ValueError: a directory belongs to another node or cluster, or to one that is coordinated otherwise, or none
                says which cluster it is.
            OSError: another process uses a directory, or it cannot be read or written.
        """
        assert paths, "log.dirs names one directory at least"
        directories: list[LogDirectory] = []
        try:
            for path in paths:
                make_dirs_synced(world.disk, path)
                directories.append(LogDirectory(path, lock(world, path)))
            found = identify(world, directories, node_id, cluster_id, may_found_cluster, under_zookeeper)
            for directory in directories:
                epoch = read_clean_shutdown(world.disk, directory.path)
                if epoch is not None:
                    directory.clean_shutdown = True
                    directory.previous_broker_epoch = epoch
                    # Whatever ends this process, it is not clean until close() says so.
                    world.disk.remove(f"{directory.path}/{CLEAN_SHUTDOWN}")
                    world.disk.sync_dir(directory.path)
        except BaseException:
            for directory in directories:
                if directory.lock is not None:
                    directory.lock.release()
            raise
        opened = cls(world, directories, found, max_open_files)
        opened._producer_id_expiration_ms = producer_id_expiration_ms
        return opened

    # -- answers ------------------------------------------------------------------------------------------------

    @property
    def directory_ids(self) -> dict[str, Uuid]:
        """Ids of the directories by their paths (KIP-858)."""
        return {each.path: each.directory_id for each in self._directories}

    @property
    def clean_shutdown(self) -> bool:
        """Whether the last process left every directory in order."""
        return all(each.clean_shutdown for each in self._directories)

    @property
    def previous_broker_epoch(self) -> int:
        """The broker's epoch at its last shutdown if that was clean and all directories agree, else -1 (KIP-966)."""
        epochs = {each.previous_broker_epoch for each in self._directories}
        return epochs.pop() if len(epochs) == 1 and self.clean_shutdown else NO_BROKER_EPOCH

    @property
    def offline_directories(self) -> dict[str, str]:
        """Directories that failed, and why."""
        return {each.path: each.failure for each in self._directories if each.failure is not None}

    @property
    def online_directory_ids(self) -> list[Uuid]:
        """Ids of the directories that work."""
        return [each.directory_id for each in self._directories if each.failure is None]

    def get(self, topic_partition: TopicPartition) -> Log | None:
        """The log of a partition that this broker has and can use."""
        return self.logs.get(topic_partition)

    def path_of(self, topic_partition: TopicPartition) -> str:
        """The log directory that holds a partition. Raises ``KeyError``."""
        return self._directory_of[topic_partition].path

    def directory_id_of(self, topic_partition: TopicPartition) -> Uuid:
        """Id of the log directory that holds a partition. Raises ``KeyError``."""
        return self._directory_of[topic_partition].directory_id

    def checkpointed_high_watermark(self, topic_partition: TopicPartition) -> int:
        """What the last checkpoint says, 0 if it does not."""
        directory = self._directory_of.get(topic_partition)
        return 0 if directory is None else directory.checkpointed.high_watermarks.get(topic_partition, 0)

    # -- starting -----------------------------------------------------------------------------------------------

    def load(self, config_for: Callable[[str], LogConfig], now_ms: int) -> None:
        """Open every partition's log; ``config_for`` answers with the configuration of a topic.

        A log that is corrupt is left out (:attr:`offline_logs`), a directory whose disk fails as a whole.
        """
        for directory in self._directories:
            try:
                self._load_directory(directory, config_for, now_ms)
            except OSError as error:
                self.mark_offline(directory.path, error)
        if not self.offline_directories:
            self._finish_swaps(config_for, now_ms)

    def _finish_swaps(self, config_for: Callable[[str], LogConfig], now_ms: int) -> None:
        """A copy whose original has its final name no more is whole: the process ended between the two renames."""
        for interrupted in list(self._interrupted):
            topic_partition, directory, path, values = interrupted
            if topic_partition in self._directory_of:
                continue
            self._interrupted.remove(interrupted)
            try:
                self._disk.rename(path, f"{directory.path}/{topic_partition}")
                self._disk.sync_dir(directory.path)
                self._directory_of[topic_partition] = directory
                self._open(directory, topic_partition, None, config_for(topic_partition.topic), values, now_ms)
                self._checkpoint(directory)
            except (KafkaError, CheckpointCorrupt) as error:
                log.error("%s is offline: %s", topic_partition, error)
                self.offline_logs[topic_partition] = str(error)
            except OSError as error:
                self.mark_offline(directory.path, error)

    def _load_directory(self, directory: LogDirectory, config_for: Callable[[str], LogConfig], now_ms: int) -> None:
        disk = self._disk
        found = [_read_checkpoint(disk, directory.path, name) for name in _CHECKPOINTS]
        directory.lost_recovery_points = found[0] is None
        directory.checkpointed = values = CheckpointValues(*({} if each is None else each for each in found))
        for name in disk.list_dir(directory.path):
            path = f"{directory.path}/{name}"
            if not disk.is_dir(path) or name == METADATA_DIRECTORY:
                continue
            if name.endswith(DELETE_SUFFIX):
                disk.remove_tree(path)
                continue
            match = _PARTITION_DIRECTORY.fullmatch(name)
            future = _FUTURE_DIRECTORY.fullmatch(name)
            if future is not None:
                self._interrupted.append((TopicPartition(future[1], int(future[2])), directory, path, values))
                continue
            if match is None:
                if not name.endswith((FUTURE_SUFFIX, STRAY_SUFFIX)):
                    log.warning("%s is no partition's directory: it is left alone", path)
                continue
            topic_partition = TopicPartition(match[1], int(match[2]))
            if topic_partition in self._directory_of and not self._remove_empty_twin(topic_partition, directory):
                continue
            self._directory_of[topic_partition] = directory
            try:
                self._open(directory, topic_partition, None, config_for(match[1]), values, now_ms)
            except (KafkaError, CheckpointCorrupt) as error:
                log.error("%s is offline: %s", topic_partition, error)
                self.mark_corrupt(topic_partition, error)
        # From here on what it does not name was never flushed.
        self._checkpoint(directory, is_first=True)
        directory.lost_recovery_points = False

    def _remove_empty_twin(self, topic_partition: TopicPartition, directory: LogDirectory) -> bool:
        """The partition is in another directory, too, that was loaded before: one of them was being made when its disk
        failed. Whether the log in ``directory`` is to be opened. Raises ``OSError``: both have records."""
        before = self._directory_of[topic_partition]
        here, there = f"{directory.path}/{topic_partition}", f"{before.path}/{topic_partition}"
        if not _has_records(self._disk, here):
            log.warning("removed %s: it is empty, and %s is not new", here, there)
            self._disk.remove_tree(here)
            return False
        if _has_records(self._disk, there):
            raise OSError(
                f"{topic_partition} is in {directory.path} and in {before.path}: remove the one that is older"
            )
        log.warning("removed %s: it is empty, and %s is not", there, here)
        twin = self.logs.pop(topic_partition, None)
        if twin is not None:
            twin.close()
        self.offline_logs.pop(topic_partition, None)
        self._corrupt.pop(topic_partition, None)
        self._disk.remove_tree(there)
        self._directory_of[topic_partition] = directory
        return True

    def _open(
        self,
        directory: LogDirectory,
        topic_partition: TopicPartition,
        topic_id: Uuid | None,
        config: LogConfig,
        values: CheckpointValues,
        now_ms: int,
    ) -> Log:
        opened = Log.open(
            self._disk,
            f"{directory.path}/{topic_partition}",
            topic_partition,
            topic_id,
            config,
            now_ms=now_ms,
            clean_shutdown=directory.clean_shutdown,
            recovery_point=values.recovery_points.get(topic_partition, 0),
            trusts_recovery_point=not directory.lost_recovery_points,
            log_start_offset=values.log_start_offsets.get(topic_partition, 0),
            first_dirty_offset=values.cleaner_offsets.get(topic_partition),
            pool=self._pool,
            producer_id_expiration_ms=self._producer_id_expiration_ms,
        )
        opened.set_high_watermark(values.high_watermarks.get(topic_partition, 0))
        opened.before_truncation = opened.before_gap = lambda: self._checkpoint(directory)
        self.logs[topic_partition] = opened
        return opened

    def get_or_create(self, topic_partition: TopicPartition, topic_id: Uuid, config: LogConfig, now_ms: int) -> Log:
        """The partition's log, made in the directory that has the fewest if there is none.

        Raises:
            KafkaError: INCONSISTENT_TOPIC_ID if there is one of another topic of that name; KAFKA_STORAGE_ERROR if its
                log is corrupt or its directory offline.
            LogDirFailure: the disk fails.
        """
        existing = self.logs.get(topic_partition)
        if existing is not None:
            self._preferred.pop(topic_partition, None)
            if existing.topic_id not in (topic_id, bytes(16)):
                raise KafkaError(
                    ErrorCode.INCONSISTENT_TOPIC_ID, f"{existing.directory} belongs to another topic of that name"
                )
            if existing.topic_id != topic_id:
                existing.assign_topic_id(topic_id)
            return existing
        reason = self.offline_logs.get(topic_partition)
        if reason is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, reason)
        preferred = self._preferred.pop(topic_partition, None)
        directory = self._emptiest() if preferred is None or preferred.failure is not None else preferred
        try:
            values = directory.checkpointed
            if any(topic_partition in each for each in values):
                # Of a partition of that name that was deleted: none of it is true of the new one.
                self._checkpoint(directory)
            opened = self._open(directory, topic_partition, topic_id, config, CheckpointValues({}, {}, {}, {}), now_ms)
        except OSError as error:
            # It belongs there: made in another directory as well, it would be in both when this one is back.
            self._directory_of[topic_partition] = directory
            self.mark_offline(directory.path, error)
            raise LogDirFailure(directory.path, error) from error
        self._directory_of[topic_partition] = directory
        return opened

    def _emptiest(self) -> LogDirectory:
        online = [each for each in self._directories if each.failure is None]
        if not online:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "every log directory is offline")
        # New logs stay away from cordoned directories, unless all are (KIP-1066).
        online = [each for each in online if each.path not in self.cordoned] or online
        if len(online) == 1:
            # Not counted: a topic of thousands of partitions would count them all for each.
            return online[0]
        counts = {each.path: 0 for each in online}
        for each in self._directory_of.values():
            if each.path in counts:
                counts[each.path] += 1
        return min(online, key=lambda each: counts[each.path])

    def mark_offline(self, path: str, reason: object) -> list[TopicPartition]:
        """The disk of a log directory failed: its logs are out of reach until the next start. Returns them."""
        directory = next(each for each in self._directories if each.path.rstrip("/") == path.rstrip("/"))
        if directory.failure is None:
            log.error("log directory %s is offline: %s", path, reason)
            directory.failure = str(reason)
        affected = [each for each, where in self._directory_of.items() if where is directory]
        for each in affected:
            self.logs.pop(each, None)
            self.offline_logs.setdefault(each, f"{path} is offline: {reason}")
        return affected

    def use_producer_id_expiration(self, expiration_ms: int) -> None:
        """producer.id.expiration.ms is another one."""
        self._producer_id_expiration_ms = expiration_ms
        for each in self.logs.values():
            each.producers.expiration_ms = expiration_ms

    # -- moving from one directory to another -------------------------------------------------------------------

    def prefer(self, topic_partition: TopicPartition, path: str) -> None:
        """Make the partition's log there if it is not made yet. Raises ``KeyError``: no such directory."""
        directory = self._at(path)
        if len(self._preferred) >= _MOST_PREFERRED:
            # Anybody can ask for partitions that never come.
            del self._preferred[next(iter(self._preferred))]
        self._preferred[topic_partition] = directory

    def _at(self, path: str) -> LogDirectory:
        for each in self._directories:
            if each.path == path:
                return each
        raise KeyError(path)

    # -- rot ----------------------------------------------------------------------------------------------------

    def is_corrupt(self, topic_partition: TopicPartition) -> bool:
        """Whether the log is offline because its bytes are not what they were."""
        return topic_partition in self._corrupt

    def mark_corrupt(self, topic_partition: TopicPartition, reason: object) -> None:
        """The log is not what it was: it alone is out of reach, and its files stay as they are."""
        self._corrupt[topic_partition] = self.logs.pop(topic_partition, None)
        self.offline_logs[topic_partition] = str(reason)

    def set_corrupt_aside(self, topic_partition: TopicPartition) -> str:
        """Give a corrupt log up, so that one can be begun anew, and keep its files: under a name that Kafka passes over
        as well. Returns the directory's new name. Raises ``LogDirFailure``."""
        broken = self._corrupt.pop(topic_partition)
        del self.offline_logs[topic_partition]
        return self._rename(topic_partition, broken, STRAY_SUFFIX)

    # -- deleting -----------------------------------------------------------------------------------------------

    def delete(self, topic_partition: TopicPartition, now_ms: int) -> None:
        """Give up a partition: its directory gets another name at once and is removed after file.delete.delay.ms.

        Raises:
            LogDirFailure: the disk fails.
        """
        if topic_partition in self._corrupt:
            # Nobody wants it any more, and nobody may read it.
            path = self.set_corrupt_aside(topic_partition)
            self._removals.append(_Removal(now_ms, path))
            return
        doomed = self.logs.pop(topic_partition, None)
        if doomed is None:
            return
        path = self._rename(topic_partition, doomed, DELETE_SUFFIX)
        self._removals.append(_Removal(now_ms + doomed.config.file_delete_delay_ms, path))

    def set_aside(self, topic_partition: TopicPartition) -> str | None:
        """Give up a log that is of no partition of this broker any more, but keep its files, as Kafka does with strays.

        Returns the directory's new name. Raises ``LogDirFailure``.
        """
        stray = self.logs.pop(topic_partition, None)
        return None if stray is None else self._rename(topic_partition, stray, STRAY_SUFFIX)

    def _rename(self, topic_partition: TopicPartition, given_up: Log | None, suffix: str) -> str:
        directory = self._directory_of.pop(topic_partition)
        path = f"{directory.path}/{_renamed(topic_partition, self._world.random.uuid(), suffix)}"
        try:
            if given_up is not None:
                given_up.rename_for_delete(path)
            else:
                self._disk.rename(f"{directory.path}/{topic_partition}", path)
                self._disk.sync_dir(directory.path)
        except OSError as error:
            self.mark_offline(directory.path, error)
            raise LogDirFailure(directory.path, error) from error
        return path

    def remove_deleted(self, now_ms: int) -> int:
        """Remove what is due: partitions' directories and segments' files; how many.

        Blocks; may run in a thread of its own.
        """
        due = [each for each in self._removals if each.due_ms <= now_ms]
        for each in due:
            self._removals.remove(each)
            try:
                self._disk.remove_tree(each.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                log.error("%s could not be removed: %s", each.path, error)
        removed = len(due)
        for each_log in list(self.logs.values()):
            removed += each_log.remove_deleted(now_ms)
        return removed

    def enforce_retention(self, now_ms: int) -> int:
        """Delete old segments of every log, forget silent producers; how many segments.

        Raises:
            LogDirFailure: a disk fails; the other logs are done nevertheless.
        """
        deleted = 0
        failure: LogDirFailure | None = None
        for each in list(self.logs.values()):
            try:
                deleted += each.delete_old_segments(now_ms)
            except LogDirFailure as error:
                failure = error
            each.producers.remove_expired(now_ms)
        if failure is not None:
            raise failure
        return deleted

    # -- checkpoints --------------------------------------------------------------------------------------------

    def checkpoint_values(self) -> dict[str, CheckpointValues]:
        """What :meth:`checkpoint` would write now, by directory."""
        return {each.path: self._values_of(each) for each in self._directories if each.failure is None}

    def _values_of(self, directory: LogDirectory) -> CheckpointValues:
        values = CheckpointValues({}, {}, {}, {})
        for topic_partition, each in list(self.logs.items()):
            if self._directory_of.get(topic_partition) is directory:
                add_values(values, topic_partition, each)
        # What is offline keeps what was known of it.
        for topic_partition in list(self.offline_logs):
            if self._directory_of.get(topic_partition) is directory:
                for now, before in zip(values, directory.checkpointed, strict=True):
                    if topic_partition in before:
                        now[topic_partition] = before[topic_partition]
        return values

    def checkpoint(self, values: Mapping[str, CheckpointValues] | None = None) -> None:
        """Write the checkpoints of every directory.

        Blocks; may run in a thread of its own. They are read when they are written: what was cut or deleted since
        :meth:`checkpoint_values` must not come back; ``values`` only name the directories.

        Raises:
            LogDirFailure: a disk fails.
        """
        for directory in self._directories:
            if directory.failure is None and (values is None or directory.path in values):
                try:
                    self._checkpoint(directory)
                except OSError as error:
                    raise LogDirFailure(directory.path, error) from error

    def _checkpoint(self, directory: LogDirectory, *, is_first: bool = False, joining: Log | None = None) -> None:
        with self._checkpoint_lock:
            values = self._values_of(directory)
            if joining is not None:
                add_values(values, joining.topic_partition, joining)
            for name, now, before in zip(_CHECKPOINTS, values, directory.checkpointed, strict=True):
                if is_first or now != before:
                    write_offsets(self._disk, f"{directory.path}/{name}", now)
            directory.checkpointed = values

    # -- ending -------------------------------------------------------------------------------------------------

    def close(self, *, clean: bool, broker_epoch: int = NO_BROKER_EPOCH) -> None:
        """Close every log and give up the directories. ``clean``: flush them, so that nothing is recovered next time.

        Raises:
            LogDirFailure: a disk fails; the others are closed nevertheless.
        """
        failure: LogDirFailure | None = None
        for directory in self._directories:
            logs = [each for tp, each in self.logs.items() if self._directory_of.get(tp) is directory]
            try:
                for each in logs:
                    if clean:
                        each.flush()
                    each.close(clean=clean)
                for topic_partition, broken in self._corrupt.items():
                    if broken is not None and self._directory_of.get(topic_partition) is directory:
                        broken.close()
                if clean and directory.failure is None:
                    self._checkpoint(directory)
                    write_clean_shutdown(self._disk, directory.path, broker_epoch)
            except (OSError, LogDirFailure) as error:
                failure = error if isinstance(error, LogDirFailure) else LogDirFailure(directory.path, error)
                log.error("log directory %s was not closed in order: %s", directory.path, error)
            finally:
                if directory.lock is not None:
                    directory.lock.release()
        self._pool.close()
        if failure is not None:
            raise failure


_CHECKPOINTS = (RECOVERY_POINTS, HIGH_WATERMARKS, LOG_START_OFFSETS, CLEANER_OFFSETS)


def add_values(values: CheckpointValues, topic_partition: TopicPartition, each: Log) -> None:
    values.recovery_points[topic_partition] = each.recovery_point
    values.high_watermarks[topic_partition] = each.high_watermark
    # Where the first segment begins says it as well, once those before it are sure to stay away.
    if each.log_start_offset > (0 if each.has_unsynced_names else each.segments[0].base_offset):
        values.log_start_offsets[topic_partition] = each.log_start_offset
    if each.first_dirty_offset is not None:
        values.cleaner_offsets[topic_partition] = each.first_dirty_offset


def _has_records(disk: Disk, path: str) -> bool:
    return any(disk.file_size(f"{path}/{name}") for name in disk.list_dir(path) if name.endswith(LOG_SUFFIX))


def _read_checkpoint(disk: Disk, directory: str, name: str) -> dict[TopicPartition, int] | None:
    path = f"{directory}/{name}"
    try:
        # Kafka makes it empty at its first start and fills it a minute later: it says as little as none.
        return read_offsets(disk, path) if disk.exists(path) and disk.file_size(path) else None
    except CheckpointCorrupt as error:
        # Kafka begins without as well: logs are recovered from their start.
        log.warning("%s", error)
        return None


def _renamed(topic_partition: TopicPartition, unique: Uuid, suffix: str) -> str:
    """LocalLog.logDeleteDirName: the topic's name gives way if the whole is too long for a file name."""
    ending = f"-{topic_partition.partition}.{unique.hex()}{suffix}"
    return topic_partition.topic[: _MAX_NAME_BYTES - len(ending)] + ending
