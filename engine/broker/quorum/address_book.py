"""Where the nodes of the quorum are reached: what leaders said of themselves, the properties, and the log say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.core.raft.identity import Endpoint, VoterSet

Address = tuple[str, int]


class AddressBook:
    """Addresses by node id; servers of ``controller.quorum.bootstrap.servers`` have ids of their own, below -1."""

    def __init__(
        self,
        listener: str,
        configured: Mapping[int, Address],
        bootstrap_servers: Sequence[str],
        voters: Callable[[], VoterSet],
    ) -> None:
        """
        Args:
            listener: the name of the controllers' listener.
            configured: ``controller.quorum.voters``: the operator's word is newer than what a log says, which may come
                from another place.
            bootstrap_servers: host:port each.
            voters: those that count now.
        """
        self.listener = listener
        self._configured = {each: Endpoint(listener, *at) for each, at in configured.items()}
        self._bootstrap = {
            -2 - index: Endpoint(listener, server.rpartition(":")[0].strip("[]"), int(server.rpartition(":")[2]))
            for index, server in enumerate(each for each in bootstrap_servers if each)
        }
        self._voters = voters
        self._told: dict[int, Endpoint] = {}
        self._failures: dict[int, int] = {}

    @property
    def bootstrap_ids(self) -> tuple[int, ...]:
        """Ids of the servers that may know who leads."""
        return tuple(self._bootstrap)

    def note(self, node_id: int, host: str, port: int) -> None:
        """A leader, or who knows it, told where it is reached."""
        if node_id >= 0 and host and port > 0:
            self._told[node_id] = Endpoint(self.listener, host, port)

    def endpoint(self, node_id: int) -> Endpoint | None:
        """Where the node is most likely reached; None if nobody said."""
        known = self._known(node_id)
        return known[0] if known else None

    def address(self, node_id: int) -> Address | None:
        """Where to try next: what is known of a node may be of its past."""
        known = self._known(node_id)
        if not known:
            return None
        at = known[self._failures.get(node_id, 0) % len(known)]
        return at.host, at.port

    def on_unreachable(self, node_id: int) -> None:
        """Nobody was there."""
        self._failures[node_id] = self._failures.get(node_id, 0) + 1

    def _known(self, node_id: int) -> list[Endpoint]:
        if node_id < 0:
            return [self._bootstrap[node_id]] if node_id in self._bootstrap else []
        found: list[Endpoint] = []
        for each in (self._configured.get(node_id), self._told.get(node_id), self._voters().endpoint(node_id)):
            if each is not None and (each.host, each.port) not in [(at.host, at.port) for at in found]:
                found.append(each)
        return found
