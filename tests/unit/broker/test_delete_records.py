"""DeleteRecords: logs that start later, at the leader, its followers, and after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    list_offset,
    pause_follower,
    produce,
    produce_ok,
    reassign,
    replica_of,
    until_in_sync,
    until_led_by,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

EARLIEST = -2


async def delete(
    cluster: InProcessCluster, node_id: int, topic: str, offset: int, *, timeout_ms: int = 5000, version: int = 2
) -> Any:
    request = DeleteRecordsRequest([DeleteRecordsTopic(topic, [DeleteRecordsPartition(0, offset)])], timeout_ms)
    response = await cluster.ask(node_id, request, version)
    return response.topics[0].partitions[0]


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_every_replica_starts_later_when_it_is_answered(quick_cluster: InProcessCluster, version: int) -> None:
    await create_topic(quick_cluster, "t", [[1, 2, 3]])
    for number in range(4):
        await produce_ok(quick_cluster, 1, "t", b"a%d" % number, b"b%d" % number)
    answer = await delete(quick_cluster, 1, "t", 3, version=version)
    assert (answer.error_code, answer.low_watermark) == (0, 3)
    for node_id in (1, 2, 3):
        assert replica_of(quick_cluster, node_id, "t").log.log_start_offset == 3
    assert (await list_offset(quick_cluster, 1, "t", EARLIEST)).offset == 3
    # Backwards is no news, and the high watermark is as far as it goes.
    assert (await delete(quick_cluster, 1, "t", 1)).low_watermark == 3
    assert (await delete(quick_cluster, 1, "t", 9)).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (await delete(quick_cluster, 1, "t", -2)).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (await delete(quick_cluster, 1, "t", -1)).low_watermark == 8
    assert await produce_ok(quick_cluster, 1, "t", b"next") == 8


async def test_who_may_not_is_told_why(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    await create_topic(cluster, "c", [[1]], configs={"cleanup.policy": "compact"})
    await create_topic(cluster, "cd", [[1]], configs={"cleanup.policy": "compact,delete"})
    for node_id, topic, code in (
        (2, "t", ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (3, "t", ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (1, "unknown", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (1, "__consumer_offsets", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (1, "c", ErrorCode.POLICY_VIOLATION),
        (1, "cd", ErrorCode.NONE),
    ):
        answer = await delete(cluster, node_id, topic, 0)
        assert (answer.error_code, answer.low_watermark) == (code, 0 if code is ErrorCode.NONE else -1), topic


async def test_a_follower_that_does_not_follow_is_waited_for(quick_cluster: InProcessCluster) -> None:
    await create_topic(quick_cluster, "t", [[1, 2, 3]])
    await produce_ok(quick_cluster, 1, "t", b"v")
    pause_follower(quick_cluster, 3, "t")
    answer = await delete(quick_cluster, 1, "t", 1, timeout_ms=200)
    assert (answer.error_code, answer.low_watermark) == (ErrorCode.REQUEST_TIMED_OUT, -1)
    assert replica_of(quick_cluster, 1, "t").log.log_start_offset == 1
    assert replica_of(quick_cluster, 3, "t").log.log_start_offset == 0


async def test_a_broker_that_is_gone_is_not_waited_for(quick_cluster: InProcessCluster) -> None:
    await create_topic(quick_cluster, "t", [[1, 2, 3]])
    await produce_ok(quick_cluster, 1, "t", b"v")
    await quick_cluster.kill(3)
    await until_in_sync(quick_cluster, "t", 2)
    await quick_cluster.until(lambda: quick_cluster[1].metadata.image.brokers[3].fenced, "3 is fenced")
    answer = await delete(quick_cluster, 1, "t", 1)
    assert (answer.error_code, answer.low_watermark) == (0, 1)


async def test_a_new_follower_starts_within_a_batch(cluster: InProcessCluster) -> None:
    """The leader's log starts in the middle of a batch: a replica that begins there takes all of that batch."""
    await create_topic(cluster, "t", [[1]])
    assert (await produce(cluster, 1, "t", batch(b"a", b"b", b"c", b"d"))).error_code == 0
    assert (await delete(cluster, 1, "t", 2)).low_watermark == 2
    await reassign(cluster, "t", [2, 1])
    await until_in_sync(cluster, "t", 2)
    copied = replica_of(cluster, 2, "t").log
    assert (copied.log_start_offset, copied.log_end_offset) == (2, 4)
    assert copied.segments[0].base_offset == 0
    assert copied.read(2, 1 << 20) == replica_of(cluster, 1, "t").log.read(2, 1 << 20)


async def test_the_start_stays_after_a_restart(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    for _ in range(3):
        await produce_ok(broker, 1, "t", b"a", b"b")
    assert (await delete(broker, 1, "t", 3)).low_watermark == 3
    await broker.stop(1)
    await broker.start(1)
    await until_led_by(broker, "t", 1)
    assert (await list_offset(broker, 1, "t", EARLIEST)).offset == 3
