"""Ports of brokers, ZooKeeper and the registry: fixed ones must be free, ``auto`` ones are chosen once and kept."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from engine.supervisor.server_properties import Address
from engine.supervisor.spec_types import AUTO_PORT, BrokerSpec, ClusterSpec, RegistrySpec
from engine.supervisor.yaml_nodes import SpecError
from engine.supervisor.zookeeper_files import HOST, ServerPorts
from engine.world import Random

# Below the range from which systems take the ports of outgoing connections: a broker that is down for a while must
# find its port free when it comes back.
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS = 200


def port_is_free(host: str, port: int) -> str:
    """Why a server cannot listen there; empty if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        return f"{host} is no address of this machine ({error.strerror})"
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            return str(error.strerror)
    return ""


def free_port(host: str, broker_id: int) -> int:
    """One that a server can listen on now, above those that embedded brokers are given; ids that follow each other get
    others, whichever starts first. Raises: OSError: there is none."""
    first = _HIGHEST + 1 + broker_id % 500
    for port in range(first, first + 200):
        if not port_is_free(host, port):
            return port
    raise OSError(f"no free port on {host}")


def taken_ports(brokers: Iterable[BrokerSpec]) -> list[SpecError]:
    """What is wrong with fixed ports, in the form of a cluster file's mistakes."""
    errors: list[SpecError] = []
    for broker in brokers:
        places = zip(("port", "controller_port"), (broker.port, broker.controller_port), broker.ports_at, strict=True)
        for name, port, (line, column) in places:
            reason = port_is_free(broker.host, port) if port != AUTO_PORT else ""
            if reason:
                errors.append(
                    SpecError(
                        line,
                        column,
                        f"{name} {port} of broker {broker.broker_id} cannot be used: {reason}",
                        "stop what listens there, give another port, or auto",
                    )
                )
    return errors


def choose_addresses(
    spec: ClusterSpec, remembered: Mapping[str, Any], random: Random
) -> tuple[dict[int, Address], list[SpecError]]:
    """Every broker's address, and what is wrong with the fixed ones.

    ``remembered`` is what :meth:`Address._asdict` of an earlier start gave, by broker id as text.
    """
    errors = taken_ports(spec.brokers)
    taken = {port for broker in spec.brokers for port in (broker.port, broker.controller_port) if port != AUTO_PORT}
    addresses: dict[int, Address] = {}
    if not errors:
        for broker in spec.brokers:
            before = remembered.get(str(broker.broker_id), {})
            host = broker.host
            addresses[broker.broker_id] = Address(
                host,
                broker.port or _choose(host, before.get("port"), taken, random),
                broker.controller_port or _choose(host, before.get("controller_port"), taken, random),
            )
    return addresses, errors


def choose_zookeeper_ports(
    servers: int, remembered: Mapping[str, Any], addresses: Mapping[int, Address], random: Random
) -> dict[int, ServerPorts]:
    """The ports of an embedded ensemble, by server id: those of an earlier start (:meth:`ServerPorts._asdict`, by
    server id as text) as far as they are free, none that a broker has.

    Raises:
        OSError: there are none.
    """
    taken = {port for each in addresses.values() for port in (each.port, each.controller_port)}
    found = {}
    for server_id in range(1, servers + 1):
        before = remembered.get(str(server_id), {})
        found[server_id] = ServerPorts(
            *(_choose(HOST, before.get(name), taken, random) for name in ServerPorts._fields)
        )
    return found


def choose_registry_port(
    spec: RegistrySpec, remembered: int | None, addresses: Mapping[int, Address], random: Random
) -> tuple[int, list[SpecError]]:
    """The port of the cluster's schema registry, and what is wrong with a fixed one.

    Raises:
        OSError: there is none.
    """
    taken = {port for each in addresses.values() for port in (each.port, each.controller_port)}
    if spec.port == AUTO_PORT:
        return _choose(HOST, remembered, taken, random), []
    reason = "a broker has it" if spec.port in taken else port_is_free(HOST, spec.port)
    if not reason:
        return spec.port, []
    remedy = "stop what listens there, give another port, or auto"
    return spec.port, [SpecError(*spec.port_at, f"port {spec.port} of the registry cannot be used: {reason}", remedy)]


def _choose(host: str, before: int | None, taken: set[int], random: Random) -> int:
    if before and before not in taken and not port_is_free(host, before):
        taken.add(before)
        return before
    for _ in range(_ATTEMPTS):
        port = random.randint(_LOWEST, _HIGHEST)
        if port not in taken and not port_is_free(host, port):
            taken.add(port)
            return port
    raise OSError(f"no free port on {host} between {_LOWEST} and {_HIGHEST}")
