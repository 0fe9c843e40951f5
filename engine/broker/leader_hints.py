"""Who leads now: told along with a refusal, so that a client need not ask for metadata first (KIP-951)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engine.model.errors import ErrorCode
from engine.model.ids import Uuid

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

_STALE_CLIENT = frozenset((ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH))


class LeaderHint(NamedTuple):
    """The leader as this broker knows it; ``endpoint``: host, port, rack on the client's listener."""

    leader_id: int
    leader_epoch: int
    endpoint: tuple[str, int, str | None] | None


class _HasNodeId(Protocol):
    @property
    def node_id(self) -> int: ...


class NodeEndpoints:
    """The endpoints that an answer tells already."""

    def __init__(self, told: Iterable[_HasNodeId]) -> None:
        self._told = {each.node_id for each in told}

    def lacks(self, node_id: int) -> bool:
        """Whether the node's endpoint is still to be told."""
        return node_id not in self._told


def leader_hint(context: RequestContext, topic_id: Uuid, partition: int, code: ErrorCode) -> LeaderHint | None:
    """The present leader, if ``code`` says that the client asked the wrong broker."""
    if code not in _STALE_CLIENT:
        return None
    image = context.broker.metadata.image
    state = image.partition_by_id(topic_id, partition)
    if state is None:
        return None
    leader = image.brokers.get(state.leader)
    endpoint = None
    if leader is not None and not leader.fenced:
        found = leader.listeners.get(context.listener)
        if found is not None:
            endpoint = (found.host, found.port, leader.rack)
    return LeaderHint(state.leader, state.leader_epoch, endpoint)
