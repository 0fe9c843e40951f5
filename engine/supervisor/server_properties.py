"""A broker's server.properties, from the cluster file and the addresses that the supervisor chose. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.supervisor.spec_types import BrokerSpec, ClusterSpec

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
    "controller.quorum.voters": _KEEP_OUT,
    "controller.quorum.bootstrap.servers": _KEEP_OUT,
    "log.dir": "use `kconsole --data-dir`",
    "log.dirs": "use `kconsole --data-dir`",
    "metadata.log.dir": "use `kconsole --data-dir`",
}

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
    """The brokers that are controllers too: all of them up to five, an odd number except for two."""
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
    spec: ClusterSpec, broker: BrokerSpec, addresses: Mapping[int, Address], log_dir: str
) -> dict[str, str]:
    """All properties of one broker. ``addresses`` has every broker of the cluster."""
    own = addresses[broker.broker_id]
    voters = voter_ids(spec)
    is_voter = broker.broker_id in voters
    data_listener = f"PLAINTEXT://{_in_uri(own.host)}:{own.port}"
    controller_listener = f"CONTROLLER://{_in_uri(own.host)}:{own.controller_port}"
    properties = {
        "node.id": str(broker.broker_id),
        "process.roles": "broker,controller" if is_voter else "broker",
        "listeners": f"{data_listener},{controller_listener}" if is_voter else data_listener,
        "advertised.listeners": data_listener,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": ",".join(
            f"{voter}@{_in_uri(addresses[voter].host)}:{addresses[voter].controller_port}" for voter in voters
        ),
        "log.dirs": log_dir,
    }
    if broker.rack is not None:
        properties["broker.rack"] = broker.rack
    return {**properties, **default_configs(spec), **spec.configs, **broker.configs}


def properties_text(properties: Mapping[str, str], heading: str) -> str:
    """A server.properties file; backslashes in values are escaped as java.util.Properties wants it."""
    lines = [f"# {heading}"]
    lines += [f"{name}={_escaped(value)}" for name, value in properties.items()]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _in_uri(host: str) -> str:
    return f"[{host}]" if ":" in host else host
