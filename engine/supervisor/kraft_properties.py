"""A server.properties of Apache Kafka 3.9 under ZooKeeper, made one of a node of Kafka 4.3 under KRaft. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MAX_VOTERS = 5

# What Kafka 4 does not have any more; names that begin so are ZooKeeper's.
_GONE = frozenset(
    (
        "broker.id",
        "broker.id.generation.enable",
        "reserved.broker.max.id",
        "inter.broker.protocol.version",
        "log.message.format.version",
        "log.message.downconversion.enable",
        "log.message.timestamp.difference.max.ms",
        "control.plane.listener.name",
        "offsets.storage",
    )
)
_GONE_PREFIXES = ("zookeeper.", "password.encoder.", "kconsole.zookeeper.")
_AUTHORIZERS = {
    "kafka.security.authorizer.AclAuthorizer": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "kafka.security.auth.SimpleAclAuthorizer": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
# What says the same under KRaft in another way.
_REPLACED = ("broker.id", "control.plane.listener.name")
_ANYWHERE = ("", "0.0.0.0", "::")
_DEFAULT_LISTENERS = "PLAINTEXT://:9092"
_DEFAULT_LOG_DIR = "/tmp/kafka-logs"


class _Listener(NamedTuple):
    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}://{_in_uri(self.host)}:{self.port}"


class UnusableProperties(Exception):
    """A server.properties that cannot be converted; the message says why and what to do."""


class KraftNode(NamedTuple):
    """What one broker becomes."""

    node_id: int
    log_dirs: tuple[str, ...]
    metadata_log_dir: str
    is_voter: bool
    properties: dict[str, str]


class Converted(NamedTuple):
    """All brokers of a cluster, by id; ``dropped``: names of configs that Kafka 4 does not have; ``notes``: what is
    worth knowing."""

    nodes: dict[int, KraftNode]
    dropped: list[str]
    notes: list[str]


def voters_among(broker_ids: list[int]) -> list[int]:
    """Who votes: all up to five, an odd number except for two."""
    ids = sorted(broker_ids)[:MAX_VOTERS]
    return ids if len(ids) % 2 or len(ids) == 2 else ids[:-1]


def convert(files: Mapping[str, Mapping[str, str]], controller_port: int) -> Converted:
    """``files``: the properties of every broker, by the path of its file. Voters listen for each other on
    ``controller_port``, and on the next ones where several are on one host.

    Raises:
        UnusableProperties: a broker has no id, or one that another has too.
    """
    brokers: dict[int, Mapping[str, str]] = {}
    for path, properties in files.items():
        text = properties.get("broker.id", properties.get("node.id", ""))
        if not text.strip().isdigit():
            raise UnusableProperties(
                f"{path} has no broker.id: add the one that meta.properties in its log directory has"
            )
        if int(text) in brokers:
            raise UnusableProperties(f"{path}: broker.id {text} is in another file too: give each broker's own file")
        brokers[int(text)] = properties
    voters = voters_among(list(brokers))
    ports: dict[str, int] = {}
    addresses: dict[int, tuple[str, int]] = {}
    for broker_id in voters:
        own = _control_listener(brokers[broker_id])
        host = _host(brokers[broker_id])
        if own is None:
            ports[host] = ports.get(host, controller_port - 1) + 1
        addresses[broker_id] = (host, ports[host]) if own is None else (own.host or host, own.port)
    quorum = ",".join(f"{broker_id}@{_in_uri(host)}:{port}" for broker_id, (host, port) in addresses.items())
    dropped: dict[str, None] = {}
    notes: dict[str, None] = {}
    nodes: dict[int, KraftNode] = {}
    for broker_id, old in sorted(brokers.items()):
        new = {"node.id": str(broker_id)}
        new["process.roles"] = "broker,controller" if broker_id in voters else "broker"
        new["controller.quorum.voters"] = quorum
        for name, value in old.items():
            if name in _GONE or name.startswith(_GONE_PREFIXES):
                if name not in _REPLACED and not name.startswith(_GONE_PREFIXES):
                    dropped[name] = None
            elif name not in new:
                new[name] = value
        _listeners(new, _control_listener(old), addresses.get(broker_id), notes)
        authorizer = new.get("authorizer.class.name", "")
        if authorizer in _AUTHORIZERS:
            new["authorizer.class.name"] = _AUTHORIZERS[authorizer]
        log_dirs = old.get("log.dirs") or old.get("log.dir") or _DEFAULT_LOG_DIR
        directories = tuple(each.strip().rstrip("/") for each in log_dirs.split(",") if each.strip())
        metadata_log_dir = (old.get("metadata.log.dir") or directories[0]).rstrip("/")
        nodes[broker_id] = KraftNode(broker_id, directories, metadata_log_dir, broker_id in voters, new)
    return Converted(nodes, list(dropped), list(notes))


def _control_listener(properties: Mapping[str, str]) -> _Listener | None:
    """The listener that the controller has for itself already."""
    name = properties.get("control.plane.listener.name") or properties.get("controller.listener.names", "")
    return next((each for each in _parsed(properties.get("listeners", "")) if each.name == name.strip()), None)


def _listeners(
    properties: dict[str, str], control: _Listener | None, own: tuple[str, int] | None, notes: dict[str, None]
) -> None:
    """Let the voters have a listener for controllers: the one that there is, or another under a name that is free."""
    listeners = _parsed(properties.get("listeners") or _DEFAULT_LISTENERS)
    clients = [each for each in listeners if each != control]
    name = "CONTROLLER" if all(each.name != "CONTROLLER" for each in clients) else "KRAFT_CONTROLLER"
    name = name if control is None else control.name
    security = properties.get("listener.security.protocol.map") or ",".join(f"{each}:{each}" for each in _PROTOCOLS)
    protocols = dict(each.strip().split(":", 1) for each in security.split(",") if ":" in each)
    between_brokers = properties.get("inter.broker.listener.name") or properties.get(
        "security.inter.broker.protocol", "PLAINTEXT"
    )
    if name not in protocols or protocols[name].startswith("SASL"):
        protocol = protocols.get(between_brokers, "PLAINTEXT")
        if protocol.startswith("SASL"):
            notes[
                f"the controllers' listener {name} is PLAINTEXT: users of SASL/SCRAM are known only once there is a "
                "controller; keep it inside a trusted network, or give it SSL in every file"
            ] = None
            protocol = "PLAINTEXT"
        protocols[name] = protocol
    if own is not None:
        at = _Listener(name, clients[0].host, own[1]) if control is None else control
        properties["listeners"] = ",".join(map(str, [*clients, at]))
    else:
        properties["listeners"] = ",".join(map(str, clients))
    advertised = _parsed(properties.get("advertised.listeners", ""))
    advertised = [each for each in advertised if control is None or each.name != control.name]
    if not advertised and all(each.host not in _ANYWHERE for each in clients):
        advertised = clients
    properties.pop("advertised.listeners", None)
    if advertised:
        properties["advertised.listeners"] = ",".join(map(str, advertised))
    properties["controller.listener.names"] = name
    properties["listener.security.protocol.map"] = ",".join(f"{each}:{how}" for each, how in protocols.items())


def _parsed(listeners: str) -> list[_Listener]:
    found = []
    for each in filter(None, map(str.strip, listeners.split(","))):
        name, _, place = each.partition("://")
        host, _, port = place.rpartition(":")
        found.append(_Listener(name, host.strip("[]"), int(port) if port.isdigit() else 0))
    return found


def _host(properties: Mapping[str, str]) -> str:
    """Where other brokers reach this one."""
    for name in ("advertised.listeners", "listeners"):
        for each in _parsed(properties.get(name, ""))[:1]:
            if each.host not in _ANYWHERE:
                return each.host
    return "localhost"


def _in_uri(host: str) -> str:
    return f"[{host}]" if ":" in host else host
