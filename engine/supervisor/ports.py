"""Ports of the brokers: fixed ones must be free, ``auto`` ones are chosen once and kept."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from engine.supervisor.server_properties import Address
from engine.supervisor.spec_types import AUTO_PORT, BrokerSpec, ClusterSpec
from engine.supervisor.yaml_nodes import SpecError
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

    def choose(host: str, wanted: int, before: int | None) -> int:
        if wanted != AUTO_PORT:
            return wanted
        if before and before not in taken and not port_is_free(host, before):
            taken.add(before)
            return before
        for _ in range(_ATTEMPTS):
            port = random.randint(_LOWEST, _HIGHEST)
            if port not in taken and not port_is_free(host, port):
                taken.add(port)
                return port
        raise OSError(f"no free port on {host} between {_LOWEST} and {_HIGHEST}")

    if not errors:
        for broker in spec.brokers:
            before = remembered.get(str(broker.broker_id), {})
            addresses[broker.broker_id] = Address(
                broker.host,
                choose(broker.host, broker.port, before.get("port")),
                choose(broker.host, broker.controller_port, before.get("controller_port")),
            )
    return addresses, errors
