"""Followers: catching up, cutting what was never committed, beginning anew, following elections at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.model.errors import ErrorCode
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    elect_preferred,
    fetch_one,
    new_producer_id,
    pause_follower,
    produce,
    produce_ok,
    replica_of,
    resume_all,
    resume_follower,
    state_of,
    until_in_sync,
    until_led_by,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


def end_of(cluster: InProcessCluster, node_id: int, topic: str = "t") -> int:
    return replica_of(cluster, node_id, topic).log.log_end_offset


def records_of(cluster: InProcessCluster, node_id: int, topic: str = "t") -> list[bytes]:
    """All values in a replica's log, committed or not."""
    files = replica_of(cluster, node_id, topic).log
    found: list[bytes] = []
    offset = files.log_start_offset
    while data := files.read(offset, 1 << 20):
        found += values(data)
        offset = files.log_start_offset + len(found)
    return found


async def leader_of(cluster: InProcessCluster, *, other_than: int, topic: str = "t") -> int:
    """Who leads after ``other_than`` does not any more, and knows it."""
    return int(
        await cluster.until(
            lambda: next(
                (
                    each.config.node_id
                    for each in cluster
                    if each.config.node_id != other_than
                    and (replica := each.replicas.get(topic, 0)) is not None
                    and replica.partition.is_leader
                ),
                None,
            )
        )
    )


async def test_a_follower_that_was_away_catches_up_and_joins_the_isr(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"0")
    await cluster.kill(3)
    for number in range(1, 50):
        await produce_ok(cluster, 1, "t", b"%d" % number)
    await cluster.start(3)
    await until_in_sync(cluster, "t", 3)
    assert records_of(cluster, 3) == records_of(cluster, 1) == [b"%d" % number for number in range(50)]
    assert cluster.notes("isr_expanded", "t-0")[-1]["detail"]["added"] == [3]


async def test_a_backlog_of_many_partitions_is_copied_although_answers_are_limited(tmp_path: Any) -> None:
    configs = {"replica.fetch.response.max.bytes": "20000", "replica.fetch.max.bytes": "10000"}
    async with InProcessCluster(tmp_path, configs=configs) as cluster:
        await create_topic(cluster, "t", [[1, 2, 3]] * 8)
        await cluster.kill(3)
        for number in range(8):
            for _ in range(6):
                await produce_ok(cluster, 1, "t", b"x" * 5000, partition=number, acks=1)
        await cluster.start(3)
        for number in range(8):
            await until_in_sync(cluster, "t", 3, number)


async def test_what_was_never_committed_is_cut_where_the_histories_part(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"common")
    await until_committed_everywhere(cluster, 1)
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    for number in range(3):
        await produce(cluster, 1, "t", batch(b"lost %d" % number), acks=1)
    assert end_of(cluster, 1) == 4
    await cluster.kill(1)
    resume_all(cluster)
    leader = await leader_of(cluster, other_than=1)
    assert await produce_ok(cluster, leader, "t", b"kept") == 1
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)
    for each in (1, 2, 3):
        assert records_of(cluster, each) == [b"common", b"kept"]
    (note,) = cluster.notes("log_truncated", "t-0")
    assert (note["broker"], note["detail"]["from"], note["detail"]["to"]) == (1, 4, 1)
    assert note["detail"]["below_high_watermark"] is False


async def until_committed_everywhere(cluster: InProcessCluster, offset: int, topic: str = "t") -> None:
    await cluster.until(
        lambda: all(
            replica_of(cluster, each, topic).partition.high_watermark >= offset for each in cluster.incarnations
        ),
        f"{offset} is committed everywhere",
    )


async def test_two_divergences_one_after_the_other_are_both_found(cluster: InProcessCluster) -> None:
    # Epoch 0 and epoch 2 are both written by 1 alone: its log and the leader's part in the middle (KIP-279).
    await create_topic(cluster, "t", [[1, 2]])
    await produce_ok(cluster, 1, "t", b"a")
    pause_follower(cluster, 2, "t")
    await produce(cluster, 1, "t", batch(b"x0"), acks=1)
    await cluster.kill(1)
    resume_all(cluster)
    await until_led_by(cluster, "t", 2)
    await produce(cluster, 2, "t", batch(b"b"), acks=1)
    await produce(cluster, 2, "t", batch(b"c"), acks=1)
    await cluster.start(1)
    await until_in_sync(cluster, "t", 2)
    assert records_of(cluster, 1) == [b"a", b"b", b"c"]
    epochs = [tuple(each) for each in replica_of(cluster, 1, "t").log.leader_epochs.entries]
    assert epochs == [tuple(each) for each in replica_of(cluster, 2, "t").log.leader_epochs.entries]


async def test_a_follower_that_ends_before_the_leaders_log_starts_begins_anew(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]], {"segment.bytes": "1048576", "retention.bytes": "700000"})
    await produce_ok(cluster, 1, "t", b"early")
    await cluster.kill(3)
    for _ in range(4):
        await produce_ok(cluster, 1, "t", b"x" * 600_000)
    cluster[1].replicas.enforce_retention()
    start = replica_of(cluster, 1, "t").log.log_start_offset
    assert start > 1
    await cluster.start(3)
    await until_in_sync(cluster, "t", 3)
    files = replica_of(cluster, 3, "t").log
    assert (files.log_start_offset, files.log_end_offset) == (start, 5)
    assert (await fetch_one(cluster, 3, "t", offset=start)).error_code == 0


async def test_the_log_start_of_the_leader_reaches_its_followers(quick_cluster: InProcessCluster) -> None:
    cluster = quick_cluster
    await create_topic(cluster, "t", [[1, 2, 3]], {"segment.bytes": "1048576", "retention.bytes": "700000"})
    for _ in range(4):
        await produce_ok(cluster, 1, "t", b"x" * 600_000)
    cluster[1].replicas.enforce_retention()
    start = replica_of(cluster, 1, "t").log.log_start_offset
    assert start > 0
    await cluster.until(
        lambda: all(replica_of(cluster, each, "t").log.log_start_offset == start for each in (2, 3)), "the new start"
    )


async def test_followers_turn_to_a_new_leader_without_waiting_out_their_fetch(tmp_path: Any) -> None:
    async with InProcessCluster(tmp_path, configs={"replica.fetch.wait.max.ms": "10000"}) as cluster:
        await create_topic(cluster, "t", [[1, 2, 3]])
        await create_topic(cluster, "other", [[1, 2, 3], [2, 3, 1], [3, 1, 2]])
        await asyncio.sleep(0.05)
        await cluster.kill(1)
        leader = await leader_of(cluster, other_than=1)
        started = asyncio.get_running_loop().time()
        assert await produce_ok(cluster, leader, "t", b"x") == 0
        assert asyncio.get_running_loop().time() - started < 1
        await cluster.start(1)
        await until_in_sync(cluster, "t", 3)
        await elect_preferred(cluster, "t")
        await until_led_by(cluster, "t", 1)
        assert await produce_ok(cluster, 1, "t", b"y") == 1
        assert asyncio.get_running_loop().time() - started < 3


async def test_a_new_partition_is_followed_at_once(tmp_path: Any) -> None:
    async with InProcessCluster(tmp_path, configs={"replica.fetch.wait.max.ms": "10000"}) as cluster:
        for number in range(5):
            started = asyncio.get_running_loop().time()
            await create_topic(cluster, f"t{number}", [[1, 2, 3]])
            await produce_ok(cluster, 1, f"t{number}", b"x")
            assert asyncio.get_running_loop().time() - started < 1


async def test_a_duplicate_gets_its_first_offset_after_restarts_and_changes_of_leader(
    cluster: InProcessCluster,
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    producer = await new_producer_id(cluster, 1)

    def numbered(sequence: int) -> bytes:
        return batch(b"%d" % sequence, producer_id=producer, producer_epoch=0, base_sequence=sequence)

    for sequence in range(7):
        assert (await produce(cluster, 1, "t", numbered(sequence))).base_offset == sequence
    for sequence in (2, 4, 6):
        assert (await produce(cluster, 1, "t", numbered(sequence))).base_offset == sequence
    for again in (1, 0):
        assert ErrorCode((await produce(cluster, 1, "t", numbered(again))).error_code) in (
            ErrorCode.DUPLICATE_SEQUENCE_NUMBER,
            ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        )
    gap = await produce(cluster, 1, "t", numbered(9))
    assert ErrorCode(gap.error_code) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    # After a change of leader,
    await cluster.kill(1)
    leader = await leader_of(cluster, other_than=1)
    assert (await produce(cluster, leader, "t", numbered(5))).base_offset == 5
    # after a restart that was not clean,
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)
    await elect_preferred(cluster, "t")
    await until_led_by(cluster, "t", 1)
    assert (await produce(cluster, 1, "t", numbered(6))).base_offset == 6
    # and after one that was.
    await cluster.stop(1)
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)
    await elect_preferred(cluster, "t")
    await until_led_by(cluster, "t", 1)
    assert (await produce(cluster, 1, "t", numbered(4))).base_offset == 4
    assert (await produce(cluster, 1, "t", numbered(7))).base_offset == 7
    old = batch(b"old", producer_id=producer, producer_epoch=0, base_sequence=8)
    new = batch(b"new", producer_id=producer, producer_epoch=1, base_sequence=0)
    assert (await produce(cluster, 1, "t", new)).error_code == 0
    assert ErrorCode((await produce(cluster, 1, "t", old)).error_code) is ErrorCode.INVALID_PRODUCER_EPOCH


async def test_a_duplicate_of_what_is_not_committed_yet_waits_for_its_commit(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    producer = await new_producer_id(cluster, 1)
    pause_follower(cluster, 2, "t")
    record = batch(b"x", producer_id=producer, producer_epoch=0, base_sequence=0)
    assert ErrorCode((await produce(cluster, 1, "t", record, timeout_ms=20)).error_code) is ErrorCode.REQUEST_TIMED_OUT
    waiting = asyncio.ensure_future(produce(cluster, 1, "t", record))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    resume_follower(cluster, 2, "t")
    answer = await waiting
    assert (answer.error_code, answer.base_offset, end_of(cluster, 1)) == (0, 0, 1)


async def test_an_election_that_loses_records_is_followed_by_the_others(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]], {"unclean.leader.election.enable": "true"})
    await produce_ok(cluster, 1, "t", b"both")
    await cluster.kill(2)
    await until_in_sync_at(cluster, 1, 1)
    for number in range(5):
        await produce_ok(cluster, 1, "t", b"only on 1: %d" % number)
    # The last member of the ISR goes, and one that misses records is elected.
    await cluster.start(2)
    pause_follower(cluster, 2, "t")
    await cluster.kill(1)
    await cluster.until(lambda: state_of(cluster, "t", at=2).leader == 2, timeout_s=12)
    await produce_ok(cluster, 2, "t", b"after")
    await cluster.start(1)
    await until_in_sync(cluster, "t", 2)
    assert records_of(cluster, 1) == records_of(cluster, 2)
    assert records_of(cluster, 2)[-1] == b"after"


async def until_in_sync_at(cluster: InProcessCluster, node_id: int, count: int) -> None:
    await cluster.until(lambda: len(state_of(cluster, "t", at=node_id).isr) == count)


@pytest.mark.parametrize("is_controlled", [True, False])
async def test_every_acknowledged_record_survives_a_change_of_leader_under_load(
    cluster: InProcessCluster, is_controlled: bool
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]], {"min.insync.replicas": "2"})
    acknowledged: list[bytes] = []
    stopping = False

    async def write() -> None:
        number = 0
        while not stopping:
            leader = state_of(cluster, "t").leader
            value = b"%d" % number
            number += 1
            try:
                answer = await produce(cluster, leader, "t", batch(value), timeout_ms=1000)
            except Exception:
                await asyncio.sleep(0.002)
                continue
            if not answer.error_code:
                acknowledged.append(value)
            else:
                await asyncio.sleep(0.002)

    writing = asyncio.ensure_future(write())
    for _ in range(2):
        await asyncio.sleep(0.05)
        gone = state_of(cluster, "t").leader
        await (cluster.stop(gone) if is_controlled else cluster.kill(gone))
        await asyncio.sleep(0.05)
        await cluster.start(gone)
        await until_in_sync(cluster, "t", 3)
    stopping = True
    await writing
    assert len(acknowledged) > 20
    await until_in_sync(cluster, "t", 3)
    leader = state_of(cluster, "t").leader
    kept = records_of(cluster, leader)
    missing = [each for each in acknowledged if each not in kept]
    assert not missing
    await cluster.until(lambda: all(records_of(cluster, each) == kept for each in (1, 2, 3)))


async def test_a_broker_that_stops_copies_nothing_more(cluster: InProcessCluster) -> None:
    """Metadata goes on to change while the logs are closed: a fetcher that it starts would write to them."""
    await create_topic(cluster, "t", [[1, 2, 3]])
    manager = cluster[2].replicas
    assert manager.fetchers is not None
    replica = replica_of(cluster, 2, "t")
    await manager.fetchers.stop()
    manager.fetchers.assign(cluster[2].metadata.image, [replica])
    await produce_ok(cluster, 1, "t", b"x", acks=1)
    await cluster.until(lambda: replica_of(cluster, 3, "t").log.log_end_offset == 1, "the other follower copies")
    assert replica.log.log_end_offset == 0 and not manager.fetchers._fetchers
