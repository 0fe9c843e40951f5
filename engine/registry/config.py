"""How a registry is run. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8081
DEFAULT_TOPIC = "_schemas"
_SECURITY = ("security.protocol", "sasl.", "ssl.")


class RegistryConfigError(Exception):
    """A setting is wrong; the message says which, and what to write."""


class RegistryConfig(NamedTuple):
    """Where schemas are kept, and who may come where.

    ``security`` has Kafka's names (``security.protocol`` and the like); ``users`` are names with passwords, and nobody
    is asked for one where there are none.
    """

    bootstrap_servers: str
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    topic: str = DEFAULT_TOPIC
    security: Mapping[str, str] = {}
    users: Mapping[str, str] = {}
    is_open: bool = False
    timeout_s: float = 30.0

    def __repr__(self) -> str:
        return f"RegistryConfig({self.bootstrap_servers}, {self.host}:{self.port}, {self.topic})"

    def check(self) -> None:
        """Raises: RegistryConfigError: everybody could change schemas from elsewhere."""
        if not is_loopback(self.host) and not self.users and not self.is_open:
            raise RegistryConfigError(
                f"{self.host} is reached from other machines, and nobody would be asked who they are: name users "
                "(--users FILE, a line NAME:PASSWORD each), listen on 127.0.0.1, or say --open"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> tuple[str, int]:
    """``HOST:PORT``; a port of 0 is chosen by the system. Raises: RegistryConfigError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise RegistryConfigError(f"{text!r} is no address to listen on: write HOST:PORT, 127.0.0.1:8081 for instance")
    return host, int(port)


def parse_users(text: str, name: str) -> dict[str, str]:
    """Lines ``NAME:PASSWORD``; empty ones and those that begin with ``#`` count for nothing.

    Raises:
        RegistryConfigError: a line is none, or there is no user at all.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not colon or not user or not password:
            raise RegistryConfigError(f"{name}, line {number}: write NAME:PASSWORD")
        users[user] = password
    if not users:
        raise RegistryConfigError(f"{name} names no user: write NAME:PASSWORD, a line each")
    return users


def read_config(properties: Mapping[str, str]) -> RegistryConfig:
    """From a file of names and values: ``bootstrap.servers``, ``listen``, ``kafkastore.topic``, ``open``, ``user.NAME``
    with a password each, and what secures connections to brokers under Kafka's names.

    Raises:
        RegistryConfigError: a value is missing or wrong.
    """
    servers = properties.get("bootstrap.servers", "")
    if not servers:
        raise RegistryConfigError("bootstrap.servers is missing: write HOST:PORT of a broker")
    host, port = parse_listen(properties.get("listen", f"{DEFAULT_HOST}:{DEFAULT_PORT}"))
    return RegistryConfig(
        servers,
        host,
        port,
        properties.get("kafkastore.topic", DEFAULT_TOPIC),
        {name: value for name, value in properties.items() if name.startswith(_SECURITY)},
        {name.removeprefix("user."): value for name, value in properties.items() if name.startswith("user.")},
        properties.get("open", "false") == "true",
    )
