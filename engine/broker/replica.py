"""One replica on this broker: its machine, its log, and who waits for either to move (Partition, UnifiedLog)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from engine.core.replica.partition import Partition

if TYPE_CHECKING:
    from engine.core.replica.outputs import AppendCommitted
    from engine.model.ids import Uuid
    from engine.model.topic_partition import TopicPartition
    from engine.storage.log import Log


class CommitWaiter(Protocol):
    """Who waits for an append to count: the token of ``Partition.wait_until_committed``."""

    def on_committed(self, answer: AppendCommitted) -> None:
        """It does, or never will here (``answer.error``)."""


class FetchWatch:
    """What moved since a fetch, or a whole fetch session, last looked: keys of its partitions, in order.

    A fetch that waits sets ``waiting``; the next partition that moves ends the wait.
    """

    __slots__ = ("moved", "waiting")

    def __init__(self) -> None:
        self.moved: dict[Any, None] = {}
        self.waiting: asyncio.Future[None] | None = None

    def on_moved(self, key: Any) -> None:
        """There may be something to tell of the partition: look now."""
        self.moved[key] = None
        waiting = self.waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class Replica:
    """The pair of machine and log; :class:`~engine.broker.replica_manager.ReplicaManager` keeps them in step.

    ``follower_watches`` and ``consumer_watches`` hold the fetches that look at this replica, each with the key that it
    knows it by. ``log_dir`` is the one of ``log.dirs`` that it lives in.
    """

    __slots__ = (
        "consumer_watches",
        "durable",
        "fetched_in",
        "flush_messages",
        "follower_watches",
        "is_offline",
        "last_flush_ms",
        "log",
        "log_dir",
        "partition",
        "start_watches",
        "sync_waiters",
        "topic_id",
        "topic_partition",
    )

    def __init__(
        self, topic_partition: TopicPartition, topic_id: Uuid, partition: Partition, log: Log, log_dir: str
    ) -> None:
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.partition = partition
        self.log = log
        self.log_dir = log_dir
        self.is_offline = False
        self.last_flush_ms = 0.0
        # Appends with acks=1 that count once they are synced: (offset that must be durable, who waits), by offset.
        self.sync_waiters: deque[tuple[int, CommitWaiter]] = deque()
        # Called when the starts of logs may have moved, here or elsewhere.
        self.start_watches: list[Callable[[], None]] = []
        self.use_config()
        self.follower_watches: dict[FetchWatch, Any] = {}
        self.consumer_watches: dict[FetchWatch, Any] = {}
        # By follower: the fetch session that told its position last.
        self.fetched_in: dict[int, int] = {}

    def use_config(self) -> None:
        """The log's configuration is another one."""
        self.flush_messages: int = self.log.config.flush_messages
        # Whether every append is fsynced before it counts.
        self.durable = self.flush_messages == 1

    def on_log_grew(self) -> None:
        """There are records for followers."""
        for watch, key in self.follower_watches.items():
            watch.on_moved(key)

    def on_high_watermark_moved(self) -> None:
        """There are records for consumers; followers hear of it with their next answer, which it does not hurry."""
        for watch, key in self.consumer_watches.items():
            watch.on_moved(key)
        for watch, key in self.follower_watches.items():
            watch.moved[key] = None

    def on_starts_moved(self) -> None:
        """Another replica's log starts later, or its broker does not count any more."""
        for look in self.start_watches:
            look()

    def on_changed(self) -> None:
        """Leadership changed, or the replica goes: everybody looks again."""
        self.on_starts_moved()
        self.on_log_grew()
        self.on_high_watermark_moved()

    def __repr__(self) -> str:
        return f"Replica({self.partition!r})"
