"""A world whose connections are secured: whoever connects through it needs to know nothing of TLS or SASL."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.client.security.properties import SaslCredentials, read_security
from engine.client.security.tls import make_context
from engine.world import Clock, Disk, Network, Random, World


class ClientSecurity(NamedTuple):
    """What :class:`engine.client.connection.Connection` does before anybody else speaks on it."""

    protocol: str
    tls: ssl.SSLContext | None
    sasl: SaslCredentials | None


class SecuredWorld:
    """Another world's clock, disk, network and randomness, and how clients secure their connections."""

    __slots__ = ("_inner", "clock", "disk", "network", "random", "security")

    def __init__(self, inner: World, security: ClientSecurity) -> None:
        self._inner = inner
        self.clock: Clock = inner.clock
        self.random: Random = inner.random
        self.disk: Disk = inner.disk
        self.network: Network = inner.network
        self.security = security

    def environment(self) -> Iterable[tuple[str, str]]:
        return self._inner.environment()


def secured(world: World, properties: Mapping[str, str]) -> World:
    """The world for clients with these properties; itself if they ask for nothing.

    Raises:
        SecurityError: a property is wrong, or a file that it names.
    """
    settings = read_security(properties)
    if settings.protocol == "PLAINTEXT":
        return world
    return SecuredWorld(
        world, ClientSecurity(settings.protocol, make_context(settings, world.disk.read), settings.sasl)
    )


def security_of(world: World) -> ClientSecurity | None:
    """How connections of this world are secured."""
    return world.security if isinstance(world, SecuredWorld) else None
