"""Ports of brokers, ZooKeeper and the registry: fixed ones must be free, ``auto`` ones are chosen once and kept."""

from __future__ import annotations

import contextlib
import socket
import sys
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


class Ports:
    """The ports of one cluster from its start to its end, also while the servers that listen there are down: nobody who
    looks for a port meanwhile, another cluster on this machine least of all, is to be where clients expect a broker."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._held: dict[tuple[str, int], socket.socket | None] = {}

    def choose(self, host: str, before: int | None = None) -> int:
        """A port of the cluster's own: ``before`` if it is free, else one that nobody has.

        Raises:
            OSError: there is none.
        """
        if before and before not in self and not port_is_free(host, before):
            with contextlib.suppress(OSError):
                self._hold(host, before, shared=True)
                return before
        for _ in range(_ATTEMPTS):
            port = self._random.randint(_LOWEST, _HIGHEST)
            if port not in self:
                with contextlib.suppress(OSError):
                    self._hold(host, port, shared=False)
                    return port
        raise OSError(f"no free port on {host} between {_LOWEST} and {_HIGHEST}")

    def keep(self, host: str, port: int) -> None:
        """One that was given, and is free."""
        try:
            self._hold(host, port, shared=True)
        except OSError:
            # Who has taken it since is told when the server cannot listen.
            self._held[host, port] = None

    def release(self, host: str, port: int) -> None:
        """No server of the cluster will listen there any more."""
        held = self._held.pop((host, port), None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Give all of them back."""
        for place in list(self._held):
            self.release(*place)

    def __contains__(self, port: int) -> bool:
        return any(port == held for _, held in self._held)

    def _hold(self, host: str, port: int, *, shared: bool) -> None:
        """Bind it and never listen: who connects is refused. ``shared``: also where connections of an earlier server
        linger. Raises: OSError: somebody has it."""
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind, protocol)
        try:
            if shared:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(address)
            # From now on the server may have it as well; every server of ours, and Java's, sets the same.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError:
            held.close()
            raise
        if sys.platform != "linux":
            # Elsewhere two sockets do not share an address, whatever they set.
            held.close()
            self._held[host, port] = None
        else:
            self._held[host, port] = held


def choose_addresses(
    spec: ClusterSpec, remembered: Mapping[str, Any], ports: Ports
) -> tuple[dict[int, Address], list[SpecError]]:
    """Every broker's address, and what is wrong with the fixed ones.

    ``remembered`` is what :meth:`Address._asdict` of an earlier start gave, by broker id as text.

    Raises:
        OSError: there is no port left.
    """
    errors = taken_ports(spec.brokers)
    if errors:
        return {}, errors
    for broker in spec.brokers:
        for port in (broker.port, broker.controller_port):
            if port != AUTO_PORT:
                ports.keep(broker.host, port)
    addresses: dict[int, Address] = {}
    for broker in spec.brokers:
        before = remembered.get(str(broker.broker_id), {})
        host = broker.host
        addresses[broker.broker_id] = Address(
            host,
            broker.port or ports.choose(host, before.get("port")),
            broker.controller_port or ports.choose(host, before.get("controller_port")),
        )
    return addresses, []


def choose_zookeeper_ports(servers: int, remembered: Mapping[str, Any], ports: Ports) -> dict[int, ServerPorts]:
    """The ports of an embedded ensemble, by server id: those of an earlier start (:meth:`ServerPorts._asdict`, by
    server id as text) as far as they are free.

    Raises:
        OSError: there are none.
    """
    found = {}
    for server_id in range(1, servers + 1):
        before = remembered.get(str(server_id), {})
        found[server_id] = ServerPorts(*(ports.choose(HOST, before.get(name)) for name in ServerPorts._fields))
    return found


def choose_registry_port(spec: RegistrySpec, remembered: int | None, ports: Ports) -> tuple[int, list[SpecError]]:
    """The port of the cluster's schema registry, and what is wrong with a fixed one.

    Raises:
        OSError: there is none.
    """
    if spec.port == AUTO_PORT:
        return ports.choose(HOST, remembered), []
    reason = "a broker has it" if spec.port in ports else port_is_free(HOST, spec.port)
    if not reason:
        ports.keep(HOST, spec.port)
        return spec.port, []
    remedy = "stop what listens there, give another port, or auto"
    return spec.port, [SpecError(*spec.port_at, f"port {spec.port} of the registry cannot be used: {reason}", remedy)]
