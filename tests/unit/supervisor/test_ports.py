"""A cluster has its ports from its start to its end, whoever is down meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from engine.supervisor.ports import Ports, choose_registry_port
from engine.supervisor.spec_types import RegistrySpec
from engine.world.real import RealRandom

HOST = "127.0.0.1"


class _Always(RealRandom):
    """Draws the same port every time."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def randint(self, low: int, high: int) -> int:
        return self._port


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports(RealRandom())
    yield made
    made.close()


def listener(port: int) -> socket.socket:
    return socket.create_server((HOST, port))


def test_a_server_listens_leaves_and_comes_back_and_nobody_else_gets_its_port(ports: Ports) -> None:
    port = ports.choose(HOST)
    others = Ports(_Always(port))
    for _ in range(2):
        with listener(port), socket.create_connection((HOST, port)):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with pytest.raises(OSError, match="no free port"):
            others.choose(HOST)
    ports.close()
    assert others.choose(HOST) == port
    others.close()


def test_a_port_of_an_earlier_start_is_had_again_unless_somebody_listens_there(ports: Ports) -> None:
    port = ports.choose(HOST)
    assert ports.choose(HOST, port) != port, "it was given out already"
    ports.close()
    with listener(port) as server, socket.create_connection((HOST, port)):
        connection, _ = server.accept()
        connection.close()
        assert ports.choose(HOST, port) != port
    # What is left of the connection lingers on the port.
    assert ports.choose(HOST, port) == port


def test_one_that_was_given_is_kept_too(ports: Ports) -> None:
    with listener(0) as server:
        port = server.getsockname()[1]
    ports.keep(HOST, port)
    with pytest.raises(OSError, match="Address already in use"), socket.socket() as other:
        other.bind((HOST, port))
    taken, errors = choose_registry_port(RegistrySpec(port=port, port_at=(3, 4)), None, ports)
    assert taken == port and errors[0].message == f"port {port} of the registry cannot be used: a broker has it"
