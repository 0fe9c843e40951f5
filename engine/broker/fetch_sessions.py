"""Fetches and fetch sessions: which partitions a client reads from where, and what it was told of them (KIP-227).

A session remembers the partitions of a client between its fetches, so that requests name only what changed and answers
only what moved; looking at partitions that did not move costs nothing. Kafka: FetchSession, FetchManager.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

from engine.broker.replica import FetchWatch, Replica
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest

if TYPE_CHECKING:
    from engine.broker.connection import ServerConnection
    from engine.broker.replica_manager import ReplicaManager
    from engine.world import World

log = logging.getLogger(__name__)

NO_SESSION = 0
_INITIAL_EPOCH = 0
_FINAL_EPOCH = -1
_MAX_EPOCH = 0x7FFFFFFF
_FIRST_VERSION_WITH_TOPIC_IDS = 13
# A session that was not used for so long may give its place to another one (FetchSessionCache's MIN_SESSION_EVICTION).
_EVICTABLE_AFTER_MS = 120_000

PartitionKey: TypeAlias = tuple[bytes | str, int]


class FetchedPartition:
    """A partition in a fetch: what was asked for, whom to ask, and what the client was last told."""

    __slots__ = ("asked", "replica", "told_high_watermark", "told_log_start_offset", "topic", "topic_id")

    def __init__(self, topic: str, topic_id: bytes, asked: FetchPartition) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.asked = asked
        self.replica: Replica | None = None
        self.told_high_watermark = -1
        self.told_log_start_offset = -1


class FetchScope:
    """The partitions of one fetch or of one session, and a watch on them.

    A session rests while its client has no connection: appends then do not look at it, and when it is used again it
    looks at all of its partitions.
    """

    __slots__ = (
        "by_id",
        "connection",
        "epoch",
        "is_busy",
        "is_doubted",
        "is_follower",
        "last_used_ms",
        "partitions",
        "session_id",
        "watch",
    )

    def __init__(self, *, is_follower: bool, by_id: bool) -> None:
        self.is_follower = is_follower
        self.by_id = by_id
        self.session_id = NO_SESSION
        self.epoch = _INITIAL_EPOCH
        # The one that the session's latest request came over; None while it rests.
        self.connection: ServerConnection | None = None
        self.last_used_ms = 0.0
        # A session's requests come one after the other; a second one at once is a client's mistake.
        self.is_busy = False
        # Another session of the follower told positions that this one takes for told.
        self.is_doubted = False
        self.partitions: dict[PartitionKey, FetchedPartition] = {}
        self.watch = FetchWatch()

    def update(self, request: FetchRequest) -> list[PartitionKey]:
        """Take what a request says: partitions to add or to ask anew, partitions to forget. Returns the former, and all
        if what the session said of them before may have been unsaid meanwhile."""
        for forgotten in request.forgotten_topics_data:
            for number in forgotten.partitions:
                self._forget((forgotten.topic_id if self.by_id else forgotten.topic, number))
        named: list[PartitionKey] = []
        moved, partitions = self.watch.moved, self.partitions
        for topic in request.topics:
            name: bytes | str = topic.topic_id if self.by_id else topic.topic
            for asked in topic.partitions:
                key = (name, asked.partition)
                known = partitions.get(key)
                if known is None:
                    partitions[key] = FetchedPartition(topic.topic, topic.topic_id, asked)
                else:
                    known.asked = asked
                moved[key] = None
                named.append(key)
        if self.is_doubted:
            self.is_doubted = False
            return list(partitions)
        return named

    def _forget(self, key: PartitionKey) -> None:
        known = self.partitions.pop(key, None)
        self.watch.moved.pop(key, None)
        if known is not None and known.replica is not None:
            self._watches(known.replica).pop(self.watch, None)

    def replica_of(self, key: PartitionKey, fetched: FetchedPartition, manager: ReplicaManager) -> Replica:
        """The replica, watched from now on. Raises: KafkaError: as ``ReplicaManager.find``."""
        replica = fetched.replica
        if replica is not None and not replica.is_offline:
            return replica
        if replica is not None:
            self._watches(replica).pop(self.watch, None)
            fetched.replica = None
        replica = manager.find(fetched.topic, fetched.topic_id if self.by_id else None, fetched.asked.partition)
        fetched.replica = replica
        self._watches(replica)[self.watch] = key
        return replica

    def _watches(self, replica: Replica) -> dict[FetchWatch, PartitionKey]:
        return replica.follower_watches if self.is_follower else replica.consumer_watches

    def rest(self) -> None:
        """The client is gone, perhaps to come back."""
        self.connection = None
        self.close()

    def resume(self, connection: ServerConnection) -> None:
        """The client is back: any partition may have moved."""
        self.connection = connection
        self.watch.moved = dict.fromkeys(self.partitions)

    def close(self) -> None:
        """Watch nothing any more."""
        for fetched in self.partitions.values():
            if fetched.replica is not None:
                self._watches(fetched.replica).pop(self.watch, None)
                fetched.replica = None


class FetchSessions:
    """The sessions of one broker, at most max.incremental.fetch.session.cache.slots of clients; followers always get
    one."""

    def __init__(self, world: World, max_sessions: int) -> None:
        self._clock = world.clock
        self._random = world.random
        self._max_sessions = max_sessions
        # In the order of their last use.
        self._sessions: dict[int, FetchScope] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def scope_of(
        self, request: FetchRequest, version: int, connection: ServerConnection, *, is_follower: bool
    ) -> FetchScope:
        """Where the request belongs: its session, a new one, or none (``session_id`` 0).

        Raises:
            KafkaError: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR: the
                client starts anew.
        """
        by_id = version >= _FIRST_VERSION_WITH_TOPIC_IDS
        epoch = request.session_epoch
        if epoch in (_INITIAL_EPOCH, _FINAL_EPOCH):
            if request.session_id != NO_SESSION:
                self._remove(request.session_id)
            scope = FetchScope(is_follower=is_follower, by_id=by_id)
            if epoch == _INITIAL_EPOCH and request.topics and self._has_room(is_follower):
                self._add(scope)
                self._use(scope, connection)
            return scope
        found = self._sessions.get(request.session_id)
        if found is None or found.is_follower != is_follower:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND, f"there is no fetch session {request.session_id}")
        if epoch != found.epoch or found.is_busy:
            raise KafkaError(
                ErrorCode.INVALID_FETCH_SESSION_EPOCH,
                f"fetch session {request.session_id} is in epoch {found.epoch}, not {epoch}",
            )
        if found.by_id != by_id:
            raise KafkaError(
                ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, "a fetch session names topics by id or by name, not both"
            )
        found.epoch = _next(epoch)
        found.last_used_ms = self._clock.monotonic_ms()
        self._sessions[found.session_id] = self._sessions.pop(found.session_id)
        self._use(found, connection)
        return found

    def _use(self, scope: FetchScope, connection: ServerConnection) -> None:
        """The session's requests come over this connection; it has one session at a time."""
        before = connection.fetch_session
        if before is scope and scope.connection is connection:
            return
        if before is None:
            connection.on_close.append(lambda: self._on_connection_closed(connection))
        elif before.connection is connection:
            before.rest()
        connection.fetch_session = scope
        scope.resume(connection)

    def _on_connection_closed(self, connection: ServerConnection) -> None:
        scope, connection.fetch_session = connection.fetch_session, None
        if scope is None or scope.connection is not connection:
            return
        scope.rest()
        if scope.is_follower and self._sessions.get(scope.session_id) is scope:
            # A fetcher begins anew after every loss of its connection.
            del self._sessions[scope.session_id]

    def doubt(self, session_id: int) -> None:
        """What a follower's session told of a partition was told anew outside of it, perhaps by a request of the past
        that a network held back: its next request says all of its positions again."""
        scope = self._sessions.get(session_id)
        if scope is not None:
            scope.is_doubted = True

    def _has_room(self, is_follower: bool) -> bool:
        if len(self._sessions) >= self._max_sessions:
            oldest_ms = self._clock.monotonic_ms() - _EVICTABLE_AFTER_MS
            for session_id, scope in list(self._sessions.items()):
                if scope.last_used_ms >= oldest_ms:
                    break
                if not scope.is_busy:
                    self._remove(session_id)
        return is_follower or len(self._sessions) < self._max_sessions

    def _add(self, scope: FetchScope) -> None:
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self._sessions:
            session_id = self._random.randint(1, _MAX_EPOCH)
        scope.session_id = session_id
        scope.epoch = _next(_INITIAL_EPOCH)
        scope.last_used_ms = self._clock.monotonic_ms()
        self._sessions[session_id] = scope

    def _remove(self, session_id: int) -> None:
        scope = self._sessions.pop(session_id, None)
        if scope is not None:
            scope.close()


def _next(epoch: int) -> int:
    """0 means a new session, so epochs wrap to 1 (FetchMetadata.nextEpoch)."""
    return 1 if epoch == _MAX_EPOCH else epoch + 1
