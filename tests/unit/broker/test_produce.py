"""Produce: what is appended, what is refused, and when it is answered."""

from __future__ import annotations

import asyncio

import pytest

from engine.client.connection import ConnectionLost
from engine.model.errors import ErrorCode
from engine.record.compression import Compression
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.unit.broker.broker_requests import (
    alter_config,
    batch,
    create_topic,
    fetch_one,
    list_offset,
    pause_follower,
    produce,
    produce_ok,
    produce_request,
    replica_of,
    resume_follower,
    until_in_sync,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


async def test_acks_all_is_answered_when_every_replica_of_the_isr_has_the_batch(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    for expected in (0, 2, 4):
        answer = await produce(cluster, 1, "t", batch(b"a", b"b"))
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (0, expected, 0)
        for each in (1, 2, 3):
            assert replica_of(cluster, each, "t").log.log_end_offset == expected + 2
    assert replica_of(cluster, 1, "t").partition.high_watermark == 6


async def test_acks_1_is_answered_without_the_followers(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await cluster.kill(2)
    await cluster.kill(3)
    answer = await produce(cluster, 1, "t", acks=1)
    assert (answer.error_code, answer.base_offset) == (0, 0)
    assert replica_of(cluster, 1, "t").partition.high_watermark == 0


async def test_acks_0_is_not_answered_at_all(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    connection = await broker.connection(1)
    connection.post(produce_request("t", batch(b"quiet"), 0), version=12, expect_answer=False)
    # The next answer on the connection is that of the next request.
    assert await produce_ok(broker, 1, "t", b"loud") == 1
    assert values((await fetch_one(broker, 1, "t")).records) == [b"quiet", b"loud"]


async def test_acks_0_that_is_refused_closes_the_connection(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    connection = await broker.connection(1)
    connection.post(produce_request("missing", batch(), 0), version=12, expect_answer=False)
    with pytest.raises(ConnectionLost):
        await connection.send(produce_request("t", batch()), version=12)


async def test_other_acks_than_0_1_and_all_are_refused(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    for acks in (2, -2):
        answer = await produce(broker, 1, "t", acks=acks)
        assert ErrorCode(answer.error_code) is ErrorCode.INVALID_REQUIRED_ACKS
        assert (answer.base_offset, answer.log_start_offset) == (-1, -1)
    assert (await list_offset(broker, 1, "t", -1)).offset == 0


async def test_below_min_insync_replicas_acks_all_is_refused_before_anything_is_written(
    cluster: InProcessCluster,
) -> None:
    await create_topic(cluster, "t", [[1, 2]], {"min.insync.replicas": "2"})
    await cluster.stop(2)
    await until_in_sync(cluster, "t", 1)
    answer = await produce(cluster, 1, "t")
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_ENOUGH_REPLICAS
    told = cluster.notes("produce_refused", "t-0")[-1]
    assert told["reason"] == "NOT_ENOUGH_REPLICAS: the ISR [1] is below min.insync.replicas=2; 2 is not in sync"
    assert (told["detail"]["isr"], told["detail"]["min_insync_replicas"]) == ([1], 2)
    assert replica_of(cluster, 1, "t").log.log_end_offset == 0
    assert (await produce(cluster, 1, "t", acks=1)).error_code == 0


async def test_an_append_that_times_out_stays_in_the_log_and_is_committed_later(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    pause_follower(cluster, 2, "t")
    answer = await produce(cluster, 1, "t", batch(b"late"), timeout_ms=30)
    assert ErrorCode(answer.error_code) is ErrorCode.REQUEST_TIMED_OUT
    leader = replica_of(cluster, 1, "t")
    assert (leader.log.log_end_offset, leader.partition.high_watermark) == (1, 0)
    assert not leader.partition.leader_role().waiting
    resume_follower(cluster, 2, "t")
    await cluster.until(lambda: leader.partition.high_watermark == 1)
    assert values((await fetch_one(cluster, 1, "t")).records) == [b"late"]


async def test_of_two_partitions_one_may_time_out_and_the_other_be_committed(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2], [1, 3]])
    pause_follower(cluster, 2, "t", 0)
    data = [PartitionProduceData(number, batch()) for number in (0, 1)]
    request = ProduceRequest(None, -1, 50, [TopicProduceData("t", bytes(16), data)])
    response = await cluster.ask(1, request, 12)
    codes = [ErrorCode(each.error_code) for each in response.responses[0].partition_responses]
    assert codes == [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NONE]


async def test_batches_that_are_wrong_are_refused_one_by_one(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    good = batch(b"good")
    bad_crc = bytearray(good)
    bad_crc[-1] ^= 1
    old_magic = bytearray(good)
    old_magic[16] = 1
    wrong: list[tuple[bytes | None, ErrorCode]] = [
        (None, ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.INVALID_RECORD),
        (b"short", ErrorCode.INVALID_RECORD),
        (good + good, ErrorCode.INVALID_RECORD),
        (bytes(bad_crc), ErrorCode.CORRUPT_MESSAGE),
        (good[:-3], ErrorCode.CORRUPT_MESSAGE),
        (bytes(old_magic), ErrorCode.INVALID_RECORD),
        (batch(is_control=True), ErrorCode.INVALID_RECORD),
        (
            batch(is_transactional=True, producer_id=1, producer_epoch=0, base_sequence=0),
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        (batch(b"x" * (1 << 21)), ErrorCode.MESSAGE_TOO_LARGE),
        (batch(timestamp=1 << 50), ErrorCode.INVALID_TIMESTAMP),
    ]
    for records, expected in wrong:
        request = produce_request("t", records)
        response = await broker.ask(1, request, 12)
        answer = response.responses[0].partition_responses[0]
        assert ErrorCode(answer.error_code) is expected, (records and records[:20], answer)
        assert answer.base_offset == -1 and answer.error_message
    assert (await list_offset(broker, 1, "t", -1)).offset == 0


async def test_one_partition_that_is_refused_leaves_the_others_alone(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t", 2)
    data = [
        PartitionProduceData(0, batch(b"taken")),
        PartitionProduceData(1, b"not a batch, and too long for a header"),
        PartitionProduceData(7, batch()),
    ]
    request = ProduceRequest(
        None, -1, 1000, [TopicProduceData("", topic_id, data), TopicProduceData("", bytes(16), [])]
    )
    request.topic_data[1].partition_data = [PartitionProduceData(0, batch())]
    response = await broker.ask(1, request, 13)
    codes = [[ErrorCode(each.error_code) for each in topic.partition_responses] for topic in response.responses]
    assert codes == [
        [ErrorCode.NONE, ErrorCode.CORRUPT_MESSAGE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
        [ErrorCode.UNKNOWN_TOPIC_ID],
    ]


async def test_zstd_is_refused_in_versions_that_are_older_than_it(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    packed = batch(b"v" * 100, compression=Compression.ZSTD)
    assert ErrorCode((await produce(broker, 1, "t", packed, version=6)).error_code) is (
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    )
    assert (await produce(broker, 1, "t", packed, version=7)).error_code == 0


async def test_a_follower_names_the_leader_and_its_address(cluster: InProcessCluster) -> None:
    topic_id = await create_topic(cluster, "t", [[2, 1, 3]])
    response = await cluster.ask(1, produce_request(topic_id, batch()), 13)
    (answer,) = response.responses[0].partition_responses
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (2, 0)
    assert [(each.node_id, each.host, each.port) for each in response.node_endpoints] == [(2, "broker-2", 9092)]
    response = await cluster.ask(1, produce_request("t", batch()), 9)
    assert not response.node_endpoints


async def test_who_waits_for_a_commit_hears_at_once_that_the_leader_changed(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    waiting = asyncio.ensure_future(cluster.ask(1, produce_request("t", batch(b"lost"), timeout_ms=5000), 12))
    await cluster.until(lambda: replica_of(cluster, 1, "t").partition.leader_role().waiting)
    started = asyncio.get_running_loop().time()
    leaving = asyncio.ensure_future(cluster[1].lifecycle.controlled_shutdown(3000))  # type: ignore[union-attr]
    response = await waiting
    answer = response.responses[0].partition_responses[0]
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert answer.current_leader.leader_id in (2, 3) and response.node_endpoints
    assert asyncio.get_running_loop().time() - started < 1
    assert await leaving


async def test_log_append_time_is_told(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", configs={"message.timestamp.type": "LogAppendTime"})
    answer = await produce(broker, 1, "t")
    assert abs(answer.log_append_time_ms - broker.world.clock.now_ms()) < 5000


async def test_a_connection_that_ends_while_it_waits_leaves_nothing_behind(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    pause_follower(cluster, 2, "t")
    connection = await cluster.connect(1)
    waiting = connection.post(produce_request("t", batch(), timeout_ms=200), version=12)
    partition = replica_of(cluster, 1, "t").partition
    await cluster.until(lambda: partition.leader_role().waiting)
    connection.close()
    with pytest.raises(ConnectionLost):
        await waiting
    await cluster.until(lambda: not partition.leader_role().waiting)


async def test_max_message_bytes_of_the_topic_counts_at_once(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", configs={"max.message.bytes": "200"})
    assert ErrorCode((await produce(broker, 1, "t", batch(b"x" * 300))).error_code) is ErrorCode.MESSAGE_TOO_LARGE
    await alter_config(broker, "max.message.bytes", "2000", "t")
    assert (await produce(broker, 1, "t", batch(b"x" * 300))).error_code == 0
