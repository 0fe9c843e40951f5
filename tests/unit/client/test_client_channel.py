"""A channel: opened when used, again after a loss, to wherever its destination is now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.client.channel import Channel
from engine.client.connection import ConnectionLost
from engine.wire.apis import ApiKey
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import MetadataResponse
from tests.unit.client.fake_network import FakePeer, FakeWorld
from tests.unit.client.virtual_time import virtual_time

ONE, TWO = ("b1", 9092), ("b2", 9092)


def peer_at(world: FakeWorld, address: tuple[str, int]) -> FakePeer:
    peer = FakePeer(world.network, address)
    peer.on(ApiKey.METADATA, lambda request, version: MetadataResponse(cluster_id=address[0]))
    return peer


async def ask(channel: Channel) -> Any:
    return (await channel.send(MetadataRequest(), version=9)).cluster_id


@virtual_time
async def test_it_connects_when_first_used_and_keeps_the_connection() -> None:
    world = FakeWorld()
    peer_at(world, ONE)
    channel = Channel(world, lambda: ONE, "test")
    assert world.network.connects == [] and not channel.connected
    assert await asyncio.gather(*(ask(channel) for _ in range(5))) == ["b1"] * 5
    assert world.network.connects == [ONE] and channel.connected


@virtual_time
async def test_it_follows_its_destination() -> None:
    world = FakeWorld()
    peer_at(world, ONE), peer_at(world, TWO)
    here = [ONE]
    channel = Channel(world, lambda: here[0], "test")
    assert await ask(channel) == "b1"
    here[0] = TWO
    assert await ask(channel) == "b2"
    assert world.network.peers[ONE].transports[0].ended


@virtual_time
async def test_a_lost_connection_is_told_and_opened_again_at_once() -> None:
    world = FakeWorld()
    peer = peer_at(world, ONE)
    channel = Channel(world, lambda: ONE, "test")
    lost: list[Any] = []
    channel.on_lost(lost.append)
    await ask(channel)
    peer.kill()
    await asyncio.sleep(0)
    assert lost == [ONE]
    peer.down = False
    before = asyncio.get_running_loop().time()
    assert await ask(channel) == "b1"
    assert asyncio.get_running_loop().time() == before


@virtual_time
async def test_a_dead_destination_is_tried_less_and_less_often() -> None:
    world = FakeWorld()
    channel = Channel(world, lambda: ONE, "test", backoff_ms=50, backoff_max_ms=1000)
    for _ in range(12):
        with pytest.raises(ConnectionLost, match="cannot connect"):
            await ask(channel)
    elapsed_s = asyncio.get_running_loop().time() - 1_000
    # 50 + 100 + 200 + 400 + 800 + 6 x 1000 ms
    assert 7.5 < elapsed_s < 7.6
    channel.reset_backoff()
    peer_at(world, ONE)
    assert await ask(channel) == "b1"
    assert asyncio.get_running_loop().time() - 1_000 == elapsed_s


@virtual_time
async def test_without_destination_or_after_close_nothing_is_sent() -> None:
    world = FakeWorld()
    peer_at(world, ONE)
    with pytest.raises(ConnectionLost, match="not known"):
        await ask(Channel(world, lambda: None, "test"))
    channel = Channel(world, lambda: ONE, "test")
    await ask(channel)
    channel.close()
    with pytest.raises(ConnectionLost):
        await ask(channel)
    assert world.network.peers[ONE].transports[0].ended


@virtual_time
async def test_nobody_waits_for_a_destination_that_hangs_once_it_is_elsewhere() -> None:
    world = FakeWorld()
    hanging, _ = peer_at(world, ONE), peer_at(world, TWO)
    here: list[tuple[str, int] | None] = [ONE]
    channel = Channel(world, lambda: here[0], "test")
    await ask(channel)
    hanging.silent = True
    waiting = asyncio.ensure_future(ask(channel))
    await asyncio.sleep(0.01)
    here[0] = None
    channel.on_moved()
    await asyncio.sleep(0.01)
    assert not waiting.done(), "it may come back"
    here[0] = TWO
    channel.on_moved()
    with pytest.raises(ConnectionLost):
        await waiting
    assert await ask(channel) == "b2"
    assert asyncio.get_running_loop().time() - 1_000 < 0.1
    channel.on_moved()
    assert channel.connected, "it is where it should be"


@virtual_time
async def test_a_connect_to_where_the_destination_was_is_given_up() -> None:
    world = FakeWorld()
    peer_at(world, ONE).deaf = True
    peer_at(world, TWO)
    here = [ONE]
    channel = Channel(world, lambda: here[0], "test")
    waiting = [asyncio.ensure_future(ask(channel)) for _ in range(3)]
    await asyncio.sleep(0.01)
    here[0] = TWO
    channel.on_moved()
    for each in waiting:
        with pytest.raises(ConnectionLost, match="elsewhere"):
            await each
    assert await ask(channel) == "b2"
    assert asyncio.get_running_loop().time() - 1_000 < 0.1


@virtual_time
async def test_who_is_cancelled_while_it_connects_is_cancelled_and_others_are_not() -> None:
    world = FakeWorld()
    peer_at(world, ONE)
    channel = Channel(world, lambda: ONE, "test")
    first, second = asyncio.ensure_future(ask(channel)), asyncio.ensure_future(ask(channel))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "b1"
    assert first.cancelled()
