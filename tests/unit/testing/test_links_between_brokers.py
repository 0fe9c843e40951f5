"""A link that is cut passes nothing and tells nobody; healed, it passes what waited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from engine.testing.network import Address, BrokerNetwork, Limbo, Ports

QUIET_S = 0.05


class Side(asyncio.Protocol):
    """One side of a connection, and what it has seen."""

    def __init__(self) -> None:
        self.received = b""
        self.is_lost = asyncio.Event()
        self.arrived = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()

    async def until(self, received: bytes) -> None:
        async with asyncio.timeout(5):
            while self.received != received:
                self.arrived.clear()
                await self.arrived.wait()


class Two:
    """Brokers 1 and 2; 2 listens, 1 connects."""

    def __init__(self) -> None:
        self.ports = Ports()
        self.address: Address = self.ports.reserve("127.0.0.1")
        self.limbo = Limbo()
        nodes = {self.address: 2}
        self.one = BrokerNetwork(self.ports, nodes, self.limbo, frozenset())
        self.two = BrokerNetwork(self.ports, nodes, self.limbo, frozenset())
        self.accepted: asyncio.Queue[Side] = asyncio.Queue()
        self.sides: list[Side] = []

    def accept(self) -> Side:
        side = Side()
        self.sides.append(side)
        self.accepted.put_nowait(side)
        return side

    async def connect(self, timeout_ms: float = 5000) -> Side:
        _, side = await self.one.connect(*self.address, Side, timeout_ms=timeout_ms)
        assert isinstance(side, Side)
        self.sides.append(side)
        return side

    def cut(self) -> None:
        self.one.set_cut(frozenset({2}))
        self.two.set_cut(frozenset({1}))

    def heal(self) -> None:
        self.one.set_cut(frozenset())
        self.two.set_cut(frozenset())
        self.limbo.release()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as running:
        yield running


async def connected() -> AsyncIterator[tuple[Two, Side, Side]]:
    two = Two()
    await two.two.listen(*two.address, two.accept)
    near = await two.connect()
    near.transport.write(b"hello")
    far = await two.accepted.get()
    await far.until(b"hello")
    yield two, near, far
    two.heal()
    two.one.die()
    two.two.die()
    for side in two.sides:
        side.transport.abort()
        await side.is_lost.wait()
    two.ports.close()


def over_a_link(work: Callable[[Two, Side, Side], Any]) -> Callable[[asyncio.Runner], None]:
    """A test of a connection from broker 1 (near) to broker 2 (far)."""

    async def run() -> None:
        async for two, near, far in connected():
            await work(two, near, far)

    def test(runner: asyncio.Runner) -> None:
        runner.run(run())

    return test


@over_a_link
async def test_bytes_pass_both_ways_while_nothing_is_cut(two: Two, near: Side, far: Side) -> None:
    near.transport.writelines([b" a", bytearray(b" b"), memoryview(b" c")])
    far.transport.write(b"answer")
    await far.until(b"hello a b c")
    await near.until(b"answer")


@over_a_link
async def test_nothing_passes_a_cut_and_all_of_it_passes_when_it_heals(two: Two, near: Side, far: Side) -> None:
    two.cut()
    near.transport.write(b" late")
    near.transport.writelines([b" and", b" later"])
    far.transport.write(b"answer")
    await asyncio.sleep(QUIET_S)
    assert (far.received, near.received) == (b"hello", b"")
    assert not near.is_lost.is_set() and not far.is_lost.is_set()
    two.heal()
    await far.until(b"hello late and later")
    await near.until(b"answer")


@over_a_link
async def test_the_far_side_hears_of_a_close_only_when_the_network_heals(two: Two, near: Side, far: Side) -> None:
    two.cut()
    near.transport.abort()
    await asyncio.wait_for(near.is_lost.wait(), 5)
    await asyncio.sleep(QUIET_S)
    assert not far.is_lost.is_set()
    two.heal()
    await asyncio.wait_for(far.is_lost.wait(), 5)


@over_a_link
async def test_the_near_side_hears_of_a_death_only_when_the_network_heals(two: Two, near: Side, far: Side) -> None:
    two.cut()
    two.two.die()
    far.transport.abort()
    await asyncio.sleep(QUIET_S)
    assert not near.is_lost.is_set()
    two.heal()
    await asyncio.wait_for(near.is_lost.wait(), 5)


@over_a_link
async def test_a_broker_that_dies_behind_a_cut_is_not_missed(two: Two, near: Side, far: Side) -> None:
    two.cut()
    two.one.die()
    await asyncio.wait_for(near.is_lost.wait(), 5)
    await asyncio.sleep(QUIET_S)
    assert not far.is_lost.is_set()


@over_a_link
async def test_a_new_connection_over_a_cut_times_out(two: Two, near: Side, far: Side) -> None:
    two.cut()
    with pytest.raises(TimeoutError):
        await two.connect(timeout_ms=30)


@over_a_link
async def test_a_new_connection_that_is_under_way_comes_when_the_network_heals(two: Two, near: Side, far: Side) -> None:
    two.cut()
    connecting = asyncio.ensure_future(two.connect())
    await asyncio.sleep(QUIET_S)
    assert not connecting.done()
    two.heal()
    late = await connecting
    late.transport.write(b"here")
    await (await two.accepted.get()).until(b"here")


@over_a_link
async def test_a_reader_that_paused_stays_paused_over_a_cut(two: Two, near: Side, far: Side) -> None:
    near.transport.pause_reading()
    assert not near.transport.is_reading()
    two.cut()
    two.heal()
    far.transport.write(b"answer")
    await asyncio.sleep(QUIET_S)
    assert near.received == b""
    near.transport.resume_reading()
    await near.until(b"answer")


def test_a_held_port_refuses_and_can_be_listened_on_again() -> None:
    async def run() -> None:
        ports = Ports()
        address = ports.reserve("127.0.0.1")
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            network = BrokerNetwork(ports, {}, Limbo(), frozenset())
            listener = await network.listen(*address, asyncio.Protocol)
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            await listener.close()
            ports.hold(address)
        ports.close()

    asyncio.run(run())
