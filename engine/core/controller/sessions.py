"""Which brokers are alive, as the active controller sees it (BrokerHeartbeatManager).

Soft state: it is not in the log, and a new controller starts with every unfenced broker counted as just heard of.
Besides Kafka's sessions it knows *lost connections*: a broker whose connection to the controller dropped, and who was
not heard of within a short grace, is as good as dead, and fencing one that is not is always safe.

All times are monotonic milliseconds of the controller's own clock.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from engine.core.controller.broker_image import BrokerImage

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataImage
    from engine.model.ids import Uuid

# Whether an incarnation of a broker has a session with who coordinates the cluster; None where heartbeats are all.
IsSessionAlive: TypeAlias = "Callable[[int, Uuid], bool | None]"


class BrokerState(Enum):
    """States of a broker's life under a controller (BrokerControlState)."""

    FENCED = "fenced"
    UNFENCED = "unfenced"
    CONTROLLED_SHUTDOWN = "controlled shutdown"
    SHUTDOWN_NOW = "shutdown now"


class Session:
    """What is known of one broker since this controller became active.

    ``was_heard`` tells a contact from an assumption made at activation; ``connection_lost_at_ms`` is set while the
    grace runs, and ``is_refusing`` if the broker's listener refuses connections as well, which ends the grace: there
    is no process. ``controlled_shutdown_offset`` is what the others must have read before the broker may go, -1
    outside of a shutdown.
    """

    __slots__ = (
        "connection_lost_at_ms",
        "controlled_shutdown_offset",
        "is_refusing",
        "last_contact_ms",
        "metadata_offset",
        "was_heard",
    )

    def __init__(self, last_contact_ms: float, *, was_heard: bool) -> None:
        self.last_contact_ms = last_contact_ms
        self.was_heard = was_heard
        self.metadata_offset = -1
        self.controlled_shutdown_offset = -1
        self.connection_lost_at_ms: float | None = None
        self.is_refusing = False


class BrokerSessions:
    """Sessions by broker id."""

    def __init__(
        self,
        session_timeout_ms: float,
        connection_loss_grace_ms: float | None,
        is_alive: IsSessionAlive,
    ) -> None:
        """``connection_loss_grace_ms`` is None when the detection is switched off. Where ``is_alive`` knows, heartbeats
        do not keep a session, nor does their absence end it."""
        self._is_alive = is_alive
        self._session_timeout_ms = session_timeout_ms
        self._grace_ms = connection_loss_grace_ms
        self._sessions: dict[int, Session] = {}

    def assume_alive(self, image: MetadataImage, now_ms: float) -> None:
        """Start with every unfenced broker counted as heard of just now."""
        self._sessions = {
            broker_id: Session(now_ms, was_heard=False)
            for broker_id, broker in image.brokers.items()
            if not broker.fenced
        }

    def get(self, broker_id: int) -> Session | None:
        """The session of a broker, if one was opened."""
        return self._sessions.get(broker_id)

    def open(self, broker_id: int, now_ms: float) -> Session:
        """Begin anew for a broker that registered."""
        session = self._sessions[broker_id] = Session(now_ms, was_heard=True)
        return session

    def touch(self, broker_id: int, now_ms: float, metadata_offset: int) -> Session:
        """A heartbeat arrived: the broker lives and has read the metadata up to ``metadata_offset``."""
        session = self._sessions.get(broker_id)
        if session is None:
            session = self.open(broker_id, now_ms)
        session.last_contact_ms = now_ms
        session.was_heard = True
        session.connection_lost_at_ms = None
        session.is_refusing = False
        session.metadata_offset = metadata_offset
        return session

    def close(self, broker_id: int) -> None:
        """Forget a broker that is gone."""
        self._sessions.pop(broker_id, None)

    def is_valid(self, broker: BrokerImage, now_ms: float) -> bool:
        """Whether this incarnation is known to live, so that another may not take its id.

        Kafka counts the assumption of a new controller as a session too, and makes a restarted broker wait for its
        timeout; here only a broker that this controller has heard of holds its id.
        """
        session = self._sessions.get(broker.broker_id)
        is_alive = self._is_alive(broker.broker_id, broker.incarnation_id)
        if is_alive is not None:
            return is_alive and not broker.fenced
        return (
            not broker.fenced
            and session is not None
            and session.was_heard
            and session.connection_lost_at_ms is None
            and session.last_contact_ms + self._session_timeout_ms >= now_ms
        )

    def connection_lost(self, broker_id: int, now_ms: float, *, is_refusing: bool = False) -> bool:
        """The broker's connection dropped, or its listener refuses. Returns whether the grace runs, or has ended."""
        session = self._sessions.get(broker_id)
        if self._grace_ms is None or session is None:
            return False
        if session.connection_lost_at_ms is None:
            session.connection_lost_at_ms = now_ms
        session.is_refusing = session.is_refusing or is_refusing
        return True

    def has_ended(self, broker: BrokerImage) -> bool:
        """Whether it is known that the broker's session is over, whatever its heartbeats say."""
        return self._is_alive(broker.broker_id, broker.incarnation_id) is False

    def next_expiry_ms(self, image: MetadataImage) -> float | None:
        """When the next session of an unfenced broker lapses if nothing is heard."""
        expiries = [
            self._expiry_ms(self._sessions[broker_id], broker)
            for broker_id, broker in image.brokers.items()
            if not broker.fenced and broker_id in self._sessions
        ]
        return min(expiries, default=None)

    def _expiry_ms(self, session: Session, broker: BrokerImage) -> float:
        is_alive = self._is_alive(broker.broker_id, broker.incarnation_id)
        if is_alive is False:
            return session.last_contact_ms
        expiry_ms = float("inf") if is_alive else session.last_contact_ms + self._session_timeout_ms
        if session.connection_lost_at_ms is not None and self._grace_ms is not None:
            grace_ms = 0 if session.is_refusing else self._grace_ms
            expiry_ms = min(expiry_ms, session.connection_lost_at_ms + grace_ms)
        return expiry_ms

    def find_stale(self, image: MetadataImage, now_ms: float) -> tuple[int, str] | None:
        """One unfenced broker whose session has lapsed (the longest silent first), and why, in words."""
        stale = [
            (self._expiry_ms(self._sessions[broker_id], broker), broker_id)
            for broker_id, broker in image.brokers.items()
            if not broker.fenced
            and broker_id in self._sessions
            and self._expiry_ms(self._sessions[broker_id], broker) <= now_ms
        ]
        if not stale:
            return None
        broker_id = min(stale)[1]
        session = self._sessions[broker_id]
        if self.has_ended(image.brokers[broker_id]):
            return broker_id, "its session with ZooKeeper is over"
        if session.connection_lost_at_ms is not None:
            lost_ms = now_ms - session.connection_lost_at_ms
            if session.is_refusing:
                return broker_id, f"connection to the controller lost {lost_ms:.0f} ms ago, its listener refuses others"
            return broker_id, f"connection to the controller lost {lost_ms:.0f} ms ago"
        silent_ms = now_ms - session.last_contact_ms
        return broker_id, f"no heartbeat for {silent_ms:.0f} ms (broker.session.timeout.ms)"

    def lowest_active_offset(self, image: MetadataImage) -> int | None:
        """The lowest metadata offset that an active broker reported, None if no broker is active."""
        offsets = [
            -1 if session is None else session.metadata_offset
            for broker_id, broker in image.brokers.items()
            for session in (self._sessions.get(broker_id),)
            if broker.is_active and not (session is not None and session.controlled_shutdown_offset >= 0)
        ]
        return min(offsets, default=None)


def next_state(
    *,
    broker: BrokerImage,
    session: Session,
    want_fence: bool,
    want_shut_down: bool,
    metadata_offset: int,
    has_leaderships: bool,
    lowest_active_offset: int | None,
) -> tuple[BrokerState, BrokerState]:
    """Current and next state of a broker whose heartbeat arrived (calculateNextBrokerState)."""
    if session.controlled_shutdown_offset >= 0 and not broker.fenced:
        current = BrokerState.CONTROLLED_SHUTDOWN
        # The others must know of the new leaders before the old one may go, or clients would be sent to nowhere.
        others_know = lowest_active_offset is None or session.controlled_shutdown_offset <= lowest_active_offset
        done = not has_leaderships and others_know
        return current, BrokerState.SHUTDOWN_NOW if done else current
    if broker.fenced:
        current = BrokerState.FENCED
        if want_shut_down:
            return current, BrokerState.SHUTDOWN_NOW
        # Who began to shut down comes back only as a new incarnation: no record could take the mark off, and with
        # it the broker may neither lead nor be in sync.
        may_return = metadata_offset >= broker.broker_epoch and not broker.in_controlled_shutdown
        return current, BrokerState.UNFENCED if not want_fence and may_return else current
    current = BrokerState.UNFENCED
    if want_fence:
        return current, BrokerState.SHUTDOWN_NOW if want_shut_down else BrokerState.FENCED
    if want_shut_down:
        return current, BrokerState.CONTROLLED_SHUTDOWN if has_leaderships else BrokerState.SHUTDOWN_NOW
    return current, current
