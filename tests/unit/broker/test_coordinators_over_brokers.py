"""Group coordinators on real replicas: found, loaded, taken over, and silent about what is not committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from engine.wire.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from tests.unit.broker.broker_requests import (
    alter_config,
    create_topic,
    delete_topic,
    pause_follower,
    replica_of,
    resume_all,
    resume_follower,
    state_of,
    until_in_sync,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

OFFSETS = "__consumer_offsets"


async def find(cluster: InProcessCluster, node_id: int, *groups: str, key_type: int = 0) -> Any:
    request = FindCoordinatorRequest(key_type=key_type, coordinator_keys=list(groups))
    return (await cluster.ask(node_id, request, 6)).coordinators


async def coordinator_of(cluster: InProcessCluster, group: str) -> int:
    """The broker that coordinates the group and has loaded it."""

    async def ask() -> int:
        (answer,) = await find(cluster, next(iter(cluster.incarnations)), group)
        return int(answer.node_id) if not answer.error_code else -1

    async with asyncio.timeout(5):
        while True:
            node_id = await ask()
            if node_id in cluster.incarnations:
                service = cluster[node_id].groups
                if service.partition_for(group) in service.runtime.active_partitions():
                    return node_id
            await asyncio.sleep(0.005)


async def commit(cluster: InProcessCluster, node_id: int, group: str, offset: int) -> ErrorCode:
    topic = OffsetCommitRequestTopic("t", partitions=[OffsetCommitRequestPartition(0, offset)])
    response = await cluster.ask(node_id, OffsetCommitRequest(group, topics=[topic]), 9)
    return ErrorCode(response.topics[0].partitions[0].error_code)


async def fetched(cluster: InProcessCluster, node_id: int, group: str) -> tuple[ErrorCode, int]:
    asked = OffsetFetchRequestGroup(group, topics=[OffsetFetchRequestTopics("t", partition_indexes=[0])])
    response = await cluster.ask(node_id, OffsetFetchRequest(groups=[asked]), 9)
    (answer,) = response.groups
    if answer.error_code:
        return ErrorCode(answer.error_code), -1
    return ErrorCode.NONE, answer.topics[0].partitions[0].committed_offset


async def test_coordinators_are_found_by_any_broker_and_all_say_the_same(cluster: InProcessCluster) -> None:
    groups = [f"group-{number}" for number in range(10)]
    answers = [
        {each.key: (each.error_code, each.node_id) for each in await find(cluster, node_id, *groups)}
        for node_id in cluster.node_ids
    ]
    assert answers[0] == answers[1] == answers[2]
    assert {node_id for _, node_id in answers[0].values()} == {1, 2, 3}
    assert all(code == 0 for code, _ in answers[0].values())
    (share,) = await find(cluster, 1, "x", key_type=2)
    assert ErrorCode(share.error_code) is ErrorCode.INVALID_REQUEST
    old = await cluster.ask(1, FindCoordinatorRequest(key="group-0"), 3)
    assert (old.error_code, old.node_id) == answers[0]["group-0"]


async def test_without_enough_brokers_every_group_is_told_at_once(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, {"offsets.topic.replication.factor": "3"}) as broker:
        started = asyncio.get_running_loop().time()
        answers = await find(broker, 1, *(f"g{number}" for number in range(50)))
        assert {ErrorCode(each.error_code) for each in answers} == {ErrorCode.COORDINATOR_NOT_AVAILABLE}
        assert asyncio.get_running_loop().time() - started < 1


async def test_committed_offsets_survive_coordinators_that_die(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    group = "g"
    for offset in range(1, 5):
        node_id = await coordinator_of(cluster, group)
        assert await fetched(cluster, node_id, group) == (ErrorCode.NONE, offset - 1 if offset > 1 else -1)
        assert await commit(cluster, node_id, group, offset) is ErrorCode.NONE
        assert await fetched(cluster, node_id, group) == (ErrorCode.NONE, offset)
        number = cluster[node_id].groups.partition_for(group)
        await cluster.kill(node_id)
        successor = await coordinator_of(cluster, group)
        assert successor != node_id
        assert await fetched(cluster, successor, group) == (ErrorCode.NONE, offset)
        await cluster.start(node_id)
        await until_in_sync(cluster, OFFSETS, 3, number)
        # Who coordinated before does not any more.
        assert (await fetched(cluster, node_id, group))[0] is ErrorCode.NOT_COORDINATOR


async def test_offsets_of_unknown_partitions_are_refused_and_the_rest_is_stored_and_deleted(
    cluster: InProcessCluster,
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    group = "g"
    node_id = await coordinator_of(cluster, group)
    partitions = [OffsetCommitRequestPartition(7, 5), OffsetCommitRequestPartition(0, 5)]
    absent = OffsetCommitRequestTopic("absent", partitions=[OffsetCommitRequestPartition(0, 5)])
    topic = OffsetCommitRequestTopic("t", partitions=partitions)
    response = await cluster.ask(node_id, OffsetCommitRequest(group, topics=[absent, topic]), 9)
    unknown = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert [
        (topic.name, each.partition_index, each.error_code) for topic in response.topics for each in topic.partitions
    ] == [("absent", 0, unknown), ("t", 7, unknown), ("t", 0, 0)]
    assert await fetched(cluster, node_id, group) == (ErrorCode.NONE, 5)

    numbers = [OffsetDeleteRequestPartition(number) for number in (7, 0)]
    asked = [OffsetDeleteRequestTopic("t", numbers), OffsetDeleteRequestTopic("absent", numbers[:1])]
    deleted = await cluster.ask(node_id, OffsetDeleteRequest(group, topics=asked), 0)
    assert deleted.error_code == 0
    assert {
        (topic.name, each.partition_index): each.error_code for topic in deleted.topics for each in topic.partitions
    } == {("t", 0): 0, ("t", 7): unknown, ("absent", 7): unknown}
    assert await fetched(cluster, node_id, group) == (ErrorCode.NONE, -1)


async def test_nothing_is_told_that_a_failover_could_take_back(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    group = "g"
    node_id = await coordinator_of(cluster, group)
    assert await commit(cluster, node_id, group, 1) is ErrorCode.NONE
    number = cluster[node_id].groups.partition_for(group)
    others = [each for each in cluster.node_ids if each != node_id]
    for each in others:
        pause_follower(cluster, each, OFFSETS, number)
    connection, reader = await cluster.connect(node_id), await cluster.connect(node_id)
    topic = OffsetCommitRequestTopic("t", partitions=[OffsetCommitRequestPartition(0, 2)])
    committing = connection.post(OffsetCommitRequest(group, topics=[topic]), version=9)
    asked = OffsetFetchRequestGroup(group, topics=[OffsetFetchRequestTopics("t", partition_indexes=[0])])
    replica = replica_of(cluster, node_id, OFFSETS, number)
    end = replica.log.log_end_offset
    await cluster.until(lambda: replica.log.log_end_offset > end - 1 and replica.partition.leader_role().waiting)
    reading = reader.post(OffsetFetchRequest(groups=[asked]), version=9)
    await asyncio.sleep(0.03)
    assert not committing.done() and not reading.done()
    # The others never had it: it never happened.
    await cluster.kill(node_id)
    resume_all(cluster)
    await asyncio.gather(committing, reading, return_exceptions=True)
    successor = await coordinator_of(cluster, group)
    assert await fetched(cluster, successor, group) == (ErrorCode.NONE, 1)
    assert await commit(cluster, successor, group, 3) is ErrorCode.NONE
    await cluster.start(node_id)
    await until_in_sync(cluster, OFFSETS, 3, number)


async def test_a_coordinator_that_stops_in_order_hands_over(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    node_id = await coordinator_of(cluster, "g")
    assert await commit(cluster, node_id, "g", 7) is ErrorCode.NONE
    await cluster.stop(node_id)
    successor = await coordinator_of(cluster, "g")
    assert await fetched(cluster, successor, "g") == (ErrorCode.NONE, 7)
    assert cluster.notes("coordinator_unloaded") and cluster.notes("coordinator_loaded")


async def test_offsets_of_a_topic_go_with_it(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    node_id = await coordinator_of(cluster, "g")
    assert await commit(cluster, node_id, "g", 7) is ErrorCode.NONE
    await delete_topic(cluster, "t")
    await cluster.until(lambda: "t" not in cluster[node_id].metadata.image.topics_by_name)
    assert await fetched(cluster, node_id, "g") == (ErrorCode.NONE, -1)


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers whose followers lag after a moment, and whose coordinators do not wait long."""
    configs = {
        "replica.fetch.wait.max.ms": "20",
        "replica.lag.time.max.ms": "100",
        "offsets.commit.timeout.ms": "300",
    }
    async with InProcessCluster(tmp_path, configs=configs) as cluster:
        yield cluster


async def test_while_too_few_replicas_are_in_sync_commits_are_refused_and_nothing_is_forgotten(
    impatient: InProcessCluster,
) -> None:
    cluster = impatient
    await create_topic(cluster, "t", [[1, 2, 3]])
    node_id = await coordinator_of(cluster, "g")
    assert await commit(cluster, node_id, "g", 7) is ErrorCode.NONE
    number = cluster[node_id].groups.partition_for("g")
    await alter_config(cluster, "min.insync.replicas", "3", OFFSETS)
    follower = next(each for each in cluster.node_ids if each != node_id)
    pause_follower(cluster, follower, OFFSETS, number)
    # It is in the log, but too few have it.
    assert await commit(cluster, node_id, "g", 8) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    await cluster.until(lambda: len(state_of(cluster, OFFSETS, number).isr) == 2)
    assert await commit(cluster, node_id, "g", 9) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    resume_follower(cluster, follower, OFFSETS, number)
    await until_in_sync(cluster, OFFSETS, 3, number)
    assert await fetched(cluster, node_id, "g") == (ErrorCode.NONE, 8)
    assert await commit(cluster, node_id, "g", 10) is ErrorCode.NONE
    assert await fetched(cluster, node_id, "g") == (ErrorCode.NONE, 10)
