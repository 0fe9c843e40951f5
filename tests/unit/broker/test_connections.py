"""A connection: requests in their order, answers in theirs, and what closes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.broker.connection import ServerConnection
from engine.client.connection import Connection, ConnectionLost
from engine.model.errors import ErrorCode
from engine.wire import apis, codec
from engine.wire.api_table import APIS
from engine.wire.apis import ApiKey
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.api_versions_response import ApiVersionsResponse
from engine.wire.messages.broker_heartbeat_request import BrokerHeartbeatRequest
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.request_header import RequestHeader
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    fetch_request,
    pause_follower,
    produce_ok,
    produce_request,
    replica_of,
    resume_follower,
)
from tests.unit.broker.in_process_cluster import CONTROLLER_PORT, PORT, InProcessCluster


class RawClient(asyncio.Protocol):
    """Bytes to a broker and back, nothing understood."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed = asyncio.Event()
        self.transport: Any = None

    @classmethod
    async def open(cls, cluster: InProcessCluster, port: int = PORT) -> RawClient:
        transport, client = await cluster.world.network.connect("broker-1", port, cls, timeout_ms=1000)
        client.transport = transport
        return client  # type: ignore[no-any-return]

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def send(self, frame: bytes) -> None:
        self.transport.write(len(frame).to_bytes(4, "big") + frame)

    async def answer(self) -> bytes:
        """The next frame."""
        async with asyncio.timeout(2):
            while len(self.received) < 4 or len(self.received) < 4 + int.from_bytes(self.received[:4], "big"):
                assert not self.closed.is_set(), "closed"
                await asyncio.sleep(0.001)
        size = int.from_bytes(self.received[:4], "big")
        frame = bytes(self.received[4 : 4 + size])
        del self.received[: 4 + size]
        return frame

    async def is_closed(self) -> bool:
        async with asyncio.timeout(2):
            await self.closed.wait()
        return not self.received


def framed(key: int, version: int, body: bytes = b"", correlation_id: int = 1) -> bytes:
    """A request with a header of version 1 or 2."""
    header = RequestHeader(key, version, correlation_id, "raw")
    header_version = apis.request_header_version(key, version) if key in APIS else 1
    return codec.encode(header, header_version) + body


async def test_answers_come_in_the_order_of_the_requests(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    pause_follower(cluster, 2, "t")
    connection = await cluster.connect(1)
    slow = connection.post(produce_request("t", batch(b"0")), version=12)
    quick = connection.post(produce_request("t", batch(b"1"), acks=1), version=12)
    later = connection.post(MetadataRequest([]), version=12)
    order: list[str] = []
    for name, future in (("slow", slow), ("quick", quick), ("later", later)):
        future.add_done_callback(lambda _, name=name: order.append(name))
    # Appends do not wait for each other, only their answers do.
    await cluster.until(lambda: replica_of(cluster, 1, "t").log.log_end_offset == 2)
    await asyncio.sleep(0.02)
    assert not order
    resume_follower(cluster, 2, "t")
    await asyncio.gather(slow, quick, later)
    assert order == ["slow", "quick", "later"]
    assert (await quick).responses[0].partition_responses[0].base_offset == 1
    connection.close()


async def test_what_is_not_pipelined_sees_the_world_as_it_is_when_its_turn_comes(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    connection = await cluster.connect(1)
    waiting = connection.post(produce_request("t", batch()), version=12)
    metadata = connection.post(MetadataRequest([MetadataRequestTopic(name="t")]), version=12)
    await cluster.until(lambda: replica_of(cluster, 1, "t").partition.leader_role().waiting)
    assert await cluster[1].lifecycle.controlled_shutdown(3000)  # type: ignore[union-attr]
    answer = (await waiting).responses[0].partition_responses[0]
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    # It arrived when broker 1 still led.
    assert (await metadata).topics[0].partitions[0].leader_id in (2, 3)
    connection.close()


async def test_a_request_behind_a_long_poll_waits_for_it_and_other_connections_do_not(
    broker: InProcessCluster,
) -> None:
    await create_topic(broker, "t")
    connection = await broker.connect(1)
    polling = connection.post(fetch_request("t", max_wait_ms=60_000), version=12)
    behind = connection.post(MetadataRequest([]), version=12)
    await asyncio.sleep(0.02)
    assert not polling.done() and not behind.done()
    await produce_ok(broker, 1, "t", b"x")
    await asyncio.gather(polling, behind)
    connection.close()


async def test_many_small_requests_of_one_write_are_all_answered(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    connection = await broker.connect(1)
    answers = [connection.post(produce_request("t", batch(b"%d" % each)), version=12) for each in range(500)]
    offsets = [each.responses[0].partition_responses[0].base_offset for each in await asyncio.gather(*answers)]
    assert offsets == list(range(500))
    connection.close()


async def test_requests_arrive_in_pieces_of_any_size(broker: InProcessCluster) -> None:
    client = await RawClient.open(broker)
    frame = framed(ApiKey.API_VERSIONS, 0)
    for byte in len(frame).to_bytes(4, "big") + frame:
        client.transport.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await client.answer())[:4] == (1).to_bytes(4, "big")
    client.transport.close()


async def test_api_versions_in_an_unknown_version_is_answered_in_version_0(broker: InProcessCluster) -> None:
    client = await RawClient.open(broker)
    client.send(framed(ApiKey.API_VERSIONS, 4)[:2] + (99).to_bytes(2, "big") + b"\0\0\0\7" + b"whatever")
    frame = await client.answer()
    assert frame[:4] == (7).to_bytes(4, "big")
    response, end = codec.decode(ApiVersionsResponse, 0, memoryview(frame), 4)
    assert end == len(frame) and ErrorCode(response.error_code) is ErrorCode.UNSUPPORTED_VERSION
    (own,) = response.api_keys
    assert (own.api_key, own.min_version, own.max_version) == (18, 0, 4)
    # The connection goes on.
    client.send(framed(ApiKey.API_VERSIONS, 0))
    response, _ = codec.decode(ApiVersionsResponse, 0, memoryview(await client.answer()), 4)
    assert response.error_code == 0 and len(response.api_keys) > 30
    client.transport.close()


async def test_exactly_what_is_advertised_is_answered(broker: InProcessCluster) -> None:
    for port, expected, other in ((PORT, ApiKey.PRODUCE, ApiKey.VOTE), (CONTROLLER_PORT, ApiKey.VOTE, ApiKey.PRODUCE)):
        connection = await Connection.open(broker.world, "broker-1", port, client_id="t", timeout_ms=1000)
        assert expected in connection.versions and other not in connection.versions
        connection.close()
        client = await RawClient.open(broker, port)
        client.send(framed(other, apis.latest_version(other)))
        assert await client.is_closed()


async def test_software_names_that_are_no_names_are_refused(broker: InProcessCluster) -> None:
    connection = await broker.connect(1)
    for name, version in (("kcon sole", "1"), ("", "1"), ("kconsole", "-1"), ("a" * 10, "1.0-")):
        request = ApiVersionsRequest(client_software_name=name, client_software_version=version)
        response = await connection.send(request, version=3)
        assert ErrorCode(response.error_code) is ErrorCode.INVALID_REQUEST
    request = ApiVersionsRequest(client_software_name="k-c.1", client_software_version="4.3.1")
    assert (await connection.send(request, version=4)).error_code == 0
    connection.close()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"short",
        framed(999, 0),
        framed(-1, 0),
        framed(ApiKey.METADATA, 99)[:8] + b"\0\0\0",
        framed(ApiKey.PRODUCE, 2),
        framed(ApiKey.METADATA, 12, b"\x81\x82\x83"),
        framed(ApiKey.PRODUCE, 12, b"\xff" * 40),
        (3).to_bytes(2, "big") + (12).to_bytes(2, "big") + b"\0\0\0\1" + (30_000).to_bytes(2, "big"),
    ],
    ids=range(9),
)
async def test_what_is_no_request_closes_its_connection_only(broker: InProcessCluster, frame: bytes) -> None:
    bystander = await broker.connect(1)
    client = await RawClient.open(broker)
    client.send(frame)
    assert await client.is_closed()
    assert (await bystander.send(MetadataRequest([]), version=12)).cluster_id
    bystander.close()
    await broker.until(lambda: len(broker[1].router.connections) <= 2)


@pytest.mark.parametrize("size", [-1, 1 << 30])
async def test_a_frame_that_claims_an_impossible_size_closes_the_connection(
    broker: InProcessCluster, size: int
) -> None:
    client = await RawClient.open(broker)
    client.transport.write(size.to_bytes(4, "big", signed=True))
    assert await client.is_closed()


async def test_answers_that_were_made_leave_before_a_bad_request_closes_the_connection(
    broker: InProcessCluster,
) -> None:
    client = await RawClient.open(broker)
    good = framed(ApiKey.API_VERSIONS, 0)
    bad = framed(999, 0)
    client.transport.write(b"".join(len(each).to_bytes(4, "big") + each for each in (good, good, bad, good)))
    assert len(await client.answer()) == len(await client.answer())
    assert await client.is_closed()


async def test_a_broker_takes_only_so_many_connections(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, {"max.connections": "4"}) as broker:
        clients = [await RawClient.open(broker) for _ in range(6)]
        await broker.until(lambda: sum(each.closed.is_set() for each in clients) >= 2)
        taken = [each for each in clients if not each.closed.is_set()]
        assert taken
        taken[0].send(framed(ApiKey.API_VERSIONS, 0))
        assert await taken[0].answer()
        for each in clients:
            each.transport.close()


async def test_idle_connections_are_closed_and_those_that_wait_are_not(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, {"connections.max.idle.ms": "100"}) as broker:
        await create_topic(broker, "t")
        idle = await broker.connect(1)
        polling = await broker.connect(1)
        answer = polling.post(fetch_request("t", max_wait_ms=400), version=12)
        await broker.until(lambda: idle.closed)
        assert not polling.closed
        assert (await answer).error_code == 0


async def test_a_client_that_goes_takes_its_waiting_requests_with_it(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    tasks = cluster.incarnations[1].tasks
    before = len(tasks)
    connections = [await cluster.connect(1) for _ in range(20)]
    for each in connections:
        each.post(fetch_request("t", max_wait_ms=60_000), version=12)
    await cluster.until(lambda: len(tasks) >= before + 20)
    for each in connections:
        each.close()
    await cluster.until(lambda: len(tasks) <= before + 2)
    assert not replica_of(cluster, 1, "t").consumer_watches


async def test_requests_of_brokers_are_served_on_the_controllers_listener_only(cluster: InProcessCluster) -> None:
    request = BrokerHeartbeatRequest(broker_id=1, broker_epoch=0)
    connection = await cluster.connect(1)
    with pytest.raises(ConnectionLost):
        await connection.send(request, version=1)
    follower = next(each for each in cluster.node_ids if each != cluster.controller_id)
    connection = await cluster.connect(follower, port=CONTROLLER_PORT)
    response = await connection.send(request, version=1)
    assert ErrorCode(response.error_code) is ErrorCode.NOT_CONTROLLER
    connection.close()


async def test_a_stopped_broker_answers_what_it_took_and_leaves_no_task(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    connection, polling = await cluster.connect(1), await cluster.connect(1)
    waiting = connection.post(produce_request("t", batch()), version=12)
    poll = polling.post(fetch_request("t", offset=0, max_wait_ms=60_000), version=12)
    await cluster.until(lambda: replica_of(cluster, 1, "t").partition.leader_role().waiting)
    # The fixture asserts that nothing is left.
    await cluster.stop(1)
    answer = (await waiting).responses[0].partition_responses[0]
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (await asyncio.gather(poll, return_exceptions=True))[0] is not None


class NoTransport(asyncio.Transport):
    """Takes everything and gives nothing."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def test_who_connects_in_the_moment_in_which_a_broker_is_ready_is_answered(broker: InProcessCluster) -> None:
    router, server = broker[1].router, broker[1]._server
    router.answers_clients = False
    early, accepted, controllers = (
        ServerConnection(router, "", is_controller, 1000) for is_controller in (False, False, True)
    )
    for each in (early, controllers):
        each.connection_made(NoTransport())
    assert early.is_held and not controllers.is_held
    server.answer_clients()
    assert not early.is_held
    # Accepted before, and its transport comes a turn of the loop later.
    accepted.connection_made(NoTransport())
    assert not accepted.is_held
    for each in (early, accepted, controllers):
        each.connection_lost(None)
