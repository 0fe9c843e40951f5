"""What metadata does to replicas: ISRs shrink and grow, leaders move, topics go, configs change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.model.errors import ErrorCode
from tests.unit.broker.broker_requests import (
    BROKER,
    alter_config,
    batch,
    create_topic,
    delete_topic,
    elect_preferred,
    fetch_one,
    list_offset,
    pause_follower,
    produce,
    produce_ok,
    reassign,
    replica_of,
    resume_follower,
    state_of,
    until_in_sync,
    until_led_by,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

# -- the ISR ----------------------------------------------------------------------------------------------------


async def test_a_follower_that_lags_leaves_the_isr_and_comes_back(quick_cluster: InProcessCluster) -> None:
    cluster = quick_cluster
    await create_topic(cluster, "t", [[1, 2, 3]], {"min.insync.replicas": "2"})
    pause_follower(cluster, 3, "t")
    waiting = asyncio.ensure_future(produce(cluster, 1, "t", timeout_ms=3000))
    await until_in_sync(cluster, "t", 2)
    # What waited for it is committed without it.
    assert (await waiting).error_code == 0
    (shrunk,) = cluster.notes("isr_shrunk", "t-0")
    assert (shrunk["broker"], shrunk["detail"]["removed"], shrunk["detail"]["to"]) == (1, [3], [1, 2])
    assert "last caught up" in shrunk["reason"] or "never fetched" in shrunk["reason"]
    assert cluster[1].replicas.counts()["under_replicated"] == 1
    resume_follower(cluster, 3, "t")
    await until_in_sync(cluster, "t", 3)
    (expanded,) = cluster.notes("isr_expanded", "t-0")
    assert (expanded["broker"], expanded["detail"]["added"]) == (1, [3])
    assert cluster[1].replicas.counts() == {"replicas": 1, "leaders": 1, "under_replicated": 0, "under_min_isr": 0}


async def test_below_min_insync_replicas_nothing_is_committed_until_someone_is_back(
    quick_cluster: InProcessCluster,
) -> None:
    cluster = quick_cluster
    await create_topic(cluster, "t", [[1, 2, 3]], {"min.insync.replicas": "2"})
    await produce_ok(cluster, 1, "t", b"0")
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    pending = asyncio.ensure_future(produce(cluster, 1, "t", batch(b"1"), timeout_ms=5000))
    await cluster.until(lambda: len(state_of(cluster, "t").isr) == 1)
    assert not pending.done() and cluster[1].replicas.counts()["under_min_isr"] == 1
    assert replica_of(cluster, 1, "t").partition.high_watermark == 1
    resume_follower(cluster, 2, "t")
    assert (await pending).error_code == 0


async def test_a_caught_up_follower_is_not_put_out_for_having_nothing_to_fetch(
    quick_cluster: InProcessCluster,
) -> None:
    cluster = quick_cluster
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"x")
    await asyncio.sleep(0.6)
    assert not cluster.notes("isr_shrunk") and len(state_of(cluster, "t").isr) == 3


async def test_a_restarted_follower_is_out_until_it_has_caught_up(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await cluster.kill(3)
    await cluster.until(lambda: 3 not in state_of(cluster, "t").isr)
    for _ in range(20):
        await produce_ok(cluster, 1, "t", b"x" * 1000)
    await cluster.start(3)
    await until_in_sync(cluster, "t", 3)
    assert replica_of(cluster, 3, "t").log.log_end_offset == 20


# -- leaders ----------------------------------------------------------------------------------------------------


async def test_a_controlled_shutdown_moves_the_leaders_before_anything_closes(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3], [2, 3, 1], [1, 3, 2]])
    await produce_ok(cluster, 1, "t", b"x")
    stopping = asyncio.ensure_future(cluster.stop(1))
    for partition in (0, 2):
        await cluster.until(
            lambda partition=partition: state_of(cluster, "t", partition, at=2).leader in (2, 3)  # type: ignore[misc]
        )
    await stopping
    assert cluster.notes("broker_shutdown_started", "broker 1")
    moved = [fact for fact in cluster.facts if fact["type"] == "note" and fact["kind"] == "leader_changed"]
    assert {each["subject"] for each in moved} >= {"t-0", "t-2"}
    leader = state_of(cluster, "t", at=2).leader
    assert await produce_ok(cluster, leader, "t", b"y") == 1
    # Its log directory says that it left in order, so that it is not missed from the ELR.
    await cluster.start(1)
    assert cluster[1].log_dirs.clean_shutdown
    await until_in_sync(cluster, "t", 3)


async def test_the_last_broker_of_a_partition_may_leave_too(cluster: InProcessCluster) -> None:
    leaving = next(each for each in cluster.node_ids if each != cluster.controller_id)
    await create_topic(cluster, "t", [[leaving]])
    await produce_ok(cluster, leaving, "t", b"x")
    await asyncio.wait_for(cluster.stop(leaving), 5)
    await until_led_by(cluster, "t", -1)
    await cluster.start(leaving)
    await until_led_by(cluster, "t", leaving)
    assert values((await fetch_one(cluster, leaving, "t")).records) == [b"x"]


async def test_a_partition_moves_to_other_brokers_with_its_records(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1]])
    for number in range(5):
        await produce_ok(cluster, 1, "t", b"%d" % number)
    await reassign(cluster, "t", [3, 2])
    await cluster.until(lambda: set(state_of(cluster, "t").replicas) == {2, 3})
    await cluster.until(lambda: state_of(cluster, "t").leader in (2, 3))
    leader = state_of(cluster, "t").leader
    await until_led_by(cluster, "t", leader)
    assert values((await fetch_one(cluster, leader, "t")).records) == [b"%d" % number for number in range(5)]
    assert cluster[1].replicas.get("t", 0) is None
    assert "t-0" not in os.listdir(cluster.log_dir(1))
    assert await produce_ok(cluster, leader, "t", b"5") == 5


async def test_the_preferred_leader_comes_back_when_it_is_asked_for(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await cluster.stop(1)
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)
    assert state_of(cluster, "t").leader != 1
    await elect_preferred(cluster, "t")
    await until_led_by(cluster, "t", 1)
    await produce_ok(cluster, 1, "t", b"x")


# -- topics -----------------------------------------------------------------------------------------------------


async def test_a_deleted_topic_leaves_replicas_and_directories_at_once(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]] * 3, {"file.delete.delay.ms": "0"})
    await produce_ok(cluster, 1, "t", b"x")
    await delete_topic(cluster, "t")
    await cluster.until(lambda: not any(each.replicas.replicas for each in cluster))
    for each in cluster.node_ids:
        names = os.listdir(cluster.log_dir(each))
        assert not [name for name in names if name in ("t-0", "t-1", "t-2")]
        assert len([name for name in names if name.endswith("-delete")]) == 3
        cluster[each].log_dirs.remove_deleted(cluster.world.clock.now_ms() + 1)
        assert not [name for name in os.listdir(cluster.log_dir(each)) if name.startswith("t-")]
    unknown = await produce(cluster, 1, "t")
    assert ErrorCode(unknown.error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_who_waits_for_a_commit_hears_that_the_topic_is_gone(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    pause_follower(cluster, 2, "t")
    waiting = asyncio.ensure_future(produce(cluster, 1, "t", timeout_ms=5000))
    await cluster.until(lambda: replica_of(cluster, 1, "t").partition.leader_role().waiting)
    await delete_topic(cluster, "t")
    assert ErrorCode((await waiting).error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_topic_that_is_made_again_begins_at_0(cluster: InProcessCluster) -> None:
    for round_number in range(3):
        await create_topic(cluster, "t", [[1, 2, 3]])
        for number in range(3):
            assert await produce_ok(cluster, 1, "t", b"%d-%d" % (round_number, number)) == number
        await delete_topic(cluster, "t")


# -- configs ----------------------------------------------------------------------------------------------------


async def test_min_insync_replicas_of_a_topic_counts_at_once(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]], {"min.insync.replicas": "2"})
    await cluster.stop(2)
    await until_in_sync(cluster, "t", 1)
    assert ErrorCode((await produce(cluster, 1, "t")).error_code) is ErrorCode.NOT_ENOUGH_REPLICAS
    await alter_config(cluster, "min.insync.replicas", "1", "t")
    assert (await produce(cluster, 1, "t")).error_code == 0


async def test_lowering_min_insync_replicas_commits_what_waits(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]], {"min.insync.replicas": "2"})
    pause_follower(cluster, 2, "t")
    waiting = asyncio.ensure_future(produce(cluster, 1, "t", timeout_ms=5000))
    await cluster.until(lambda: replica_of(cluster, 1, "t").partition.leader_role().waiting)
    await cluster.kill(2)
    await until_in_sync(cluster, "t", 1)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await alter_config(cluster, "min.insync.replicas", "1", "t")
    assert (await waiting).error_code == 0


async def test_retention_is_changed_for_one_topic_and_for_all(broker: InProcessCluster) -> None:
    for name in ("one", "other"):
        await create_topic(broker, name, configs={"segment.bytes": "1048576"})
        for _ in range(4):
            await produce_ok(broker, 1, name, b"x" * 600_000)
    await alter_config(broker, "retention.bytes", "700000", "one")
    broker[1].replicas.enforce_retention()
    starts = [(await list_offset(broker, 1, name, -2)).offset for name in ("one", "other")]
    assert starts[0] > 0 and starts[1] == 0
    await alter_config(broker, "log.retention.bytes", "700000", "", BROKER)
    broker[1].replicas.enforce_retention()
    assert (await list_offset(broker, 1, "other", -2)).offset > 0
    assert replica_of(broker, 1, "one").log.config.retention_bytes == 700_000
    await alter_config(broker, "retention.bytes", None, "one")
    assert replica_of(broker, 1, "one").log.config.retention_bytes == 700_000
    await alter_config(broker, "log.retention.bytes", None, "", BROKER)
    assert replica_of(broker, 1, "one").log.config.retention_bytes == -1


async def test_configs_hold_after_a_restart(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", configs={"max.message.bytes": "300"})
    await alter_config(broker, "message.max.bytes", "500", "", BROKER)
    await create_topic(broker, "u")
    await broker.kill(1)
    await broker.start(1)
    for topic, size, expected in (
        ("t", 200, ErrorCode.NONE),
        ("t", 400, ErrorCode.MESSAGE_TOO_LARGE),
        ("u", 400, ErrorCode.NONE),
        ("u", 600, ErrorCode.MESSAGE_TOO_LARGE),
    ):
        answer = await produce(broker, 1, topic, batch(b"x" * size))
        assert ErrorCode(answer.error_code) is expected, (topic, size)


async def test_retention_and_checkpoints_are_seen_to_from_time_to_time(tmp_path: Path) -> None:
    configs = {
        "log.retention.check.interval.ms": "20",
        "replica.high.watermark.checkpoint.interval.ms": "20",
        "log.flush.scheduler.interval.ms": "10",
    }
    async with InProcessCluster(tmp_path, 1, configs) as broker:
        await create_topic(
            broker, "t", configs={"segment.bytes": "1048576", "retention.bytes": "700000", "flush.ms": "20"}
        )
        for _ in range(4):
            await produce_ok(broker, 1, "t", b"x" * 600_000)
        replica = replica_of(broker, 1, "t")
        await broker.until(lambda: replica.log.log_start_offset > 0, "retention")
        await broker.until(lambda: replica.log.durable_end_offset == 4, "flush.ms")
        checkpoint = f"{broker.log_dir(1)}/replication-offset-checkpoint"
        await broker.until(lambda: b"t 0 4" in broker.world.disk.read(checkpoint), "the checkpoint")
        await broker.stop(1)


@pytest.mark.parametrize("count", [100])
async def test_many_partitions_come_and_go(cluster: InProcessCluster, count: int) -> None:
    await create_topic(cluster, "t", [[1 + each % 3, 1 + (each + 1) % 3, 1 + (each + 2) % 3] for each in range(count)])
    assert cluster[1].replicas.counts()["replicas"] == count
    await cluster.kill(1)
    await cluster.until(lambda: all(state_of(cluster, "t", each, at=2).leader in (2, 3) for each in range(count)))
    await cluster.start(1)
    for each in range(count):
        await until_in_sync(cluster, "t", 3, each)
    await delete_topic(cluster, "t")
    await cluster.until(lambda: not any(each.replicas.replicas for each in cluster))
