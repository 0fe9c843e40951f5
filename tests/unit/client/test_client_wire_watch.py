"""What this process asks is seen while somebody looks, and nothing of it otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.client.connection import Connection, ConnectionLost
from engine.client.wire_watch import ClientWatch
from engine.wire.apis import ApiKey
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import MetadataResponse
from engine.wire.tap import decode_response
from tests.unit.client.fake_network import Close, FakePeer, FakeWorld
from tests.unit.client.virtual_time import virtual_time

HERE = ("b1", 9092)


@pytest.fixture(autouse=True)
def nobody_looks_afterwards() -> Iterator[None]:
    yield
    Connection.watch = None


@virtual_time
async def test_requests_are_seen_with_their_answers_while_somebody_looks() -> None:
    world = FakeWorld()
    peer = FakePeer(world.network, HERE, {3: (0, 9), 18: (0, 4)})
    peer.on(ApiKey.METADATA, lambda request, version: MetadataResponse(cluster_id=f"v{version}"))
    connection = await Connection.open(world, *HERE, client_id="test", timeout_ms=1000)
    assert connection in Connection.living and connection.requests == 1
    watch = Connection.watch = ClientWatch(world.clock)
    await connection.send(MetadataRequest())
    Connection.watch = None
    await connection.send(MetadataRequest())
    (seen,) = watch.tap.since(0, 10)
    assert (seen.asker.client_id, seen.asker.peer, seen.asker.connection) == ("test", "b1:9092", connection.number)
    assert (seen.api_key, seen.version) == (3, 9) and seen.request_bytes > 8
    answer = decode_response(seen)
    assert isinstance(answer, MetadataResponse) and answer.cluster_id == "v9"
    assert connection.requests == 3 and connection.in_flight == 0 and connection.bytes_received > 0
    connection.close()
    assert connection not in Connection.living


@virtual_time
async def test_a_request_that_gets_no_answer_says_why() -> None:
    world = FakeWorld()
    peer = FakePeer(world.network, HERE, {3: (0, 9), 18: (0, 4)})

    def hang_up(request: MetadataRequest, version: int) -> MetadataResponse:
        raise Close

    peer.on(ApiKey.METADATA, hang_up)
    connection = await Connection.open(world, *HERE, client_id="test", timeout_ms=1000)
    watch = Connection.watch = ClientWatch(world.clock)
    with pytest.raises(ConnectionLost):
        await connection.send(MetadataRequest())
    (seen,) = watch.tap.since(0, 10)
    assert seen.response == b"" and seen.response_bytes is None and "closed" in seen.note
