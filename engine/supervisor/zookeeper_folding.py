"""What servers of ZooKeeper answered, as the values that a console renders. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.supervisor.zookeeper_snapshot import ZooKeeperClient, ZooKeeperController, ZooKeeperServer
from engine.zookeeper.four_letter_words import ClientConnection, ServerStatus

_UNSIGNED = (1 << 64) - 1


def server_of(known: ZooKeeperServer, status: ServerStatus, at_ms: int) -> ZooKeeperServer:
    """A server that answered ``srvr``."""
    return known._replace(
        mode=status.mode,
        serving=True,
        error="",
        latency_avg_ms=status.latency_avg,
        latency_max_ms=status.latency_max,
        connections=status.connections,
        outstanding=status.outstanding,
        zxid=status.zxid,
        znodes=status.znodes,
        version=status.version,
        observed_at_ms=at_ms,
    )


def clients_of(connections: Iterable[ClientConnection], server: str, at_ms: int) -> tuple[ZooKeeperClient, ...]:
    """The sessions among a server's connections; who only asked a word has none."""
    return tuple(
        ZooKeeperClient(
            each.session_id & _UNSIGNED,
            f"{each.address}:{each.port}",
            server,
            each.session_timeout_ms,
            each.last_operation,
            each.latency_avg,
            each.latency_max,
            each.established_ms,
            each.received,
            each.sent,
            each.queued,
            observed_at_ms=at_ms,
        )
        for each in connections
        if each.session_id
    )


def with_owners(
    clients: Mapping[str, tuple[ZooKeeperClient, ...]],
    brokers: Iterable[tuple[int, int]],
    controller: ZooKeeperController | None,
    own_id: int,
    at_ms: int,
) -> tuple[ZooKeeperClient, ...]:
    """All sessions, each once (by the server that told of it last), with whose they are. Of a session that no server
    has as a connection its ephemeral znodes are left: ``at_ms`` is when these were seen."""
    found: dict[int, ZooKeeperClient] = {}
    for each in (client for of_server in clients.values() for client in of_server):
        known = found.get(each.session_id)
        if known is None or known.observed_at_ms < each.observed_at_ms:
            found[each.session_id] = each
    owners = {session_id: broker_id for broker_id, session_id in brokers}
    controls = controller.session_id if controller is not None else None
    for session_id in (*owners, *([controls] if controls else ())):
        if session_id not in found:
            found[session_id] = ZooKeeperClient(session_id, observed_at_ms=at_ms)
    return tuple(
        each._replace(
            broker_id=owners.get(session_id),
            is_controller=session_id == controls,
            is_own=session_id == own_id,
        )
        for session_id, each in sorted(found.items())
    )
