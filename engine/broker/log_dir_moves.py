"""Replicas that move from one log directory of this broker to another (KIP-113). Kafka: ReplicaAlterLogDirsManager.

A copy of the log is made beside it, a piece at a time, while it is written and read. Once the copy has everything, is
on the device, and nothing was appended meanwhile, it takes the log's place in one step of the event loop. One replica
moves at a time. A move that the end of the process interrupts begins anew at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.storage.failure import LogDirFailure
from engine.storage.future_logs import FutureLogs, future_name

if TYPE_CHECKING:
    from engine.broker.replica import Replica
    from engine.broker.replica_manager import ReplicaManager
    from engine.storage.log import Log
    from engine.world import World

log = logging.getLogger(__name__)

# What is copied in one step of the event loop, and what may be left to sync in the step that swaps.
_PIECE_BYTES = 1 << 20
_MOST_UNSYNCED_BYTES = 4 << 20
_MAX_NAME_BYTES = 255
# A throttled copy looks at the rate, and whether it is still wanted, after this long at most.
_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 0.2, 0.001


class Move:
    """One replica on its way to the log directory ``path``; ``future`` is its copy once there is one."""

    def __init__(self, replica: Replica, path: str) -> None:
        self.replica = replica
        self.path = path
        self.future: Log | None = None
        self.unsynced_bytes = 0
        # The copy is compacted as far as the log was when it was begun, whatever is compacted meanwhile.
        self.first_dirty_offset = replica.log.first_dirty_offset

    @property
    def lag(self) -> int:
        """How many offsets the copy has still to get."""
        copied = self.replica.log.log_start_offset if self.future is None else self.future.log_end_offset
        return max(0, self.replica.log.log_end_offset - copied)


class LogDirMoves:
    """Begins, goes on with, and ends moves. All of it runs on the event loop, only fsyncs do not."""

    def __init__(self, world: World, manager: ReplicaManager) -> None:
        self._world = world
        self._manager = manager
        self._futures = FutureLogs(world, manager.log_dirs)
        self._moves: dict[TopicPartition, Move] = {}
        self._interrupted: dict[TopicPartition, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def moves(self) -> Mapping[TopicPartition, Move]:
        """What is on its way, by partition."""
        return self._moves

    def resume_interrupted(self) -> None:
        """Go on with what the last process did not end, as its replicas are made. Call it once, before any is."""
        try:
            self._interrupted = self._futures.take_interrupted()
        except OSError as error:
            log.error("copies of an interrupted move could not be removed: %s", error)

    def on_made(self, replica: Replica) -> None:
        """A replica is there now."""
        path = self._interrupted.pop(replica.topic_partition, None)
        if path is not None and path != replica.log_dir:
            log.info("%s goes on moving to %s", replica.topic_partition, path)
            self._begin(replica, path)

    def move(self, topic_partition: TopicPartition, path: str) -> None:
        """Move a replica to another directory; to its own one: end a move. Returns at once.

        Raises:
            KafkaError: LOG_DIR_NOT_FOUND: none of log.dirs; KAFKA_STORAGE_ERROR: it, or the one that the replica is in,
                is offline; REPLICA_NOT_AVAILABLE: other brokers have the partition (it will be made there when it comes
                here); UNKNOWN_TOPIC_OR_PARTITION (the same); INVALID_TOPIC_EXCEPTION: the name is too long for a
                directory; INVALID_REPLICA_ASSIGNMENT: the directory is cordoned.
        """
        dirs = self._manager.log_dirs
        if path not in dirs.directory_ids:
            raise KafkaError(ErrorCode.LOG_DIR_NOT_FOUND, f"Log dir {path} is not found in the config.")
        if path in dirs.offline_directories:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"Log directory {path} is offline")
        if len(future_name(topic_partition, bytes(16)).encode()) > _MAX_NAME_BYTES:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "The topic name is too long.")
        if path in dirs.cordoned:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"Log directory {path} is cordoned.")
        dirs.prefer(topic_partition, path)
        try:
            replica = self._manager.find(topic_partition.topic, None, topic_partition.partition)
        except KafkaError as error:
            if error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER:
                raise KafkaError(ErrorCode.REPLICA_NOT_AVAILABLE, f"{topic_partition} is not here yet") from None
            raise
        current = self._moves.get(topic_partition)
        if current is not None and current.path == path:
            return
        self.cancel(topic_partition)
        if path == replica.log_dir:
            return
        if dirs.offline_directories:
            # The partition may have a copy in one of them already.
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "nothing moves while a log directory is offline")
        self._begin(replica, path)

    def cancel(self, topic_partition: TopicPartition) -> None:
        """End the move of a replica, if there is one, and remove the copy."""
        self._interrupted.pop(topic_partition, None)
        move = self._moves.pop(topic_partition, None)
        if move is not None:
            self._remove(move)

    def on_log_dir_failed(self, path: str) -> None:
        """Nothing moves to or from that directory any more."""
        for topic_partition, move in list(self._moves.items()):
            if path == move.replica.log_dir:
                self.cancel(topic_partition)
            elif path == move.path:
                # Its files are out of reach.
                del self._moves[topic_partition]

    def on_truncated(self, replica: Replica) -> None:
        """The log was cut, and may be written anew from there: so is the copy."""
        move = self._moves.get(replica.topic_partition)
        if move is None or move.future is None:
            return
        try:
            self._follow_start_and_end(move, move.future)
        except LogDirFailure as failure:
            self._manager.on_log_dir_failure(replica.topic_partition, failure)

    async def stop(self) -> None:
        """Leave the copies as they are: the next start begins them anew."""
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        for move in self._moves.values():
            if move.future is not None:
                move.future.close()
        self._moves.clear()

    # -- copying ------------------------------------------------------------------------------------------------

    def _begin(self, replica: Replica, path: str) -> None:
        self._moves[replica.topic_partition] = Move(replica, path)
        if self._task is None and not self._is_stopped:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._moves:
                topic_partition, move = next(iter(self._moves.items()))
                try:
                    await self._copy(topic_partition, move)
                except LogDirFailure as failure:
                    self._moves.pop(topic_partition, None)
                    self._manager.on_log_dir_failure(topic_partition, failure)
                except OSError as error:
                    self.cancel(topic_partition)
                    self._manager.read_failed(move.replica, error)
                except KafkaError as error:
                    # What is in the log cannot be copied; whoever reads it is told.
                    log.error("%s is not moved to %s: %s", topic_partition, move.path, error)
                    self.cancel(topic_partition)
        finally:
            self._task = None

    async def _copy(self, topic_partition: TopicPartition, move: Move) -> None:
        clock = self._world.clock
        if move.future is None:
            move.future = self._futures.make(topic_partition, move.path, move.replica.log.config, clock.now_ms())
        future = move.future
        while self._moves.get(topic_partition) is move:
            self._follow_start_and_end(move, future)
            current = move.replica.log
            copied = 0
            if future.log_end_offset < current.log_end_offset:
                data = current.read(future.log_end_offset, min(_PIECE_BYTES, self._bytes_per_second))
                future.append_as_follower(data, now_ms=clock.now_ms())
                copied = len(data)
                move.unsynced_bytes += copied
            if move.unsynced_bytes > _MOST_UNSYNCED_BYTES:
                move.unsynced_bytes = 0
                await self._world.disk.run_blocking(future.flush)
            elif future.log_end_offset == current.log_end_offset:
                self._swap(topic_partition, move, future)
                return
            await self._pause(topic_partition, move, copied)

    @property
    def _bytes_per_second(self) -> int:
        return self._manager.config.replica_alter_log_dirs_io_max_bytes_per_second

    async def _pause(self, topic_partition: TopicPartition, move: Move, copied: float) -> None:
        """Let others work, and as much time pass as the bytes take at the rate that holds meanwhile."""
        await asyncio.sleep(0)
        while self._moves.get(topic_partition) is move:
            seconds = min(copied / self._bytes_per_second, _LONGEST_PAUSE_S)
            copied -= seconds * self._bytes_per_second
            if seconds < _SHORTEST_PAUSE_S:
                return
            await asyncio.sleep(seconds)

    @staticmethod
    def _follow_start_and_end(move: Move, future: Log) -> None:
        current = move.replica.log
        if current.log_start_offset > future.log_end_offset:
            future.truncate_fully_and_start_at(current.log_start_offset)
        elif future.log_end_offset > current.log_end_offset:
            future.truncate_to(current.log_end_offset)
        future.set_high_watermark(current.high_watermark)
        future.increment_log_start_offset(min(current.log_start_offset, future.high_watermark))

    def _swap(self, topic_partition: TopicPartition, move: Move, future: Log) -> None:
        replica = move.replica
        if replica.log.first_dirty_offset is not None:
            begun = move.first_dirty_offset
            future.first_dirty_offset = replica.log.log_start_offset if begun is None else begun
        del self._moves[topic_partition]
        try:
            swapped = self._futures.swap(topic_partition, future, move.path, self._world.clock.now_ms())
        except LogDirFailure as failure:
            if topic_partition not in self._manager.log_dirs.logs:
                # The original has given way already: the replica is offline with the directory that failed.
                replica.log_dir = failure.directory
            raise
        log.info("%s moved from %s to %s", topic_partition, replica.log_dir, move.path)
        self._manager.on_log_moved(replica, swapped, move.path)

    def _remove(self, move: Move) -> None:
        if move.future is None:
            return
        try:
            self._futures.remove(move.future)
        except OSError as error:
            log.error("%s could not be removed: %s", move.future.directory, error)
