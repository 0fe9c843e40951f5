"""Share sessions: which partitions a member of a share group reads from this broker (Kafka: ShareSessionCache).

A session remembers the partitions between the member's requests, which are numbered: epoch 0 opens it, -1 closes it.
When it ends, or its connection does, the member's records are released.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engine.core.share.records import SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from engine.broker.connection import ServerConnection

INITIAL_EPOCH = 0
FINAL_EPOCH = -1
_MAX_EPOCH = 0x7FFFFFFF


class SessionKey(NamedTuple):
    """Whose session it is."""

    group_id: str
    member_id: str


class ShareSession:
    """``partitions`` is an ordered set."""

    __slots__ = ("connection", "epoch", "key", "partitions")

    def __init__(self, key: SessionKey, connection: ServerConnection) -> None:
        self.key = key
        self.connection = connection
        # That of the member's next request.
        self.epoch = INITIAL_EPOCH + 1
        self.partitions: dict[SharePartitionKey, None] = {}


class ShareSessions:
    """The sessions of one broker, at most group.share.max.share.sessions."""

    def __init__(self, max_sessions: int, release: Callable[[ShareSession], None]) -> None:
        """``release(session)`` gives back what the member of a session that ended has."""
        self._max_sessions = max_sessions
        self._release = release
        self._sessions: dict[SessionKey, ShareSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def has_group(self, group_id: str) -> bool:
        """Whether some member of the group has a session."""
        return any(key.group_id == group_id for key in self._sessions)

    def open(self, key: SessionKey, connection: ServerConnection) -> ShareSession:
        """A new session, in the place of one that the member has.

        Raises:
            KafkaError: SHARE_SESSION_LIMIT_REACHED.
        """
        before = self._sessions.pop(key, None)
        if before is None and len(self._sessions) >= self._max_sessions:
            raise KafkaError(
                ErrorCode.SHARE_SESSION_LIMIT_REACHED,
                f"this broker has group.share.max.share.sessions, {self._max_sessions}, already",
            )
        session = self._sessions[key] = ShareSession(key, connection)
        connection.on_close.append(lambda: self._on_connection_closed(session))
        return session

    def resume(self, key: SessionKey, epoch: int) -> ShareSession:
        """The member's session, for a request that is numbered ``epoch``; -1 closes it.

        Raises:
            KafkaError: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH.
        """
        session = self._sessions.get(key)
        if session is None:
            raise KafkaError(
                ErrorCode.SHARE_SESSION_NOT_FOUND, f"member {key.member_id} has no share session at this broker"
            )
        if epoch == FINAL_EPOCH:
            del self._sessions[key]
            return session
        if epoch != session.epoch:
            raise KafkaError(
                ErrorCode.INVALID_SHARE_SESSION_EPOCH,
                f"the share session of member {key.member_id} is in epoch {session.epoch}, not {epoch}",
            )
        session.epoch = 1 if epoch == _MAX_EPOCH else epoch + 1
        return session

    def _on_connection_closed(self, session: ShareSession) -> None:
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
            self._release(session)
