"""The server.properties of a broker of Apache Kafka that joins an embedded cluster, whose quorum stays. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.supervisor.server_properties import Address

# Those of the embedded broker that say who it is and where.
_OWN = frozenset(
    {"node.id", "process.roles", "listeners", "advertised.listeners", "broker.rack", "log.dir", "log.dirs"}
    | {"metadata.log.dir"}
)


def joining_properties(
    embedded: Mapping[str, str], broker_id: int, host: str, port: int, log_dir: str, rack: str | None
) -> dict[str, str]:
    """From an embedded broker's properties: voters, defaults and durability are the same, the place is its own.

    It is no controller: the voters of an embedded cluster do not change.
    """
    listener = f"PLAINTEXT://{Address(host, port, 0)}"
    own = {
        "node.id": str(broker_id),
        "process.roles": "broker",
        "listeners": listener,
        "advertised.listeners": listener,
        "log.dirs": log_dir,
    }
    if rack is not None:
        own["broker.rack"] = rack
    return {**own, **{name: value for name, value in embedded.items() if name not in _OWN}}
