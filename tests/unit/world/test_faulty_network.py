"""The switch of a real network: who is not heard, who late, and that everything comes once and in its order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.model.broker_faults import CLIENTS, SOUND, BrokerFaults
from engine.world.faulty_network import FaultyNetwork


class Heard(asyncio.Protocol):
    """A server's side that keeps what it hears, and knows its client as a broker does: by what it heard."""

    def __init__(self, made: list[Heard]) -> None:
        self.data = bytearray()
        self.is_lost = False
        self.news = asyncio.Event()
        made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.news.set()


def request(client_id: str, body: bytes = b"") -> bytes:
    name = client_id.encode()
    frame = struct.pack(">hhih", 3, 12, 1, len(name)) + name + body
    return struct.pack(">i", len(frame)) + frame


def client_id_of(protocol: asyncio.BaseProtocol) -> str | None:
    data = protocol.data if isinstance(protocol, Heard) else b""
    return data[14 : 14 + struct.unpack_from(">h", data, 12)[0]].decode() if data else None


class World:
    def __init__(self) -> None:
        self.made: list[Heard] = []
        self.network = FaultyNetwork(client_id_of)
        self.clients: list[asyncio.StreamWriter] = []

    async def listen(self) -> None:
        self.listener = await self.network.listen("127.0.0.1", 0, lambda: Heard(self.made))
        self.port = self.listener.address[1]

    async def client(self, first: bytes = b"") -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(writer)
        await self.accepted(len(self.clients))
        if first:
            writer.write(first)
        return writer

    async def accepted(self, number: int) -> None:
        """Wait until the server's side of so many connections is there."""
        while len(self.made) < number:  # noqa: ASYNC110  the loop that is waited for is this one
            await asyncio.sleep(0)

    async def heard(self, at: int, data: bytes) -> None:
        """Wait until exactly this was heard on a connection."""
        async with asyncio.timeout(5):
            while bytes(self.made[at].data) != data:
                self.made[at].news.clear()
                await self.made[at].news.wait()

    async def turns(self) -> None:
        """Let everything that is under way arrive; what is kept does not."""
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.listen()
    yield made
    for each in made.clients:
        each.close()
    await made.listener.close()


async def test_a_broker_that_is_cut_off_is_not_heard_until_it_is_and_others_are(world: World) -> None:
    broker, client = request("broker-2-fetcher-0", b"one"), request("rdkafka", b"two")
    known = await world.client(broker)
    await world.heard(0, broker)
    world.network.set(BrokerFaults(cut_from=frozenset({2})))
    known.write(b"later")
    newcomer, other = await world.client(), await world.client()
    # Its first request comes in two pieces: nobody knows who it is before the second.
    newcomer.write(broker[:9])
    other.write(client)
    await world.heard(2, client)
    newcomer.write(broker[9:])
    newcomer.close()
    # A reset comes without an end before it.
    known.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await world.turns()
    assert (bytes(world.made[0].data), bytes(world.made[1].data), world.made[1].is_lost) == (broker, b"", False)
    known.transport.abort()
    await world.turns()
    assert not world.made[0].is_lost
    world.network.set(SOUND)
    await world.heard(0, broker + b"later")
    await world.heard(1, broker)
    await world.turns()
    assert world.made[0].is_lost and world.made[1].is_lost
    other.write(b" and more")
    await world.heard(2, client + b" and more")


async def test_clients_are_heard_late_and_in_order(world: World) -> None:
    client = request("rdkafka")
    writer = await world.client(client)
    await world.heard(0, client)
    world.network.set(BrokerFaults(delays_ms={CLIENTS: 60}))
    loop = asyncio.get_running_loop()
    began = loop.time()
    for each in (b"a", b"b", b"c"):
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(0.002)
    await world.heard(0, client + b"abc")
    assert loop.time() - began >= 0.06
    # What waits does not wait any longer when it is mended.
    world.network.set(BrokerFaults(delays_ms={CLIENTS: 60_000}))
    writer.write(b"d")
    await world.turns()
    world.network.set(SOUND)
    await world.heard(0, client + b"abcd")


async def test_answers_are_known_by_the_address_that_they_come_from(world: World) -> None:
    mine: list[Heard] = []
    transport, _ = await world.network.connect("127.0.0.1", world.port, lambda: Heard(mine), timeout_ms=5_000)
    await world.accepted(1)
    addresses = {f"127.0.0.1:{world.port}": 3}
    world.network.set(BrokerFaults(cut_from=frozenset({3}), addresses=addresses))
    world.made[0].transport.write(b"answer")
    await world.turns()
    assert bytes(mine[0].data) == b""
    world.network.set(BrokerFaults(cut_from=frozenset({2}), addresses=addresses))
    async with asyncio.timeout(5):
        await mine[0].news.wait()
    assert bytes(mine[0].data) == b"answer"
    transport.close()
