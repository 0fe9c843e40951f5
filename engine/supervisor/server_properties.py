"""A broker's server.properties, from the cluster file and the addresses that the supervisor chose. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.supervisor.spec_types import BrokerSpec, ClusterSpec, ZooKeeperSpec

_KEEP_OUT = "leave it out"
# Configs that follow from other keys of the file, each with what to do instead.
MANAGED: dict[str, str] = {
    "node.id": "use the broker's `id`",
    "broker.id": "use the broker's `id`",
    "broker.rack": "use the broker's `rack`",
    "process.roles": _KEEP_OUT,
    "listeners": "use the broker's `host`, `port` and `controller_port`",
    "advertised.listeners": "use the broker's `host` and `port`",
    "listener.security.protocol.map": _KEEP_OUT,
    "inter.broker.listener.name": _KEEP_OUT,
    "security.inter.broker.protocol": _KEEP_OUT,
    "controller.listener.names": _KEEP_OUT,
    "control.plane.listener.name": _KEEP_OUT,
    "controller.quorum.voters": _KEEP_OUT,
    "controller.quorum.bootstrap.servers": _KEEP_OUT,
    "zookeeper.connect": "use the file's `zookeeper` or `zookeeper.connect`, beside `brokers`",
    "log.dir": "use `kconsole --data-dir`",
    "log.dirs": "use `kconsole --data-dir`",
    "metadata.log.dir": "use `kconsole --data-dir`",
}

# Kafka's is 18 s: on one machine nobody is that long out of reach. It outlives an election of the ensemble's servers.
EMBEDDED_ZOOKEEPER_SESSION_MS = 6000
# Who starts servers on purpose and brokers beside them does not want the brokers to give up first.
_ZOOKEEPER_CONNECTION_MS = 60_000
# The embedded servers take twice as much (engine.supervisor.zookeeper_files): they pack it once more for each other.
MULTI_MAX_BYTES = 4 << 20
# The quorum needs an odd number of voters to gain anything by one more.
MAX_VOTERS = 5


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    controller_port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def voter_ids(spec: ClusterSpec) -> list[int]:
    """The brokers that are voters of the metadata quorum: all of them up to five, an odd number except for two. None
    where ZooKeeper coordinates: there any broker may be the controller."""
    if spec.zookeeper is not None:
        return []
    ids = sorted(broker.broker_id for broker in spec.brokers)[:MAX_VOTERS]
    return ids if len(ids) % 2 or len(ids) == 2 else ids[:-1]


def default_configs(spec: ClusterSpec) -> dict[str, str]:
    """What the cluster's size and durability imply unless the file says otherwise."""
    factor = min(3, len(spec.brokers))
    defaults = {
        "default.replication.factor": str(factor),
        "min.insync.replicas": "2" if factor >= 3 else "1",
        "offsets.topic.replication.factor": str(factor),
        "transaction.state.log.replication.factor": str(factor),
        "transaction.state.log.min.isr": "2" if factor >= 3 else "1",
    }
    if spec.durability == "fsync":
        defaults["log.flush.interval.messages"] = "1"
    return defaults


def broker_properties(
    spec: ClusterSpec,
    broker: BrokerSpec,
    addresses: Mapping[int, Address],
    log_dir: str,
    zookeeper_connect: str = "",
) -> dict[str, str]:
    """All properties of one broker. ``addresses`` has every broker of the cluster, ``zookeeper_connect`` what
    coordinates it where that is ZooKeeper."""
    own = addresses[broker.broker_id]
    voters = voter_ids(spec)
    may_be_controller = spec.zookeeper is not None or broker.broker_id in voters
    data_listener = f"PLAINTEXT://{_in_uri(own.host)}:{own.port}"
    controller_listener = f"CONTROLLER://{_in_uri(own.host)}:{own.controller_port}"
    identity = (
        _zookeeper_identity(broker, spec.zookeeper, zookeeper_connect)
        if spec.zookeeper is not None
        else {
            "node.id": str(broker.broker_id),
            "process.roles": "broker,controller" if may_be_controller else "broker",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(
                f"{voter}@{_in_uri(addresses[voter].host)}:{addresses[voter].controller_port}" for voter in voters
            ),
        }
    )
    all_listeners = f"{data_listener},{controller_listener}" if may_be_controller else data_listener
    properties = {
        **identity,
        "listeners": all_listeners,
        "advertised.listeners": data_listener if spec.zookeeper is None else all_listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": log_dir,
    }
    if broker.rack is not None:
        properties["broker.rack"] = broker.rack
    return {**properties, **default_configs(spec), **spec.configs, **broker.configs}


def _zookeeper_identity(broker: BrokerSpec, zookeeper: ZooKeeperSpec, connect: str) -> dict[str, str]:
    # All of it is known to Kafka 3.9: it can start with this file.
    found = {
        "broker.id": str(broker.broker_id),
        "zookeeper.connect": connect,
        "control.plane.listener.name": "CONTROLLER",
    }
    if zookeeper.servers:
        found["zookeeper.session.timeout.ms"] = str(EMBEDDED_ZOOKEEPER_SESSION_MS)
        found["zookeeper.connection.timeout.ms"] = str(_ZOOKEEPER_CONNECTION_MS)
        found["kconsole.zookeeper.multi.max.bytes"] = str(MULTI_MAX_BYTES)
    return found


def properties_text(properties: Mapping[str, str], heading: str) -> str:
    """A server.properties file; backslashes in values are escaped as java.util.Properties wants it."""
    lines = [f"# {heading}"]
    lines += [f"{name}={_escaped(value)}" for name, value in properties.items()]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _in_uri(host: str) -> str:
    return f"[{host}]" if ":" in host else host
