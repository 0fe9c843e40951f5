"""One connection: negotiation, pipelining, time-outs, what a broken peer does to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.client.connection import Connection, ConnectionLost, RequestTimedOut, UnsupportedApi
from engine.wire.apis import ApiKey
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.heartbeat_response import HeartbeatResponse
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import MetadataResponse
from tests.unit.client.fake_network import Close, FakePeer, FakeWorld
from tests.unit.client.virtual_time import virtual_time

HERE = ("b1", 9092)


async def opened(world: Any, **more: Any) -> Connection:
    return await Connection.open(world, *HERE, client_id="test", timeout_ms=1000, **more)


def peer_with(world: FakeWorld, versions: dict[int, tuple[int, int]] | None = None) -> FakePeer:
    peer = FakePeer(world.network, HERE, versions)
    peer.on(ApiKey.METADATA, lambda request, version: MetadataResponse(cluster_id=f"v{version}"))
    return peer


@virtual_time
async def test_the_highest_common_version_is_spoken() -> None:
    world = FakeWorld()
    peer_with(world, {3: (0, 9), 18: (0, 4)})
    connection = await opened(world)
    assert (await connection.send(MetadataRequest())).cluster_id == "v9"
    assert (await connection.send(MetadataRequest(), version=7)).cluster_id == "v7"
    with pytest.raises(UnsupportedApi, match="HEARTBEAT"):
        await connection.send(HeartbeatRequest())


@pytest.mark.parametrize(("their_highest", "asked"), [(4, [4]), (3, [3]), (2, [2]), (0, [0])])
@virtual_time
async def test_an_older_broker_is_asked_for_its_versions_in_its_own(their_highest: int, asked: list[int]) -> None:
    world = FakeWorld()
    peer = peer_with(world, {3: (0, 5), 18: (0, their_highest)})
    connection = await opened(world)
    assert [header.request_api_version for header, _ in peer.requests] == asked
    assert connection.versions[3] == (0, 5)


@virtual_time
async def test_between_brokers_nothing_is_negotiated() -> None:
    world = FakeWorld()
    peer = peer_with(world)
    connection = await opened(world, negotiate=False)
    assert (await connection.send(MetadataRequest(), version=12)).cluster_id == "v12"
    assert [header.request_api_key for header, _ in peer.requests] == [3]
    assert peer.requests[0][0].client_id == "test"


@virtual_time
async def test_requests_are_pipelined_and_each_gets_its_own_answer() -> None:
    world = FakeWorld()
    peer = peer_with(world)
    held: list[int] = []
    peer.on(ApiKey.HEARTBEAT, lambda request, version: held.append(request.generation_id))
    connection = await opened(world)
    slow = connection.post(HeartbeatRequest(generation_id=1))
    fast = connection.post(MetadataRequest(), version=3)
    assert (await fast).cluster_id == "v3"
    assert held == [1] and not slow.done()
    slow.cancel()


@virtual_time
async def test_a_request_times_out_and_its_late_answer_harms_nobody() -> None:
    world = FakeWorld()
    peer = peer_with(world)
    peer.on(ApiKey.HEARTBEAT, lambda request, version: None)
    connection = await opened(world)
    with pytest.raises(RequestTimedOut, match="HEARTBEAT was not answered by b1:9092 within 250 ms"):
        await connection.send(HeartbeatRequest(), timeout_ms=250)
    late = peer.requests[-1][0]
    peer._send(peer.transports[0], ApiKey.HEARTBEAT, 4, late.correlation_id, HeartbeatResponse())
    assert (await connection.send(MetadataRequest(), version=1)).cluster_id is None
    assert not connection.closed


@virtual_time
async def test_all_that_wait_fail_when_the_connection_ends_and_on_lost_is_called_once() -> None:
    world = FakeWorld()
    peer = peer_with(world)
    peer.on(ApiKey.HEARTBEAT, lambda request, version: None)
    connection = await opened(world)
    lost: list[str] = []
    connection.on_lost(lambda: lost.append("now"))
    waiting = [connection.post(HeartbeatRequest()) for _ in range(3)]
    peer.kill()
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, ConnectionLost)
    assert lost == ["now"] and connection.closed
    connection.on_lost(lambda: lost.append("late"))
    await asyncio.sleep(0)
    assert lost == ["now", "late"]
    with pytest.raises(ConnectionLost):
        await connection.send(MetadataRequest())


@virtual_time
async def test_a_peer_that_closes_on_a_request_loses_only_that_connection() -> None:
    world = FakeWorld()
    peer = peer_with(world)

    def close(request: Any, version: int) -> Any:
        raise Close

    peer.on(ApiKey.HEARTBEAT, close)
    connection = await opened(world)
    with pytest.raises(ConnectionLost, match="closed by the other side"):
        await connection.send(HeartbeatRequest())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x02ab",
        b"\x00\x00\x00\x05\x7f\x00\x00\x00\x00",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
@virtual_time
async def test_garbage_ends_the_connection(garbage: bytes) -> None:
    world = FakeWorld()
    peer = peer_with(world)
    peer.on(ApiKey.HEARTBEAT, lambda request, version: None)
    connection = await opened(world)
    waiting = connection.post(HeartbeatRequest())
    peer.transports[0].raw(garbage)
    with pytest.raises(ConnectionLost):
        await waiting
    assert connection.closed


@virtual_time
async def test_an_answer_that_does_not_parse_ends_the_connection() -> None:
    world = FakeWorld()
    peer = peer_with(world)
    connection = await opened(world)
    peer.on(ApiKey.METADATA, lambda request, version: None)
    waiting = connection.post(MetadataRequest(), version=5)
    peer.transports[0].answer(peer.requests[-1][0].correlation_id.to_bytes(4, "big") + b"\xff" * 9)
    with pytest.raises(ConnectionLost, match="does not parse"):
        await waiting


@virtual_time
async def test_nobody_there_is_told_apart_from_nobody_answering() -> None:
    world = FakeWorld()
    with pytest.raises(ConnectionLost, match="cannot connect to b1:9092: connection refused"):
        await opened(world)
    peer_with(world).deaf = True
    with pytest.raises(RequestTimedOut, match="no connection to b1:9092 within 1000 ms"):
        await opened(world)
    world.network.peers[HERE].deaf = False
    world.network.peers[HERE].silent = True
    with pytest.raises(RequestTimedOut, match="API_VERSIONS"):
        await opened(world)
