"""A bit flips under a broker that runs: nobody reads it, the replica alone goes offline, and is copied anew (L2)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.client.errors import ClientError
from engine.core.controller.directory_ids import LOST
from engine.model.errors import ErrorCode
from tests.unit.broker.broker_requests import (
    create_topic,
    fetch_one,
    pause_follower,
    produce_ok,
    replica_of,
    resume_follower,
    state_of,
    until_in_sync,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

# A batch of these fills a segment.
CONFIGS = {"internal.segment.bytes": "1000"}
WRITTEN = [b"%d" % number + b"x" * 400 for number in range(8)]


def flip(cluster: InProcessCluster, node_id: int, topic: str, number: int, at: int, bit: int = 1) -> Path:
    """A bit of the file of one of the log's segments."""
    path = sorted(Path(cluster.log_dir(node_id), f"{topic}-0").glob("*.log"))[number]
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    with path.open("r+b") as file:
        file.write(content)
    return path


async def filled(cluster: InProcessCluster, replicas: list[int], name: str = "t") -> None:
    await create_topic(cluster, name, [replicas], CONFIGS)
    for each in WRITTEN:
        await produce_ok(cluster, replicas[0], name, each)
    await cluster.until(
        lambda: all(replica_of(cluster, each, name).partition.high_watermark == len(WRITTEN) for each in replicas)
    )


async def everything(cluster: InProcessCluster, node_id: int, name: str = "t") -> list[bytes]:
    found: list[bytes] = []
    while len(found) < len(WRITTEN):
        answer = await fetch_one(cluster, node_id, name, offset=len(found))
        assert answer.error_code == 0, ErrorCode(answer.error_code)
        found += values(answer.records)
    return found


def strays(cluster: InProcessCluster, node_id: int) -> list[Path]:
    return list(Path(cluster.log_dir(node_id)).glob("*-stray"))


# In the value, in the CRC, and where no CRC sees it: the offset, the length, the leader epoch.
@pytest.mark.parametrize("at", [200, 17, 3, 7, 11, 15])
async def test_a_leader_serves_no_flipped_bit_and_copies_its_log_anew(cluster: InProcessCluster, at: int) -> None:
    await filled(cluster, [1, 2, 3])
    await create_topic(cluster, "other", [[1, 2, 3]])
    flip(cluster, 1, "t", 1, at)
    answer = await fetch_one(cluster, 1, "t", offset=2)
    assert (ErrorCode(answer.error_code), answer.records) == (ErrorCode.KAFKA_STORAGE_ERROR, b"")
    (note,) = cluster.notes("replica_corrupt")
    assert note["subject"] == "t-0" and "00000000000000000002.log" in note["reason"]
    await cluster.until(lambda: cluster.notes("replica_begun_anew"))
    await until_in_sync(cluster, "t", 3)
    leader = state_of(cluster, "t").leader
    assert leader != 1
    for node_id in (1, 2, 3):
        log = replica_of(cluster, node_id, "t").log
        assert [value for offset in range(8) for value in values(log.read(offset, 1))] == WRITTEN
    assert await everything(cluster, leader) == WRITTEN
    # The other partition did not notice, and what was corrupt is still there to be looked at.
    assert state_of(cluster, "other").leader == 1
    assert len(strays(cluster, 1)) == 1
    await produce_ok(cluster, leader, "t", b"more")


async def test_a_follower_that_lost_its_log_joins_with_a_whole_one_only(cluster: InProcessCluster) -> None:
    await filled(cluster, [1, 2, 3])
    epoch = state_of(cluster, "t").leader_epoch
    flip(cluster, 3, "t", 0, 100)
    # Nothing is written meanwhile: to its leader, the follower looks level all the time.
    answer = await fetch_one(cluster, 3, "t", offset=0)
    assert answer.error_code == ErrorCode.KAFKA_STORAGE_ERROR
    await cluster.until(lambda: 3 not in state_of(cluster, "t", at=1).isr)
    pause = None
    while pause is None:
        await asyncio.sleep(0)
        replica = cluster[3].replicas.get("t", 0)
        if replica is not None and not replica.is_offline:
            pause_follower(cluster, 3, "t")
            pause = replica
    await cluster.until(lambda: state_of(cluster, "t", at=1).directory(3) != LOST)
    await asyncio.sleep(0.2)
    if pause.log.log_end_offset < 8:
        assert 3 not in state_of(cluster, "t", at=1).isr
    resume_follower(cluster, 3, "t")
    await until_in_sync(cluster, "t", 3)
    assert pause.log.log_end_offset == 8
    assert state_of(cluster, "t").leader == 1 and state_of(cluster, "t").leader_epoch > epoch


async def test_the_last_replica_in_sync_stays_offline_alone(cluster: InProcessCluster) -> None:
    await filled(cluster, [2])
    await create_topic(cluster, "other", [[2]])
    flip(cluster, 2, "t", 1, 100)
    assert (await fetch_one(cluster, 2, "t", offset=2)).error_code == ErrorCode.KAFKA_STORAGE_ERROR
    await cluster.until(lambda: state_of(cluster, "t").leader == -1)
    assert state_of(cluster, "t").isr == (2,)
    await produce_ok(cluster, 2, "other")
    await asyncio.sleep(0.1)
    assert not cluster.notes("replica_begun_anew") and not strays(cluster, 2)
    # A start serves what is whole: nobody else has it.
    await cluster.stop(2)
    await cluster.start(2)
    await cluster.until(lambda: state_of(cluster, "t").leader == 2)
    assert values((await fetch_one(cluster, 2, "t", offset=0)).records)[0] == WRITTEN[0]
    assert (await fetch_one(cluster, 2, "t", offset=2)).error_code == ErrorCode.KAFKA_STORAGE_ERROR


async def test_what_is_left_in_the_file_until_the_socket_takes_it_is_looked_at_too(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]], {"segment.bytes": "2000000"})
    for _ in range(10):
        await produce_ok(cluster, 1, "t", b"y" * 90_000)
    await cluster.stop(1)
    await cluster.start(1)
    await until_in_sync(cluster, "t", 2)
    await cluster.until(lambda: state_of(cluster, "t").leader >= 0)
    leader = state_of(cluster, "t").leader
    if leader != 1:
        await cluster.stop(2)
        await cluster.until(lambda: state_of(cluster, "t", at=1).leader == 1)
        await cluster.start(2)
        await until_in_sync(cluster, "t", 2)
    path = flip(cluster, 1, "t", 0, 800_000)
    assert path.stat().st_size > 900_000
    with pytest.raises(ClientError):
        await fetch_one(cluster, 1, "t", offset=0)
    await cluster.until(lambda: cluster.notes("replica_begun_anew"))
    await until_in_sync(cluster, "t", 2)
    assert len(values((await fetch_one(cluster, 2, "t", offset=0)).records)) == 10


async def test_a_log_that_does_not_open_is_copied_anew(cluster: InProcessCluster) -> None:
    await filled(cluster, [1, 2, 3])
    for node_id in (1, 2, 3):
        cluster[node_id].log_dirs.checkpoint()
        replica_of(cluster, node_id, "t").log.flush()
        cluster[node_id].log_dirs.checkpoint()
    await cluster.kill(2)
    flip(cluster, 2, "t", -1, 100)
    await cluster.start(2)
    await until_in_sync(cluster, "t", 3)
    log = replica_of(cluster, 2, "t").log
    assert [value for offset in range(8) for value in values(log.read(offset, 1))] == WRITTEN
