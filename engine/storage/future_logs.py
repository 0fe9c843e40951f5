"""Copies of logs on their way from one log directory of a broker to another (KIP-113). Kafka: LogManager, UnifiedLog.

A copy grows in ``TOPIC-PARTITION.ID-future``. Once it is whole the original gets its ``-delete`` name and the copy the
partition's; a process that ends between the two leaves a copy without original, which :meth:`LogDirs.load` takes. A
copy beside its original was not whole and is begun anew.
"""

from __future__ import annotations

from engine.model.ids import Uuid
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.storage.failure import LogDirFailure
from engine.storage.log import Log
from engine.storage.log_dirs import FUTURE_SUFFIX, LogDirs
from engine.world import World


class FutureLogs:
    """Makes copies and swaps them in."""

    def __init__(self, world: World, dirs: LogDirs) -> None:
        self._disk = world.disk
        self._random = world.random
        self._dirs = dirs

    def take_interrupted(self) -> dict[TopicPartition, str]:
        """Moves that the last process did not end: partitions and where to. What was copied is removed."""
        found = {}
        while self._dirs._interrupted:
            topic_partition, directory, path, _ = self._dirs._interrupted.pop()
            if directory.failure is None:
                self._disk.remove_tree(path)
                found[topic_partition] = directory.path
        return found

    def make(self, topic_partition: TopicPartition, path: str, config: LogConfig, now_ms: int) -> Log:
        """An empty log in another directory that begins where the partition's log begins (``-future``, KIP-113).

        Raises:
            LogDirFailure: the disk fails.
        """
        current, directory = self._dirs.logs[topic_partition], self._dirs._at(path)
        name = future_name(topic_partition, self._random.uuid())
        try:
            made = Log.open(
                self._disk,
                f"{directory.path}/{name}",
                topic_partition,
                current.topic_id,
                config,
                now_ms=now_ms,
                clean_shutdown=False,
                recovery_point=0,
                pool=self._dirs._pool,
                producer_id_expiration_ms=self._dirs._producer_id_expiration_ms,
            )
        except OSError as error:
            raise LogDirFailure(directory.path, error) from error
        made.truncate_fully_and_start_at(current.log_start_offset)
        return made

    def remove(self, future: Log) -> None:
        """Give a copy up. Raises ``OSError``."""
        future.close()
        self._disk.remove_tree(future.directory)

    def swap(self, topic_partition: TopicPartition, future: Log, path: str, now_ms: int) -> Log:
        """The copy, which is whole, takes the place of the partition's log; the latter is deleted. Returns the new one.

        The end of the process between the two renames is no harm: :meth:`load` does the second one.

        Raises:
            LogDirFailure: a disk fails. What the directories hold then is settled by the next start.
        """
        current, directory = self._dirs.logs[topic_partition], self._dirs._at(path)
        assert future.log_end_offset == current.log_end_offset, (future, current)
        failing = directory.path
        try:
            future.set_high_watermark(current.high_watermark)
            future.flush()
            self._dirs._checkpoint(directory, joining=future)
            future.close(clean=True)
            failing = self._dirs._directory_of[topic_partition].path
            self._dirs.delete(topic_partition, now_ms)
            failing = directory.path
            self._disk.rename(future.directory, f"{directory.path}/{topic_partition}")
            self._disk.sync_dir(directory.path)
            opened = Log.open(
                self._disk,
                f"{directory.path}/{topic_partition}",
                topic_partition,
                current.topic_id,
                current.config,
                now_ms=now_ms,
                clean_shutdown=True,
                recovery_point=future.recovery_point,
                log_start_offset=future.log_start_offset,
                first_dirty_offset=future.first_dirty_offset,
                pool=self._dirs._pool,
                producer_id_expiration_ms=self._dirs._producer_id_expiration_ms,
            )
        except OSError as error:
            self._dirs._directory_of.setdefault(topic_partition, directory)
            self._dirs.mark_offline(failing, error)
            raise LogDirFailure(failing, error) from error
        opened.set_high_watermark(future.high_watermark)
        opened.before_truncation = opened.before_gap = lambda: self._dirs._checkpoint(directory)
        self._dirs._directory_of[topic_partition] = directory
        self._dirs.logs[topic_partition] = opened
        return opened


def future_name(topic_partition: TopicPartition, unique: Uuid) -> str:
    """The name of the directory of a copy that is being made (LocalLog.logFutureDirName)."""
    return f"{topic_partition}.{unique.hex()}{FUTURE_SUFFIX}"
