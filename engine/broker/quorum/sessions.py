"""How the quorum answers what :class:`engine.broker.coordination.Coordinator` asks about sessions and addresses.

A broker's session is its heartbeats to the active controller (KIP-631): there is nothing to begin beside the
registration that they carry, and the controller counts their time itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.broker.coordination import Address, BrokerSession
    from engine.broker.quorum.address_book import AddressBook
    from engine.core.raft.identity import LeaderAndEpoch, VoterSet
    from engine.model.ids import Uuid


class QuorumSessions(ABC):
    """A part of :class:`engine.broker.quorum_host.QuorumHost`, which owns all that is named here."""

    book: AddressBook

    @property
    @abstractmethod
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The leader as far as this node knows, and the epoch."""

    @property
    @abstractmethod
    def voters(self) -> VoterSet:
        """The voters as far as this node knows."""

    def controller_address(self) -> Address | None:
        """Where the quorum's leader is reached; None while nobody is known to lead."""
        leader_id = self.leader_and_epoch.leader_id
        return None if leader_id is None else self.book.address(leader_id)

    def controller_nodes(self) -> list[tuple[int, str, int]]:
        """The voters that are known where they are reached."""
        known = ((node_id, self.book.endpoint(node_id)) for node_id in self.voters)
        return [(node_id, at.host, at.port) for node_id, at in known if at is not None]

    async def register_broker(self, session: BrokerSession) -> None:  # noqa: B027
        """Nothing: the registration with the active controller begins the session."""

    def is_session_alive(self, broker_id: int, incarnation_id: Uuid) -> bool | None:
        """None: heartbeats tell."""
        return None

    async def refresh_sessions(self) -> None:  # noqa: B027
        """Nothing: the controller has heard all that there is."""

    def suspect_controller(self) -> None:  # noqa: B027
        """Nothing: voters have connections of their own to the leader, and notice their loss (KRaft's fetches)."""
