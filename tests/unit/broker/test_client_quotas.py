"""A client over its quota is told, and its connection is not heard for as long (KIP-219)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.broker.context import RequestContext
from engine.broker.request_time import Stopwatch, is_of_the_cluster
from engine.client.errors import ConnectionLost
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_client_quotas_request import AlterClientQuotasRequest, EntityData, EntryData, OpData
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from tests.unit.broker.broker_requests import NONE, batch, create_topic, fetch_request, produce_request, values
from tests.unit.broker.in_process_cluster import InProcessCluster

# One window that is over, so that little is enough.
WINDOWS = {"quota.window.num": "2", "controller.quota.window.num": "2"}


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    async with InProcessCluster(tmp_path, 1, WINDOWS) as cluster:
        await create_topic(cluster, "t")
        yield cluster


async def set_quota(broker: InProcessCluster, key: str, value: float, client: str = "test") -> None:
    entry = EntryData([EntityData("client-id", client)], [OpData(key, value)])
    response = await broker.ask(1, AlterClientQuotasRequest([entry]), 1)
    assert [each.error_code for each in response.entries] == [0]
    await broker.until(lambda: any(key in each for each in broker[1].metadata.image.client_quotas.values()))


async def is_heard_after(broker: InProcessCluster, connection: object, throttle_ms: int) -> None:
    """The next request waits until the time is over; those of other connections do not."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    later = asyncio.ensure_future(connection.send(ApiVersionsRequest("test", "1"), version=3))  # type: ignore[attr-defined]
    await (await broker.connection(1)).send(ApiVersionsRequest("test", "1"), version=3)
    assert not later.done()
    await later
    # The clock of the loop may be read a moment before the broker's.
    assert loop.time() - began >= throttle_ms / 1000 - 0.1


async def test_a_producer(broker: InProcessCluster) -> None:
    await set_quota(broker, "producer_byte_rate", 10_000.0)
    connection = await broker.connect(1)
    first = await connection.send(produce_request("t", batch(b"x" * 5000)), version=12)
    assert first.throttle_time_ms == 0
    second = await connection.send(produce_request("t", batch(b"x" * 9000)), version=12)
    assert 200 < second.throttle_time_ms < 700
    told = broker.notes("client_throttled")[-1]
    assert "PRODUCE is over its quota of 10000 bytes/s: not heard for" in told["reason"]
    assert told["detail"]["throttle_ms"] == second.throttle_time_ms
    assert [each.error_code for each in second.responses[0].partition_responses] == [0]
    await is_heard_after(broker, connection, second.throttle_time_ms)
    connection.close()


async def test_a_producer_that_wants_no_answer(broker: InProcessCluster) -> None:
    await set_quota(broker, "producer_byte_rate", 10_000.0)
    connection = await broker.connect(1)
    connection.post(produce_request("t", batch(b"x" * 14_000), acks=0), version=12, expect_answer=False)
    await broker.until(lambda: broker[1].replicas.bytes_in > 14_000)
    await is_heard_after(broker, connection, 300)
    connection.close()


async def test_a_consumer(broker: InProcessCluster) -> None:
    await set_quota(broker, "consumer_byte_rate", 10_000.0)
    for _ in range(4):
        await broker.ask(1, produce_request("t", batch(b"x" * 4000)), 12)
    connection = await broker.connect(1)
    answer = await connection.send(fetch_request("t"), version=12)
    records = values(answer.responses[0].partitions[0].records)
    # No more at one time than what the windows that are over take.
    assert len(records) == 2 and answer.throttle_time_ms == 0
    answer = await connection.send(fetch_request("t", 2), version=12)
    assert len(values(answer.responses[0].partitions[0].records)) == 2
    assert 300 < answer.throttle_time_ms < 900
    await is_heard_after(broker, connection, answer.throttle_time_ms)
    connection.close()


def creating(name: str, partitions: int) -> CreateTopicsRequest:
    return CreateTopicsRequest([CreatableTopic(name, partitions, 1)], timeout_ms=5000)


async def codes_and_throttle(connection: Any, request: Any, version: int) -> tuple[list[int], int]:
    answer = await connection.send(request, version=version)
    results = getattr(answer, "topics", None) or getattr(answer, "responses", None) or answer.results
    return [each.error_code for each in results], answer.throttle_time_ms


async def test_partitions_are_paid_for_and_who_has_overdrawn_is_refused(broker: InProcessCluster) -> None:
    # Two windows of a second: four partitions at once, and two a second.
    await set_quota(broker, "controller_mutation_rate", 2.0)
    connection = await broker.connect(1)
    assert await codes_and_throttle(connection, creating("a", 3), 7) == ([NONE], 0)
    # Overdrawn once.
    assert await codes_and_throttle(connection, creating("b", 3), 7) == ([NONE], 0)
    codes, throttle_ms = await codes_and_throttle(connection, creating("c", 1), 7)
    assert codes == [ErrorCode.THROTTLING_QUOTA_EXCEEDED] and 300 < throttle_ms <= 1000
    await is_heard_after(broker, connection, throttle_ms)
    assert "c" not in broker[1].metadata.image.topics_by_name
    assert await codes_and_throttle(connection, creating("c", 6), 7) == ([NONE], 0)
    deleting = DeleteTopicsRequest([DeleteTopicState("a"), DeleteTopicState("b")], timeout_ms=5000)
    codes, throttle_ms = await codes_and_throttle(connection, deleting, 6)
    assert codes == [ErrorCode.THROTTLING_QUOTA_EXCEEDED] * 2 and throttle_ms > 1000
    other = await broker.connect(1)
    adding = CreatePartitionsRequest([CreatePartitionsTopic("a", 4)], timeout_ms=5000)
    codes, throttle_ms = await codes_and_throttle(other, adding, 3)
    assert codes == [ErrorCode.THROTTLING_QUOTA_EXCEEDED] and throttle_ms > 1000
    for each in (connection, other):
        each.close()


async def test_an_old_client_has_its_partitions_and_waits(broker: InProcessCluster) -> None:
    await set_quota(broker, "controller_mutation_rate", 2.0)
    connection = await broker.connect(1)
    codes, throttle_ms = await codes_and_throttle(connection, creating("a", 6), 5)
    assert codes == [NONE] and 500 < throttle_ms <= 1000
    await is_heard_after(broker, connection, throttle_ms)
    connection.close()


async def test_the_client_of_any_broker_pays_at_the_controller(cluster: InProcessCluster) -> None:
    other = next(each for each in cluster.node_ids if each != cluster.controller_id)
    entry = EntryData([EntityData("client-id", "test")], [OpData("controller_mutation_rate", 0.5)])
    await cluster.ask(other, AlterClientQuotasRequest([entry]), 1)
    await cluster.until(lambda: all(each.metadata.image.client_quotas for each in cluster))
    connection = await cluster.connect(other)
    assert await codes_and_throttle(connection, creating("a", 8), 7) == ([NONE], 0)
    codes, throttle_ms = await codes_and_throttle(connection, creating("b", 1), 7)
    assert codes == [ErrorCode.THROTTLING_QUOTA_EXCEEDED] and throttle_ms > 1000
    # The brokers' own connection goes on, for others.
    entry = EntryData([EntityData("client-id", "test")], [OpData("controller_mutation_rate", remove=True)])
    await cluster.ask(other, AlterClientQuotasRequest([entry]), 1)
    await cluster.until(lambda: not any(each.metadata.image.client_quotas for each in cluster))
    assert await codes_and_throttle(await cluster.connection(other), creating("b", 1), 7) == ([NONE], 0)
    connection.close()


async def test_a_clients_requests_take_no_more_than_their_share_of_the_time(broker: InProcessCluster) -> None:
    await set_quota(broker, "request_percentage", 0.01)
    connection = await broker.connect(1)
    throttle_ms = 0
    for number in range(20):
        answer = await connection.send(creating(f"t{number}", 10), version=7)
        throttle_ms = answer.throttle_time_ms
        if throttle_ms:
            break
    # A window at most.
    assert 0 < throttle_ms <= 1000
    await is_heard_after(broker, connection, throttle_ms)
    connection.close()


async def test_brokers_have_no_quota_of_time(broker: InProcessCluster) -> None:
    follower = fetch_request("t")
    follower.replica_id = 2
    for request, key, version, expected in (
        (follower, ApiKey.FETCH, 12, True),
        (fetch_request("t"), ApiKey.FETCH, 12, False),
        (None, ApiKey.ADD_PARTITIONS_TO_TXN, 3, False),
        (None, ApiKey.ADD_PARTITIONS_TO_TXN, 4, True),
        (None, ApiKey.WRITE_TXN_MARKERS, 1, True),
    ):
        context = RequestContext(
            broker[1], SimpleNamespace(listener_name="", is_controller_listener=False), key, version, 0, None
        )  # type: ignore[arg-type]
        assert is_of_the_cluster(context, request) == expected, key


async def test_time_that_is_waited_is_not_counted() -> None:
    now_ms = 0.0

    def passes(milliseconds: float) -> None:
        nonlocal now_ms
        now_ms += milliseconds

    async def works_and_waits(fails: bool) -> str:
        passes(3)
        await asyncio.sleep(0)
        passes(5)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            passes(7)
            if fails:
                raise
        return "done"

    for fails in (False, True):
        watch = Stopwatch(lambda: now_ms)
        task = asyncio.ensure_future(follow(watch, works_and_waits(fails)))
        for _ in range(5):
            await asyncio.sleep(0)
            passes(100)
        task.cancel()
        if fails:
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == "done"
        assert watch.elapsed_ms == 15


async def follow(watch: Stopwatch, work: Any) -> Any:
    return await watch.following(work)


async def test_with_a_quota_of_time_records_go_in_and_out_in_order(broker: InProcessCluster) -> None:
    await set_quota(broker, "request_percentage", 10_000.0)
    connection = await broker.connect(1)
    sent = [connection.post(produce_request("t", batch(b"%d" % each)), version=12) for each in range(30)]
    offsets = [(await each).responses[0].partition_responses[0].base_offset for each in sent]
    assert offsets == list(range(30))
    connection.post(produce_request("t", batch(b"30"), acks=0), version=12, expect_answer=False)
    read: list[bytes] = []
    while len(read) < 31:
        answer = await connection.send(fetch_request("t", len(read)), version=12)
        read += values(answer.responses[0].partitions[0].records)
    assert read == [b"%d" % each for each in range(31)]
    connection.close()


async def test_who_connects_too_often_is_left_alone_and_closed(broker: InProcessCluster) -> None:
    throttle = broker[1].client_throttle
    assert throttle.connected("10.0.0.1") == 0
    entry = EntryData([EntityData("ip", None)], [OpData("connection_creation_rate", 2.0)])
    await broker.ask(1, AlterClientQuotasRequest([entry]), 1)
    entry = EntryData([EntityData("ip", "10.0.0.2")], [OpData("connection_creation_rate", 50.0)])
    await broker.ask(1, AlterClientQuotasRequest([entry]), 1)
    await broker.until(lambda: len(broker[1].metadata.image.client_quotas) == 2)
    assert [bool(throttle.connected("10.0.0.1")) for _ in range(4)] == [False, False, True, True]
    assert not any(throttle.connected("10.0.0.2") for _ in range(40))
    connections = [await broker.connect(1) for _ in range(4)]
    answers = [each.post(ApiVersionsRequest("test", "1"), version=3, timeout_ms=3000) for each in connections]
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(each, ConnectionLost) for each in done) == 2
    for each in connections:
        each.close()


async def test_others_are_not_concerned(broker: InProcessCluster) -> None:
    await set_quota(broker, "producer_byte_rate", 10.0, client="somebody else")
    answer = await broker.ask(1, produce_request("t", batch(b"x" * 100_000)), 12)
    assert answer.throttle_time_ms == 0
