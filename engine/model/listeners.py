"""Listeners, their security protocols, the quorum's voters: parsing and the rules between them.

Rules and words of org.apache.kafka.server.config.AbstractKafkaConfig, SocketServerConfigs and QuorumConfig.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# What a connection can be here. Kafka has SSL, SASL_PLAINTEXT and SASL_SSL besides.
SUPPORTED_SECURITY_PROTOCOLS = ("PLAINTEXT",)
_KAFKA_SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9_.-]*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)", re.ASCII)
_VOTER = re.compile(r"([0-9]+)@\[?([0-9a-zA-Z\-%._:]+)\]?:([0-9]+)", re.ASCII)


class ListenerEndpoint(NamedTuple):
    """One address. ``host`` empty means all interfaces; port 0 lets the system choose."""

    name: str
    host: str
    port: int
    security_protocol: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_security_map(text: str, controller_names: Iterable[str], errors: list[str]) -> dict[str, str]:
    """``listener.security.protocol.map``; controller listeners that it leaves out are PLAINTEXT (KIP-631)."""
    protocols: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, colon, protocol = (part.strip() for part in entry.rpartition(":"))
        if not colon or not name:
            errors.append(f"listener.security.protocol.map: {entry} is not of the form NAME:PROTOCOL")
        elif protocol.upper() not in _KAFKA_SECURITY_PROTOCOLS:
            errors.append(f"listener.security.protocol.map: {protocol} is no security protocol of Kafka")
        else:
            protocols[name.upper()] = protocol.upper()
    for name in controller_names:
        protocols.setdefault(name.upper(), "PLAINTEXT")
    return protocols


def parse_listeners(
    config: str, entries: Sequence[str], security: Mapping[str, str], errors: list[str]
) -> tuple[ListenerEndpoint, ...]:
    """``listeners`` or ``advertised.listeners``."""
    found: list[ListenerEndpoint] = []
    for entry in filter(None, entries):
        match = _URI.fullmatch(entry)
        if match is None:
            errors.append(f"{config}: unable to parse {entry} to a broker endpoint; write NAME://host:port")
            continue
        name, host, port = match[1].upper(), match[2], int(match[3])
        protocol = security.get(name)
        if not 0 <= port <= 65535:
            errors.append(f"{config}: {entry}: a port is between 0 and 65535")
        elif protocol is None:
            errors.append(
                f"{config}: No security protocol defined for listener {name}; add it to listener.security.protocol.map"
            )
        elif protocol not in SUPPORTED_SECURITY_PROTOCOLS:
            errors.append(f"{config}: {entry}: kconsole does not serve {protocol}, only PLAINTEXT")
        else:
            found.append(ListenerEndpoint(name, host, port, protocol))
    names = [each.name for each in found]
    if len(set(names)) != len(names):
        errors.append(f"Each listener must have a different name, {config}: {','.join(entries)}")
    if config == "listeners":
        bound = [(each.host, each.port) for each in found if each.port]
        if len(set(bound)) != len(bound):
            errors.append(f"Each listener must have a different port, {config}: {','.join(entries)}")
    return tuple(found)


def parse_voters(entries: Sequence[str], errors: list[str]) -> dict[int, tuple[str, int]]:
    """``controller.quorum.voters``: node id to (host, port)."""
    voters: dict[int, tuple[str, int]] = {}
    for entry in filter(None, entries):
        match = _VOTER.fullmatch(entry)
        if match is None:
            errors.append(
                "Invalid configuration value for controller.quorum.voters. Each entry should be in the form "
                f"`{{id}}@{{host}}:{{port}}`, not {entry}."
            )
        elif int(match[1]) in voters:
            errors.append(f"controller.quorum.voters names node {match[1]} twice")
        else:
            voters[int(match[1])] = (match[2], int(match[3]))
    return voters


def check_roles_and_listeners(attributes: dict[str, Any], texts: Mapping[str, str], errors: list[str]) -> None:
    """Rules between roles, voters and listeners; sets ``inter_broker_listener_name`` to the one that holds, and splits
    what is advertised to clients from what is advertised of the controller (KIP-853 allows both)."""
    node_id, roles = attributes["node_id"], attributes["process_roles"]
    listeners: tuple[ListenerEndpoint, ...] = attributes["listeners"]
    voters = attributes["quorum_voters"]
    controller_names = tuple(name.upper() for name in attributes["controller_listener_names"])
    attributes["controller_listener_names"] = controller_names
    attributes["advertised_controller_listeners"] = tuple(
        each for each in attributes["advertised_listeners"] if each.name in controller_names
    )
    if "broker.id" in texts and attributes["broker_id"] != node_id:
        errors.append("You must set `node.id` to the same value as `broker.id`.")
    if not roles:
        errors.append("Configuration 'process.roles' must not be empty. Valid values include: broker, controller")
    elif len(set(roles)) != len(roles):
        errors.append(f"process.roles names a role twice: {','.join(roles)}")
    if not controller_names and attributes["coordination"] == "zookeeper":
        errors.append(
            "nothing says where this node's controller answers: add CONTROLLER://host:port to listeners, "
            "CONTROLLER:PLAINTEXT to listener.security.protocol.map, and set control.plane.listener.name=CONTROLLER, "
            "which Apache Kafka 3.9 takes, too"
        )
    elif not controller_names:
        errors.append("Configuration 'controller.listener.names' must not be empty")
    if attributes["coordination"] == "quorum":
        _check_voters(node_id, roles, voters, attributes["controller_quorum_bootstrap_servers"], errors)
    own = [each for each in listeners if each.name in controller_names]
    if "controller" in roles and not own and (controller_names or attributes["coordination"] == "quorum"):
        errors.append(
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration "
            "when running the KRaft controller role"
        )
    if roles == ("broker",) and own:
        errors.append(f"listeners: {own[0].name} is a controller listener, and this node is only a broker")
    if roles == ("controller",) and len(own) != len(listeners):
        errors.append(
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when "
            "process.roles=controller"
        )
    if "broker" in roles:
        _check_broker_listeners(attributes, texts, controller_names, errors)


def _check_voters(
    node_id: int, roles: tuple[str, ...], voters: Mapping[int, Any], bootstrap: tuple[str, ...], errors: list[str]
) -> None:
    named = ",".join(map(str, sorted(voters)))
    if not voters:
        if not any(bootstrap):
            errors.append("controller.quorum.voters must name the voters, {id}@{host}:{port} each")
    elif "controller" in roles and node_id not in voters:
        errors.append(
            f"If process.roles contains the 'controller' role, the node id {node_id} must be included in the set of "
            f"voters controller.quorum.voters=Set({named})"
        )
    elif roles == ("broker",) and node_id in voters:
        errors.append(
            f"If process.roles contains just the 'broker' role, the node id {node_id} must not be included in the "
            f"set of voters controller.quorum.voters=Set({named})"
        )


def _check_broker_listeners(
    attributes: dict[str, Any], texts: Mapping[str, str], controller_names: tuple[str, ...], errors: list[str]
) -> None:
    listeners: tuple[ListenerEndpoint, ...] = attributes["listeners"]
    advertised = tuple(each for each in attributes["advertised_listeners"] if each.name not in controller_names)
    attributes["advertised_listeners"] = advertised
    names = {each.name for each in listeners}
    if not advertised:
        errors.append(
            "There must be at least one broker advertised listener. Perhaps all listeners appear in "
            "controller.listener.names?"
        )
        return
    for each in advertised:
        if each.name not in names:
            errors.append(f"advertised.listeners: {each.name} is not one of listeners ({','.join(sorted(names))})")
        if each.host in ("0.0.0.0", "::") and "advertised.listeners" in texts:
            errors.append(
                f"advertised.listeners cannot use the nonroutable meta-address {each.host}. Use a routable IP address."
            )
    inter_broker = attributes["inter_broker_listener_name"]
    if inter_broker is None:
        protocol = attributes["security_inter_broker_protocol"]
        inter_broker = next((each.name for each in advertised if each.name == protocol), None)
        if inter_broker is None:
            inter_broker = next((each.name for each in advertised if each.security_protocol == protocol), protocol)
    elif "security.inter.broker.protocol" in texts:
        errors.append("Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.")
    inter_broker = inter_broker.upper()
    attributes["inter_broker_listener_name"] = inter_broker
    if inter_broker not in {each.name for each in advertised}:
        errors.append(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options "
            f"based on currently configured listeners are {','.join(each.name for each in advertised)}"
        )


def parse_connection_overrides(text: str) -> dict[str, int]:
    """``host:count`` each, between commas. Raises: ValueError: it is not."""
    found: dict[str, int] = {}
    for each in filter(None, map(str.strip, text.split(","))):
        host, _, count = each.rpartition(":")
        if not host or not count.strip().isdecimal():
            raise ValueError(f"{each} is not host:count")
        found[host.strip("[]")] = int(count)
    return found
