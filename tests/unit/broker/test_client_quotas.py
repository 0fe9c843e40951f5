"""A client over its quota is told, and its connection is not heard for as long (KIP-219)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.wire.messages.alter_client_quotas_request import AlterClientQuotasRequest, EntityData, EntryData, OpData
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from tests.unit.broker.broker_requests import batch, create_topic, fetch_request, produce_request, values
from tests.unit.broker.in_process_cluster import InProcessCluster

# One window that is over, so that little is enough.
WINDOWS = {"quota.window.num": "2"}


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


async def test_others_are_not_concerned(broker: InProcessCluster) -> None:
    await set_quota(broker, "producer_byte_rate", 10.0, client="somebody else")
    answer = await broker.ask(1, produce_request("t", batch(b"x" * 100_000)), 12)
    assert answer.throttle_time_ms == 0
