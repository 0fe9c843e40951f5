"""Metadata: who serves what, topics that do not exist, and brokers that have just gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.describe_cluster_request import DescribeClusterRequest
from engine.wire.messages.describe_topic_partitions_request import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from tests.unit.broker.broker_requests import create_topic, delete_topic, produce_ok, until_led_by
from tests.unit.broker.in_process_cluster import CLUSTER_ID, InProcessCluster


async def metadata(
    cluster: InProcessCluster,
    node_id: int = 1,
    *names: str,
    topic_ids: tuple[bytes, ...] = (),
    create: bool = False,
    everything: bool = False,
    version: int = 12,
) -> Any:
    topics = [MetadataRequestTopic(name=each) for each in names]
    topics += [MetadataRequestTopic(topic_id=each, name=None) for each in topic_ids]
    request = MetadataRequest(None if everything else topics)
    if version >= 4:
        request.allow_auto_topic_creation = create
    return await cluster.ask(node_id, request, version)


async def test_brokers_leaders_and_the_cluster_are_named(cluster: InProcessCluster) -> None:
    topic_id = await create_topic(cluster, "t", [[2, 3], [3, 1]])
    for node_id in cluster.node_ids:
        response = await metadata(cluster, node_id, "t")
        assert (response.cluster_id, response.controller_id) == (CLUSTER_ID, cluster.controller_id)
        assert [(each.node_id, each.host, each.port) for each in response.brokers] == [
            (each, f"broker-{each}", 9092) for each in (1, 2, 3)
        ]
        (topic,) = response.topics
        assert (topic.error_code, topic.name, topic.topic_id, topic.is_internal) == (0, "t", topic_id, False)
        assert [
            (each.partition_index, each.leader_id, each.leader_epoch, each.replica_nodes, each.isr_nodes)
            for each in topic.partitions
        ] == [(0, 2, 0, [2, 3], [2, 3]), (1, 3, 0, [3, 1], [3, 1])]


@pytest.mark.parametrize("version", [0, 1, 5, 9, 12, 13])
async def test_all_topics_or_none_are_told_as_the_version_asks_for_it(broker: InProcessCluster, version: int) -> None:
    for name in ("b", "a"):
        await create_topic(broker, name)
    if version == 0:
        everything = await metadata(broker, version=0)
    else:
        everything = await metadata(broker, everything=True, version=version)
        assert not (await metadata(broker, version=version)).topics
    assert [each.name for each in everything.topics] == ["a", "b"]
    # What is remembered of it is forgotten with the next change.
    await create_topic(broker, "c")
    again = await metadata(broker, everything=version > 0, version=version)
    assert [each.name for each in again.topics] == ["a", "b", "c"]
    await delete_topic(broker, "a")
    again = await metadata(broker, everything=version > 0, version=version)
    assert [each.name for each in again.topics] == ["b", "c"]


async def test_topics_are_found_by_id(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t")
    response = await metadata(broker, topic_ids=(topic_id, b"not a topic's id"))
    found, missing = response.topics
    assert (found.error_code, found.name) == (0, "t")
    assert ErrorCode(missing.error_code) is ErrorCode.UNKNOWN_TOPIC_ID
    assert missing.topic_id == b"not a topic's id"


@pytest.mark.parametrize("version", [10, 11])
async def test_ids_are_refused_in_versions_that_cannot_leave_the_name_out(
    broker: InProcessCluster, version: int
) -> None:
    topic_id = await create_topic(broker, "t")
    request = MetadataRequest([MetadataRequestTopic(topic_id=topic_id, name="")])
    response = await broker.ask(1, request, version)
    (answer,) = response.topics
    assert ErrorCode(answer.error_code) is ErrorCode.INVALID_REQUEST


async def test_a_topic_is_created_by_its_first_use_where_client_and_broker_want_it(cluster: InProcessCluster) -> None:
    unwanted = await metadata(cluster, 1, "not-wanted")
    assert ErrorCode(unwanted.topics[0].error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    response = await metadata(cluster, 1, "wanted", "also-wanted", create=True)
    assert [(each.name, each.error_code) for each in response.topics] == [("wanted", 0), ("also-wanted", 0)]
    assert all(each.leader_id > 0 for topic in response.topics for each in topic.partitions)
    # Two at once, at different brokers.
    first, second = await asyncio.gather(metadata(cluster, 1, "x", create=True), metadata(cluster, 2, "x", create=True))
    assert [each.topics[0].error_code for each in (first, second)] == [0, 0]
    assert first.topics[0].topic_id == second.topics[0].topic_id
    wrong = await metadata(cluster, 1, "wrong name", create=True)
    assert ErrorCode(wrong.topics[0].error_code) is ErrorCode.INVALID_TOPIC_EXCEPTION


async def test_a_broker_may_be_told_not_to_create_topics(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, {"auto.create.topics.enable": "false"}) as broker:
        response = await metadata(broker, 1, "t", create=True)
        assert ErrorCode(response.topics[0].error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert "t" not in broker[1].metadata.image.topics_by_name


async def test_names_that_no_topic_can_have_are_told_apart(broker: InProcessCluster) -> None:
    for name in ("", ".", "..", "a b", "x" * 250, "ä"):
        response = await metadata(broker, 1, name)
        assert ErrorCode(response.topics[0].error_code) is ErrorCode.INVALID_TOPIC_EXCEPTION, name
    for name in ("...", "a.b_c-D9", "x" * 249):
        response = await metadata(broker, 1, name)
        assert ErrorCode(response.topics[0].error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name


async def test_a_partition_without_leader_is_told_as_such(cluster: InProcessCluster) -> None:
    gone = next(each for each in cluster.node_ids if each != cluster.controller_id)
    await create_topic(cluster, "t", [[gone]])
    await cluster.kill(gone)
    await until_led_by(cluster, "t", -1)
    response = await metadata(cluster, cluster.controller_id, "t")
    (partition,) = response.topics[0].partitions
    assert ErrorCode(partition.error_code) is ErrorCode.LEADER_NOT_AVAILABLE
    assert (partition.leader_id, partition.offline_replicas, partition.isr_nodes) == (-1, [gone], [gone])


async def test_a_fenced_broker_is_named_a_little_longer(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, configs={"kconsole.fenced.broker.linger.ms": "150"}) as cluster:
        gone = next(each for each in cluster.node_ids if each != cluster.controller_id)
        asked = cluster.controller_id
        await cluster.kill(gone)
        await cluster.until(lambda: cluster[asked].metadata.image.brokers[gone].fenced)
        fenced_at = asyncio.get_running_loop().time()
        response = await metadata(cluster, asked, everything=True)
        assert gone in [each.node_id for each in response.brokers]
        # DescribeCluster tells people, not clients that move.
        described = await cluster.ask(asked, DescribeClusterRequest(), 1)
        assert gone not in [each.broker_id for each in described.brokers]
        described = await cluster.ask(asked, DescribeClusterRequest(include_fenced_brokers=True), 2)
        assert [each.is_fenced for each in described.brokers if each.broker_id == gone] == [True]
        while gone in [each.node_id for each in response.brokers]:
            response = await metadata(cluster, asked, everything=True)
        assert 0.1 < asyncio.get_running_loop().time() - fenced_at < 2
        await cluster.start(gone)
        assert gone in [each.node_id for each in (await metadata(cluster, asked)).brokers]


async def test_clients_of_a_broker_that_starts_wait_until_it_knows_the_present(cluster: InProcessCluster) -> None:
    for number in range(3):
        await create_topic(cluster, f"t{number}", [[1, 2, 3]])
        await produce_ok(cluster, 1, f"t{number}", b"x")
    await cluster.stop(1)
    await create_topic(cluster, "new", [[2, 3]])
    incarnation = cluster.prepare(1)
    starting = incarnation.run(incarnation.broker.start())
    await cluster.until(lambda: ("broker-1", 9092) in cluster.loopback.ports)
    response = await metadata(cluster, 1, everything=True)
    assert [each.name for each in response.topics] == ["new", "t0", "t1", "t2"]
    await starting


async def test_only_kafkas_own_topics_are_internal(broker: InProcessCluster) -> None:
    await create_topic(broker, "__mine")
    await create_topic(broker, "__consumer_offsets")
    response = await metadata(broker, 1, everything=True)
    assert [(each.name, each.is_internal) for each in response.topics] == [
        ("__consumer_offsets", True),
        ("__mine", False),
    ]
    described = await broker.ask(1, DescribeTopicPartitionsRequest(response_partition_limit=100), 0)
    assert [(each.name, each.is_internal) for each in described.topics] == [
        ("__consumer_offsets", True),
        ("__mine", False),
    ]


async def test_partitions_are_described_page_by_page(broker: InProcessCluster) -> None:
    for name in ("a", "b", "c"):
        await create_topic(broker, name, 3)
    seen: list[tuple[str, int]] = []
    cursor = None
    pages = 0
    while True:
        request = DescribeTopicPartitionsRequest(response_partition_limit=2, cursor=cursor)
        response = await broker.ask(1, request, 0)
        pages += 1
        seen += [(topic.name, each.partition_index) for topic in response.topics for each in topic.partitions]
        if response.next_cursor is None:
            break
        cursor = Cursor(response.next_cursor.topic_name, response.next_cursor.partition_index)
    assert seen == [(name, number) for name in ("a", "b", "c") for number in range(3)] and pages == 5
    missing = await broker.ask(1, DescribeTopicPartitionsRequest([TopicRequest("x")], 10), 0)
    assert ErrorCode(missing.topics[0].error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
