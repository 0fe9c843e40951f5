"""Replicas move between the log directories of a broker while they are written and read (AlterReplicaLogDirs)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.alter_replica_log_dirs_request import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from engine.wire.messages.describe_log_dirs_request import DescribeLogDirsRequest
from tests.unit.broker.broker_requests import (
    BROKER,
    alter_config,
    create_topic,
    delete_topic,
    elect_preferred,
    fetch_one,
    pause_follower,
    produce_ok,
    reassign,
    replica_of,
    state_of,
    until_in_sync,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
SLOW = "1"


@pytest.fixture
async def disks(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Two brokers with two log directories each."""
    async with InProcessCluster(tmp_path, 2, {"log.flush.interval.messages": "1"}, log_dirs=2) as cluster:
        yield cluster


def place(cluster: InProcessCluster, topic: str, node_id: int = 1) -> int:
    """The number of the directory that the replica is in."""
    return int(replica_of(cluster, node_id, topic).log_dir[-1])


async def move(cluster: InProcessCluster, topic: str, path: str, node_id: int = 1) -> ErrorCode:
    request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path, [AlterReplicaLogDirTopic(topic, [0])])])
    response = await cluster.ask(node_id, request, 2)
    return ErrorCode(response.results[0].partitions[0].error_code)


async def described(cluster: InProcessCluster, topic: str, node_id: int = 1) -> dict[int, tuple[bool, int]]:
    """By directory: whether it is a future replica that is in it, and its lag."""
    response = await cluster.ask(node_id, DescribeLogDirsRequest(topics=None), 5)
    return {
        int(result.log_dir[-1]): (partition.is_future_key, partition.offset_lag)
        for result in response.results
        for each in result.topics
        if each.name == topic
        for partition in each.partitions
    }


def names(cluster: InProcessCluster, topic: str, node_id: int = 1) -> list[list[str]]:
    """What is in the directories of a partition, without unique ids."""
    return [
        sorted(
            each.partition(".")[0] + each[each.rindex("-") :]
            for each in os.listdir(cluster.log_dir(node_id, index))
            if each.startswith(f"{topic}-0")
        )
        for index in (0, 1)
    ]


async def test_a_leader_moves_while_it_is_written_and_read(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[1, 2]])
    await until_in_sync(disks, "t", 2)
    here = place(disks, "t")
    there = 1 - here
    # Several pieces, so that it takes some rounds.
    written = [bytes([65 + number]) * 100_000 for number in range(26)]
    for each in written:
        await produce_ok(disks, 1, "t", each)
    assert await move(disks, "t", disks.log_dir(1, there)) is ErrorCode.NONE
    for number in range(10):
        written.append(b"%d" % number)
        await produce_ok(disks, 1, "t", written[-1])
    await disks.until(lambda: place(disks, "t") == there)
    written.append(b"last")
    await produce_ok(disks, 1, "t", b"last")
    found: list[bytes] = []
    while len(found) < len(written):
        answer = await fetch_one(disks, 1, "t", offset=len(found))
        assert answer.error_code == ErrorCode.NONE
        found += values(answer.records)
    assert found == written
    assert await described(disks, "t") == {there: (False, 0)}
    directory_id = disks[1].log_dirs.directory_ids[disks.log_dir(1, there)]
    await disks.until(lambda: state_of(disks, "t").directory(1) == directory_id, "the controller is told")
    assert [each for each in names(disks, "t")[there]] == ["t-0-0"]
    # The follower takes over with everything.
    await reassign(disks, "t", [2, 1])
    await disks.until(lambda: state_of(disks, "t").replicas == (2, 1))
    await elect_preferred(disks, "t")
    await disks.until(lambda: replica_of(disks, 2, "t").partition.is_leader)
    assert replica_of(disks, 2, "t").log.log_end_offset == len(written)


async def test_a_future_replica_is_shown_and_cancelled(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[1]])
    for number in range(5):
        await produce_ok(disks, 1, "t", b"%d" % number)
    here = place(disks, "t")
    there = 1 - here
    await alter_config(disks, RATE, SLOW, "", kind=BROKER)
    assert await move(disks, "t", disks.log_dir(1, there)) is ErrorCode.NONE
    await disks.until(lambda: "t-0-future" in names(disks, "t")[there])
    shown = await described(disks, "t")
    assert shown[here] == (False, 0)
    assert shown[there][0] and 0 < shown[there][1] < 5
    assert await move(disks, "t", disks.log_dir(1, there)) is ErrorCode.NONE
    # To where it is: the move ends.
    assert await move(disks, "t", disks.log_dir(1, here)) is ErrorCode.NONE
    assert await described(disks, "t") == {here: (False, 0)}
    assert names(disks, "t") == ([["t-0-0"], []] if here == 0 else [[], ["t-0-0"]])
    await move(disks, "t", disks.log_dir(1, there))
    await alter_config(disks, RATE, None, "", kind=BROKER)
    await disks.until(lambda: place(disks, "t") == there, "the rate holds at once")


async def test_a_move_goes_on_after_a_restart(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[1]])
    for number in range(5):
        await produce_ok(disks, 1, "t", b"%d" % number)
    here = place(disks, "t")
    await alter_config(disks, RATE, SLOW, "", kind=BROKER)
    await move(disks, "t", disks.log_dir(1, 1 - here))
    await disks.until(lambda: "t-0-future" in names(disks, "t")[1 - here])
    await disks.kill(1)
    await disks.start(1)
    await disks.until(lambda: replica_of(disks, 1, "t").partition.is_leader)
    assert place(disks, "t") == here and (await described(disks, "t"))[1 - here][0]
    await alter_config(disks, RATE, None, "", kind=BROKER)
    await disks.until(lambda: place(disks, "t") == 1 - here)
    assert values((await fetch_one(disks, 1, "t")).records) == [b"%d" % number for number in range(5)]


async def test_a_topic_that_is_deleted_meanwhile_leaves_no_copy(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[1]])
    await produce_ok(disks, 1, "t", b"a")
    await produce_ok(disks, 1, "t", b"b")
    there = 1 - place(disks, "t")
    await alter_config(disks, RATE, SLOW, "", kind=BROKER)
    await move(disks, "t", disks.log_dir(1, there))
    await disks.until(lambda: "t-0-future" in names(disks, "t")[there])
    await delete_topic(disks, "t")
    await disks.until(lambda: names(disks, "t")[there] == [])
    assert disks[1].replicas.moves.moves == {}


async def test_a_follower_that_is_cut_meanwhile_cuts_its_copy(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[2, 1]])
    for number in range(6):
        await produce_ok(disks, 2, "t", b"%d" % number)
    replica = replica_of(disks, 1, "t")
    pause_follower(disks, 1, "t")
    await alter_config(disks, RATE, "100", "", kind=BROKER)
    await move(disks, "t", disks.log_dir(1, 1 - place(disks, "t")))
    moves = disks[1].replicas.moves.moves
    await disks.until(lambda: (future := moves[replica.topic_partition].future) and future.log_end_offset >= 2)
    future = moves[replica.topic_partition].future
    assert future is not None
    # What a new leader makes of a follower's log.
    disks[1].replicas.truncate(replica, 1, "test")
    assert future.log_end_offset == 1
    disks[1].replicas.start_log_at(replica, 9, "test")
    assert (future.log_start_offset, future.log_end_offset) == (9, 9)


async def test_what_cannot_be_moved_is_refused(disks: InProcessCluster) -> None:
    await create_topic(disks, "t", [[1]])
    there = disks.log_dir(1, 1 - place(disks, "t"))
    assert await move(disks, "t", "/nowhere") is ErrorCode.LOG_DIR_NOT_FOUND
    assert await move(disks, "x" * 240, there) is ErrorCode.INVALID_TOPIC_EXCEPTION
    await alter_config(disks, "cordoned.log.dirs", there, "1", kind=BROKER)
    assert await move(disks, "t", there) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    await alter_config(disks, "cordoned.log.dirs", None, "1", kind=BROKER)
    disks[1].replicas.on_disk_failed(replica_of(disks, 1, "t"), OSError("broken"))
    assert await move(disks, "t", there) is ErrorCode.KAFKA_STORAGE_ERROR


@pytest.mark.parametrize("index", [0, 1])
async def test_a_replica_that_is_not_there_yet_is_made_where_it_was_wanted(disks: InProcessCluster, index: int) -> None:
    assert await move(disks, "t", disks.log_dir(1, index)) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    await create_topic(disks, "t", [[1]])
    assert place(disks, "t") == index
    await create_topic(disks, "u", [[2]])
    assert await move(disks, "u", disks.log_dir(1, index)) is ErrorCode.REPLICA_NOT_AVAILABLE
    await reassign(disks, "u", [1])
    await disks.until(lambda: ("u", 0) in disks[1].replicas.replicas)
    assert place(disks, "u") == index
